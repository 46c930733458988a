//! Reading secrets where the operator put them, afresh each time, so that a rotated one needs no restart.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, SecretSource};

/// The variable in which systemd names the directory of a unit's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A file that should hold a secret is refused beyond this. Unit: bytes. Room for a page of HTTP headers.
const SECRET_FILE_MAX: u64 = 64 << 10;

impl SecretSource {
    /// Reads the secret; a trailing newline and the byte order mark of some editors do not belong to it.
    ///
    /// # Errors
    /// When it is missing, unreadable, empty or not one line; the sentence names the place and never the content.
    pub fn read(&self) -> Result<SecretString, ConfigError> {
        match self {
            Self::File(path) => read_line(path),
            Self::Env(name) => match env::var(name) {
                Ok(value) => one_line(value.into(), || self.to_string()),
                Err(env::VarError::NotPresent) => Err(ConfigError(format!(
                    "{self} is not set; it should hold the secret"
                ))),
                Err(env::VarError::NotUnicode(_)) => {
                    Err(ConfigError(format!("{self} is not UTF-8 text")))
                }
            },
            Self::Credential(name) => read_line(&credential_path(name, |name| env::var_os(name))?),
            Self::Simulated => Ok("simulated-appsecret".into()),
        }
    }
}

impl fmt::Display for SecretSource {
    /// The place, as sentences name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "secret file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Credential(name) => write!(f, "systemd credential {name}"),
            Self::Simulated => f.write_str("the simulated secret"),
        }
    }
}

/// Reads a file that holds secrets, whole; warns once where other users can read it too.
///
/// # Errors
/// When it is missing, unreadable, not a regular file, too long or not UTF-8.
fn read_secret_file(path: &Path) -> Result<SecretString, ConfigError> {
    let (bytes, metadata) = read_regular(path, SECRET_FILE_MAX).map_err(|error| {
        ConfigError(format!(
            "secret file {} can't be read: {error}",
            path.display()
        ))
    })?;
    if metadata.permissions().mode() & 0o004 != 0 && first_time(path) {
        tracing::warn!(
            file = %path.display(),
            "every user of this machine can read this secret file; `chmod o-r` ends that"
        );
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(_) => Err(ConfigError(format!(
            "secret file {} is not UTF-8 text",
            path.display()
        ))),
    }
}

/// Reads a secret that is a file's only line.
///
/// # Errors
/// As [`read_secret_file`], and when it is empty or has more lines.
fn read_line(path: &Path) -> Result<SecretString, ConfigError> {
    one_line(read_secret_file(path)?, || {
        format!("secret file {}", path.display())
    })
}

/// Reads a file of `Name: value` lines, which a token server wants to see; empty ones are nothing.
///
/// # Errors
/// When it can't be read, or a line is not a header; the sentence names the line's number and never its content.
pub(crate) fn read_headers_file(path: &Path) -> Result<HeaderMap, ConfigError> {
    let text = read_secret_file(path)?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.expose_secret().lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = header(line) else {
            return Err(ConfigError(format!(
                "{} line {} should be `Name: value`",
                path.display(),
                index + 1
            )));
        };
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::try_from(name.trim()).ok()?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// Reads a regular file of at most `max` bytes. Anything else could make the reader wait (a FIFO) or never end.
pub(crate) fn read_regular(path: &Path, max: u64) -> io::Result<(Vec<u8>, fs::Metadata)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = File::open(path)?;
    // Of the file that was opened: another one can have been put in its place since.
    let metadata = file.metadata()?;
    Ok((read_bounded(file, max)?, metadata))
}

/// Reads to the end, which must come after `max` bytes at most.
pub(super) fn read_bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(max + 1).read_to_end(&mut bytes)?;
    if read as u64 > max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

fn one_line(
    text: SecretString,
    place: impl FnOnce() -> String,
) -> Result<SecretString, ConfigError> {
    let whole = text.expose_secret();
    let line = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let fault = if line.trim().is_empty() {
        "is empty; it should hold the secret"
    } else if line.contains(char::is_control) {
        "does not hold one line of text; it should hold the secret and nothing else"
    } else if line.len() == whole.len() {
        return Ok(text);
    } else {
        return Ok(line.into());
    };
    Err(ConfigError(format!("{} {fault}", place())))
}

fn credential_path(
    name: &str,
    variable: impl FnOnce(&str) -> Option<std::ffi::OsString>,
) -> Result<PathBuf, ConfigError> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        return Err(ConfigError(format!(
            "{name:?} can't be the name of a systemd credential"
        )));
    }
    match variable(CREDENTIALS_DIRECTORY) {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        None => Err(ConfigError(format!(
            "systemd credential {name} can't be read: {CREDENTIALS_DIRECTORY} is not set; the unit needs \
             LoadCredential={name}:/path/to/the/secret"
        ))),
    }
}

/// Whether this path was not asked about before.
fn first_time(path: &Path) -> bool {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    WARNED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn file(content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (directory, path)
    }

    fn read(content: impl AsRef<[u8]>) -> Result<String, String> {
        let (_directory, path) = file(content);
        match SecretSource::File(path).read() {
            Ok(secret) => Ok(secret.expose_secret().to_owned()),
            Err(error) => Err(error.0),
        }
    }

    #[test]
    fn newline_at_the_end_of_a_secret_file_does_not_belong_to_the_secret() {
        for content in ["s3cret", "s3cret\n", "\u{feff}s3cret\r\n"] {
            assert_eq!(read(content).as_deref(), Ok("s3cret"));
        }
    }

    #[test]
    fn rotated_secret_is_read_without_a_restart() {
        let (_directory, path) = file("old");
        let source = SecretSource::File(path.clone());
        assert_eq!(source.read().unwrap().expose_secret(), "old");
        fs::write(&path, "new").unwrap();
        assert_eq!(source.read().unwrap().expose_secret(), "new");
    }

    #[test]
    fn file_that_holds_no_secret_is_named_and_its_content_is_not() {
        for content in [
            &b""[..],
            b"\n",
            b"  \n",
            b"canary\n\n",
            b"canary\ncanary\n",
            b"canary\0",
            b"canary\xff",
            &[b'c'; (64 << 10) + 1],
        ] {
            let error = read(content).unwrap_err();
            assert!(error.contains("/secret "), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn missing_or_irregular_file_is_named_and_nothing_waits_for_a_fifo() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        for path in [directory.path().join("none"), fifo, directory.path().into()] {
            let error = SecretSource::File(path.clone()).read().unwrap_err();
            assert!(error.0.contains(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn credential_is_a_file_under_the_directory_that_systemd_names() {
        let directory = |_: &str| Some("/run/credentials/x.service".into());
        assert_eq!(
            credential_path("secret", directory),
            Ok(PathBuf::from("/run/credentials/x.service/secret"))
        );
        let error = credential_path("secret", |_| None).unwrap_err();
        assert!(error.0.contains("LoadCredential=secret:"), "{error}");
        for name in ["", ".", "..", "../secret", "/etc/passwd"] {
            assert!(credential_path(name, directory).is_err(), "{name}");
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn secret_that_every_user_can_read_is_warned_of_once() {
        let (_directory, open) = file("canary");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
        let (_other, closed) = file("canary");
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for path in [&open, &open, &closed] {
                SecretSource::File(path.clone()).read().unwrap();
            }
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains(open.to_str().unwrap()), "{log}");
        assert!(!log.contains("canary"), "{log}");
    }
}
