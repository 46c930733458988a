//! Errors with their place in the file, in words for an operator.

use std::path::Path;

use serde_saphyr::Location;

use crate::config::ConfigError;

/// The file that errors name.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a Path);

impl Place<'_> {
    pub(super) fn error(self, location: Location, text: &str) -> ConfigError {
        let path = self.0.display();
        // A path that the file names can hold line breaks.
        let text = text.replace(char::is_control, "\u{fffd}");
        ConfigError(match location.line() {
            0 => format!("{path}: {text}"),
            line => format!("{path}, line {line}: {text}"),
        })
    }

    /// A fault that the YAML library found. `text`: the whole file.
    pub(super) fn syntax(self, text: &str, error: &serde_saphyr::Error) -> ConfigError {
        use serde_saphyr::Error;
        let error = error.without_snippet();
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let key = match key_at(text, location) {
            Some(key) => format!(" at {key:?}"),
            None => String::new(),
        };
        let words = match error {
            Error::SerdeUnknownField {
                field, expected, ..
            } => format!(
                "unknown key {field:?}; correct or remove it; known here are {}",
                expected.join(", ")
            ),
            Error::DuplicateMappingKey { key: Some(key), .. } => {
                format!("the key {key:?} is there twice; remove one")
            }
            Error::MultipleDocuments { .. } => {
                "a second YAML document begins here; remove it or the --- before it".to_owned()
            }
            Error::Unexpected { expected, .. } if *expected == "mapping start" => {
                format!("keys with values are expected{key}, and something else is there")
            }
            Error::Unexpected { expected, .. } if *expected == "sequence start" => {
                format!("a list is expected{key}, and something else is there")
            }
            Error::InvalidScalar { ty, .. } if *ty == "boolean" => {
                format!("the value{key} is neither true nor false")
            }
            Error::InvalidScalar { .. } => format!("the value{key} is no whole number"),
            other => {
                // The library's text ends with its own words for the place, which ours stand in for.
                let own_words = format!(" at line {}", location.line());
                let text = other.to_string();
                let text = text.split(&own_words).next().unwrap_or_default();
                format!("not valid YAML{key}: {}", text.replace('\n', " "))
            }
        };
        self.error(location, &words)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_line_whatever_it_quotes() {
        let ConfigError(text) = Place(Path::new("/etc/web.yml"))
            .error(Location::UNKNOWN, "key_file a\nb can't be read");
        assert_eq!(text, "/etc/web.yml: key_file a\u{fffd}b can't be read");
    }
}
