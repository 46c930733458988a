//! The configuration file: several apps, with a credential each.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::app::AppSettings;
use super::secret::{SecretSource, read_bounded};
use super::units::appid;
use super::yaml::{self, line, mistake};
use super::{AppConfig, Config, ConfigError, Couriers, Credential, SharedStateConfig};

/// Ten thousand apps, each with everything that can be said, fit in half of it. Unit: bytes.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mapping")]
struct Document {
    apps: Spanned<Vec<Spanned<AppSettings>>>,
    defaults: Option<Spanned<AppSettings>>,
    shared_state: Option<Spanned<SharedStateConfig>>,
    #[serde(default)]
    couriers: Couriers,
}

/// Reads a file into a configuration. `flags` is what the command line says of all apps.
///
/// # Errors
/// The first thing that is wrong.
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
    // Nobody means /dev by a file's name without a folder.
    let base = if is_stream { None } else { path.parent() };
    interpret(&content, path, base.unwrap_or(Path::new("")), flags, config)
}

/// `base`: the folder that relative paths begin at.
pub(super) fn interpret(
    content: &[u8],
    path: &Path,
    base: &Path,
    flags: &AppSettings,
    config: &mut Config,
) -> Result<(), ConfigError> {
    let document: Document = yaml::parse(content, path)?;
    let apps = &document.apps;
    if apps.value.is_empty() {
        let problem = "is empty; add an app, or use the demo command to look around";
        return Err(mistake(path, line(apps), "apps", problem));
    }
    if let Some(defaults) = &document.defaults
        && defaults.value.belongs_to_one_app()
    {
        let problem = "can't hold appid, name, access_token or cloud_function, which belong to one app; move them there";
        return Err(mistake(path, line(defaults), "defaults", problem));
    }
    let defaults = document.defaults.as_ref().map(|defaults| &defaults.value);
    let shared = document.shared_state;
    config.shared_state = shared
        .map(|shared| shared_state(shared, path, base))
        .transpose()?;
    let couriers = Arc::new(document.couriers);
    let mut lines_of_appids = HashMap::new();
    let mut lines_of_sources = HashMap::new();
    for (index, settings) in apps.value.iter().enumerate() {
        let wrong = |line, key: &str, problem: String| {
            mistake(path, line, &format!("apps[{index}]{key}"), problem)
        };
        let needs = |key| wrong(line(settings), "", format!("needs the key {key}"));
        let settings = &settings.value;

        let written = settings.appid.as_ref().ok_or_else(|| needs("appid"))?;
        let wrong_appid = |problem| wrong(line(written), ".appid", problem);
        let appid = appid(&written.value).map_err(wrong_appid)?;
        if let Some(first) = lines_of_appids.insert(appid.clone(), line(written)) {
            return Err(wrong_appid(format!(
                "is {appid}, which line {first} has already; keep one"
            )));
        }

        let written = settings.access_token.as_ref();
        let written = written.ok_or_else(|| needs("access_token"))?;
        let wrong_credential = |problem| wrong(line(written), ".access_token", problem);
        let credential = credential(&written.value, &appid, base).map_err(|problem| {
            let key = format!(".access_token.{}", written.value.kind());
            wrong(line(written), &key, problem)
        })?;
        if config.shared_state.is_some() && matches!(credential, Credential::Token { .. }) {
            return Err(wrong_credential(
                "is token, which can't be used with shared_state: the tokens of each replica would end those of the \
                 others; use stable_token"
                    .to_owned(),
            ));
        }
        if credential.token_api().is_none()
            && let Some(first) = lines_of_sources.insert(credential.source(), line(written))
        {
            let fix = match credential {
                Credential::None { .. } => {
                    "give each app a from_appid of its own, or run an exporter in each container"
                }
                _ => "two apps never have the same token, so give each its own",
            };
            return Err(wrong_credential(format!(
                "is the same as in line {first}; {fix}"
            )));
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

/// An app's credential, with its own key and paths, if what it names can be read.
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

fn shared_state(
    written: Spanned<SharedStateConfig>,
    path: &Path,
    base: &Path,
) -> Result<SharedStateConfig, ConfigError> {
    let line = line(&written);
    let mut shared_state = written.value;
    if let Some(file) = &mut shared_state.password_file {
        *file = base.join(&*file);
        let read = SecretSource::File(file.clone()).read();
        read.map_err(|error| {
            let problem = format!("can't be used: {error}");
            mistake(path, line, "shared_state.password_file", problem)
        })?;
    }
    Ok(shared_state)
}
