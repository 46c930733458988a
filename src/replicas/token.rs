//! A minted token, shared: sealed on the server, gone from there when it should be renewed.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::Script;
use secrecy::SecretString;

use super::link::Load;
use super::sealed::{self, Purpose};
use super::{Replicas, millis};
use crate::wechat::Api;

/// The token and the milliseconds that it has left, or nothing.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("return { redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) }")
});
static PUT: LazyLock<Script> =
    LazyLock::new(|| Script::new("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])"));

/// No token lives longer by WeChat's word (`getAccessToken`, seen 2026-11).
const LIFETIME_MAX: Duration = Duration::from_secs(7200);

/// Where the replicas keep one app's minted token.
#[derive(Debug)]
pub(crate) struct SharedToken {
    replicas: Arc<Replicas>,
    appid: String,
    api: Api,
}

impl SharedToken {
    pub(crate) fn new(replicas: Arc<Replicas>, appid: &str, api: Api) -> Self {
        Self {
            replicas,
            appid: appid.to_owned(),
            api,
        }
    }

    /// The token that some replica minted, and how long it may be handed out; `None`: there is none that can be used.
    pub(crate) async fn take(&self, app_secret: &SecretString) -> Option<(SecretString, Duration)> {
        let mut script = TAKE.prepare_invoke();
        script.key(self.key());
        let appid = Some(self.appid.as_str());
        let link = &self.replicas.link;
        let asked = link.run(Load::Small, appid, "take_token", &script);
        let (sealed, left): (Option<Vec<u8>>, i64) = asked.await.ok()?;
        let why = match (
            sealed::open(&sealed?, self.purpose(), app_secret),
            u64::try_from(left).map(Duration::from_millis),
        ) {
            (Ok(token), Ok(left)) if left <= LIFETIME_MAX => return Some((token, left)),
            (Ok(_), _) => "it does not end when a token does",
            (Err(why), _) => why,
        };
        let replicas = &self.replicas.link;
        replicas.content_failed(&self.appid, "token", why);
        None
    }

    /// Lets the others use a token for so long.
    pub(crate) async fn put(
        &self,
        token: &SecretString,
        keep: Duration,
        app_secret: &SecretString,
    ) {
        let Some(sealed) = sealed::seal(token, self.purpose(), app_secret) else {
            return;
        };
        if keep.is_zero() {
            return;
        }
        let mut script = PUT.prepare_invoke();
        script.key(self.key()).arg(sealed).arg(millis(keep));
        // Counted where it fails; the others mint for themselves then.
        let appid = Some(self.appid.as_str());
        let link = &self.replicas.link;
        let put = link.run::<()>(Load::Small, appid, "put_token", &script);
        let _ = put.await;
    }

    fn key(&self) -> String {
        self.replicas
            .key(&self.appid, &format!("token:{}", self.api))
    }

    fn purpose(&self) -> Purpose<'_> {
        Purpose {
            appid: &self.appid,
            api: self.api.as_str(),
        }
    }
}
