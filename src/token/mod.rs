//! Access tokens, minted rarely or read from where another program keeps them.
//!
//! Each kind of source that another program keeps has its own module. `parse` finds the token in what they return, and
//! the cache here holds it while it is valid. The exporter never mints such a token: if WeChat rejects it, the exporter
//! only reads it once more.

mod command;
mod error;
mod file;
mod http;
mod parse;
mod redis;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use crate::blocking::BlockingReads;
use crate::config::{AppConfig, ConfigError, Credential, SecretSource};
use crate::logging;
use crate::wechat::{
    AccessToken, Api, Authorization, Client, Error, Meter, Reason, without_long_words,
};
use error::{failed, may_pass};

/// The timeout of a source other than WeChat, from the request to the last byte of the token.
///
/// Half of Prometheus's usual scrape timeout, because the account list needs the rest.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long before its expiry a token is no longer used.
///
/// WeChat gives a new stable token in the last 5 minutes of the old one, and both work until the old one expires
/// (`getStableAccessToken`, seen 2026-11).
const REFRESH_MARGIN: Duration = Duration::from_secs(300);

/// How long a token with an unknown expiry is used. WeChat advises users of a central token server to keep a token for
/// about a minute (`AccessToken.html`, seen 2026-11).
const UNKNOWN_KEEP: Duration = Duration::from_secs(60);

/// The lifetime that a token must have left to be used again after its source failed. Longer than any fetch takes.
const LAST_RESORT: Duration = Duration::from_secs(30);

/// Returns the environment variables that hold an `AppSecret`. No token command inherits them.
pub(crate) fn secret_variables(apps: &[AppConfig]) -> Arc<[String]> {
    let names = apps.iter().filter_map(|app| match &app.credential {
        Credential::StableToken {
            secret: SecretSource::Env(name),
        }
        | Credential::Token {
            secret: SecretSource::Env(name),
        } => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// Where one app's token comes from, and the token while it is valid.
///
/// An app has only one fetch at a time, so no caller waits for another one here.
pub struct TokenSource {
    appid: String,
    credential: Credential,
    secret_variables: Arc<[String]>,
    /// The reads of the file with the token, the AppSecret, the headers or the command.
    reads: BlockingReads,
    /// The last rejected token that the token server was told about.
    told_of: Mutex<Option<SecretString>>,
    redis: OnceLock<crate::redis::Client>,
    cache: Mutex<Option<Held>>,
}

/// The authorization that the source gave last.
#[derive(Clone)]
struct Held {
    authorization: Authorization,
    /// When the source is asked again.
    until: Instant,
}

impl TokenSource {
    /// Creates a source. For `secret_variables`, see the function of that name.
    pub fn new(app: &AppConfig, secret_variables: Arc<[String]>) -> Self {
        Self {
            appid: app.appid.clone(),
            credential: app.credential.clone(),
            secret_variables,
            reads: BlockingReads::of_secrets(),
            told_of: Mutex::default(),
            redis: OnceLock::new(),
            cache: Mutex::default(),
        }
    }

    /// Returns the authorization for a call: the cached token while it is valid, else what the source gives.
    ///
    /// The future must not be dropped before it completes, because a minted token would be lost.
    ///
    /// # Errors
    /// When there is no token. After a failure that may pass, a cached token that is valid a little longer is returned.
    pub async fn token(&self, client: &Client, meter: &dyn Meter) -> Result<Authorization, Error> {
        let held = self.cache.lock().clone();
        if let Some(held) = &held
            && Instant::now() < held.until
        {
            return Ok(held.authorization.clone());
        }
        let error = match self.read(None, client, meter).await {
            Err(error) if may_pass(&error) => error,
            result => return result,
        };
        let needed_until = SystemTime::now() + LAST_RESORT;
        let last_resort = held.map(|held| held.authorization);
        let last_resort = last_resort.filter(|held| expiry(held) > Some(needed_until));
        let held = last_resort.ok_or_else(|| error.clone())?;
        if logging::admits(error.cause.reason.as_str()) {
            tracing::warn!(
                appid = self.appid,
                error = error.text,
                "the access token can't be refreshed; the old one is still used"
            );
        }
        Ok(held)
    }

    /// Returns another token after WeChat rejected one, or `None` if the source still gives the same one.
    ///
    /// A token that another program keeps is read once more. The exporter's own is minted once more, without force.
    ///
    /// # Errors
    /// When there is no token.
    pub async fn renew(
        &self,
        rejected: &Authorization,
        client: &Client,
        meter: &dyn Meter,
    ) -> Result<Option<Authorization>, Error> {
        let Some(rejected) = rejected.token() else {
            return Ok(None);
        };
        *self.cache.lock() = None;
        let held = self.read(Some(rejected), client, meter).await?;
        let is_rejected = held
            .token()
            .is_some_and(|token| token.secret.expose_secret() == rejected.secret.expose_secret());
        if !is_rejected {
            return Ok(Some(held));
        }
        self.rejected();
        Ok(None)
    }

    /// Records that WeChat rejected the token in use. If another program keeps it, the next fetch asks the source again:
    /// that costs no call to WeChat, and there may be another token by then.
    pub(crate) fn rejected(&self) {
        if self.place().is_some() {
            *self.cache.lock() = None;
        }
    }

    /// Returns when the token in use expires, if known.
    pub fn expiry(&self) -> Option<SystemTime> {
        expiry(&self.cache.lock().as_ref()?.authorization)
    }

    /// Reports whether the source mints tokens in the way that the app's new settings ask for, so that its token can
    /// stay in use.
    pub(crate) fn mints_for(&self, app: &AppConfig) -> bool {
        app.credential.token_api().is_some() && self.credential == app.credential
    }

    /// Returns where another program keeps the token, as messages name it, without a password or a query. `None` if the
    /// exporter mints the token or sends none.
    pub fn place(&self) -> Option<String> {
        Some(match &self.credential {
            Credential::StableToken { .. } | Credential::Token { .. } | Credential::None { .. } => {
                return None;
            }
            Credential::File { path, .. } | Credential::Cloudbase { path } => {
                format!("token file {}", path.display())
            }
            Credential::Http(config) => format!("token server {}", config.url),
            // Arguments can hold secrets.
            Credential::Command(line) => format!("token command {}", line.program),
            Credential::Redis(config) => {
                // EasyWeChat's keys hold the AppSecret.
                let key = without_long_words(&config.key);
                match &config.field {
                    Some(field) => format!("Redis key {key} (field {field}) at {}", config.url),
                    None => format!("Redis key {key} at {}", config.url),
                }
            }
        })
    }

    /// Asks the source for a token. `rejected` is the token that WeChat rejected, if any.
    async fn read(
        &self,
        rejected: Option<&AccessToken>,
        client: &Client,
        meter: &dyn Meter,
    ) -> Result<Authorization, Error> {
        let ask = self.ask(rejected, client, meter);
        let held = match self.place() {
            // The client of WeChat has its own timeout.
            None => ask.await?,
            Some(place) => {
                let answer = tokio::time::timeout(SOURCE_TIMEOUT, ask).await;
                let late = format!("gave no token within {} s", SOURCE_TIMEOUT.as_secs());
                answer
                    .unwrap_or_else(|_| Err(failed(Reason::Timeout, late)))
                    .map_err(|error| Error {
                        text: format!("{place} {error}"),
                        ..error
                    })?
            }
        };
        *self.cache.lock() = Some(Held {
            until: Instant::now() + self.keep(&held),
            authorization: held.clone(),
        });
        Ok(held)
    }

    async fn ask(
        &self,
        rejected: Option<&AccessToken>,
        client: &Client,
        meter: &dyn Meter,
    ) -> Result<Authorization, Error> {
        let reads = &self.reads;
        let token = match &self.credential {
            Credential::StableToken { secret } => {
                self.mint(Api::StableToken, secret, client, meter).await
            }
            Credential::Token { secret } => self.mint(Api::Token, secret, client, meter).await,
            Credential::File {
                path,
                token_pointer,
            } => file::read(path, token_pointer.as_deref(), reads).await,
            Credential::Http(config) => {
                http::read(config, rejected, &self.told_of, client.http(), reads).await
            }
            Credential::Command(line) => command::read(line, &self.secret_variables, reads).await,
            Credential::Redis(config) => {
                let (url, password_file) = (config.url.clone(), config.password_file.clone());
                let new = || crate::redis::Client::new(url, password_file);
                redis::read(config, self.redis.get_or_init(new)).await
            }
            Credential::Cloudbase { path } => {
                let token = file::read(path, None, reads).await;
                return token.map(Authorization::CloudbaseAccessToken);
            }
            Credential::None { from_appid } => {
                return Ok(Authorization::None {
                    from_appid: from_appid.clone(),
                });
            }
        };
        token.map(Authorization::AccessToken)
    }

    /// Mints a token with a call of `api`. The secret is read anew, so that a rotated one works from the next token.
    async fn mint(
        &self,
        api: Api,
        secret: &SecretSource,
        client: &Client,
        meter: &dyn Meter,
    ) -> Result<AccessToken, Error> {
        let source = secret.clone();
        let read = self.reads.run(move || source.read());
        let read = tokio::time::timeout(SOURCE_TIMEOUT, read).await;
        let read = read.unwrap_or_else(|_| {
            let text = format!("reading {secret} hangs; check the disk or the network share");
            Err(ConfigError(text))
        });
        let unreadable = |error: ConfigError| {
            failed(Reason::Config, "the AppSecret can't be read").because(&error)
        };
        let secret = read.map_err(unreadable)?;
        let minted = client.mint_token(api, &self.appid, &secret, meter).await;
        minted.map_err(|error| error.within("WeChat gave no access token"))
    }

    /// Returns how long a token is used before the source is asked again.
    fn keep(&self, held: &Authorization) -> Duration {
        match (&self.credential, expiry(held)) {
            // These are cheap to read, so each fetch uses the newest token.
            (
                Credential::File { .. }
                | Credential::Cloudbase { .. }
                | Credential::Redis(_)
                | Credential::None { .. },
                _,
            ) => Duration::ZERO,
            (_, None) => UNKNOWN_KEEP,
            (_, Some(expiry)) => {
                let left = expiry.duration_since(SystemTime::now());
                left.unwrap_or_default().saturating_sub(REFRESH_MARGIN)
            }
        }
    }
}

fn expiry(held: &Authorization) -> Option<SystemTime> {
    held.token()?.expires
}
