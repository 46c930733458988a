//! Several exporters that make as many calls as one: they share one budget and one snapshot through Redis or Valkey.
//!
//! Each app has three keys there: a lock, its state (the same document that the state directory keeps) and its
//! snapshot. The replica that holds the lock reads the state, spends calls, writes the snapshot and the state, and
//! unlocks. The others wait for a fetch under way and adopt what is stored. All times are by the server's clock: the
//! replicas' clocks don't matter, and China's day begins for all of them at the same instant.
//!
//! The exporter does not depend on the server. Without it, each replica works alone with its own limiter; the calls
//! that it spends meanwhile are added when the server is back. What is stored, key by key, is in `docs/replicas.md`.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue};
use ring::rand::SystemRandom;
use tokio::task::AbortHandle;

use crate::blocking;
use crate::clock::{Moment, unix_millis};
use crate::config::{SecretUrl, SharedStateConfig};
use crate::error::chain;
use crate::labels::labels;
use crate::logging;
use crate::redis as redis_client;
use crate::snapshot::Snapshot;
use crate::store::{SavedState, form};
use crate::wechat::ListLimits;

/// How long a lock lasts after its holder's last heartbeat.
const LOCK_TTL: Duration = Duration::from_secs(10);
/// The time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The name of the key that holds an app's state, and how long it is kept after it was last written: longer than
/// anything in it matters.
const STATE: (&str, Duration) = ("state", Duration::from_secs(2 * 24 * 3600));
/// The same for the snapshot.
const SNAPSHOT: (&str, Duration) = ("snapshot", Duration::from_secs(24 * 3600));

/// Takes the lock, unless it is held. Returns its holder, the app's state and the time.
const LOCK: &str = "
    redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
    return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('TIME')}";

/// If this replica holds the lock: writes a value, where given, and extends the lock; 0 ms unlocks.
const IF_LOCKED: &str = "
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
    if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    return 1";

labels! {
    /// Why an exchange with the server failed: the `reason` label of `shared_state_failures_total`.
    Failure {
        /// The connection could not be opened, or it broke.
        Network = "network",
        /// No answer in time.
        Timeout = "timeout",
        /// The server refuses the login or the command, or can't be asked with these settings.
        Refused = "refused",
        /// The server answers, but what it stores can't be used.
        Content = "content",
    }
}

/// The server can't be asked now; the replica works alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away;

/// How long to wait for the server.
#[derive(Clone, Copy)]
struct Patience {
    /// The time for an answer, including connecting. A hanging server delays a scrape by this much.
    answer: Duration,
    /// The time for a snapshot, which can be megabytes.
    snapshot: Duration,
    /// The time after a failure before the server is tried again.
    away: Duration,
}

const PATIENCE: Patience = Patience {
    answer: Duration::from_millis(500),
    snapshot: Duration::from_secs(3),
    away: Duration::from_secs(5),
};

/// The exporters that share one server, as this one sees them.
pub struct Replicas {
    url: SecretUrl,
    client: redis_client::Client,
    /// A separate connection for snapshots, so that no other command waits behind megabytes.
    snapshots: redis_client::Client,
    patience: Patience,
    key_prefix: String,
    list_limits: ListLimits,
    /// After a failure, the server is not asked before this time; then one task asks alone.
    away_until: Mutex<Option<Instant>>,
    /// The last reading of the server's clock.
    clock: Mutex<Option<Moment>>,
    /// Apps whose keys can't be used, and for which that has been logged.
    unusable: Mutex<HashSet<String>>,
    failures: [AtomicU64; Failure::ALL.len()],
}

/// The server's answer to a request for an app's lock.
pub(crate) struct Shared {
    /// `None` if another replica holds it.
    pub(crate) lock: Option<Lock>,
    /// `None` if none has been written.
    pub(crate) state: Option<SavedState>,
}

/// The right to fetch for one app. The other replicas wait for the fetch as long as this lives, and not much longer.
pub(crate) struct Lock {
    replicas: Arc<Replicas>,
    appid: String,
    /// A random value that identifies this lock.
    token: String,
    /// The snapshot that the replicas share now.
    pub(crate) snapshot_id: Option<u64>,
    signs_of_life: AbortHandle,
}

impl Replicas {
    /// Returns the replicas that share the configured server. Nothing is sent before the first command.
    pub(crate) fn new(config: SharedStateConfig, list_limits: ListLimits) -> Self {
        let redis = &config.redis;
        tracing::info!(%redis, "Limits and snapshots are shared with other replicas");
        Self::with_patience(config, list_limits, PATIENCE)
    }

    fn with_patience(
        config: SharedStateConfig,
        list_limits: ListLimits,
        patience: Patience,
    ) -> Self {
        let client =
            || redis_client::Client::new(config.redis.clone(), config.password_file.clone());
        Self {
            client: client(),
            snapshots: client(),
            url: config.redis,
            patience,
            key_prefix: config.key_prefix,
            list_limits,
            away_until: Mutex::default(),
            clock: Mutex::default(),
            unusable: Mutex::default(),
            failures: Default::default(),
        }
    }

    /// Returns the number of exchanges with the server that have failed since the start.
    pub fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Ordering::Relaxed)
    }

    /// Returns the time by the server's clock, or by this machine's before the server has first answered.
    pub(crate) fn now(&self) -> Moment {
        let now = Moment::now();
        match *self.clock.lock() {
            Some(read) => read.after(now.monotonic.saturating_duration_since(read.monotonic)),
            None => now,
        }
    }

    /// Asks for an app's lock, and reads its state even if another replica holds the lock.
    pub(crate) async fn lock(self: &Arc<Self>, appid: &str) -> Result<Shared, Away> {
        let token = random_token();
        let mut command = redis::cmd("EVAL");
        command
            .arg(LOCK)
            .arg(2)
            .arg(self.key(appid, "lock"))
            .arg(self.key(appid, STATE.0))
            .arg(&token)
            .arg(LOCK_TTL.as_millis() as u64);
        type Answer = (Option<Vec<u8>>, Option<Vec<u8>>, (u64, u32));
        let (holder, state, (seconds, micros)) = self.ask::<Answer>(appid, &command).await?;
        let since = Duration::from_secs(seconds) + Duration::from_micros(micros.into());
        let wall = UNIX_EPOCH.checked_add(since).ok_or(Away)?;
        *self.clock.lock() = Some(Moment {
            wall,
            ..Moment::now()
        });
        let state = state.and_then(|bytes| {
            let read = form::read_state(&bytes, appid);
            read.map_err(|why| self.cannot_use(appid, Failure::Content, &why))
                .ok()
        });
        // SET's answer can't tell: a script that was sent again over a new connection finds its own lock.
        let is_ours = holder.is_some_and(|holder| holder == token.as_bytes());
        let snapshot_id = state.as_ref().and_then(|state| state.snapshot_id);
        let lock = is_ours.then(|| self.hold(appid, token, snapshot_id));
        Ok(Shared { lock, state })
    }

    /// Returns the snapshot that the replicas share; `None` if there is none that can be used.
    pub(crate) async fn snapshot(&self, appid: &str) -> Option<Snapshot> {
        let command = Cmd::get(self.key(appid, SNAPSHOT.0));
        let answer = self.snapshots.run(&command, self.patience.snapshot).await;
        let bytes: Option<Vec<u8>> = match answer {
            Ok(bytes) => bytes,
            Err(error) => {
                self.cannot_use(appid, reason(&error), &chain(&error));
                return None;
            }
        };
        let Some(bytes) = bytes else {
            self.cannot_use(appid, Failure::Content, "the snapshot is gone");
            return None;
        };
        let (owner, limits, now) = (appid.to_owned(), self.list_limits, self.now());
        let read = blocking::run(move || form::read_snapshot(&bytes, &owner, limits, now));
        let read = read.await;
        read.map_err(|why| self.cannot_use(appid, Failure::Content, &why))
            .ok()
    }

    fn hold(self: &Arc<Self>, appid: &str, token: String, snapshot_id: Option<u64>) -> Lock {
        let replicas = Arc::clone(self);
        let (owner, held) = (appid.to_owned(), token.clone());
        let signs_of_life = async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let extend = replicas.if_locked(&owner, &held, LOCK_TTL, STATE, &[]);
                if replicas.ask::<u8>(&owner, &extend).await == Ok(0) {
                    return;
                }
            }
        };
        Lock {
            replicas: Arc::clone(self),
            appid: appid.to_owned(),
            token,
            snapshot_id,
            signs_of_life: tokio::spawn(signs_of_life).abort_handle(),
        }
    }

    fn if_locked(
        &self,
        appid: &str,
        token: &str,
        lasts: Duration,
        (name, kept_for): (&str, Duration),
        value: &[u8],
    ) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command
            .arg(IF_LOCKED)
            .arg(2)
            .arg(self.key(appid, "lock"))
            .arg(self.key(appid, name))
            .arg(token)
            .arg(lasts.as_millis() as u64)
            .arg(value)
            .arg(kept_for.as_millis() as u64);
        command
    }

    /// Returns the name of a key. The braces keep an app's keys on one node of a cluster.
    fn key(&self, appid: &str, name: &str) -> String {
        format!("{}{{{appid}}}:{name}", self.key_prefix)
    }

    async fn ask<T: FromRedisValue>(&self, appid: &str, command: &Cmd) -> Result<T, Away> {
        if !self.may_try() {
            return Err(Away);
        }
        match self.client.run(command, self.patience.answer).await {
            Ok(answer) => {
                self.reached();
                Ok(answer)
            }
            Err(error) => {
                self.failed(appid, &error);
                Err(Away)
            }
        }
    }

    /// Reports whether the server may be asked now. After a failure, one task asks, and all others work alone until it
    /// is answered.
    fn may_try(&self) -> bool {
        let mut away_until = self.away_until.lock();
        let Some(until) = &mut *away_until else {
            return true;
        };
        let now = Instant::now();
        let may_try = *until <= now;
        if may_try {
            *until = now + self.patience.away;
        }
        may_try
    }

    fn reached(&self) {
        if self.away_until.lock().take().is_some() {
            tracing::info!(redis = %self.url, "Shared state is back; replicas share again");
        }
    }

    fn failed(&self, appid: &str, error: &redis_client::Error) {
        if is_about_a_key(error) {
            // The server itself answers, so the other apps go on sharing.
            self.reached();
            self.cannot_use(appid, reason(error), &chain(error));
            return;
        }
        self.count(reason(error));
        let away_until = Instant::now() + self.patience.away;
        if self.away_until.lock().replace(away_until).is_none() {
            tracing::warn!(
                redis = %self.url,
                reason = reason(error).as_str(),
                error = chain(error),
                "shared state can't be reached; this replica goes on alone, with limits of its own"
            );
        }
    }

    /// Counts that what is stored of one app can't be used or written. Logs it once, until a snapshot has been written.
    fn cannot_use(&self, appid: &str, failure: Failure, why: &str) {
        self.count(failure);
        let is_news = self.unusable.lock().insert(appid.to_owned());
        if is_news && logging::admits(failure.as_str()) {
            tracing::warn!(
                appid,
                reason = failure.as_str(),
                error = why,
                "what replicas share of this app can't be used or written"
            );
        }
    }

    fn count(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Lock {
    /// Writes the state, and before it the snapshot if there is a new one, in the form of the state files; if `unlock`,
    /// then unlocks. Reports whether the state is written for certain: this replica may have lost the lock, and then
    /// nothing is written, or there may be no answer.
    pub(crate) async fn write(
        &mut self,
        mut state: SavedState,
        snapshot: Option<&Arc<Snapshot>>,
        unlock: bool,
    ) -> bool {
        let unwritten = match snapshot {
            Some(snapshot) => self.write_snapshot(snapshot).await.err(),
            None => None,
        };
        state.snapshot_id = self.snapshot_id;
        let state = form::write_state(&state, &self.appid);
        let lasts = if unlock { Duration::ZERO } else { LOCK_TTL };
        let replicas = &self.replicas;
        let write = replicas.if_locked(&self.appid, &self.token, lasts, STATE, &state);
        let is_written = replicas.ask::<u8>(&self.appid, &write).await == Ok(1);
        // If the state isn't written either, the server is away, and one line says so for all apps.
        if is_written && let Some(error) = unwritten {
            replicas.cannot_use(&self.appid, reason(&error), &chain(&error));
        }
        is_written
    }

    /// Writes the snapshot, unless the server is away. If that fails, as when the server takes no command of that size,
    /// the others fetch one for themselves.
    async fn write_snapshot(
        &mut self,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(), redis_client::Error> {
        if self.replicas.away_until.lock().is_some() {
            return Ok(());
        }
        let (snapshot, owner) = (Arc::clone(snapshot), self.appid.clone());
        let written = blocking::run(move || form::write_snapshot(&snapshot, &owner)).await;
        let replicas = &self.replicas;
        let write = replicas.if_locked(&self.appid, &self.token, LOCK_TTL, SNAPSHOT, &written);
        let limit = replicas.patience.snapshot;
        let written: u8 = replicas.snapshots.run(&write, limit).await?;
        if written == 1 {
            self.snapshot_id = Some(unix_millis(replicas.now().wall));
            replicas.unusable.lock().remove(&self.appid);
        }
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.signs_of_life.abort();
    }
}

/// Reports whether an app's key is at fault. All other errors concern every app: the server is loading, can't be
/// written to, or is out of memory.
fn is_about_a_key(error: &redis_client::Error) -> bool {
    match error {
        redis_client::Error::Refused(code) => code == "WRONGTYPE",
        redis_client::Error::Type => true,
        _ => false,
    }
}

fn reason(error: &redis_client::Error) -> Failure {
    match error {
        redis_client::Error::Network(_) => Failure::Network,
        redis_client::Error::Timeout(_) => Failure::Timeout,
        redis_client::Error::Type => Failure::Content,
        _ => Failure::Refused,
    }
}

fn random_token() -> String {
    // Without the system's random numbers there would be no TLS either.
    let random = ring::rand::generate(&SystemRandom::new())
        .expect("the operating system gives random numbers");
    format!("{:016x}", u64::from_be_bytes(random.expose()))
}
