//! Whose turn it is to fetch, where replicas share one budget.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{App, Ended, Fetch};
use crate::blocking;
use crate::clock::{Moment, unix_millis};
use crate::limiter::Cause;
use crate::replicas::{Lock, Replicas, Shared};
use crate::snapshot::Snapshot;
use crate::store::{LastFetch, SavedState, form};

/// Time between two looks at a fetch of another replica.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait for a fetch of another replica. Longer than one takes unless every host of WeChat hangs.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Two snapshots no further apart are one, with live balances in the later form of it.
const ONE_SNAPSHOT: Duration = Duration::from_secs(1);

/// The right to fetch; `None`: without a lock, as this replica is alone.
pub(super) struct Turn(Option<SharedTurn>);

struct SharedTurn {
    lock: Lock,
    /// The snapshot that the replicas share now.
    snapshot_id: Option<u64>,
}

/// It is not this replica's turn.
pub(super) struct NotOurs {
    pub(super) how: Ended,
    /// What another replica has read.
    pub(super) snapshot: Option<Arc<Snapshot>>,
}

/// What was taken over from other replicas.
#[derive(Default)]
struct Followed {
    snapshot: Option<Arc<Snapshot>>,
    /// How a fetch went that was not known.
    outcome: Option<Ended>,
    /// Their snapshot can't be had.
    is_lost: bool,
}

impl Fetch {
    /// Takes the turn to send so many calls; where another replica has it, waits for its fetch.
    pub(super) async fn take_turn(&self, calls: u64) -> Result<Turn, NotOurs> {
        let app = &self.app;
        let alone = || {
            app.state.limiter.begins(app.budget(), Moment::now());
            Turn(None)
        };
        let Some(replicas) = &app.shared.replicas else {
            return Ok(alone());
        };
        let latest = Instant::now() + WAIT_MAX;
        let mut waited = false;
        let shared = loop {
            let Ok(shared) = replicas.lock(&app.config.appid).await else {
                return Ok(alone());
            };
            let others_fetch = shared.lock.is_none() && app.is_due(&shared);
            if !others_fetch || Instant::now() > latest {
                break shared;
            }
            waited = true;
            tokio::time::sleep(LOOK_INTERVAL).await;
        };
        let mut turn = app.ours_or_followed(replicas, shared, waited).await?;
        if turn.write(app, true, calls, None).await {
            return Ok(Turn(Some(turn)));
        }
        Ok(Turn(None))
    }
}

impl App {
    /// Goes on from what the replicas know: fetches where the lock is ours and the limits allow it.
    async fn ours_or_followed(
        &self,
        replicas: &Replicas,
        shared: Shared,
        waited: bool,
    ) -> Result<SharedTurn, NotOurs> {
        let limiter = &self.state.limiter;
        let now = Moment::now();
        let Some(state) = &shared.state else {
            limiter.read_common_clock(shared.clock, now);
            let lock = shared.lock.ok_or(NotOurs {
                how: Ended::Throttled,
                snapshot: None,
            })?;
            limiter.begins(self.budget(), now);
            return Ok(SharedTurn {
                lock,
                snapshot_id: None,
            });
        };
        let is_locked = shared.lock.is_some();
        limiter.adopt(&state.limiter, is_locked, shared.clock, self.budget(), now);
        self.state.reading().optional_calls = state.optional_calls.clone();
        let granted = match &shared.lock {
            Some(_) => limiter.try_acquire(self.budget(), now),
            None => Err(Cause::Interval),
        };
        // Whoever is about to read afresh needs no snapshot, but for its live balances.
        let needs_theirs = granted.is_err()
            || self.config.live_quota.is_some()
            || self.state.reading().snapshot.is_none();
        let followed = if needs_theirs {
            self.follow(replicas, state).await
        } else {
            Followed::default()
        };
        let turn = shared.lock.map(|lock| SharedTurn {
            lock,
            snapshot_id: state.snapshot_id,
        });
        match (granted, turn) {
            (Ok(wait), Some(turn)) => {
                tokio::time::sleep(wait).await;
                Ok(turn)
            }
            (Err(Cause::Interval), Some(turn)) if followed.is_lost && self.wants_a_snapshot() => {
                limiter.begins(self.budget(), Moment::now());
                Ok(turn)
            }
            (granted, turn) => {
                if let Some(turn) = turn {
                    turn.lock.unlock().await;
                }
                let how = followed.outcome.filter(|_| waited);
                if let (None, Err(cause)) = (how, granted) {
                    self.state.counters.count_refused(cause);
                }
                Err(NotOurs {
                    how: how.unwrap_or(Ended::Throttled),
                    snapshot: followed.snapshot,
                })
            }
        }
    }

    /// Whether whoever holds the lock is fetching, or about to: it may have taken the lock a moment ago.
    fn is_due(&self, shared: &Shared) -> bool {
        let Some(state) = &shared.state else {
            return true;
        };
        let latest = unix_millis(shared.clock + self.budget().early());
        let next_fetch = state.limiter.next_fetch_unix_ms;
        state.fetching || next_fetch.is_none_or(|next| next <= latest)
    }

    /// Takes over what other replicas have read, where it is newer, and how their last fetch went.
    async fn follow(&self, replicas: &Replicas, state: &SavedState) -> Followed {
        let mut followed = Followed::default();
        // First the snapshot, then the outcome: a page must not show success with a snapshot from before.
        let is_known = self.state.reading().snapshot_id == state.snapshot_id;
        if !is_known {
            let now = self.state.limiter.by_common_clock(Moment::now());
            match replicas.snapshot(&self.config.appid, now).await {
                Some(snapshot) => {
                    followed.snapshot = self.take_over(snapshot, state.snapshot_id);
                }
                None => followed.is_lost = true,
            }
        }
        if let Some(last_fetch) = &state.last_fetch
            && !(last_fetch.succeeded() && followed.is_lost)
        {
            followed.outcome = self.take_over_outcome(last_fetch.clone());
        }
        followed
    }

    /// Puts a snapshot of another replica's in the place of its own one, unless that is newer.
    fn take_over(&self, snapshot: Snapshot, id: Option<u64>) -> Option<Arc<Snapshot>> {
        let now = Moment::now();
        let snapshot = Arc::new(snapshot);
        {
            let mut reading = self.state.reading();
            let own = reading.snapshot.as_ref();
            if own.is_some_and(|own| own.age(now) + ONE_SNAPSHOT <= snapshot.age(now)) {
                return None;
            }
            reading.snapshot = Some(Arc::clone(&snapshot));
            reading.snapshot_id = id;
        }
        // Of many accounts this takes a while, and every scrape needs the lock.
        self.state.usage_rate.lock().observe(&snapshot, now);
        Some(snapshot)
    }

    /// Puts on record how another replica's fetch went, unless a later one is; says how it went.
    fn take_over_outcome(&self, mut last_fetch: LastFetch) -> Option<Ended> {
        let now = Moment::now();
        let common = self.state.limiter.by_common_clock(now);
        last_fetch.at = by_another_clock(last_fetch.at, common.wall, now.wall);
        let mut reading = self.state.reading();
        let own = reading.last_fetch.as_ref();
        if own.is_some_and(|own| own.at >= last_fetch.at) {
            return None;
        }
        let how = match last_fetch.succeeded() {
            true => Ended::Followed,
            false => Ended::Failed,
        };
        self.state.counters.set_errcode(last_fetch.errcode());
        reading.last_fetch = Some(last_fetch);
        drop(reading);
        Some(how)
    }

    /// Whether its own snapshot is due to be replaced. It is somewhat younger than the grant of its fetch, which is
    /// what the interval counts from.
    fn wants_a_snapshot(&self) -> bool {
        let reading = self.state.reading();
        let due = |own: &Arc<Snapshot>| own.age(Moment::now()) >= self.config.min_interval / 2;
        reading.snapshot.as_ref().is_none_or(due)
    }
}

impl Turn {
    /// Tells the other replicas how the fetch went. Without calls to follow they may have their turn then.
    pub(super) async fn tell(
        self,
        app: &App,
        snapshot: Option<&Arc<Snapshot>>,
        calls: u64,
    ) -> Self {
        let Some(mut turn) = self.0 else {
            return self;
        };
        turn.write(app, false, calls, snapshot).await;
        Self(Some(turn).filter(|_| calls > 0))
    }
}

impl SharedTurn {
    /// Writes the app's state with so many calls counted as sent, and the snapshot where there is a new one. Says whether
    /// that worked.
    async fn write(
        &mut self,
        app: &App,
        fetching: bool,
        calls: u64,
        snapshot: Option<&Arc<Snapshot>>,
    ) -> bool {
        let now = Moment::now();
        let common = app.state.limiter.by_common_clock(now);
        let mut state = app.saved_state(calls);
        state.fetching = fetching;
        if let Some(last_fetch) = &mut state.last_fetch {
            last_fetch.at = by_another_clock(last_fetch.at, now.wall, common.wall);
        }
        let mut written = None;
        if let Some(snapshot) = snapshot {
            self.snapshot_id = Some(unix_millis(common.wall));
            let age = snapshot.age(now);
            let fetched = common.wall.checked_sub(age).unwrap_or(common.wall);
            let (snapshot, appid) = (Arc::clone(snapshot), app.config.appid.clone());
            let write = move || form::write_snapshot(&snapshot, fetched, &appid);
            written = Some(blocking::run(write).await);
        }
        state.snapshot_id = self.snapshot_id;
        let has_snapshot = written.is_some();
        let unlock = !fetching && calls == 0;
        let was_ours = self.lock.write(&state, written, unlock).await;
        if was_ours {
            app.state.limiter.is_shared(calls, now);
        }
        if was_ours && has_snapshot {
            app.state.reading().snapshot_id = self.snapshot_id;
        }
        was_ours
    }
}

/// A time by another clock, where the two read `from` and `to` at one moment.
fn by_another_clock(at: SystemTime, from: SystemTime, to: SystemTime) -> SystemTime {
    let age = from.duration_since(at).unwrap_or_default();
    to.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH)
}
