//! Which replica's turn it is to fetch, where replicas share one budget.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{App, Fetch, Source};
use crate::limiter::{Budget, Cause};
use crate::replicas::{Lock, Replicas, Shared};
use crate::snapshot::Snapshot;
use crate::store::SavedState;

/// The time between two looks at another replica's fetch.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The longest wait for another replica's fetch, which takes longer than this only if every host of WeChat hangs.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest time for which a replica that failed by itself leaves a fetch to the others.
const STAND_BACK_MAX: Duration = Duration::from_secs(60);
/// Two snapshots that are no further apart than this are the same one; the later form of it has live balances.
const ONE_SNAPSHOT: Duration = Duration::from_secs(1);

/// The right to fetch, with the lock; `None` if this replica is alone.
pub(super) struct Turn(Option<Lock>);

impl Fetch {
    /// Takes the turn to fetch; if another replica has it, waits for its fetch. `None` if the shared limits allow no
    /// fetch now. This fetch has then ended with what the others have read.
    pub(super) async fn take_turn(&self) -> Option<Turn> {
        let app = &self.app;
        let Some((replicas, shared, waited)) = self.ask_replicas().await else {
            app.state.limiter.begins(app.now());
            return Some(Turn(None));
        };
        let theirs = match &shared.state {
            Some(state) => app.follow(replicas, state, shared.lock.is_some()).await,
            None => Theirs::default(),
        };
        match app.grant(&shared, &theirs) {
            Ok(wait) => {
                tokio::time::sleep(wait).await;
                Some(Turn(shared.lock))
            }
            Err(cause) => {
                if !waited {
                    app.state.counters.count_refused(cause);
                }
                self.leave_turn(shared, theirs, waited).await;
                None
            }
        }
    }

    /// Ends the fetch without a call, with what the others have read.
    async fn leave_turn(&self, shared: Shared, theirs: Theirs, waited: bool) {
        let app = &self.app;
        if let Some(mut lock) = shared.lock {
            // The replica that fetches next must know which calls this one sent alone. It must not take over this one's
            // outcome, because the snapshot of that fetch is not shared.
            let state = SavedState {
                last_fetch: shared.state.and_then(|state| state.last_fetch),
                ..app.saved_state(0)
            };
            app.share(&mut lock, state, None, true).await;
        }
        let served_by = match waited && theirs.succeeded {
            true => Source::Joined,
            false => Source::Snapshot,
        };
        self.end(served_by, |_| ());
        if let Some(snapshot) = &theirs.snapshot {
            let appid = &app.config.appid;
            app.shared.store.save_snapshot(appid, snapshot).await;
        }
    }

    /// Returns what the replicas share of the app once none of them is fetching, and whether one was. `None` if this
    /// one is alone.
    async fn ask_replicas(&self) -> Option<(&Arc<Replicas>, Shared, bool)> {
        let app = &self.app;
        let replicas = app.shared.replicas.as_ref()?;
        let latest = Instant::now() + WAIT_MAX;
        let mut waited = false;
        loop {
            let shared = replicas.lock(&app.config.appid).await.ok()?;
            let others_fetch = shared.lock.is_none() && app.is_due(&shared);
            if !others_fetch || Instant::now() > latest {
                return Some((replicas, shared, waited));
            }
            waited = true;
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Saves the app's state, and the snapshot if there is a new one, for the other replicas and the next start. The
    /// `calls` about to be sent count as sent, because a crash loses their count. If there are none and this fetch has
    /// ended, releases the turn.
    pub(super) async fn keep(&self, turn: &mut Turn, calls: u64, snapshot: Option<&Arc<Snapshot>>) {
        let app = &self.app;
        if let Some(mut lock) = turn.0.take() {
            let fetching = self.ended.borrow().is_none();
            let is_last = !fetching && calls == 0;
            let state = SavedState {
                fetching,
                ..app.saved_state(calls)
            };
            if app.share(&mut lock, state, snapshot, is_last).await {
                if snapshot.is_some() {
                    app.state.reading().snapshot_id = lock.snapshot_id;
                }
                turn.0 = Some(lock).filter(|_| !is_last);
            }
        }
        let (store, appid) = (&app.shared.store, &app.config.appid);
        // The snapshot goes first: a crash in between must not leave a success without its snapshot.
        if let Some(snapshot) = snapshot {
            store.save_snapshot(appid, snapshot).await;
        }
        store.save_state(appid, app.saved_state(calls)).await;
    }
}

/// What other replicas have done.
#[derive(Default)]
struct Theirs {
    /// Their snapshot, if it is new to this replica.
    snapshot: Option<Arc<Snapshot>>,
    /// Whether their snapshot can't be obtained.
    is_lost: bool,
    /// Whether their last fetch succeeded and its snapshot is here.
    succeeded: bool,
}

impl App {
    /// Writes the state, and the snapshot if there is a new one, for the other replicas. Reports whether it is written.
    async fn share(
        &self,
        lock: &mut Lock,
        state: SavedState,
        snapshot: Option<&Arc<Snapshot>>,
        unlock: bool,
    ) -> bool {
        let limiter = &self.state.limiter;
        let reserved = state.limiter.reserved;
        let is_written = lock.write(state, snapshot, unlock).await;
        if is_written {
            limiter.is_shared(reserved, self.now());
        } else {
            limiter.may_be_shared();
        }
        is_written
    }

    /// Reports whether the holder of the lock is fetching or about to: it may have taken the lock a moment ago.
    fn is_due(&self, shared: &Shared) -> bool {
        let Some(state) = &shared.state else {
            return true;
        };
        let wait = state.limiter.next_fetch.left(self.now().wall);
        state.fetching || wait <= Budget::of(&self.config).early()
    }

    /// Continues from the shared state. Takes over what other replicas have read, if it is newer, and how their last
    /// fetch went.
    async fn follow(&self, replicas: &Replicas, state: &SavedState, is_locked: bool) -> Theirs {
        self.state
            .limiter
            .adopt(&state.limiter, is_locked, self.now());
        self.state.reading().optional_calls = state.optional_calls.clone();
        let mut theirs = Theirs::default();
        // The snapshot goes before the outcome: a page must not show a success with an older snapshot.
        let is_new =
            state.snapshot_id.is_some() && state.snapshot_id != self.state.reading().snapshot_id;
        if is_new {
            match replicas.snapshot(&self.config.appid).await {
                Some(snapshot) => theirs.snapshot = self.take_over(snapshot, state.snapshot_id),
                None => theirs.is_lost = true,
            }
        }
        let Some(last_fetch) = &state.last_fetch else {
            return theirs;
        };
        let now = self.now().wall;
        let mut reading = self.state.reading();
        // The snapshot of a success may never have been written.
        let is_older = |own: &Arc<Snapshot>| own.fetched + ONE_SNAPSHOT < last_fetch.at;
        theirs.is_lost |= last_fetch.succeeded() && reading.snapshot.as_ref().is_none_or(is_older);
        if last_fetch.succeeded() && theirs.is_lost {
            return theirs;
        }
        theirs.succeeded = last_fetch.succeeded();
        let own = reading.last_fetch.as_ref();
        // This replica's own outcome is later if it could not be shared, but not if its clock was ahead.
        if own.is_none_or(|own| own.at < last_fetch.at || own.at > now) {
            self.state.counters.set_errcode(last_fetch.errcode());
            reading.last_fetch = Some(last_fetch.clone());
            // If they fail too, there is nobody to leave the fetch to.
            reading.failed_alone &= last_fetch.succeeded();
        }
        theirs
    }

    /// Replaces this replica's snapshot with another replica's, unless its own is newer.
    fn take_over(&self, snapshot: Snapshot, id: Option<u64>) -> Option<Arc<Snapshot>> {
        let now = self.now();
        // Dropped last: dropping many accounts takes a while, and every scrape needs the lock of the reading.
        let own = self.state.reading().snapshot.clone();
        let age = snapshot.age(now);
        if own
            .as_ref()
            .is_some_and(|own| own.age(now) + ONE_SNAPSHOT <= age)
        {
            return None;
        }
        let snapshot = Arc::new(snapshot.with_usage(own.as_deref()));
        let mut reading = self.state.reading();
        reading.snapshot = Some(Arc::clone(&snapshot));
        reading.snapshot_id = id;
        Some(snapshot)
    }

    /// Grants this replica a fetch that begins after the returned wait, or returns why not.
    fn grant(&self, shared: &Shared, theirs: &Theirs) -> Result<Duration, Cause> {
        let limiter = &self.state.limiter;
        if shared.lock.is_none() || self.stands_back() {
            return Err(Cause::Interval);
        }
        let has_nothing = shared.state.is_none() || (theirs.is_lost && self.wants_a_snapshot());
        match limiter.try_acquire(self.now()) {
            // This replica's limiter granted the fetch, and there is nothing to show instead.
            Err(Cause::Interval) if has_nothing => {
                limiter.begins(self.now());
                Ok(Duration::ZERO)
            }
            granted => granted,
        }
    }

    /// Reports whether another replica should fetch first because it may reach WeChat where this one can't: the last
    /// fetch was this replica's and failed here, and the next one is newly due.
    fn stands_back(&self) -> bool {
        let failed_alone = self.state.reading().failed_alone;
        let patience = (self.config.min_interval / 2).min(STAND_BACK_MAX);
        failed_alone && self.state.limiter.is_newly_due(patience, self.now())
    }

    /// Reports whether this replica's snapshot is due to be replaced. It is somewhat younger than the grant of its
    /// fetch, from which the interval counts.
    fn wants_a_snapshot(&self) -> bool {
        let reading = self.state.reading();
        let due = |own: &Arc<Snapshot>| own.age(self.now()) >= self.config.min_interval / 2;
        reading.snapshot.as_ref().is_none_or(due)
    }
}
