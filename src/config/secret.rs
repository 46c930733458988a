//! Reads secrets from where the operator put them, anew each time, so that rotating one needs no restart.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::ConfigError;

/// The variable in which systemd names the directory of a unit's credentials.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// The maximum size of a file with secrets, enough for a page of HTTP headers. Unit: bytes.
const SECRET_FILE_MAX: u64 = 64 << 10;

/// Where a secret is read from, anew each time it is needed.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "SecretForm")]
pub enum SecretSource {
    /// A file. A trailing newline is not part of the secret.
    File(PathBuf),
    /// The name of an environment variable.
    Env(String),
    /// A name under systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// The value that the simulated API of `demo` accepts, which is not secret.
    Simulated,
}

/// [`SecretSource`] as it is written in the configuration file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct SecretForm {
    #[serde(default, deserialize_with = "given")]
    secret_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "given")]
    secret_env: Option<String>,
    #[serde(default, deserialize_with = "given")]
    secret_credential: Option<String>,
}

/// Reads a value that may be left out but not empty: another key must not count in its place by mistake.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl TryFrom<SecretForm> for SecretSource {
    type Error = &'static str;

    fn try_from(form: SecretForm) -> Result<Self, &'static str> {
        match (form.secret_file, form.secret_env, form.secret_credential) {
            (Some(path), None, None) => Ok(Self::File(path)),
            (None, Some(name), None) => Ok(Self::Env(name)),
            (None, None, Some(name)) => Ok(Self::Credential(name)),
            (None, None, None) => Err("needs one of secret_file, secret_env, secret_credential"),
            _ => Err("has more than one of secret_file, secret_env, secret_credential; keep one"),
        }
    }
}

impl SecretSource {
    /// Reads the secret, without a trailing newline and without the byte order mark that some editors write.
    ///
    /// # Errors
    /// When the secret is missing, unreadable, empty or not one line. The error names the place, never the content.
    pub fn read(&self) -> Result<SecretString, ConfigError> {
        let text = match self {
            Self::File(path) => read_secret_file(path)?,
            Self::Env(name) => {
                let unset = format!("{self} is not set to text; it should hold the secret");
                env::var(name).map_err(|_| ConfigError(unset))?.into()
            }
            Self::Credential(name) => {
                read_secret_file(&credential_path(name, env::var_os(CREDENTIALS_DIRECTORY))?)?
            }
            Self::Simulated => return Ok("simulated-appsecret".into()),
        };
        let line = text.expose_secret();
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.trim().is_empty() || line.contains(char::is_control) {
            return Err(ConfigError(format!(
                "{self} should hold the secret as its one line and nothing else"
            )));
        }
        Ok(line.into())
    }
}

impl fmt::Display for SecretSource {
    /// Writes the place, as messages name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "secret file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Credential(name) => write!(f, "systemd credential {name}"),
            Self::Simulated => f.write_str("the simulated secret"),
        }
    }
}

/// Reads a whole file that holds secrets.
fn read_secret_file(path: &Path) -> Result<SecretString, ConfigError> {
    let wrong = |problem: String| ConfigError(format!("secret file {} {problem}", path.display()));
    let (bytes, _) = read_regular(path, SECRET_FILE_MAX)
        .map_err(|error| wrong(format!("can't be read: {error}")))?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| wrong("is not UTF-8 text".to_owned()))?;
    Ok(text.into())
}

fn credential_path(name: &str, directory: Option<OsString>) -> Result<PathBuf, ConfigError> {
    let directory = directory.ok_or_else(|| {
        ConfigError(format!(
            "systemd credential {name} can't be read: {CREDENTIALS_DIRECTORY} is not set; the unit needs \
             LoadCredential={name}:/path/to/the/secret"
        ))
    })?;
    Ok(Path::new(&directory).join(name))
}

/// Reads a file of `Name: value` lines, the headers for a token server. Empty lines are ignored.
///
/// # Errors
/// When the file can't be read or a line is not a header. The error names the line's number, never its content.
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

/// Reads a regular file of at most `max` bytes. Any other file could block the reader (a FIFO) or never end.
pub(crate) fn read_regular(path: &Path, max: u64) -> io::Result<(Vec<u8>, fs::Metadata)> {
    if !fs::metadata(path)?.is_file() {
        let kind = io::ErrorKind::InvalidData;
        return Err(io::Error::new(kind, "not a regular file"));
    }
    let file = File::open(path)?;
    // The metadata of the opened file, because another one may have been put in its place since.
    let metadata = file.metadata()?;
    Ok((read_bounded(file, max)?, metadata))
}

/// Reads a file to its end. It may have at most `max` bytes.
pub(super) fn read_bounded(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = file.take(max + 1).read_to_end(&mut bytes)?;
    if read as u64 > max {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: impl AsRef<[u8]>) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, content).unwrap();
        let secret = SecretSource::File(path).read();
        let shown = secret.map(|secret| secret.expose_secret().to_owned());
        shown.map_err(|error| error.0)
    }

    #[test]
    fn newline_at_the_end_of_a_secret_file_does_not_belong_to_the_secret() {
        for content in ["s3cret", "s3cret\n", "\u{feff}s3cret\r\n"] {
            assert_eq!(read(content).as_deref(), Ok("s3cret"));
        }
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
    fn credential_is_a_file_under_the_directory_that_systemd_names() {
        assert_eq!(
            credential_path("secret", Some("/run/credentials/x.service".into())),
            Ok(PathBuf::from("/run/credentials/x.service/secret"))
        );
        let error = credential_path("secret", None).unwrap_err();
        assert!(error.0.contains("LoadCredential=secret:"), "{error}");
    }
}
