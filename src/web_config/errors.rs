//! Errors with file, line and key, in an operator's words.

use std::path::Path;

use serde_saphyr::{Error, Location};

use crate::config::ConfigError;

/// The file that errors name.
#[derive(Clone, Copy)]
pub(super) struct FileErrors<'a>(pub(super) &'a Path);

impl FileErrors<'_> {
    pub(super) fn at(self, location: Location, text: &str) -> ConfigError {
        let path = self.0.display();
        // A path that the file names can hold line breaks.
        let text = text.replace(char::is_control, "\u{fffd}");
        ConfigError(match location.line() {
            0 => format!("{path}: {text}"),
            line => format!("{path}, line {line}: {text}"),
        })
    }

    /// What the YAML library found. `text`: the whole file.
    pub(super) fn yaml(self, text: &str, error: &Error) -> ConfigError {
        let error = error.without_snippet();
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let key = match key_at(text, location) {
            Some(key) => format!(" at {key:?}"),
            None => String::new(),
        };
        let sentence = match error {
            Error::SerdeUnknownField {
                field, expected, ..
            } => {
                let known = expected.join(", ");
                format!("unknown key {field:?}; correct or remove it; known here are {known}")
            }
            Error::SerdeUnknownVariant { expected, .. } => {
                let known = expected.join(", ");
                format!("the value{key} is unknown or not served; use one of {known}")
            }
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key:?} is there twice; remove one")
            }
            Error::MultipleDocuments { .. } => {
                "a second YAML document begins here; remove it or the --- before it".to_owned()
            }
            Error::Unexpected { expected, .. } if *expected == "mapping start" => {
                format!("the value{key} is not a mapping; write keys with values")
            }
            Error::Unexpected { expected, .. } if *expected == "sequence start" => {
                format!("the value{key} is not a list; write [first, second]")
            }
            Error::InvalidScalar { ty, .. } if *ty == "boolean" => {
                format!("the value{key} is neither true nor false")
            }
            Error::InvalidScalar { .. } => format!("the value{key} is not a whole number"),
            other => {
                // The library's text ends with its own words for the place.
                let place = format!(" at line {}", location.line());
                let text = other.to_string();
                let text = text.split(&place).next().unwrap_or_default();
                format!("this is not valid YAML{key}: {text}")
            }
        };
        self.at(location, &sentence)
    }
}

/// The key on that line, where it looks like one of ours; whatever else stands there may be a secret.
fn key_at(text: &str, location: Location) -> Option<&str> {
    let index = usize::try_from(location.line()).ok()?.checked_sub(1)?;
    let (key, _) = text.lines().nth(index)?.split_once(':')?;
    let key = key.trim();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!key.is_empty() && key.chars().all(is_plain)).then_some(key)
}
