//! Whose turn it is to fetch, where replicas share one budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{App, Ended};
use crate::limit::Cause;
use crate::moment::Moment;
use crate::replicas::{Answer, Ending, Holder, Replicas, StoredSnapshot, Turn, Unread, Verdict};
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

/// What an answer held that was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// How a fetch of another replica went; it is on record now.
    Outcome,
    /// Another replica's success, and not what it read. Nothing of it is on record: a page would show success with a
    /// reading from before.
    LostReading,
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
            let Ok(mut answer) = asked.await else {
                return Whose::Ours(None);
            };
            let heard = Moment::now();
            let found = self.follow(&answer, heard, waited).await;
            let alone = found == Found::LostReading
                && matches!(answer.verdict, Verdict::Refused(Cause::Interval))
                && self.wants_a_reading(heard);
            if alone {
                // It says that the others' fetch went well. What this replica fetched for itself may not have.
                answer.limiter.breaker = None;
            }
            limiter.learn(&answer.limiter, &told, self.budget(), heard);
            if alone {
                self.hold(Holder::Fetch, calls).await;
                return Whose::Ours(None);
            }
            match answer.verdict {
                Verdict::Granted(turn, wait) => {
                    tokio::time::sleep(wait).await;
                    return Whose::Ours(Some(turn));
                }
                Verdict::Elsewhere if Instant::now() < latest => {
                    waited = true;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                // The fetch that was waited for has ended.
                _ if waited && found == Found::Outcome => {
                    return Whose::NotOurs(
                        if self.last_fetch().is_some_and(|last| last.succeeded()) {
                            Ended::Followed
                        } else {
                            Ended::Failed
                        },
                    );
                }
                Verdict::Elsewhere => return Whose::NotOurs(Ended::KeptBack),
                Verdict::Refused(cause) => {
                    self.record.counters.count_refused(cause);
                    return Whose::NotOurs(Ended::KeptBack);
                }
            }
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

    /// Takes over what other replicas have read, where it is newer. `heard`: when the answer came. `again`: it is not
    /// the first in this turn.
    pub(super) async fn follow(&self, answer: &Answer, heard: Moment, again: bool) -> Found {
        let Some(replicas) = &self.replicas else {
            return Found::Nothing;
        };
        // First the reading, then the outcome: a page must not show success with a reading from before.
        // Whoever is about to read afresh needs none, but for the balances that others asked live.
        let needed = !matches!(answer.verdict, Verdict::Granted(..))
            || self.config.live_quota.is_some()
            || self.record.lock().snapshot.is_none();
        let mut lost = false;
        if let Some(stored) = &answer.snapshot
            && needed
        {
            lost = !self.follow_reading(replicas, stored, again).await;
        }
        let Some(outcome) = &answer.outcome else {
            return Found::Nothing;
        };
        if self.record.followed().outcome.as_ref() == Some(&outcome.fetch) {
            return Found::Nothing;
        }
        let Some(mut last_fetch) = replicas.read_outcome(&self.config.appid, outcome) else {
            self.record.followed().outcome = Some(outcome.fetch.clone());
            return Found::Nothing;
        };
        let reading = self.record.followed().snapshot.clone();
        if last_fetch.succeeded() && !reading.is_some_and(|reading| outcome.has_read(&reading)) {
            if needed && !lost {
                let why = Unread::Unusable("the last fetch succeeded and stored none".to_owned());
                self.lose(replicas, &outcome.fetch, why);
            }
            return Found::LostReading;
        }
        self.record.followed().outcome = Some(outcome.fetch.clone());
        // By this machine's clock, as everything else that a page shows.
        last_fetch.at = heard
            .wall
            .checked_sub(outcome.age)
            .unwrap_or(SystemTime::UNIX_EPOCH);
        // Which one is later is told by ages alone: a wall clock can be set at any time.
        let ended = heard.monotonic.checked_sub(outcome.age);
        let mut reading = self.record.lock();
        if reading.is_before(ended) {
            self.record.counters.set_errcode(last_fetch.errcode);
            reading.finish(last_fetch, ended);
        }
        drop(reading);
        self.record.touch();
        Found::Outcome
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
        self.record.touch();
        self.store
            .save_snapshot(&self.config.appid, &snapshot)
            .await;
    }
}
