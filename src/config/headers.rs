//! A file of headers that a token server wants to see, secrets among them.

use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::ConfigError;
use super::secret::read_secret_file;

/// Reads a file of `Name: value` lines; empty ones are nothing.
///
/// # Errors
/// When it can't be read, or a line is no header; the sentence names the line's number and never its content.
pub(crate) fn read_headers_file(path: &Path) -> Result<HeaderMap, ConfigError> {
    let text = read_secret_file(path)?;
    header_lines(text.expose_secret()).map_err(|line| {
        ConfigError(format!(
            "{} line {line} should be `Name: value`",
            path.display()
        ))
    })
}

/// The number of the first line that is no header otherwise.
fn header_lines(text: &str) -> Result<HeaderMap, usize> {
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let header = line.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let (name, value) = header.ok_or(index + 1)?;
        headers.append(name, value);
    }
    Ok(headers)
}
