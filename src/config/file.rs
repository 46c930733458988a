//! The configuration file: several apps, with a credential each.
//!
//! serde reads it; what serde says of a mistake becomes one sentence with file, line and key here, and never with the
//! value, which can be a secret.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_path_to_error::{Path as KeyPath, Segment, Track};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::app::AppSettings;
use super::credential::{readable_file, token_source};
use super::secret::{read_bounded, read_secret_file};
use super::units::{NetworkName, Pointer, RedisUrl, Text, nearest};
use super::{AppConfig, ConfigError, CourierConfig, Couriers, Credential, SharedStateConfig};
use crate::wechat::{CloudFunction, ListLimits};

/// Ten thousand apps, each with everything that can be said, fit in half of it. Unit: bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Begins the keys in the shared state, unless the operator says otherwise.
const KEY_PREFIX: &str = "wechat_logistics:";
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
    #[serde(default)]
    defaults: Option<Spanned<AppSettings>>,
    shared_state: Option<SharedStateForm>,
    #[serde(default)]
    couriers: BTreeMap<String, CourierForm>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct SharedStateForm {
    redis: RedisUrl,
    password_file: Option<Spanned<Text>>,
    key_prefix: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct CourierForm {
    name: Spanned<Text>,
    network: NetworkName,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
pub(super) struct CloudFunctionForm {
    env: Text,
    name: Text,
    pointer: Option<Pointer>,
}

/// Where in the file a value stands.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    file: &'a Path,
    /// 0 where nobody knows.
    line: u64,
    /// `apps[0].access_token`; empty: the file itself.
    key: String,
}

impl<'a> Place<'a> {
    /// A key in this mapping.
    pub(super) fn key(&self, key: &str) -> Self {
        let key = match self.key.as_str() {
            "" => key.to_owned(),
            mapping => format!("{mapping}.{key}"),
        };
        Self {
            key,
            ..self.clone()
        }
    }

    /// This key, whose value stands there.
    pub(super) fn at<T>(&self, value: &Spanned<T>) -> Self {
        let line = value.referenced.line();
        Self {
            line,
            ..self.clone()
        }
    }

    /// A sentence about the value: the key, then the problem.
    pub(super) fn error(&self, problem: impl fmt::Display) -> ConfigError {
        let key = match self.key.as_str() {
            "" => "the file",
            key => key,
        };
        // Paths and keys can hold line breaks.
        let sentence = format!("{}: {key} {problem}", self.position());
        ConfigError(sentence.replace(char::is_control, "\u{fffd}"))
    }

    fn position(&self) -> String {
        match self.line {
            0 => self.file.display().to_string(),
            line => format!("{}, line {line}", self.file.display()),
        }
    }
}

/// Reads a file. `flags` is what the command line says of all apps; names are labels, which `limits` bounds.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn load(
    path: &Path,
    flags: &AppSettings,
    limits: ListLimits,
) -> Result<FileConfig, ConfigError> {
    let (text, base) = read(path)?;
    interpret(&text, path, base, flags, limits)
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
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    // `/dev/stdin` or `<(sops decrypt apps.yml)`.
    let is_stream = kind.is_fifo() || kind.is_char_device();
    if kind.is_dir() {
        return Err(wrong("is a directory; name the file in it".to_owned()));
    }
    if !kind.is_file() && !is_stream {
        return Err(wrong("is not a regular file; copy it into one".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let bytes = read_bounded(file, MAX_BYTES).map_err(unreadable)?;
    if is_stream && bytes.is_empty() {
        return Err(wrong(
            "gave no text; a pipe can be read only once, so a reload needs a file".to_owned(),
        ));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError(format!(
            "{}, line {line}: this is not valid UTF-8; save the file as UTF-8",
            path.display()
        ))
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
    limits: ListLimits,
) -> Result<FileConfig, ConfigError> {
    let document = parse(text, path)?;
    let root = Place {
        file: path,
        line: 0,
        key: String::new(),
    };
    let list = &document.apps;
    if list.value.is_empty() {
        let place = root.key("apps").at(list);
        return Err(place.error("is empty; add an app, or use the demo command to look around"));
    }
    let weaker = match &document.defaults {
        None => flags.clone(),
        Some(defaults) => flags.or(checked_defaults(defaults, &root.key("defaults"))?),
    };
    let couriers = couriers(&document.couriers, &root.key("couriers"), limits)?;
    let couriers = Arc::new(couriers);
    let mut lines_of_appids = HashMap::new();
    let mut lines_of_sources = HashMap::new();
    let mut apps = Vec::with_capacity(list.value.len());
    for (index, settings) in list.value.iter().enumerate() {
        let place = root.key(&format!("apps[{index}]")).at(settings);
        let settings = &settings.value;
        let mut app = app(settings, &weaker, &place, base, limits)?;
        app.couriers = Arc::clone(&couriers);
        let (Some(appid), Some(access_token)) = (&settings.appid, &settings.access_token) else {
            continue;
        };
        let line = appid.referenced.line();
        if let Some(first) = lines_of_appids.insert(app.appid.clone(), line) {
            let problem = format!("is {}, which line {first} has already; keep one", app.appid);
            return Err(place.key("appid").at(appid).error(problem));
        }
        let place = place.key("access_token").at(access_token);
        if let Some(source) = token_source(&app.credential)
            && let Some(first) = lines_of_sources.insert(source, place.line)
        {
            return Err(place.error(shared_source(&app.credential, first)));
        }
        if document.shared_state.is_some() && matches!(app.credential, Credential::Token { .. }) {
            return Err(place.key("token").error(
                "can't be used with shared_state, since the tokens of each replica would end those of the others; \
                 use stable_token",
            ));
        }
        apps.push(app);
    }
    Ok(FileConfig {
        apps,
        shared_state: document
            .shared_state
            .map(|state| state.interpret(&root.key("shared_state"), base))
            .transpose()?,
    })
}

fn couriers(
    forms: &BTreeMap<String, CourierForm>,
    place: &Place<'_>,
    limits: ListLimits,
) -> Result<Couriers, ConfigError> {
    let mut couriers = BTreeMap::new();
    for (id, form) in forms {
        let name = form.name.value.0.clone();
        check_name(&name, limits).map_err(|problem| {
            let place = place.key(&quote(id)).key("name").at(&form.name);
            place.error(problem)
        })?;
        let NetworkName(network) = form.network;
        couriers.insert(id.clone(), CourierConfig { name, network });
    }
    Ok(Couriers(couriers))
}

fn shared_source(credential: &Credential, first: u64) -> String {
    let fix = match credential {
        Credential::None { .. } => {
            "give each app a from_appid of its own, or run an exporter in each container"
        }
        _ => "two apps never have the same token, so give each its own",
    };
    format!("is the same as in line {first}; {fix}")
}

/// What belongs to one app is not among them.
fn checked_defaults<'a>(
    defaults: &'a Spanned<AppSettings>,
    place: &Place<'_>,
) -> Result<&'a AppSettings, ConfigError> {
    let settings = &defaults.value;
    let misplaced = [
        ("appid", settings.appid.is_some()),
        ("name", settings.name.is_some()),
        ("access_token", settings.access_token.is_some()),
        ("cloud_function", settings.cloud_function.is_some()),
    ];
    match misplaced.into_iter().find(|(_, given)| *given) {
        None => Ok(settings),
        Some((key, _)) => {
            let place = place.key(key).at(defaults);
            Err(place.error("belongs to one app; move it there"))
        }
    }
}

fn app(
    settings: &AppSettings,
    weaker: &AppSettings,
    place: &Place<'_>,
    base: &Path,
    limits: ListLimits,
) -> Result<AppConfig, ConfigError> {
    let needs = |key| place.error(format_args!("needs the key {key}"));
    let appid = &settings
        .appid
        .as_ref()
        .ok_or_else(|| needs("appid"))?
        .value
        .0;
    let access_token = settings.access_token.as_ref();
    let access_token = access_token.ok_or_else(|| needs("access_token"))?;
    let credential =
        access_token
            .value
            .interpret(&place.key("access_token").at(access_token), appid, base)?;
    let mut app = settings.or(weaker).app(appid, credential);
    if let Some(name) = &settings.name {
        check_name(&name.value.0, limits)
            .map_err(|problem| place.key("name").at(name).error(problem))?;
        app.name.clone_from(&name.value.0);
    }
    app.cloud_function = settings
        .cloud_function
        .as_ref()
        .map(|function| CloudFunction {
            env: function.env.0.clone(),
            name: function.name.0.clone(),
            pointer: function.pointer.as_ref().map(|Pointer(text)| text.clone()),
        });
    Ok(app)
}

/// Whether a name can be a label.
pub(super) fn check_name(name: &str, limits: ListLimits) -> Result<(), String> {
    let most = limits.label_bytes;
    if name.len() <= most {
        return Ok(());
    }
    Err(format!(
        "is longer than a label may be ({most} bytes, --wechat.max-label-length); shorten it"
    ))
}

impl SharedStateForm {
    fn interpret(self, place: &Place<'_>, base: &Path) -> Result<SharedStateConfig, ConfigError> {
        let place = place.key("password_file");
        Ok(SharedStateConfig {
            redis: self.redis.0,
            password_file: readable_file(&self.password_file, &place, base, read_secret_file)?,
            key_prefix: self
                .key_prefix
                .map_or_else(|| KEY_PREFIX.to_owned(), |Text(prefix)| prefix),
        })
    }
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
    let segments: Vec<&Segment> = path.iter().collect();
    let place_of = |segments: &[&Segment]| Place {
        file,
        line: error.location().as_ref().map_or(0, Location::line),
        key: key(segments),
    };
    let place = place_of(&segments);
    // Where the path ends with a key of the mapping at fault.
    let mapping = place_of(segments.split_last().map_or(&[], |(_, mapping)| mapping));
    // What concerns the text and not a setting is said without a key.
    let of_the_text = |problem: &str| {
        let sentence = format!("{}: {problem}", place.position());
        ConfigError(sentence.replace(char::is_control, "\u{fffd}"))
    };
    match error {
        YamlError::Message { msg, .. } if msg.starts_with("duplicate field") => {
            place.error("has both api_url and api_urls; keep one")
        }
        // Of our own checks, which know that they must not repeat the value.
        YamlError::Message { msg, .. } => place.error(msg),
        YamlError::SerdeUnknownField {
            field, expected, ..
        } => mapping.error(unknown_key(field, expected)),
        YamlError::SerdeUnknownVariant {
            variant, expected, ..
        } => place.error(unknown_variant(variant, expected)),
        YamlError::SerdeMissingField { field, .. } => {
            place.error(format_args!("needs the key {field}"))
        }
        YamlError::SerdeInvalidType { expected, .. }
        | YamlError::SerdeInvalidValue { expected, .. } => {
            place.error(format_args!("must be {expected}"))
        }
        YamlError::Unexpected { expected, .. } => place.error(match *expected {
            "mapping start" => "must be a mapping",
            "sequence start" => "must be a list",
            "string scalar" => "must be text",
            _ => "is not what belongs here",
        }),
        YamlError::NullIntoString { .. } => place.error("has no value; give it one"),
        YamlError::InvalidBooleanStrict { .. } => place.error("must be true or false"),
        YamlError::InvalidScalar { .. } => {
            place.error("must be a whole number that is not negative")
        }
        YamlError::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            mapping.error("has more than one key; keep one")
        }
        YamlError::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | YamlError::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            place.error("must be a mapping with one key")
        }
        YamlError::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map(quote).unwrap_or_default();
            of_the_text(&format!(
                "the key {key} appears twice in one mapping; keep one"
            ))
        }
        YamlError::MultipleDocuments { .. } => {
            of_the_text("a second document begins here; keep one document in the file")
        }
        YamlError::Budget { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::RecursiveReferencesRequireWeakTypes { .. } => of_the_text(
            "the file expands to more than a configuration can be; use fewer aliases and less nesting",
        ),
        YamlError::UnknownAnchor { .. } => {
            of_the_text("this alias has no anchor above it; define the anchor first")
        }
        YamlError::UnsupportedTag { .. } => of_the_text("this tag is not supported; remove it"),
        YamlError::ExternalMessage { msg, .. } => of_the_text(&format!(
            "this is not valid YAML ({}); fix it here or just above",
            quote(msg)
        )),
        _ => of_the_text("this is not valid YAML; fix it here or just above"),
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

/// The variant can be a token or a secret that stands where a mapping belongs.
fn unknown_variant(variant: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    if known.contains(&"secret_file") {
        return match variant {
            "secret" | "appsecret" => {
                format!("must not contain the secret itself; use one of {all}")
            }
            _ => format!("must be one of {all}"),
        };
    }
    // Tokens are longer, and have digits and capitals.
    let is_word = variant.len() <= 20
        && variant
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
    if !is_word {
        return format!("must be one of {all}");
    }
    match nearest(variant, known) {
        Some(near) => format!("must be one of {all}, not {variant}; did you mean {near}?"),
        None => format!("must be one of {all}, not {variant}"),
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
