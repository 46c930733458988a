//! The way to the server: bounded in time, given up for a while when it fails, taken up again by itself.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, ScriptInvocation, Value};
use tokio::sync::Semaphore;

use crate::config::SharedStateConfig;
use crate::error::chain;
use crate::redis_connection::{LOGIN_REFUSED, RedisServer, Unconnected, refuses_login, shown};

/// Questions on their way at one time. With thousands of apps the rest wait their turn here, where no time-out runs.
const CONCURRENCY: usize = 64;

/// Why an exchange with the server failed: the `reason` label of `shared_state_failures_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// No connection, or it broke.
    Network,
    /// No answer in time.
    Timeout,
    /// The server refuses the login or the command, or can't be asked as the settings are.
    Refused,
    /// The server answers, but what it keeps can't be used: it was tampered with, or is gone.
    Content,
}

impl Failure {
    /// Every value; a counter exists for each from the start.
    pub const ALL: &'static [Self] = &[Self::Network, Self::Timeout, Self::Refused, Self::Content];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Content => "content",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The server can't be asked now; the replica goes on alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away;

/// How long the server is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For an answer, connecting included. What a hanging server costs a scrape.
    pub(super) answer: Duration,
    /// For a snapshot, which can be megabytes.
    pub(super) snapshot: Duration,
    /// After a failure, before it is tried again.
    pub(super) away: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_millis(500),
            snapshot: Duration::from_secs(3),
            away: Duration::from_secs(5),
        }
    }
}

/// What an exchange carries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// A question with a short answer.
    Small,
    /// A snapshot. It has a connection of its own, so that no question waits behind it.
    Snapshot,
}

/// The server, as all apps of this process see it.
pub(super) struct Link {
    config: SharedStateConfig,
    server: RedisServer,
    patience: Patience,
    small: Line,
    snapshots: Line,
    /// One for each exchange under way.
    places: Semaphore,
    state: Mutex<State>,
    complaints: Mutex<HashSet<Complaint>>,
    failures: [AtomicU64; Failure::ALL.len()],
}

/// One connection, made when it is needed.
#[derive(Default)]
struct Line(tokio::sync::Mutex<Option<MultiplexedConnection>>);

#[derive(Clone, Copy, Debug)]
enum State {
    Untried,
    Reached,
    /// Not asked before then; by one alone then.
    Away(Instant),
}

/// What of an app can't be done, by its appid; `None`: of no one app. Logged once, until it can be done again.
type Complaint = (Option<String>, &'static str);

/// What can go wrong on the way.
#[derive(Debug)]
enum Fault {
    /// No connection can be made.
    Connection(RedisError),
    /// The server's answer, or none.
    Answer(RedisError),
    /// The answer is of another kind than the script's answers are: what it works on is not what it should be.
    Content,
    /// The settings lead nowhere.
    Settings(String),
}

impl From<Unconnected> for Fault {
    fn from(why: Unconnected) -> Self {
        match why {
            Unconnected::Server(error) => Self::Connection(error),
            settings => Self::Settings(chain(&settings)),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("config", &self.config)
            .field("state", &*self.state())
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(config: SharedStateConfig, patience: Patience) -> Self {
        Self {
            server: RedisServer::new(config.redis.clone(), config.password_file.clone()),
            config,
            patience,
            small: Line::default(),
            snapshots: Line::default(),
            places: Semaphore::new(CONCURRENCY),
            state: Mutex::new(State::Untried),
            complaints: Mutex::default(),
            failures: Default::default(),
        }
    }

    /// Lets no snapshot pass as long as the guard lives.
    #[cfg(test)]
    pub(super) async fn hold_snapshots_up(&self) -> impl Drop + '_ {
        self.snapshots.0.lock().await
    }

    /// Runs a script on the server. `appid` and `step` say whose it is and what for.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        load: Load,
        appid: Option<&str>,
        step: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Away> {
        let _place = self.places.acquire().await;
        if !self.may_try() {
            return Err(Away);
        }
        let (line, limit) = match load {
            Load::Small => (&self.small, self.patience.answer),
            Load::Snapshot => (&self.snapshots, self.patience.snapshot),
        };
        let asked = tokio::time::timeout(limit, self.ask(line, limit, script)).await;
        let asked =
            asked.map(|answer| T::from_redis_value(answer?).map_err(|_unreadable| Fault::Content));
        let (failure, said) = match asked {
            Ok(Ok(answer)) => {
                self.reached();
                self.settled(appid, step);
                return Ok(answer);
            }
            Ok(Err(Fault::Answer(error))) if is_about_a_key(&error) => {
                let (failure, said) = describe(&error, limit);
                self.reached();
                self.one_app_failed(appid, step, failure, &said);
                return Err(Away);
            }
            Ok(Err(Fault::Content)) => {
                self.reached();
                let said = "the answer is not of the kind that was asked for";
                self.one_app_failed(appid, step, Failure::Content, said);
                return Err(Away);
            }
            Ok(Err(Fault::Settings(said))) => (Failure::Refused, said),
            Ok(Err(Fault::Connection(error) | Fault::Answer(error))) => describe(&error, limit),
            Err(_) => (Failure::Timeout, late(limit)),
        };
        // What broke or hangs is not used again. Whoever holds the lock is making a new one.
        if let Ok(mut connection) = line.0.try_lock() {
            *connection = None;
        }
        match (load, failure) {
            // Megabytes that are late say nothing of questions. Where the server hangs, the next question tells.
            (Load::Snapshot, Failure::Timeout) => {
                self.one_app_failed(appid, step, failure, &said);
            }
            _ => self.failed(failure, &said),
        }
        Err(Away)
    }

    /// Asks over the kept connection; over a new one where there is none or it broke while nobody looked.
    async fn ask(
        &self,
        line: &Line,
        limit: Duration,
        script: &ScriptInvocation<'_>,
    ) -> Result<Value, Fault> {
        let kept = line.0.lock().await.clone();
        if let Some(mut connection) = kept {
            match script.invoke_async(&mut connection).await {
                Err(error) if error.is_connection_dropped() => *line.0.lock().await = None,
                result => return result.map_err(Fault::Answer),
            }
        }
        let mut connection = {
            // Held while connecting on purpose: the others wait for this connection.
            let mut kept = line.0.lock().await;
            match &*kept {
                Some(connection) => connection.clone(),
                None => kept.insert(self.server.connect(limit).await?).clone(),
            }
        };
        let result = script.invoke_async(&mut connection).await;
        result.map_err(Fault::Answer)
    }

    /// What is kept on the server can't be used.
    pub(super) fn content_failed(&self, appid: &str, what: &'static str, why: &str) {
        self.count(Failure::Content);
        tracing::warn!(
            appid,
            what,
            reason = Failure::Content.as_str(),
            error = why,
            "what replicas share can't be used and is left alone"
        );
    }

    /// As above, of what each fetch stores anew: counted each time, logged once until it is `settled`.
    pub(super) fn content_lost(&self, appid: &str, what: &'static str, why: &str) {
        self.count(Failure::Content);
        if self.complains(Some(appid), what) {
            tracing::warn!(
                appid,
                what,
                reason = Failure::Content.as_str(),
                error = why,
                "what replicas share can't be used; this replica fetches for itself as if it were alone"
            );
        }
    }

    /// Failures since the start.
    pub(super) fn failures(&self, failure: Failure) -> u64 {
        self.failures[failure as usize].load(Ordering::Relaxed)
    }

    fn count(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the server may be asked now. After a failure one asks and all others go on alone until it answers.
    fn may_try(&self) -> bool {
        let mut state = self.state();
        match *state {
            State::Away(until) => {
                let now = Instant::now();
                let may = now >= until;
                if may {
                    *state = State::Away(now + self.patience.away);
                }
                may
            }
            State::Untried | State::Reached => true,
        }
    }

    fn reached(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Reached);
        let redis = &self.config.redis;
        match before {
            State::Reached => {}
            State::Untried => {
                tracing::info!(%redis, "Sharing limits and snapshots with other replicas");
            }
            State::Away(_) => {
                tracing::info!(%redis, "Shared state is back; replicas share again");
            }
        }
    }

    fn failed(&self, failure: Failure, said: &str) {
        self.count(failure);
        let away = State::Away(Instant::now() + self.patience.away);
        let before = std::mem::replace(&mut *self.state(), away);
        if !matches!(before, State::Away(_)) {
            tracing::warn!(
                redis = %self.config.redis,
                reason = failure.as_str(),
                error = said,
                "shared state can't be reached; this replica goes on alone, with limits of its own"
            );
        }
    }

    /// What stops the script, or is late, is this app's alone: no other app is to suffer for it.
    fn one_app_failed(
        &self,
        appid: Option<&str>,
        step: &'static str,
        failure: Failure,
        said: &str,
    ) {
        self.count(failure);
        if self.complains(appid, step) {
            tracing::warn!(
                appid,
                step,
                reason = failure.as_str(),
                error = said,
                "what replicas share of this app can't be used; for this app the replica goes on alone"
            );
        }
    }

    /// Whether there is something to say that was not said already.
    fn complains(&self, appid: Option<&str>, step: &'static str) -> bool {
        let complaint = (appid.map(str::to_owned), step);
        self.complaints().insert(complaint)
    }

    pub(super) fn settled(&self, appid: Option<&str>, step: &'static str) {
        let mut complaints = self.complaints();
        if !complaints.is_empty() {
            complaints.remove(&(appid.map(str::to_owned), step));
        }
    }

    fn complaints(&self) -> MutexGuard<'_, HashSet<Complaint>> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}

/// Whether the script came upon something that stops it at one app's keys. All else is the same for every app: the
/// server is loading, can't be written to, has no memory left.
fn is_about_a_key(error: &RedisError) -> bool {
    match error.code() {
        Some("WRONGTYPE") => true,
        // Before Redis 7 whatever stops a script has this code, and the text says where in the script it was.
        Some("ERR") => {
            let said = error.detail().unwrap_or_default();
            said.contains("user_script") && !refuses_the_user(said)
        }
        _ => false,
    }
}

/// Whether a script was stopped because its user may not do what it does. There is no code for that.
fn refuses_the_user(said: &str) -> bool {
    said.contains("The user executing the script") || said.contains("ACL failure in script")
}

/// What the error means.
fn describe(error: &RedisError, limit: Duration) -> (Failure, String) {
    if error.is_timeout() {
        return (Failure::Timeout, late(limit));
    }
    if error.is_io_error() {
        return (Failure::Network, shown(error));
    }
    let said = if refuses_login(error) {
        LOGIN_REFUSED.to_owned()
    } else if error.code() == Some("NOPERM") || error.detail().is_some_and(refuses_the_user) {
        "its user may not run the scripts; give it the permissions".to_owned()
    } else {
        shown(error)
    };
    (Failure::Refused, said)
}
