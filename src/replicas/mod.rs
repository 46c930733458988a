//! Several exporters that cost what one does: they share one budget and snapshot through Redis or Valkey.
//!
//! Before a fetch a replica asks the server for its turn (`ask`). One of three answers comes back: the
//! fetch is granted; it is refused, for the cause that a single exporter would refuse it; or another replica's is
//! under way, and the one who asked waits for that. However it comes, the answer says how the last fetch went and
//! where its reading is, so that every replica shows the same. Whoever was granted a fetch tells the others how it
//! went (`finish`).
//!
//! Each step is one Lua script, and so happens at once or not at all. All times are the server's own: the replicas'
//! clocks don't matter, and China's day begins for all of them at the same instant.
//!
//! Nothing here is needed to go on. Without the server each replica is alone with its own limiter; what it has spent
//! and learnt meanwhile goes to the server when that is back. What is stored, key by key, is in `docs/replicas.md`.

mod claims;
mod link;
mod said;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use redis::{Script, ScriptInvocation};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::task::AbortHandle;

pub(crate) use claims::Claim;
pub(crate) use link::Away;
pub use link::Failure;
use link::{Link, Load, Patience};
use said::Said;
use script::{ASK, FINISH, HOLD, KEEP_MARK, READ, REVISE_SNAPSHOT, STORE_SNAPSHOT};

use crate::blocking;
use crate::clock::Moment;
use crate::config::SharedStateConfig;
use crate::limiter::{Budget, Cause, News, SavedLimiter, SharedLimiter};
use crate::snapshot::Snapshot;
use crate::store::form;
use crate::store::{LastFetch, SavedProgress};
use crate::wechat::ListLimits;

/// How long a fetch stays marked as under way after its replica's last sign of life.
const MARK_TTL: Duration = Duration::from_secs(10);
/// Time between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Signs of life of one fetch. Bounds a mark to an hour, far beyond any fetch.
const HEARTBEATS_MAX: u32 = 1800;
/// How long a snapshot is kept that no newer one replaces.
const SNAPSHOT_TTL: Duration = Duration::from_secs(24 * 3600);
/// A reading of more accounts takes long to write.
const LARGE_ACCOUNTS: usize = 1_000;
/// What the log calls it.
const SNAPSHOT: &str = "snapshot";
/// Ends the name of a reading's other form.
const REVISED: &str = ":revised";

/// The exporters that share one server, as this one sees them.
#[derive(Debug)]
pub struct Replicas {
    link: Link,
    key_prefix: String,
    list_limits: ListLimits,
    /// This replica, for as long as its process runs. Random.
    id: String,
    /// Turns asked for.
    turns: AtomicU64,
}

/// What the server said to `ask`.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) limiter: SharedLimiter,
    /// How the last fetch of any replica went; `None`: none is known.
    pub(crate) outcome: Option<Outcome>,
    /// The last reading of any replica; `None`: none is known.
    pub(crate) snapshot: Option<StoredSnapshot>,
}

/// Whether there may be a fetch.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Begin it after the wait.
    Granted(Turn, Duration),
    /// Another replica's is under way.
    Elsewhere,
    /// No, for that cause.
    Refused(Cause),
}

/// How a fetch of some replica went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The fetch.
    pub(crate) fetch: String,
    /// Time since it ended.
    pub(crate) age: Duration,
    /// As it was stored.
    pub(crate) form: String,
}

impl Outcome {
    /// Whether the fetch brought this reading, in whatever form.
    pub(crate) fn has_read(&self, reading: &str) -> bool {
        let form = reading.strip_prefix(&self.fetch);
        form.is_some_and(|form| form.is_empty() || form == REVISED)
    }
}

/// Why there is no reading where the server names one.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The server could not be asked, which is counted.
    Away,
    /// What is there, or that nothing is.
    Unusable(String),
}

/// A reading on the server.
#[derive(Debug)]
pub(crate) struct StoredSnapshot {
    /// The fetch that it came from.
    pub(crate) fetch: String,
    /// Time since that.
    pub(crate) age: Duration,
}

/// The right to one fetch. The others wait for its end as long as this lives, and no longer.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) fetch: String,
    signs_of_life: AbortHandle,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.signs_of_life.abort();
    }
}

/// What a replica holds calls for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder {
    /// Its fetch: with its turn, or alone.
    Fetch,
    /// What it asks for after a fetch.
    Extras,
}

impl Holder {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Extras => "extras",
        }
    }
}

/// How a turn ended.
#[derive(Debug)]
pub(crate) struct Ending<'a> {
    /// What the limiter has to tell.
    pub(crate) news: &'a News,
    /// The limiter after the fetch, by the clock of `now`.
    pub(crate) limiter: SavedLimiter,
    pub(crate) now: Moment,
    /// How the fetch went; `None`: nothing was tried.
    pub(crate) last_fetch: Option<LastFetch>,
    /// What it read.
    pub(crate) snapshot: Option<&'a Arc<Snapshot>>,
}

impl Replicas {
    /// The replicas that share the configured server; nothing is sent before there is something to ask.
    #[must_use]
    pub fn new(config: SharedStateConfig, list_limits: ListLimits) -> Self {
        Self::with_patience(config, list_limits, Patience::default())
    }

    fn with_patience(
        config: SharedStateConfig,
        list_limits: ListLimits,
        patience: Patience,
    ) -> Self {
        Self {
            key_prefix: config.key_prefix.clone(),
            link: Link::new(config, patience),
            list_limits,
            id: random_id(),
            turns: AtomicU64::new(0),
        }
    }

    /// Exchanges with the server that failed since the start.
    #[must_use]
    pub fn failures(&self, failure: Failure) -> u64 {
        self.link.failures(failure)
    }

    /// The name of a turn to ask for. Asking twice under one name grants one fetch.
    pub(crate) fn next_turn(&self) -> String {
        let number = self.turns.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.id)
    }

    /// Asks for a turn in which `calls` may be sent at most.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        appid: &str,
        turn: &str,
        news: &News,
        budget: Budget,
        calls: u64,
    ) -> Result<Answer, Away> {
        let mut script = self.about(&ASK, appid, turn, news);
        script
            .arg(i32::from(news.reloaded))
            .arg(millis(budget.min_interval))
            .arg(millis(budget.early()))
            .arg(millis(budget.longest_backoff()))
            .arg(or_empty(budget.daily_limit))
            .arg(calls)
            .arg(millis(MARK_TTL));
        let asked = self.link.run(Load::Small, Some(appid), "ask", &script);
        let said = Said(asked.await?);
        let answer = self.understand(&said, appid, turn, budget);
        answer.ok_or_else(|| {
            let why = "the answer lacks what it should hold";
            self.link.content_failed(appid, "limiter", why);
            Away
        })
    }

    fn understand(
        self: &Arc<Self>,
        said: &Said,
        appid: &str,
        turn: &str,
        budget: Budget,
    ) -> Option<Answer> {
        let now = said.time("now")?;
        let age = |name| Some(now.duration_since(said.time(name)?).unwrap_or_default());
        let verdict = match said.text("verdict")? {
            "granted" => {
                let begins = said.time("begins")?;
                let wait = begins.duration_since(now).unwrap_or_default();
                Verdict::Granted(self.turn(appid, turn), wait.min(budget.early()))
            }
            "elsewhere" => Verdict::Elsewhere,
            cause => Verdict::Refused(Cause::from_label(cause)?),
        };
        let outcome = said.text("outcome").and_then(|fetch| {
            Some(Outcome {
                fetch: fetch.to_owned(),
                age: age("outcome_at")?,
                form: said.text("last_fetch")?.to_owned(),
            })
        });
        let snapshot = said.text("snapshot").and_then(|fetch| {
            Some(StoredSnapshot {
                fetch: fetch.to_owned(),
                age: age("snapshot_at")?,
            })
        });
        let limiter = SharedLimiter {
            next_fetch: said.time("next_fetch"),
            breaker: outcome.is_some().then(|| said.breaker()),
            ..said.limiter(&self.id)?
        };
        Some(Answer {
            verdict,
            limiter,
            outcome,
            snapshot,
        })
    }

    fn turn(self: &Arc<Self>, appid: &str, fetch: &str) -> Turn {
        let replicas = Arc::clone(self);
        let (mark, name) = (self.key(appid, "fetching"), fetch.to_owned());
        let appid = appid.to_owned();
        let signs_of_life = async move {
            for _ in 0..HEARTBEATS_MAX {
                tokio::time::sleep(HEARTBEAT).await;
                let mut script = KEEP_MARK.prepare_invoke();
                script.key(&mark).arg(&name).arg(millis(MARK_TTL));
                let link = &replicas.link;
                let kept = link.run::<i64>(Load::Small, Some(&appid), "keep_mark", &script);
                if kept.await == Ok(0) {
                    return;
                }
            }
        };
        Turn {
            fetch: fetch.to_owned(),
            signs_of_life: tokio::spawn(signs_of_life).abort_handle(),
        }
    }

    /// Ends a turn: tells the others how it went. What the limiter told is known to them then.
    pub(crate) async fn finish(
        &self,
        appid: &str,
        turn: Turn,
        ending: Ending<'_>,
    ) -> Result<SharedLimiter, Away> {
        let Ending {
            news,
            limiter,
            now,
            last_fetch,
            snapshot,
        } = ending;
        let mut snapshot_age = None;
        if let Some(snapshot) = snapshot {
            let written = write_snapshot(snapshot, appid).await;
            let mut script = STORE_SNAPSHOT.prepare_invoke();
            script
                .key(self.key(appid, "limiter"))
                .key(self.key(appid, "snapshot"))
                .arg(&turn.fetch)
                .arg(written)
                .arg(millis(SNAPSHOT_TTL));
            let link = &self.link;
            let stored = link.run::<i64>(Load::Snapshot, Some(appid), "store_snapshot", &script);
            snapshot_age = (stored.await == Ok(1)).then(|| millis(snapshot.age(Moment::now())));
        }
        let last_fetch = last_fetch.map(|last_fetch| {
            let progress = SavedProgress {
                last_fetch: Some(last_fetch),
                ..SavedProgress::default()
            };
            form::write_progress(&progress, appid)
        });
        let wait = |until: SystemTime| millis(until.duration_since(now.wall).unwrap_or_default());
        let breaker = limiter.breaker;
        let mut script = self.about(&FINISH, appid, &turn.fetch, news);
        script
            .arg(limiter.next_fetch.map_or(0, wait))
            .arg(last_fetch.unwrap_or_default())
            .arg(breaker.map_or("", |breaker| breaker.reason.as_str()))
            .arg(i32::from(
                breaker.is_some_and(|breaker| breaker.reason.needs_mending()),
            ))
            .arg(or_empty(
                breaker.and_then(|breaker| breaker.until).map(wait),
            ))
            .arg(or_empty(
                breaker.and_then(|breaker| breaker.day).map(|day| day.0),
            ))
            .arg(breaker.map_or(0, |breaker| millis(breaker.next_backoff)))
            .arg(or_empty(snapshot_age));
        let finished = self.link.run(Load::Small, Some(appid), "finish", &script);
        let said = Said(finished.await?);
        said.limiter(&self.id).ok_or(Away)
    }

    /// Keeps so many calls from the others, within the limit; 0: none any longer. What the limiter told is known then.
    pub(crate) async fn hold(
        &self,
        appid: &str,
        holder: Holder,
        news: &News,
        budget: Budget,
        calls: u64,
    ) -> Result<SharedLimiter, Away> {
        let mut script = self.about(&HOLD, appid, "", news);
        script
            .arg(or_empty(budget.daily_limit))
            .arg(calls)
            .arg(holder.as_str());
        let held = self.link.run(Load::Small, Some(appid), "hold", &script);
        let said = Said(held.await?);
        said.limiter(&self.id).ok_or(Away)
    }

    /// Puts another form of a fetch's reading in its place, unless there is a newer one; the name of that form.
    pub(crate) async fn revise(
        &self,
        appid: &str,
        fetch: &str,
        snapshot: &Arc<Snapshot>,
    ) -> Option<String> {
        let written = write_snapshot(snapshot, appid).await;
        let revised = format!("{fetch}{REVISED}");
        let mut script = REVISE_SNAPSHOT.prepare_invoke();
        script
            .key(self.key(appid, "limiter"))
            .key(self.key(appid, "snapshot"))
            .arg(fetch)
            .arg(&revised)
            .arg(written)
            .arg(millis(SNAPSHOT_TTL));
        let link = &self.link;
        let stored = link.run::<i64>(Load::Snapshot, Some(appid), "revise_snapshot", &script);
        (stored.await == Ok(1)).then_some(revised)
    }

    /// What an outcome says; `None` where it can't be read, which is counted.
    pub(crate) fn read_outcome(&self, appid: &str, outcome: &Outcome) -> Option<LastFetch> {
        let read = form::read_progress(outcome.form.as_bytes(), appid);
        match read.map(|progress| progress.last_fetch) {
            Ok(Some(last_fetch)) => Some(last_fetch),
            Ok(None) => {
                let why = "it says nothing of a fetch";
                self.link.content_failed(appid, "last_fetch", why);
                None
            }
            Err(why) => {
                self.link.content_failed(appid, "last_fetch", &why);
                None
            }
        }
    }

    /// The stored reading.
    ///
    /// # Errors
    /// When it can't be had or can't be read.
    pub(crate) async fn read_snapshot(
        &self,
        appid: &str,
        stored: &StoredSnapshot,
    ) -> Result<Snapshot, Unread> {
        let mut script = READ.prepare_invoke();
        script.key(self.key(appid, "snapshot"));
        let asked = Moment::now();
        let link = &self.link;
        let read =
            link.run::<Option<Vec<u8>>>(Load::Snapshot, Some(appid), "read_snapshot", &script);
        let read = read.await.map_err(|Away| Unread::Away)?;
        let gone = || Unread::Unusable("it is gone, though its time has not come".to_owned());
        let bytes = read.ok_or_else(gone)?;
        let now = Moment::now();
        let age = stored.age + now.monotonic.saturating_duration_since(asked.monotonic);
        let (owner, limits) = (appid.to_owned(), self.list_limits);
        let read = blocking::work(bytes.len() > blocking::LONG_TO_READ, move || {
            form::read_snapshot(&bytes, &owner, limits, now)
        });
        let snapshot = read.await.map_err(Unread::Unusable)?;
        link.settled(Some(appid), SNAPSHOT);
        Ok(snapshot.aged(age))
    }

    /// A reading that is wanted can't be used, or is not there.
    pub(crate) fn snapshot_lost(&self, appid: &str, why: &str) {
        self.link.content_lost(appid, SNAPSHOT, why);
    }

    /// A script with what `common.lua` asks for.
    fn about<'a>(
        &self,
        script: &'a Script,
        appid: &str,
        turn: &str,
        news: &News,
    ) -> ScriptInvocation<'a> {
        let mut script = script.prepare_invoke();
        script
            .key(self.key(appid, "limiter"))
            .key(self.key(appid, "calls"))
            .key(self.key(appid, "fetching"))
            .arg(turn)
            .arg(&self.id)
            .arg(news.day.0)
            .arg(news.used)
            .arg(news.here)
            .arg(news.elsewhere.len());
        for (replica, calls) in &news.elsewhere {
            script.arg(replica).arg(calls);
        }
        script
    }

    /// The braces keep an app's keys on one node of a cluster.
    fn key(&self, appid: &str, name: &str) -> String {
        format!("{}{{{appid}}}:{name}", self.key_prefix)
    }
}

async fn write_snapshot(snapshot: &Arc<Snapshot>, appid: &str) -> Vec<u8> {
    let large = snapshot.accounts().len() > LARGE_ACCOUNTS;
    let (snapshot, appid) = (Arc::clone(snapshot), appid.to_owned());
    blocking::work(large, move || form::write_snapshot(&snapshot, &appid)).await
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    // Without the system's random numbers there would be no TLS either.
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system gives random numbers");
    format!("{:016x}", u64::from_be_bytes(bytes))
}
