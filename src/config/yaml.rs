//! A YAML document as a tree that knows its lines, and a strict way to read it: whatever is wrong becomes one
//! sentence with file, line, key and cure.
//!
//! The document is not deserialised into the settings straight away, because serde's errors know no path of keys and
//! nothing of what would be right instead.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error as YamlError, Spanned};

use super::{ConfigError, duration};

/// Deepest nesting. The settings need 6; the reader recurses.
const MAX_DEPTH: usize = 32;
/// Values, lists and mappings together: ten thousand apps with everything that can be said are a quarter of it.
const MAX_NODES: usize = 2_000_000;
/// What the parser may report: a node's begin, end and alias.
const MAX_EVENTS: usize = 3 * MAX_NODES;
/// Events that aliases may unfold to. Thousands of apps that share a block stay far below.
const MAX_ALIAS_EVENTS: usize = 200_000;
/// Longest piece of the operator's own text that a sentence quotes. Unit: characters.
const MAX_QUOTE: usize = 120;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    value: Value,
    /// 0 where the reader doesn't know.
    line: u64,
}

#[derive(Debug)]
enum Value {
    Null,
    Flag(bool),
    Whole(i128),
    Fraction,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Debug)]
struct Key {
    name: String,
    line: u64,
}

/// A node with the path of keys that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Item<'a> {
    node: &'a Node,
    place: Place<'a>,
    /// What else mends a value that is missing.
    or: &'static str,
}

const OR_NO_KEY: &str = " or leave the key out";
const OR_NO_ITEM: &str = " or take it out of the list";

/// A mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Mapping<'a> {
    entries: &'a [(Key, Node)],
    place: Place<'a>,
}

/// Where in which file.
#[derive(Clone, Debug)]
struct Place<'a> {
    file: &'a Path,
    line: u64,
    /// `apps[0].access_token`; empty for the document itself.
    keys: String,
}

/// Reads a document; `file` is for the sentences.
///
/// # Errors
/// When it is no YAML, or more than a configuration can be.
pub(super) fn parse(text: &str, file: &Path) -> Result<Node, ConfigError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_EVENTS,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIAS_EVENTS },
        // `no` is a word, not `false`.
        strict_booleans: true,
        reject_unsupported_tags: true,
        // `.inf` is no whole number, as 1.5 is none.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_saphyr::from_str_with_options(text, options).map_err(|error| syntax_error(&error, file))
}

impl Node {
    /// The document itself, to be read.
    pub(super) fn document<'a>(&'a self, file: &'a Path) -> Item<'a> {
        Item {
            node: self,
            place: Place {
                file,
                line: self.line,
                keys: String::new(),
            },
            or: "",
        }
    }
}

impl<'a> Item<'a> {
    /// A sentence about this value: the key, then `what`.
    pub(super) fn error(&self, what: impl fmt::Display) -> ConfigError {
        self.place.error(what)
    }

    pub(super) fn line(&self) -> u64 {
        self.place.line
    }

    pub(super) fn is_mapping(&self) -> bool {
        matches!(self.node.value, Value::Mapping(_))
    }

    fn wrong_kind(&self, wanted: &str) -> ConfigError {
        match self.node.value {
            Value::Null if self.place.keys.is_empty() => {
                self.error(format_args!("is empty; it must be {wanted}"))
            }
            Value::Null => self.error(format_args!("has no value; give it {wanted}{}", self.or)),
            _ => self.error(format_args!("must be {wanted}")),
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Result<&'a str, ConfigError> {
        match &self.node.value {
            Value::Text(text) if text.trim().is_empty() => {
                Err(self.error(format_args!("is empty; give it a value{}", self.or)))
            }
            // Neither a path nor an argument can hold one, and no other text needs one.
            Value::Text(text) if text.contains('\0') => {
                Err(self.error("holds a NUL character; take it out"))
            }
            Value::Text(text) => Ok(text),
            Value::Flag(_) | Value::Whole(_) | Value::Fraction => {
                Err(self.error("must be text; put it in quotes"))
            }
            Value::Null | Value::List(_) | Value::Mapping(_) => Err(self.wrong_kind("text")),
        }
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        match self.node.value {
            Value::Flag(flag) => Ok(flag),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    pub(super) fn whole_number(&self) -> Result<u64, ConfigError> {
        match self.node.value {
            Value::Whole(number) => u64::try_from(number)
                .map_err(|_| self.error("must be a whole number that is not negative")),
            _ => Err(self.wrong_kind("a whole number")),
        }
    }

    pub(super) fn duration(&self) -> Result<Duration, ConfigError> {
        match &self.node.value {
            Value::Text(text) => duration::parse(text).map_err(|what| self.error(what)),
            Value::Whole(number) => {
                duration::parse(&number.to_string()).map_err(|what| self.error(what))
            }
            _ => Err(self.wrong_kind("a duration, for example 60s")),
        }
    }

    /// The list's items.
    pub(super) fn list(&self, of_what: &str) -> Result<Vec<Self>, ConfigError> {
        let Value::List(nodes) = &self.node.value else {
            return Err(self.wrong_kind(of_what));
        };
        let item = |(index, node): (usize, &'a Node)| Self {
            node,
            place: Place {
                line: node.line,
                keys: format!("{}[{index}]", self.place.keys),
                ..self.place.clone()
            },
            or: OR_NO_ITEM,
        };
        Ok(nodes.iter().enumerate().map(item).collect())
    }

    /// The mapping, whose keys must all be among `known`.
    pub(super) fn mapping(&self, known: &[&str]) -> Result<Mapping<'a>, ConfigError> {
        let entries = match &self.node.value {
            Value::Mapping(entries) => entries.as_slice(),
            _ => {
                let keys = known.join(", ");
                return Err(self.wrong_kind(&format!("a mapping with keys out of {keys}")));
            }
        };
        Mapping::new(entries, &self.place, known)
    }

    /// The same where nothing at all will do, too.
    pub(super) fn mapping_or_nothing(&self, known: &[&str]) -> Result<Mapping<'a>, ConfigError> {
        match &self.node.value {
            Value::Null => Mapping::new(&[], &self.place, known),
            _ => self.mapping(known),
        }
    }
}

impl<'a> Mapping<'a> {
    fn new(
        entries: &'a [(Key, Node)],
        place: &Place<'a>,
        known: &[&str],
    ) -> Result<Self, ConfigError> {
        let mapping = Self {
            entries,
            place: place.clone(),
        };
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                return Err(mapping.unknown_key(key, known));
            }
        }
        Ok(mapping)
    }

    fn unknown_key(&self, key: &Key, known: &[&str]) -> ConfigError {
        let place = Place {
            line: key.line,
            ..self.place.clone()
        };
        let shown = quote(&key.name);
        if known.contains(&"secret_file") && ["secret", "appsecret"].contains(&shown.as_str()) {
            return place.error(format_args!(
                "must not hold the secret itself in {shown}; use secret_file, secret_env or secret_credential"
            ));
        }
        match nearest(&key.name, known) {
            Some(near) => place.error(format_args!("has no key {shown}; did you mean {near}?")),
            None => place.error(format_args!(
                "has no key {shown}; its keys are {}",
                known.join(", ")
            )),
        }
    }

    /// A sentence about the mapping as a whole.
    pub(super) fn error(&self, what: impl fmt::Display) -> ConfigError {
        self.place.error(what)
    }

    /// The value of a key, where it is given.
    pub(super) fn get(&self, key: &str) -> Option<Item<'a>> {
        let (key, node) = self.entries.iter().find(|(known, _)| known.name == key)?;
        let keys = match self.place.keys.as_str() {
            "" => key.name.clone(),
            keys => format!("{keys}.{}", key.name),
        };
        Some(Item {
            node,
            place: Place {
                line: key.line,
                keys,
                ..self.place.clone()
            },
            or: OR_NO_KEY,
        })
    }

    /// The value of a key that must be given.
    pub(super) fn require(&self, key: &str) -> Result<Item<'a>, ConfigError> {
        match self.get(key) {
            Some(item) => Ok(Item { or: "", ..item }),
            None => Err(self.error(format_args!("needs the key {key}"))),
        }
    }

    /// The one key that is given of several that exclude each other.
    pub(super) fn one_of(
        &self,
        keys: &[&'static str],
    ) -> Result<(&'static str, Item<'a>), ConfigError> {
        let mut given = keys
            .iter()
            .filter_map(|key| self.get(key).map(|item| (*key, item)));
        match (given.next(), given.next()) {
            (Some((key, item)), None) => Ok((key, Item { or: "", ..item })),
            (None, _) => Err(self.error(format_args!("needs one of {}", keys.join(", ")))),
            (Some((first, item)), Some((second, other))) => {
                let place = Place {
                    line: item.line().max(other.line()),
                    ..self.place.clone()
                };
                Err(place.error(format_args!("has both {first} and {second}; keep one")))
            }
        }
    }
}

impl Place<'_> {
    fn error(&self, what: impl fmt::Display) -> ConfigError {
        let subject = match self.keys.as_str() {
            "" => "the file",
            keys => keys,
        };
        // A path that the file names can hold line breaks.
        let what = what.to_string().replace(char::is_control, "\u{fffd}");
        ConfigError(format!(
            "{} {subject} {what}",
            position(self.file, self.line)
        ))
    }
}

fn position(file: &Path, line: u64) -> String {
    match line {
        0 => format!("{}:", file.display()),
        line => format!("{}, line {line}:", file.display()),
    }
}

/// Somebody's text, fit for one line of a terminal.
pub(super) fn quote(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut quoted: String = text.chars().take(MAX_QUOTE).map(printable).collect();
    if text.chars().count() > MAX_QUOTE {
        quoted.push('…');
    }
    quoted
}

/// The known key that was probably meant.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.chars().count() > MAX_QUOTE {
        return None;
    }
    let key = key.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|known| (edits(&key, known), *known))
        .filter(|(edits, known)| *edits <= (known.len() / 3).min(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
}

/// Characters to insert, delete or replace to get from one word to the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

fn syntax_error(error: &YamlError, file: &Path) -> ConfigError {
    let error = match error.without_snippet() {
        YamlError::AliasError { error, .. } => error.without_snippet(),
        error => error,
    };
    let line = error.location().map_or(0, |location| location.line());
    let what = match error {
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key {} stands in one mapping twice; keep one", quote(key))
        }
        YamlError::DuplicateMappingKey { key: None, .. } => {
            "a key stands in one mapping twice; keep one".to_owned()
        }
        YamlError::MultipleDocuments { .. } => {
            "a second document begins here; keep one document in the file".to_owned()
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::RecursiveReferencesRequireWeakTypes { .. } => {
            "the file unfolds to more than a configuration can be; use fewer aliases and less nesting"
                .to_owned()
        }
        YamlError::UnknownAnchor { .. } => {
            "this alias has no anchor above it; define the anchor first".to_owned()
        }
        YamlError::UnsupportedTag { .. } => "this tag means nothing here; remove it".to_owned(),
        YamlError::ExternalMessage { msg, .. } => {
            format!("this is no YAML ({}); mend it here or just above", quote(msg))
        }
        _ => "this is no YAML that can be read; mend it here or just above".to_owned(),
    };
    ConfigError(format!("{} {what}", position(file, line)))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            value: spanned.value,
            // Where the value is written, not where an alias repeats it: that is the line to mend.
            line: spanned.defined.line(),
        })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self {
            name: spanned.value,
            line: spanned.defined.line(),
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Whole(number.into()))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Whole(number))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Value, E> {
        Ok(i128::try_from(number).map_or(Value::Fraction, Value::Whole))
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Fraction)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = items.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }
}
