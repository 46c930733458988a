//! The operator's YAML files. An error of the library becomes one sentence with file, line and key, but never with the
//! value, which can be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_path_to_error::{Deserializer, Path as KeyPath, Segment, Track};
use serde_saphyr::{Error, Options, Spanned};

use super::ConfigError;

/// The maximum number of values, lists and mappings. Ten thousand apps with every setting need a quarter of it.
const MAX_NODES: usize = 2_000_000;

/// A file as the operator wrote it. It can hold secrets.
pub(crate) struct YamlFile {
    pub(crate) path: PathBuf,
    text: String,
}

impl YamlFile {
    /// # Errors
    /// When the content is not text.
    pub(crate) fn new(path: &Path, content: Vec<u8>) -> Result<Self, ConfigError> {
        let text = String::from_utf8(content).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = valid.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            mistake(path, line, "", "is not valid UTF-8; save it as UTF-8")
        })?;
        let path = path.to_owned();
        Ok(Self { path, text })
    }

    /// # Errors
    /// The first mistake.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let mut track = Track::new();
        let read = serde_saphyr::with_deserializer_from_str_with_options(
            self.text(),
            options(),
            |deserializer| T::deserialize(Deserializer::new(deserializer, &mut track)),
        );
        read.map_err(|error| {
            let error = match error.without_snippet() {
                Error::AliasError { error, .. } => error.without_snippet(),
                error => error,
            };
            let key = key(&track.path());
            // On an unexpected node, the parser has already read on, and its location is that of what follows.
            let found = matches!(error, Error::Unexpected { .. }).then(|| self.line(&key));
            let found = found.filter(|line| *line > 0);
            let line = found.or_else(|| Some(error.location()?.line()));
            let line = line.unwrap_or(0);
            let (key, problem) = problem(error, &key);
            mistake(&self.path, line, key, problem)
        })
    }

    /// Returns an error about the value of a key such as `apps[0].appid`.
    pub(crate) fn mistake(&self, key: &str, problem: impl fmt::Display) -> ConfigError {
        self.mistake_at(key, key, problem)
    }

    /// Returns an error about a key, with the line of the value at `place`.
    pub(crate) fn mistake_at(
        &self,
        place: &str,
        key: &str,
        problem: impl fmt::Display,
    ) -> ConfigError {
        mistake(&self.path, self.line(place), key, problem)
    }

    /// Returns the line of a key's value or, if there is none, of the innermost mapping or list around it.
    pub(crate) fn line(&self, key: &str) -> u64 {
        let found = serde_saphyr::with_deserializer_from_str_with_options(
            self.text(),
            options(),
            |deserializer| Place(key).deserialize(deserializer),
        );
        match (found, key.rsplit_once(['.', '['])) {
            (Ok(Some(line)), _) => line,
            (_, Some((around, _))) => self.line(around),
            (_, None) => 0,
        }
    }

    fn text(&self) -> &str {
        self.text.strip_prefix('\u{feff}').unwrap_or(&self.text)
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        // The parser reports up to three events per node: its begin, end and alias.
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 3 * MAX_NODES },
        // A snippet would show the lines around the error, which may hold secrets.
        with_snippet: false,
    }
}

/// The rest of a key on the way to its value. It deserializes to the line of that value.
#[derive(Clone, Copy)]
struct Place<'a>(&'a str);

impl<'a> Place<'a> {
    /// Removes `step`, a key or an index, from the front. Returns `None` if the rest of the key begins differently.
    fn through(self, step: &str) -> Option<Self> {
        let rest = self.0.strip_prefix(step)?;
        let is_whole = rest.is_empty() || rest.starts_with(['.', '[']);
        is_whole.then(|| Self(rest.trim_start_matches('.')))
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Option<u64>;

    fn deserialize<D: serde::Deserializer<'de>>(self, node: D) -> Result<Option<u64>, D::Error> {
        if self.0.is_empty() {
            let node = Spanned::<IgnoredAny>::deserialize(node)?;
            return Ok(Some(node.referenced.line()));
        }
        node.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Option<u64>, A::Error> {
        let mut line = None;
        while let Some(key) = mapping.next_key::<String>()? {
            match self.through(&key) {
                // A key can hold a dot, so `john` with a text may not be the way to `john.doe`.
                Some(place) => line = mapping.next_value_seed(place).ok().flatten().or(line),
                None => _ = mapping.next_value::<IgnoredAny>()?,
            }
        }
        Ok(line)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<u64>, A::Error> {
        for index in 0.. {
            match self.through(&format!("[{index}]")) {
                Some(place) => return Ok(list.next_element_seed(place)?.flatten()),
                None if list.next_element::<IgnoredAny>()?.is_none() => break,
                None => {}
            }
        }
        Ok(None)
    }
}

/// Creates an error. `line` is 0 if it is not known; without a `key`, the error is about the file itself.
fn mistake(file: &Path, line: u64, key: &str, problem: impl fmt::Display) -> ConfigError {
    let file = file.display();
    let subject = if key.is_empty() { "the file" } else { key };
    let sentence = match line {
        0 => format!("{file}: {subject} {problem}"),
        line => format!("{file}, line {line}: {subject} {problem}"),
    };
    // Paths and keys can hold line breaks.
    ConfigError(sentence.replace(char::is_control, "\u{fffd}"))
}

/// Returns the key at fault and what is wrong with it.
fn problem<'a>(error: &Error, key: &'a str) -> (&'a str, String) {
    let text = match error {
        // From the exporter's own checks, which never repeat the value.
        Error::Message { msg, .. } => msg,
        Error::SerdeUnknownField { expected, .. } => &format!(
            "is an unknown key; the keys here are {}",
            expected.join(", ")
        ),
        Error::SerdeUnknownVariant { expected, .. } => {
            // The first may be the empty word, which stands for an absent key.
            let names = expected.join(", ");
            &format!("must be one of {}", names.trim_start_matches(", "))
        }
        Error::SerdeMissingField { field, .. } => &format!("needs the key {field}"),
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            &format!("must be {expected}")
        }
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "must be a mapping",
            "sequence start" => "must be a list",
            "string scalar" => "must be a single value",
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
            "must be one word or a mapping with one key"
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
        Error::Eof { .. } => "is empty; write the settings into it".to_owned(),
        Error::MultipleDocuments { .. } => {
            "has a second document here; keep one document in it".to_owned()
        }
        Error::ExternalMessage { msg, .. } => {
            format!("is not valid YAML ({msg}); fix it here or just above")
        }
        _ => "can't be understood; fix it here or just above".to_owned(),
    }
}

/// Formats a path as a key such as `apps[0].access_token`.
fn key(path: &KeyPath) -> String {
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => key.push_str(&format!("[{index}]")),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                key.push('.');
                key.push_str(name);
            }
            _ => {}
        }
    }
    key.trim_start_matches('.').to_owned()
}
