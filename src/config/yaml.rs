//! YAML files of the operator. What the library says of a mistake becomes one sentence with file, line and key, never
//! with the value, which can be a secret.

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_path_to_error::{Deserializer, Path as KeyPath, Segment, Track};
use serde_saphyr::{Error, Location, Spanned};

use super::ConfigError;

/// Values, lists and mappings together: ten thousand apps with everything that can be said are a quarter of it.
const MAX_NODES: usize = 2_000_000;

/// Reads a file's content.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn parse<T: DeserializeOwned>(content: &[u8], file: &Path) -> Result<T, ConfigError> {
    let text = str::from_utf8(content).map_err(|error| {
        let valid = &content[..error.valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        mistake(file, line, "", "is not valid UTF-8; save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let options = serde_saphyr::options! {
        // The parser reports a node's begin, end and alias.
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 3 * MAX_NODES },
        // A snippet would show the lines around the error, and with them secrets.
        with_snippet: false,
    };
    let mut track = Track::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        T::deserialize(Deserializer::new(deserializer, &mut track))
    })
    .map_err(|error| {
        let error = match error.without_snippet() {
            Error::AliasError { error, .. } => error.without_snippet(),
            error => error,
        };
        let line = error.location().as_ref().map_or(0, Location::line);
        let key = key(&track.path());
        let (key, problem) = problem(error, &key);
        mistake(file, line, key, problem)
    })
}

pub(crate) fn line<T>(value: &Spanned<T>) -> u64 {
    value.referenced.line()
}

/// A sentence about a value. `line` is 0 where nobody knows it; without a `key` it is about the file itself.
pub(crate) fn mistake(
    file: &Path,
    line: u64,
    key: &str,
    problem: impl fmt::Display,
) -> ConfigError {
    let file = file.display();
    let subject = if key.is_empty() { "the file" } else { key };
    let sentence = match line {
        0 => format!("{file}: {subject} {problem}"),
        line => format!("{file}, line {line}: {subject} {problem}"),
    };
    // Paths and keys can hold line breaks.
    ConfigError(sentence.replace(char::is_control, "\u{fffd}"))
}

/// The key at fault, and what is wrong with it.
fn problem<'a>(error: &Error, key: &'a str) -> (&'a str, String) {
    let text = match error {
        // Of our own checks, which know that they must not repeat the value.
        Error::Message { msg, .. } => msg,
        Error::SerdeUnknownField { expected, .. } => &format!(
            "is an unknown key; the keys here are {}",
            expected.join(", ")
        ),
        Error::SerdeUnknownVariant { expected, .. } => {
            &format!("must be one of {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => &format!("needs the key {field}"),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            &format!("must be {expected}")
        }
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "must be a mapping",
            "sequence start" => "must be a list",
            "string scalar" => "must be text",
            _ => "is not what belongs here",
        },
        Error::NullIntoString { .. } => "has no value; give it one",
        Error::InvalidScalar { ty: "boolean", .. } => "must be true or false",
        Error::InvalidScalar { .. } => "must be a whole number that is not negative",
        Error::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            "has another key beside it; keep one"
        }
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | Error::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            "must be a mapping with one key"
        }
        error => return ("", problem_of_file(error)),
    };
    (key, text.to_owned())
}

fn problem_of_file(error: &Error) -> String {
    match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("has the key {key} twice in one mapping; keep one")
        }
        Error::MultipleDocuments { .. } => {
            "has a second document here; keep one document in it".to_owned()
        }
        Error::ExternalMessage { msg, .. } => {
            format!("is not valid YAML ({msg}); fix it here or just above")
        }
        _ => "is not valid YAML; fix it here or just above".to_owned(),
    }
}

/// `apps[0].access_token`.
fn key(path: &KeyPath) -> String {
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => key.push_str(&format!("[{index}]")),
            // `Spanned` holds its value in a field of that name.
            Segment::Map { key: name } | Segment::Enum { variant: name } if name != "value" => {
                key.push('.');
                key.push_str(name);
            }
            _ => {}
        }
    }
    key.trim_start_matches('.').to_owned()
}
