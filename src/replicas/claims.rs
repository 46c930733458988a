//! Things that one replica asks WeChat for and all use, for as long as they are fresh.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

use super::link::Load;
use super::{Replicas, millis};

/// How long whoever asks may take before another one asks.
const ASKING_TTL: Duration = Duration::from_secs(60);

/// The value and the milliseconds that it has left; where there is none, whether the one who asks is to get it.
static CLAIM: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local value = redis.call('GET', KEYS[1])
         if value then return { value, redis.call('PTTL', KEYS[1]), 0 } end
         if ARGV[1] == '0' or not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
           return { false, 0, 0 }
         end
         return { false, 0, 1 }",
    )
});
static TELL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('DEL', KEYS[2])
         return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])",
    )
});

/// Who asks WeChat.
#[derive(Debug)]
pub(crate) enum Claim {
    /// Nobody: some replica did, and this is what it told, for so long.
    Known(Vec<u8>, Duration),
    /// This replica.
    Ours,
    /// Another replica, or nobody yet.
    Theirs,
}

impl Replicas {
    /// What is known of `what`; where nothing is, who asks. `appid`: of an app; `None`: of all.
    ///
    /// `may_ask`: whether this replica can ask now. Without the server it asks as if it were alone.
    pub(crate) async fn claim(&self, appid: Option<&str>, what: &str, may_ask: bool) -> Claim {
        let mut script = CLAIM.prepare_invoke();
        let ttl = if may_ask { millis(ASKING_TTL) } else { 0 };
        self.name(&mut script, appid, what);
        let claimed = self.link.run::<(Option<Vec<u8>>, i64, i64)>(
            Load::Small,
            appid,
            "claim",
            script.arg(ttl),
        );
        match claimed.await {
            Ok((Some(value), left, _)) => {
                let left = u64::try_from(left).unwrap_or(0);
                Claim::Known(value, Duration::from_millis(left))
            }
            Ok((None, _, 1)) => Claim::Ours,
            Err(_) if may_ask => Claim::Ours,
            Ok(_) | Err(_) => Claim::Theirs,
        }
    }

    /// Tells the others what was found, to be used for so long.
    pub(crate) async fn tell(&self, appid: Option<&str>, what: &str, value: &[u8], ttl: Duration) {
        let mut script = TELL.prepare_invoke();
        self.name(&mut script, appid, what);
        script.arg(value).arg(millis(ttl));
        // Counted where it fails; another replica asks for itself then.
        let told = self.link.run::<()>(Load::Small, appid, "tell", &script);
        let _ = told.await;
    }

    /// What another replica told can't be read.
    pub(crate) fn unreadable(&self, appid: &str, what: &'static str, why: &str) {
        self.link.content_failed(appid, what, why);
    }

    fn name(&self, script: &mut redis::ScriptInvocation<'_>, appid: Option<&str>, what: &str) {
        let key = match appid {
            Some(appid) => self.key(appid, what),
            None => format!("{}{{{what}}}", self.key_prefix),
        };
        script.key(&key).key(format!("{key}:asking"));
    }
}
