//! The configuration file: several apps, with a credential each.
//!
//! serde reads it; what serde says of a mistake becomes one sentence with file, line and key here, and never with the
//! value, which can be a secret.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_path_to_error::{Path as KeyPath, Segment, Track};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::app::AppSettings;
use super::credential::token_source;
use super::secret::read_bounded;
use super::units::{appid, nearest};
use super::{AppConfig, ConfigError, Couriers, Credential, SharedStateConfig};

/// Ten thousand apps, each with everything that can be said, fit in half of it. Unit: bytes.
const MAX_BYTES: u64 = 16 << 20;
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

thread_local! {
    /// The folder that relative paths begin at while a file is parsed: what serde derives takes no arguments.
    static BASE: RefCell<PathBuf> = RefCell::default();
}

/// The path as the configuration file that is being parsed means it.
pub(super) fn in_base(path: &str) -> PathBuf {
    BASE.with_borrow(|base| base.join(path))
}

/// What a file says.
#[derive(Debug)]
pub(super) struct FileConfig {
    pub(super) apps: Vec<AppConfig>,
    pub(super) shared_state: Option<SharedStateConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct Document {
    apps: Spanned<Vec<Spanned<AppSettings>>>,
    defaults: Option<Spanned<AppSettings>>,
    shared_state: Option<SharedStateConfig>,
    #[serde(default)]
    couriers: Couriers,
}

/// Reads a file. `flags` is what the command line says of all apps.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn load(path: &Path, flags: &AppSettings) -> Result<FileConfig, ConfigError> {
    let (text, base) = read(path)?;
    interpret(&text, path, base, flags)
}

/// The text, and the folder that relative paths in it begin at.
fn read(path: &Path) -> Result<(String, &Path), ConfigError> {
    let wrong = |problem: String| ConfigError(format!("the file {} {problem}", path.display()));
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => wrong(format!(
            "is larger than {} MiB; is it the right file?",
            MAX_BYTES >> 20
        )),
        _ => wrong(format!("can't be read: {error}")),
    };
    let file = File::open(path).map_err(unreadable)?;
    // `/dev/stdin` or `<(sops decrypt apps.yml)`.
    let is_stream = !file.metadata().map_err(unreadable)?.is_file();
    let bytes = read_bounded(file, MAX_BYTES).map_err(unreadable)?;
    if is_stream && bytes.is_empty() {
        return Err(wrong(
            "gave no text; a pipe can be read only once, so a reload needs a file".to_owned(),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        mistake(path, line, "", "is not valid UTF-8; save it as UTF-8")
    })?;
    // Nobody means /dev by a file's name without a folder.
    let base = if is_stream { None } else { path.parent() };
    Ok((text, base.unwrap_or(Path::new(""))))
}

pub(super) fn interpret(
    text: &str,
    path: &Path,
    base: &Path,
    flags: &AppSettings,
) -> Result<FileConfig, ConfigError> {
    BASE.set(base.to_owned());
    let document = parse(text, path)?;
    if document.apps.value.is_empty() {
        let problem = "is empty; add an app, or use the demo command to look around";
        return Err(mistake(path, line(&document.apps), "apps", problem));
    }
    let mut weaker = Vec::new();
    if let Some(defaults) = &document.defaults {
        if defaults.value.belongs_to_one_app() {
            let problem = "can't hold appid, name, access_token or cloud_function, which belong to one app; move them there";
            return Err(mistake(path, line(defaults), "defaults", problem));
        }
        weaker.push(&defaults.value);
    }
    weaker.push(flags);
    let couriers = Arc::new(document.couriers);
    let is_shared = document.shared_state.is_some();
    let mut lines_of_appids = HashMap::new();
    let mut lines_of_sources = HashMap::new();
    let mut apps = Vec::with_capacity(document.apps.value.len());
    for (index, settings) in document.apps.value.iter().enumerate() {
        let key = format!("apps[{index}]");
        let needs = |missing: &str| {
            let problem = format!("needs the key {missing}");
            mistake(path, line(settings), &key, problem)
        };
        let settings = &settings.value;
        let written = settings.appid.as_ref().ok_or_else(|| needs("appid"))?;
        let appid = appid(&written.value)
            .and_then(|appid| only_once(appid, line(written), &mut lines_of_appids))
            .map_err(|problem| mistake(path, line(written), &format!("{key}.appid"), problem))?;
        let written = settings.access_token.as_ref();
        let written = written.ok_or_else(|| needs("access_token"))?;
        let credential = credential(written, &appid, is_shared, &mut lines_of_sources);
        let credential = credential.map_err(|problem| {
            let key = format!("{key}.access_token");
            mistake(path, line(written), &key, problem)
        })?;
        let mut app = AppConfig::new(appid, credential);
        for settings in weaker.iter().copied().chain([settings]) {
            settings.apply(&mut app);
        }
        if let Some(name) = &settings.name {
            app.name.clone_from(name);
        }
        app.cloud_function = settings.cloud_function.clone().map(Into::into);
        app.couriers = Arc::clone(&couriers);
        apps.push(app);
    }
    Ok(FileConfig {
        apps,
        shared_state: document.shared_state,
    })
}

fn only_once(appid: String, line: u64, lines: &mut HashMap<String, u64>) -> Result<String, String> {
    match lines.insert(appid.clone(), line) {
        None => Ok(appid),
        Some(first) => Err(format!(
            "is {appid}, which line {first} has already; keep one"
        )),
    }
}

/// An app's credential, unless it can't be used beside those of other apps or by several replicas.
fn credential(
    written: &Spanned<Credential>,
    appid: &str,
    is_shared: bool,
    lines_of_sources: &mut HashMap<String, u64>,
) -> Result<Credential, String> {
    let mut credential = written.value.clone();
    if let Credential::Redis(redis) = &mut credential {
        redis.key = redis.key.replace("{appid}", appid);
    }
    if is_shared && matches!(credential, Credential::Token { .. }) {
        return Err(
            "is token, which can't be used with shared_state: the tokens of each replica would end those of the \
             others; use stable_token"
                .to_owned(),
        );
    }
    let source = token_source(&credential);
    if let Some(first) = source.and_then(|source| lines_of_sources.insert(source, line(written))) {
        let fix = match credential {
            Credential::None { .. } => {
                "give each app a from_appid of its own, or run an exporter in each container"
            }
            _ => "two apps never have the same token, so give each its own",
        };
        return Err(format!("is the same as in line {first}; {fix}"));
    }
    Ok(credential)
}

fn line<T>(value: &Spanned<T>) -> u64 {
    value.referenced.line()
}

/// A sentence about a value. `line` is 0 where nobody knows it; without a `key` it is about the file itself.
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

fn parse(text: &str, file: &Path) -> Result<Document, ConfigError> {
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
        // `.inf` is not a whole number, as 1.5 is not.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut track = Track::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        Document::deserialize(serde_path_to_error::Deserializer::new(
            deserializer,
            &mut track,
        ))
    })
    .map_err(|error| yaml_error(&error, &track.path(), file))
}

fn yaml_error(error: &YamlError, path: &KeyPath, file: &Path) -> ConfigError {
    let error = match error.without_snippet() {
        YamlError::AliasError { error, .. } => error.without_snippet(),
        error => error,
    };
    let line = error.location().as_ref().map_or(0, Location::line);
    let segments: Vec<&Segment> = path.iter().collect();
    let of_value = |problem: &str| mistake(file, line, &key(&segments), problem);
    // Where the path ends with a key of the mapping at fault.
    let of_mapping = |problem: &str| {
        let mapping = segments
            .split_last()
            .map_or(&[][..], |(_, mapping)| mapping);
        mistake(file, line, &key(mapping), problem)
    };
    let of_file = |problem: &str| mistake(file, line, "", problem);
    match error {
        YamlError::Message { msg, .. } if msg.starts_with("duplicate field") => {
            of_value("has both api_url and api_urls; keep one")
        }
        // Of our own checks, which know that they must not repeat the value.
        YamlError::Message { msg, .. } => of_value(msg),
        YamlError::SerdeUnknownField {
            field, expected, ..
        } => of_mapping(&unknown_key(field, expected)),
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => of_value(&unknown_variant(variant, expected)),
        YamlError::SerdeMissingField { field, .. } => of_value(&format!("needs the key {field}")),
        YamlError::SerdeInvalidType { expected, .. }
        | YamlError::SerdeInvalidValue { expected, .. } => of_value(&format!("must be {expected}")),
        YamlError::Unexpected { expected, .. } => of_value(match *expected {
            "mapping start" => "must be a mapping",
            "sequence start" => "must be a list",
            "string scalar" => "must be text",
            _ => "is not what belongs here",
        }),
        YamlError::NullIntoString { .. } => of_value("has no value; give it one"),
        YamlError::InvalidBooleanStrict { .. } => of_value("must be true or false"),
        YamlError::InvalidScalar { .. } => of_value("must be a whole number that is not negative"),
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            of_mapping("has more than one key; keep one")
        }
        YamlError::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | YamlError::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            of_value("must be a mapping with one key")
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map(quote).unwrap_or_default();
            of_file(&format!("has the key {key} twice in one mapping; keep one"))
        }
        YamlError::MultipleDocuments { .. } => {
            of_file("has a second document here; keep one document in it")
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::RecursiveReferencesRequireWeakTypes { .. } => of_file(
            "expands to more than a configuration can be; use fewer aliases and less nesting",
        ),
        YamlError::UnknownAnchor { .. } => {
            of_file("has an alias here without an anchor above it; define the anchor first")
        }
        YamlError::UnsupportedTag { .. } => {
            of_file("has a tag here, which is not supported; remove it")
        }
        YamlError::ExternalMessage { msg, .. } => of_file(&format!(
            "is not valid YAML ({}); fix it here or just above",
            quote(msg)
        )),
        _ => of_file("is not valid YAML; fix it here or just above"),
    }
}

/// `apps[0].access_token`.
fn key(path: &[&Segment]) -> String {
    let mut key = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => key.push_str(&format!("[{index}]")),
            // `Spanned` holds its value in a field of that name.
            Segment::Map { key } if key == "value" => {}
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                if !key.is_empty() {
                    key.push('.');
                }
                key.push_str(&quote(name));
            }
            Segment::Unknown => {}
        }
    }
    key
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let shown = quote(key);
    match nearest(key, known) {
        Some(near) => format!("has the unknown key {shown}; did you mean {near}?"),
        None => format!(
            "has the unknown key {shown}; its keys are {}",
            known.join(", ")
        ),
    }
}

/// The variant is not shown: it can be a token or a secret that stands where a mapping belongs.
fn unknown_variant(variant: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(variant, known) {
        _ if variant == "secret" => {
            format!("must not contain the secret itself; use one of {all}")
        }
        Some(near) => format!("must be one of {all}; did you mean {near}?"),
        None => format!("must be one of {all}"),
    }
}

/// Somebody's text, fit for one line of a terminal.
fn quote(text: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut quoted: String = text.chars().take(MAX_QUOTE).map(printable).collect();
    if text.chars().count() > MAX_QUOTE {
        quoted.push('…');
    }
    quoted
}
