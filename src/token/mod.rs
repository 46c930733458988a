//! Access tokens: minted rarely or read where others keep them fresh, shared, and renewed once after a rejection.
//!
//! Each kind of source is a file of its own; what they give is read by `form`, and `kept` holds it for all who need
//! it. A token that others keep fresh is never minted here: where it goes stale it is read once more, and no more.

mod command;
mod error;
mod file;
mod form;
mod http;
mod kept;
mod mint;
mod redis;

pub use error::{Error, Place, Unusable};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::blocking::BlockingReads;
use crate::config::{AppConfig, Credential, SecretSource, TokenPointers};
use crate::wechat::{AccessToken, Authorization, Client, Meter};

use command::{CommandSource, SecretVariables};
use file::FileSource;
use http::HttpSource;
use kept::{Keeper, Obtained};
use mint::{Mint, MintEndpoint, Mints};
use redis::RedisSource;

/// The longest that a source other than WeChat may take, from asking to the token's last byte.
///
/// Half of Prometheus's usual scrape timeout: the account list needs the rest.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(5);

/// All token sources of the process: apps with the same source share it, and it outlives a reload.
#[derive(Debug, Default)]
pub struct TokenSources {
    /// Weak, so that a source whose last app is gone goes too, and its token with it.
    sources: Mutex<HashMap<Key, Weak<TokenSource>>>,
    secret_variables: SecretVariables,
}

/// What makes two apps' sources one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    credential: Credential,
    /// Where tokens are minted for it.
    appid: Option<String>,
    api_urls: Vec<String>,
}

impl TokenSources {
    /// One source for each app, in order.
    ///
    /// Apps with an equal source share it, and so does an app with itself before a reload: its token stays in use.
    pub fn for_apps(&self, apps: &[AppConfig]) -> Vec<Arc<TokenSource>> {
        self.note_secret_variables(apps);
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let of_apps = apps
            .iter()
            .map(|app| {
                let known = sources.entry(Key::of(app)).or_default();
                known.upgrade().unwrap_or_else(|| {
                    let source = Arc::new(TokenSource::new(app, &self.secret_variables));
                    *known = Arc::downgrade(&source);
                    source
                })
            })
            .collect();
        sources.retain(|_, source| source.strong_count() > 0);
        of_apps
    }

    /// No token command may inherit another app's secret.
    fn note_secret_variables(&self, apps: &[AppConfig]) {
        let names = apps.iter().filter_map(|app| match &app.credential {
            Credential::StableToken {
                secret: SecretSource::Env(name),
            }
            | Credential::Token {
                secret: SecretSource::Env(name),
            } => Some(name.clone()),
            _ => None,
        });
        self.secret_variables
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(names);
    }
}

impl Key {
    fn of(app: &AppConfig) -> Self {
        let minted = matches!(
            app.credential,
            Credential::StableToken { .. } | Credential::Token { .. }
        );
        Self {
            credential: app.credential.clone(),
            appid: minted.then(|| app.appid.clone()),
            api_urls: app.api_urls.clone(),
        }
    }
}

/// Where one app's token comes from.
#[derive(Debug)]
pub struct TokenSource {
    /// `None`: calls are sent without a token.
    origin: Option<Origin>,
    keeper: Keeper,
    /// The app whose resources are shared, where calls are sent without a token.
    from_appid: Option<Arc<str>>,
}

#[derive(Debug)]
enum Origin {
    Mint(Mint),
    File(FileSource),
    Http(HttpSource),
    Command(CommandSource),
    Redis(RedisSource),
    /// A file whose token travels as `cloudbase_access_token`.
    Cloudbase(FileSource),
}

impl TokenSource {
    fn new(app: &AppConfig, secret_variables: &SecretVariables) -> Self {
        let mint = |secret, api| {
            Origin::Mint(Mint {
                appid: app.appid.clone(),
                secret,
                api,
                aside: BlockingReads::default(),
            })
        };
        let origin = match app.credential.clone() {
            Credential::StableToken { secret } => mint(secret, MintEndpoint::StableToken),
            Credential::Token { secret } => mint(secret, MintEndpoint::Token),
            Credential::File { path, pointers } => Origin::File(FileSource::new(path, pointers)),
            Credential::Http(config) => Origin::Http(HttpSource::new(config)),
            Credential::Command { argv, pointers } => {
                let secrets = Arc::clone(secret_variables);
                Origin::Command(CommandSource::new(argv, pointers, secrets))
            }
            Credential::Redis(config) => Origin::Redis(RedisSource::new(config)),
            Credential::Cloudbase { path } => {
                Origin::Cloudbase(FileSource::new(path, TokenPointers::default()))
            }
            Credential::None { from_appid } => {
                return Self {
                    origin: None,
                    keeper: Keeper::default(),
                    from_appid: from_appid.map(Into::into),
                };
            }
        };
        Self {
            origin: Some(origin),
            keeper: Keeper::default(),
            from_appid: None,
        }
    }

    /// A token: kept, or asked for once for all who wait.
    ///
    /// The call must not be dropped midway: a minted token would be lost with it.
    ///
    /// # Errors
    /// When there is none. A kept token that lives for some more time bridges a failure that may pass.
    pub async fn token(&self, client: &Client, meter: &dyn Meter) -> Result<Held, Error> {
        self.token_by(client, meter).await
    }

    async fn token_by(&self, client: &impl Mints, meter: &dyn Meter) -> Result<Held, Error> {
        let Some(origin) = &self.origin else {
            return Ok(Held(Holding::Nothing(self.from_appid.clone())));
        };
        let obtain = origin.obtain(None, client, meter);
        Ok(origin.hold(self.keeper.token(obtain).await?))
    }

    /// After WeChat rejected `rejected`: another one; `None`: the source still gives the same one.
    ///
    /// A token that others keep fresh is read once more, a token of our own is minted once more without force.
    ///
    /// # Errors
    /// When there is none.
    pub async fn renew(
        &self,
        rejected: &Held,
        client: &Client,
        meter: &dyn Meter,
    ) -> Result<Option<Held>, Error> {
        self.renew_by(rejected, client, meter).await
    }

    async fn renew_by(
        &self,
        rejected: &Held,
        client: &impl Mints,
        meter: &dyn Meter,
    ) -> Result<Option<Held>, Error> {
        let (Some(origin), Some(rejected)) = (&self.origin, rejected.token()) else {
            return Ok(None);
        };
        let obtain = origin.obtain(Some(rejected), client, meter);
        let token = self.keeper.renew(rejected, obtain).await?;
        Ok(token.map(|token| origin.hold(token)))
    }

    /// When the kept token ends, where known.
    #[must_use]
    pub fn expiry(&self) -> Option<SystemTime> {
        self.keeper.expiry()
    }
}

impl Origin {
    /// Asks for a token; for another one than WeChat `rejected`, where it did.
    async fn obtain(
        &self,
        rejected: Option<&AccessToken>,
        client: &impl Mints,
        meter: &dyn Meter,
    ) -> Result<Obtained, Error> {
        let read_each_time = |token| Obtained {
            token,
            keep: Duration::ZERO,
        };
        match self {
            Self::Mint(mint) => mint.obtain(client, meter).await,
            Self::File(file) | Self::Cloudbase(file) => {
                file.read(SOURCE_TIMEOUT).await.map(read_each_time)
            }
            Self::Http(server) => server.read(rejected, SOURCE_TIMEOUT).await,
            Self::Command(command) => command.read(SOURCE_TIMEOUT).await,
            Self::Redis(key) => key.read(SOURCE_TIMEOUT).await.map(read_each_time),
        }
    }

    fn hold(&self, token: Arc<AccessToken>) -> Held {
        Held(match self {
            Self::Cloudbase(_) => Holding::CloudbaseAccessToken(token),
            _ => Holding::AccessToken(token),
        })
    }
}

/// What a call is authorised with.
#[derive(Clone, Debug)]
pub struct Held(Holding);

#[derive(Clone, Debug)]
enum Holding {
    AccessToken(Arc<AccessToken>),
    CloudbaseAccessToken(Arc<AccessToken>),
    Nothing(Option<Arc<str>>),
}

impl Held {
    /// As the client takes it.
    #[must_use]
    pub fn authorization(&self) -> Authorization<'_> {
        match &self.0 {
            Holding::AccessToken(token) => Authorization::AccessToken(token),
            Holding::CloudbaseAccessToken(token) => Authorization::CloudbaseAccessToken(token),
            Holding::Nothing(from_appid) => Authorization::None {
                from_appid: from_appid.as_deref(),
            },
        }
    }

    fn token(&self) -> Option<&AccessToken> {
        match &self.0 {
            Holding::AccessToken(token) | Holding::CloudbaseAccessToken(token) => Some(token),
            Holding::Nothing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use secrecy::{ExposeSecret, SecretString};

    use super::*;
    use crate::wechat::{self, Api, DailyLimitReached, Reason};

    /// Mints `{secret}-{number of the mint}`, or always the same where `number` is off.
    #[derive(Default)]
    struct Minting {
        minted: AtomicUsize,
        same: bool,
    }

    impl Minting {
        fn count(&self) -> usize {
            self.minted.load(Ordering::SeqCst)
        }
    }

    impl Mints for Minting {
        async fn mint(
            &self,
            _endpoint: MintEndpoint,
            _appid: &str,
            secret: &SecretString,
            _meter: &dyn Meter,
        ) -> Result<AccessToken, wechat::Error> {
            let minted = self.minted.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let number = if self.same { 0 } else { minted };
            Ok(AccessToken {
                secret: format!("{}-{number}", secret.expose_secret()).into(),
                expires: Some(SystemTime::now() + Duration::from_secs(7200)),
            })
        }
    }

    #[derive(Debug)]
    struct NoMeter;

    impl Meter for NoMeter {
        fn sending(&self, _endpoint: Api) -> Result<(), DailyLimitReached> {
            Ok(())
        }
        fn failed(&self, _endpoint: Api, _reason: Reason, _errcode: Option<i64>) {}
    }

    fn app(appid: &str, credential: Credential) -> AppConfig {
        AppConfig::new(appid, credential)
    }

    fn stable() -> Credential {
        Credential::StableToken {
            secret: SecretSource::Simulated,
        }
    }

    fn file(path: &std::path::Path) -> Credential {
        Credential::File {
            path: path.to_owned(),
            pointers: TokenPointers::default(),
        }
    }

    fn source(credential: Credential) -> Arc<TokenSource> {
        TokenSources::default()
            .for_apps(&[app("wx1", credential)])
            .remove(0)
    }

    fn text(held: &Held) -> &str {
        held.token().unwrap().secret.expose_secret()
    }

    #[tokio::test]
    async fn hundred_callers_share_one_mint_and_one_renewal() {
        let source = source(stable());
        let wechat = Minting::default();
        let held = join_all((0..100).map(|_| source.token_by(&wechat, &NoMeter))).await;
        assert_eq!(wechat.count(), 1);
        let rejected = held[0].as_ref().unwrap();
        let renewed =
            join_all((0..100).map(|_| source.renew_by(rejected, &wechat, &NoMeter))).await;
        assert_eq!(wechat.count(), 2);
        for held in renewed {
            assert_eq!(text(&held.unwrap().unwrap()), "simulated-appsecret-1");
        }
        assert!(source.expiry().is_some());
    }

    #[tokio::test]
    async fn stable_token_that_comes_back_unchanged_is_none() {
        let source = source(stable());
        let wechat = Minting {
            same: true,
            ..Minting::default()
        };
        let held = source.token_by(&wechat, &NoMeter).await.unwrap();
        let renewed = source.renew_by(&held, &wechat, &NoMeter).await.unwrap();
        assert!(renewed.is_none());
        assert_eq!(wechat.count(), 2);
    }

    #[tokio::test]
    async fn rotated_secret_serves_from_the_next_mint_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "old\n").unwrap();
        let source = source(Credential::Token {
            secret: SecretSource::File(path.clone()),
        });
        let wechat = Minting::default();
        let held = source.token_by(&wechat, &NoMeter).await.unwrap();
        assert_eq!(text(&held), "old-0");
        fs::write(&path, "new\n").unwrap();
        let held = source.renew_by(&held, &wechat, &NoMeter).await.unwrap();
        assert_eq!(text(&held.unwrap()), "new-1");
    }

    #[tokio::test]
    async fn unreadable_secret_costs_no_call_and_is_for_the_operator_to_mend() {
        let source = source(Credential::StableToken {
            secret: SecretSource::File("/nonexistent/secret".into()),
        });
        let wechat = Minting::default();
        let error = source.token_by(&wechat, &NoMeter).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Config);
        assert_eq!((error.api(), error.errcode()), (None, None));
        assert!(!error.throttled());
        assert!(crate::error::chain(&error).contains("/nonexistent/secret"));
        assert_eq!(wechat.count(), 0);
    }

    #[tokio::test]
    async fn stale_foreign_token_is_read_again_and_never_minted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "old").unwrap();
        let source = source(file(&path));
        let wechat = Minting::default();
        let held = source.token_by(&wechat, &NoMeter).await.unwrap();
        let same = source.renew_by(&held, &wechat, &NoMeter).await.unwrap();
        assert!(same.is_none());
        fs::write(&path, "new").unwrap();
        let renewed = source.renew_by(&held, &wechat, &NoMeter).await.unwrap();
        assert_eq!(text(&renewed.unwrap()), "new");
        assert_eq!(wechat.count(), 0);
    }

    #[tokio::test]
    async fn cloudbase_token_and_no_token_travel_as_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cloudbase_access_token");
        fs::write(&path, "tok").unwrap();
        let wechat = Minting::default();

        let cloudbase = source(Credential::Cloudbase { path });
        let held = cloudbase.token_by(&wechat, &NoMeter).await.unwrap();
        assert!(matches!(
            held.authorization(),
            Authorization::CloudbaseAccessToken(_)
        ));

        let none = source(Credential::None {
            from_appid: Some("wx2".to_owned()),
        });
        let held = none.token_by(&wechat, &NoMeter).await.unwrap();
        assert!(matches!(
            held.authorization(),
            Authorization::None {
                from_appid: Some("wx2")
            }
        ));
        let renewed = none.renew_by(&held, &wechat, &NoMeter).await.unwrap();
        assert!(renewed.is_none());
        assert_eq!(none.expiry(), None);
    }

    #[test]
    fn apps_share_a_source_that_gives_them_the_same_token() {
        let path = std::path::Path::new("/run/token");
        let sources = TokenSources::default();
        let of_apps = sources.for_apps(&[
            app("wx1", file(path)),
            app("wx2", file(path)),
            app("wx3", stable()),
            app("wx4", stable()),
        ]);
        assert!(Arc::ptr_eq(&of_apps[0], &of_apps[1]));
        // Minted for an appid each.
        assert!(!Arc::ptr_eq(&of_apps[2], &of_apps[3]));
    }

    #[tokio::test]
    async fn token_outlives_a_reload_and_goes_with_its_last_app() {
        let sources = TokenSources::default();
        let wechat = Minting::default();
        let before = sources.for_apps(&[app("wx1", stable())]);
        before[0].token_by(&wechat, &NoMeter).await.unwrap();
        let after = sources.for_apps(&[app("wx0", stable()), app("wx1", stable())]);
        drop(before);
        after[1].token_by(&wechat, &NoMeter).await.unwrap();
        assert_eq!(wechat.count(), 1);

        drop(after);
        drop(sources.for_apps(&[app("wx2", stable())]));
        sources.for_apps(&[]);
        assert!(sources.sources.lock().unwrap().is_empty());
    }

    #[test]
    fn secret_variable_of_one_app_is_kept_from_the_commands_of_all() {
        let sources = TokenSources::default();
        sources.for_apps(&[app(
            "wx1",
            Credential::StableToken {
                secret: SecretSource::Env("MAIN_SECRET".to_owned()),
            },
        )]);
        let names = sources.secret_variables.read().unwrap();
        assert!(names.contains("MAIN_SECRET"));
    }

    #[tokio::test]
    async fn nothing_that_holds_a_token_shows_it() {
        let source = source(stable());
        let held = source
            .token_by(&Minting::default(), &NoMeter)
            .await
            .unwrap();
        let shown = format!("{held:?} {:?} {source:?}", held.authorization());
        assert!(!shown.contains(text(&held)), "{shown}");
    }
}
