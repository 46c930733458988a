//! A token in a file that another program keeps fresh.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::{Error, Place, Unusable};
use super::form::{self, TEXT_MAX};
use crate::blocking::BlockingReads;
use crate::config::{TokenPointers, read_regular};
use crate::wechat::AccessToken;

/// A file, read each time its token is needed.
#[derive(Debug)]
pub(super) struct FileSource {
    path: PathBuf,
    pointers: TokenPointers,
    aside: BlockingReads,
}

impl FileSource {
    pub(super) fn new(path: PathBuf, pointers: TokenPointers) -> Self {
        Self {
            path,
            pointers,
            aside: BlockingReads::default(),
        }
    }

    pub(super) fn place(&self) -> Place {
        Place::File(self.path.clone())
    }

    pub(super) async fn read(&self, limit: Duration) -> Result<AccessToken, Error> {
        let path = self.path.clone();
        let read = self.aside.run(move || text(&path));
        match tokio::time::timeout(limit, read).await {
            Ok(Ok(Ok((text, written)))) => self.find(&text, written),
            Ok(Ok(Err(error))) => Err(self.unreadable(error)),
            Ok(Err(hanging)) => Err(Error::Unreachable {
                place: self.place(),
                source: Arc::new(hanging),
            }),
            Err(_) => Err(Error::Late {
                place: self.place(),
                limit,
            }),
        }
    }

    fn find(&self, text: &[u8], written: Option<SystemTime>) -> Result<AccessToken, Error> {
        let found = form::find(text, &self.pointers).map_err(|why| self.unusable(why))?;
        // The seconds were right when the file was written.
        let expires = found
            .lifetime
            .zip(written)
            .and_then(|(lifetime, written)| written.checked_add(lifetime));
        Ok(AccessToken {
            secret: found.token,
            expires,
        })
    }

    fn unusable(&self, why: Unusable) -> Error {
        Error::Unusable {
            place: self.place(),
            why,
        }
    }

    fn unreadable(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::NotFound => self.unusable(Unusable::Missing),
            io::ErrorKind::FileTooLarge => self.unusable(Unusable::TooLong),
            io::ErrorKind::PermissionDenied => Error::Settings {
                place: self.place(),
                what: "the exporter's user may not read it; give it the permission".into(),
                source: Some(Arc::new(error)),
            },
            _ => Error::Settings {
                place: self.place(),
                what: "it can't be read; name a regular file on a disk that works".into(),
                source: Some(Arc::new(error)),
            },
        }
    }
}

fn text(path: &Path) -> io::Result<(Vec<u8>, Option<SystemTime>)> {
    let (text, metadata) = read_regular(path, TEXT_MAX as u64)?;
    Ok((text, metadata.modified().ok()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::wechat::Reason;

    const LONG: Duration = Duration::from_secs(60);

    struct Fixture {
        directory: tempfile::TempDir,
        source: FileSource,
    }

    fn fixture(content: &[u8]) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, content).unwrap();
        let source = FileSource::new(path, TokenPointers::default());
        Fixture { directory, source }
    }

    async fn read(source: &FileSource) -> Result<String, Error> {
        let token = source.read(LONG).await?;
        Ok(token.secret.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn rotated_file_gives_the_new_token_at_once() {
        let file = fixture(b"old\n");
        assert_eq!(read(&file.source).await.unwrap(), "old");
        let beside = file.directory.path().join("new");
        fs::write(&beside, "new\n").unwrap();
        fs::rename(&beside, file.directory.path().join("token")).unwrap();
        assert_eq!(read(&file.source).await.unwrap(), "new");
    }

    #[tokio::test]
    async fn file_truncated_for_its_next_content_gives_no_token_and_then_the_next_one() {
        let file = fixture(b"old");
        let path = file.directory.path().join("token");
        fs::write(&path, "").unwrap();
        let error = read(&file.source).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Token);
        assert!(error.to_string().ends_with("it is empty"), "{error}");
        fs::write(&path, "new").unwrap();
        assert_eq!(read(&file.source).await.unwrap(), "new");
    }

    #[tokio::test]
    async fn end_in_a_json_file_counts_from_the_time_it_was_written() {
        let file = fixture(br#"{"access_token":"tok","expires_in":7200}"#);
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let path = file.directory.path().join("token");
        let opened = fs::File::options().write(true).open(path).unwrap();
        opened.set_modified(written).unwrap();
        let token = file.source.read(LONG).await.unwrap();
        assert_eq!(token.expires, Some(written + Duration::from_secs(7200)));
    }

    #[tokio::test]
    async fn file_that_holds_no_token_is_named_and_its_content_is_not() {
        for content in [
            &b"null"[..],
            b"<html>canary</html>",
            br#"{"errcode":40013,"errmsg":"canary"}"#,
            b"canary canary",
            b"canary\xff",
            &[b'c'; TEXT_MAX + 1],
        ] {
            let file = fixture(content);
            let error = read(&file.source).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Token, "{error}");
            assert!(
                error.to_string().contains("/token gives no token: "),
                "{error}"
            );
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[tokio::test]
    async fn missing_file_is_for_its_writer_to_mend_and_a_forbidden_one_for_the_operator() {
        let file = fixture(b"tok");
        let path = file.directory.path().join("token");
        fs::remove_file(&path).unwrap();
        assert_eq!(
            read(&file.source).await.unwrap_err().reason(),
            Reason::Token
        );

        let forbidden = file
            .source
            .unreadable(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(forbidden.reason(), Reason::Config);
        fs::write(&path, "tok").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads it all the same.
        if fs::read(&path).is_err() {
            assert_eq!(
                read(&file.source).await.unwrap_err().reason(),
                Reason::Config
            );
        }
    }

    #[tokio::test]
    async fn fifo_and_directory_are_refused_without_waiting() {
        let file = fixture(b"tok");
        let path = file.directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        for path in [path, file.directory.path().into()] {
            let source = FileSource::new(path, TokenPointers::default());
            let error = read(&source).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Config);
            assert_eq!(
                std::error::Error::source(&error).unwrap().to_string(),
                "not a regular file"
            );
        }
    }
}
