//! Whose turn it is to fetch, where replicas share one budget.
//!
//! ```text
//!            ┌───────────┐  no answer
//!    ┌──────▶│    ask    ├────────────────▶ ours, alone
//!    │       └─────┬─────┘
//!    │             │ answer: first its reading and its outcome are taken over
//!    │             ▼
//!    │       refused for the interval, and the reading that kept this
//!    │       replica back can't be had while its own is due ──────────▶ ours, alone
//!    │       granted ── wait for its begin ───────────────────────────▶ ours, with a turn
//!    └────── under way elsewhere ── wait for LOOK_INTERVAL
//!            refused, or under way elsewhere for longer than WAIT_MAX:
//!              after a wait, with an outcome that is new ─────────────▶ not ours: followed, or failed
//!              else ──────────────────────────────────────────────────▶ not ours: kept back
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{App, Ended};
use crate::clock::Moment;
use crate::limiter::{Cause, SharedLimiter};
use crate::replicas::{
    Answer, Ending, Holder, Outcome, Replicas, StoredSnapshot, Turn, Unread, Verdict,
};
use crate::snapshot::Snapshot;
use crate::store::LastFetch;

/// Time between two looks at a fetch of another replica.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The longest wait for a fetch of another replica. Longer than one takes unless every host of WeChat hangs.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Two readings no further apart are one, with balances that were asked live in the later form of it.
const ONE_READING: Duration = Duration::from_secs(1);

/// Who may fetch.
pub(super) enum Whose {
    /// This replica; `None`: without asking, as it is alone.
    Ours(Option<Turn>),
    /// Another one, or nobody: that is how it came out.
    NotOurs(Ended),
}

/// The last that was taken over from other replicas, so that nothing is taken over twice.
#[derive(Debug, Default)]
pub(super) struct Followed {
    outcome: Option<String>,
    snapshot: Option<String>,
    /// The last reading that was wanted and could not be had.
    lost: Option<String>,
}

/// How the last fetch of any replica went, as an answer tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The answer knows of none.
    NoOutcome,
    /// It is on record already: this replica's own, or one that was taken over before.
    Known,
    /// It can't be read, which is counted once.
    Unreadable,
    /// It is another replica's, and on record now.
    New,
    /// It is another replica's success, and what that read can't be had. Nothing of it is on record: a page would show
    /// success with a reading from before.
    WithoutReading,
}

impl App {
    /// Asks the other replicas for the turn to send so many calls; waits for their fetch, if one is under way.
    ///
    /// Whatever comes of it, their last reading and outcome are this app's afterwards; where their reading can't be
    /// had, this app is alone as if they could not be asked.
    pub(super) async fn ask_for_turn(&self, calls: u64) -> Whose {
        let Some(replicas) = &self.replicas else {
            return Whose::Ours(None);
        };
        let turn = replicas.next_turn();
        let latest = Instant::now() + WAIT_MAX;
        let mut waited = false;
        loop {
            let limiter = &self.record.limiter;
            let told = limiter.news(Moment::now());
            let asked = replicas.ask(&self.config.appid, &turn, &told, self.budget(), calls);
            let Ok(answer) = asked.await else {
                return Whose::Ours(None);
            };
            let heard = Moment::now();
            let found = self.follow(replicas, &answer, heard, waited).await;
            let shared = answer.limiter;
            if self.goes_alone(&answer.verdict, found, heard) {
                // The others say that their fetch went well. What this replica fetched for itself may not have.
                let shared = SharedLimiter {
                    breaker: None,
                    ..shared
                };
                limiter.learn(&shared, &told, self.budget(), heard);
                self.hold(Holder::Fetch, calls).await;
                return Whose::Ours(None);
            }
            limiter.learn(&shared, &told, self.budget(), heard);
            let waited_for = (waited && found == Found::New).then(|| self.how_it_ended());
            match answer.verdict {
                Verdict::Granted(turn, wait) => {
                    tokio::time::sleep(wait).await;
                    return Whose::Ours(Some(turn));
                }
                Verdict::Elsewhere if Instant::now() < latest => {
                    waited = true;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                Verdict::Elsewhere => {
                    return Whose::NotOurs(waited_for.unwrap_or(Ended::Throttled));
                }
                Verdict::Refused(cause) => {
                    return Whose::NotOurs(waited_for.unwrap_or_else(|| {
                        self.record.counters.count_refused(cause);
                        Ended::Throttled
                    }));
                }
            }
        }
    }

    /// Whether this replica fetches for itself, as if the others could not be asked: their last reading keeps it back,
    /// can't be had, and is wanted.
    fn goes_alone(&self, verdict: &Verdict, found: Found, now: Moment) -> bool {
        found == Found::WithoutReading
            && matches!(verdict, Verdict::Refused(Cause::Interval))
            && self.wants_a_reading(now)
    }

    /// How another replica's fetch ended, which is on record.
    fn how_it_ended(&self) -> Ended {
        if self.last_fetch().is_some_and(|last| last.succeeded()) {
            Ended::Followed
        } else {
            Ended::Failed
        }
    }

    /// Tells the other replicas how the turn went. `last_fetch`: `None` where nothing was tried.
    pub(super) async fn end_turn(
        &self,
        turn: Turn,
        last_fetch: Option<LastFetch>,
        snapshot: Option<&Arc<Snapshot>>,
    ) {
        let Some(replicas) = &self.replicas else {
            return;
        };
        {
            let mut followed = self.record.followed();
            followed.outcome = Some(turn.fetch.clone());
            if snapshot.is_some() {
                followed.snapshot = Some(turn.fetch.clone());
            }
        }
        let now = Moment::now();
        let news = self.record.limiter.news(now);
        let ending = Ending {
            news: &news,
            limiter: self.record.limiter.save(0, now),
            now,
            last_fetch,
            snapshot,
        };
        let finished = replicas.finish(&self.config.appid, turn, ending).await;
        if let Ok(shared) = finished {
            let limiter = &self.record.limiter;
            limiter.learn(&shared, &news, self.budget(), Moment::now());
        }
    }

    /// Tells the other replicas what a fetch has spent that this one sent alone.
    pub(super) async fn end_alone(&self) {
        self.hold(Holder::Fetch, 0).await;
    }

    /// Puts another form of a reading in the place of what this replica's fetch has shared.
    pub(super) async fn share_revised(&self, fetch: &str, snapshot: &Arc<Snapshot>) {
        let Some(replicas) = &self.replicas else {
            return;
        };
        let revised = replicas.revise(&self.config.appid, fetch, snapshot).await;
        if let Some(revised) = revised {
            self.record.followed().snapshot = Some(revised);
        }
    }

    /// Keeps so many calls of the day from other replicas, in place of those that were kept before.
    pub(super) async fn hold_calls(&self, calls: u64) {
        self.hold(Holder::Extras, calls).await;
    }

    async fn hold(&self, holder: Holder, calls: u64) {
        let Some(replicas) = &self.replicas else {
            return;
        };
        let limiter = &self.record.limiter;
        let news = limiter.news(Moment::now());
        let held = replicas.hold(&self.config.appid, holder, &news, self.budget(), calls);
        if let Ok(shared) = held.await {
            limiter.learn(&shared, &news, self.budget(), Moment::now());
        }
    }

    /// Takes over what other replicas have read, where it is newer, and how their last fetch went. `heard`: when the
    /// answer came. `again`: it is not the first in this turn.
    pub(super) async fn follow(
        &self,
        replicas: &Replicas,
        answer: &Answer,
        heard: Moment,
        again: bool,
    ) -> Found {
        // First the reading, then the outcome: a page must not show success with a reading from before.
        let needed = self.needs_their_reading(&answer.verdict);
        let lost = match &answer.snapshot {
            Some(stored) if needed => !self.follow_reading(replicas, stored, again).await,
            _ => false,
        };
        let Some(outcome) = &answer.outcome else {
            return Found::NoOutcome;
        };
        let found = self.follow_outcome(replicas, outcome, heard);
        if found == Found::WithoutReading && needed && !lost {
            let why = Unread::Unusable("the last fetch succeeded and stored none".to_owned());
            self.lose(replicas, &outcome.fetch, why);
        }
        found
    }

    /// Whoever is about to read afresh needs none, but for the balances that others asked live.
    fn needs_their_reading(&self, verdict: &Verdict) -> bool {
        !matches!(verdict, Verdict::Granted(..))
            || self.config.live_quota.is_some()
            || self.record.lock().snapshot.is_none()
    }

    /// Takes over how a fetch went, unless it is known or its reading, if it brought one, is not.
    fn follow_outcome(&self, replicas: &Replicas, outcome: &Outcome, heard: Moment) -> Found {
        let mut followed = self.record.followed();
        if followed.outcome.as_ref() == Some(&outcome.fetch) {
            return Found::Known;
        }
        let Some(last_fetch) = replicas.read_outcome(&self.config.appid, outcome) else {
            followed.outcome = Some(outcome.fetch.clone());
            return Found::Unreadable;
        };
        let reading = followed.snapshot.as_ref();
        if last_fetch.succeeded() && !reading.is_some_and(|reading| outcome.has_read(reading)) {
            return Found::WithoutReading;
        }
        followed.outcome = Some(outcome.fetch.clone());
        drop(followed);
        self.take_over_outcome(last_fetch, outcome.age, heard);
        Found::New
    }

    /// Puts on record how a fetch went that ended so long before `heard`, unless what is there is later.
    fn take_over_outcome(&self, mut last_fetch: LastFetch, age: Duration, heard: Moment) {
        // By this machine's clock, as everything else that a page shows.
        last_fetch.at = heard
            .wall
            .checked_sub(age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        // Which one is later is told by ages alone: a wall clock can be set at any time.
        let ended = heard.monotonic.checked_sub(age);
        let mut reading = self.record.lock();
        if reading.is_before(ended) {
            self.record.counters.set_errcode(last_fetch.errcode);
            reading.finish(last_fetch, ended);
        }
        drop(reading);
    }

    /// Takes over the stored reading, unless it is known; says whether it is known now.
    async fn follow_reading(
        &self,
        replicas: &Replicas,
        stored: &StoredSnapshot,
        again: bool,
    ) -> bool {
        {
            let followed = self.record.followed();
            if followed.snapshot.as_ref() == Some(&stored.fetch) {
                return true;
            }
            if again && followed.lost.as_ref() == Some(&stored.fetch) {
                return false;
            }
        }
        match replicas.read_snapshot(&self.config.appid, stored).await {
            Ok(snapshot) => {
                {
                    let mut followed = self.record.followed();
                    followed.snapshot = Some(stored.fetch.clone());
                    followed.lost = None;
                }
                self.take_over(snapshot).await;
                true
            }
            Err(why) => {
                self.lose(replicas, &stored.fetch, why);
                false
            }
        }
    }

    /// A fetch's reading can't be had, which is told of once.
    fn lose(&self, replicas: &Replicas, fetch: &str, why: Unread) {
        let before = self.record.followed().lost.replace(fetch.to_owned());
        if before.as_deref() != Some(fetch)
            && let Unread::Unusable(why) = why
        {
            replicas.snapshot_lost(&self.config.appid, &why);
        }
    }

    /// Whether the own reading is due to be replaced. It is somewhat younger than the grant of its fetch, which is
    /// what the interval counts from.
    fn wants_a_reading(&self, now: Moment) -> bool {
        let reading = self.record.lock();
        let due = |own: &Arc<Snapshot>| own.age(now) >= self.config.min_interval / 2;
        reading.snapshot.as_ref().is_none_or(due)
    }

    /// Puts a reading of another replica's in the place of the own one, unless that is newer: then nothing of the
    /// other counts.
    pub(super) async fn take_over(&self, snapshot: Snapshot) {
        let now = Moment::now();
        let snapshot = Arc::new(snapshot);
        {
            let mut reading = self.record.lock();
            let newer = reading
                .snapshot
                .as_ref()
                .is_none_or(|own| snapshot.age(now) < own.age(now) + ONE_READING);
            if !newer {
                return;
            }
            reading.snapshot = Some(Arc::clone(&snapshot));
        }
        // Of many accounts these take a while, and every scrape needs the lock.
        self.record.burn().observe(&snapshot, now);
        if self.config.live_quota.is_some() {
            self.record.extras.learn(&snapshot);
        }
        self.store
            .save_snapshot(&self.config.appid, &snapshot)
            .await;
    }
}
