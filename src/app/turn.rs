//! Whose turn it is to fetch, where replicas share one budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{App, Ended};
use crate::moment::Moment;
use crate::replicas::{Answer, Ending, Turn, Verdict};
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
}

impl App {
    /// Asks the other replicas for the turn to send so many calls; waits for their fetch, if one is under way.
    ///
    /// Whatever comes of it, their last reading and outcome are this app's afterwards.
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
            limiter.learn(&answer.limiter, &told, self.budget(), heard);
            let followed = self.follow(&answer, heard).await;
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
                _ if waited && followed => {
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
        snapshot: Option<&Snapshot>,
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

    /// Puts another form of a reading in the place of what this replica's fetch has shared.
    pub(super) async fn share_revised(&self, fetch: &str, snapshot: &Snapshot) {
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
        let Some(replicas) = &self.replicas else {
            return;
        };
        let limiter = &self.record.limiter;
        let news = limiter.news(Moment::now());
        let held = replicas.hold(&self.config.appid, &news, self.budget(), calls);
        if let Ok(shared) = held.await {
            limiter.learn(&shared, &news, self.budget(), Moment::now());
        }
    }

    /// Takes over what other replicas have read, where it is newer; says whether there was a new outcome. `heard`:
    /// when the answer came.
    pub(super) async fn follow(&self, answer: &Answer, heard: Moment) -> bool {
        let Some(replicas) = &self.replicas else {
            return false;
        };
        let appid = self.config.appid.as_str();
        // First the reading, then the outcome: a page must not show success with a reading from before.
        // Whoever is about to read afresh needs none, but for the balances that others asked live.
        let needed = !matches!(answer.verdict, Verdict::Granted(..))
            || self.config.live_quota.is_some()
            || self.record.lock().snapshot.is_none();
        let known = self.record.followed().snapshot.clone();
        if let Some(stored) = &answer.snapshot
            && needed
            && known.as_ref() != Some(&stored.fetch)
        {
            let snapshot = replicas.read_snapshot(appid, stored).await;
            self.record.followed().snapshot = Some(stored.fetch.clone());
            if let Some(snapshot) = snapshot {
                self.take_over(snapshot).await;
            }
        }
        let Some(outcome) = &answer.outcome else {
            return false;
        };
        if self.record.followed().outcome.as_ref() == Some(&outcome.fetch) {
            return false;
        }
        self.record.followed().outcome = Some(outcome.fetch.clone());
        let Some(mut last_fetch) = replicas.read_outcome(appid, outcome) else {
            return false;
        };
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
        true
    }

    async fn take_over(&self, snapshot: Snapshot) {
        let now = Moment::now();
        if self.config.live_quota.is_some() {
            self.record.extras.learn(&snapshot);
        }
        let snapshot = Arc::new(snapshot);
        self.record.burn().observe(&snapshot, now);
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
        self.record.touch();
        self.store
            .save_snapshot(&self.config.appid, &snapshot)
            .await;
    }
}
