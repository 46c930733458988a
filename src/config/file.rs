//! The configuration file: several apps, each with a credential.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::app::AppSettings;
use super::secret::{SecretSource, read_bounded};
use super::units::appid;
use super::yaml::YamlFile;
use super::{AppConfig, Config, ConfigError, Couriers, Credential, SharedStateConfig};

/// The maximum size of the file. Ten thousand apps with every possible setting fit in half of it. Unit: bytes.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct Document {
    apps: Vec<AppSettings>,
    defaults: Option<AppSettings>,
    shared_state: Option<SharedStateConfig>,
    #[serde(default)]
    couriers: Couriers,
}

/// Reads a file into a configuration. `flags` are the settings of the command line for all apps.
///
/// # Errors
/// The first mistake.
pub(super) fn load(
    path: &Path,
    flags: &AppSettings,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let wrong = |problem: String| ConfigError(format!("the file {} {problem}", path.display()));
    let unreadable = |error| wrong(format!("can't be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    // `/dev/stdin` or `<(sops decrypt apps.yml)`.
    let is_stream = !file.metadata().map_err(unreadable)?.is_file();
    let content = read_bounded(file, MAX_BYTES).map_err(unreadable)?;
    if is_stream && content.is_empty() {
        return Err(wrong(
            "gave no text; a pipe can be read only once, so a reload needs a file".to_owned(),
        ));
    }
    // `/dev/stdin < apps.yml` is a file, but its paths aren't relative to /dev either.
    let has_no_folder = is_stream || path == "/dev/stdin" || path.starts_with("/dev/fd");
    let base = if has_no_folder { None } else { path.parent() };
    let file = YamlFile::new(path, content)?;
    interpret(&file, base.unwrap_or(Path::new("")), flags, config)
}

/// Adds the contents of a file to a configuration. Relative paths start at the folder `base`.
pub(super) fn interpret(
    file: &YamlFile,
    base: &Path,
    flags: &AppSettings,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let document: Document = file.parse()?;
    if document.apps.is_empty() {
        let problem = "is empty; add an app, or use the demo command to look around";
        return Err(file.mistake("apps", problem));
    }
    let defaults = document.defaults.as_ref();
    if defaults.is_some_and(AppSettings::belongs_to_one_app) {
        let problem = "can't hold appid, name, access_token or cloud_function, which belong to one app; move them there";
        return Err(file.mistake("defaults", problem));
    }
    config.shared_state = document.shared_state;
    let shared = config.shared_state.as_mut();
    if let Some(password_file) = shared.and_then(|shared| shared.password_file.as_mut()) {
        *password_file = base.join(&*password_file);
        let read = SecretSource::File(password_file.clone()).read();
        read.map_err(|error| {
            let problem = format!("can't be used: {error}");
            file.mistake("shared_state.password_file", problem)
        })?;
    }
    let couriers = Arc::new(document.couriers);
    let mut places_of_appids = HashMap::new();
    let mut places_of_sources = HashMap::new();
    for (index, settings) in document.apps.iter().enumerate() {
        let place = format!("apps[{index}]");
        let needs = |key| file.mistake(&place, format!("needs the key {key}"));

        let written = settings.appid.as_ref().ok_or_else(|| needs("appid"))?;
        let place_of_appid = format!("{place}.appid");
        let appid = appid(written).map_err(|problem| file.mistake(&place_of_appid, problem))?;
        if let Some(first) = places_of_appids.insert(appid.clone(), place_of_appid.clone()) {
            let line = file.line(&first);
            let problem = format!("is {appid}, which line {line} has already; keep one");
            return Err(file.mistake(&place_of_appid, problem));
        }

        let written = settings.access_token.as_ref();
        let written = written.ok_or_else(|| needs("access_token"))?;
        let place = format!("{place}.access_token");
        let credential = credential(written, &appid, base).map_err(|problem| {
            let key = format!("{place}.{}", written.kind());
            file.mistake_at(&place, &key, problem)
        })?;
        if config.shared_state.is_some() && matches!(credential, Credential::Token { .. }) {
            let problem = "is token, which can't be used with shared_state: the tokens of each replica would end those of \
                 the others; use stable_token";
            return Err(file.mistake(&place, problem));
        }
        if let Some(source) = credential.source()
            && let Some(first) = places_of_sources.insert(source, place.clone())
        {
            let fix = match credential {
                Credential::None { .. } => {
                    "give each app a from_appid of its own, or run an exporter in each container"
                }
                _ => "two apps never have the same token, so give each its own",
            };
            let problem = format!("is the same as in line {}; {fix}", file.line(&first));
            return Err(file.mistake(&place, problem));
        }

        let mut app = AppConfig::new(appid, credential);
        for settings in defaults.into_iter().chain([flags, settings]) {
            settings.apply(&mut app);
        }
        app.couriers = Arc::clone(&couriers);
        config.apps.push(app);
    }
    Ok(())
}

/// Returns an app's credential, with its key and paths resolved, if the secrets that it names can be read.
fn credential(written: &Credential, appid: &str, base: &Path) -> Result<Credential, String> {
    let mut credential = written.clone();
    if let Credential::Redis(redis) = &mut credential {
        redis.key = redis.key.replace("{appid}", appid);
    }
    if let Some(path) = credential.path_mut() {
        *path = base.join(&*path);
    }
    match credential.check() {
        Ok(()) => Ok(credential),
        Err(error) => Err(format!("can't be used: {error}")),
    }
}
