//! The open connections. Their number is bounded, and when there are too many, the one that has waited longest for
//! its client makes room for the next: whoever opens connections and says nothing keeps nobody out.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// For a connection to go when it was asked to; then the next one is asked too.
const PATIENCE: Duration = Duration::from_millis(50);

/// How many connections are enough for anybody who means well.
const CONNECTIONS_MAX: u32 = 512;
/// And at least so many, however few file descriptors there are.
const CONNECTIONS_MIN: u32 = 8;

/// So many connections that half of this process's file descriptors are left for WeChat and for files.
pub(super) fn connections_for_descriptors() -> u32 {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(descriptors / 2)
        .unwrap_or(u32::MAX)
        .clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// All open connections.
#[derive(Debug)]
pub(super) struct Crowd {
    size: u32,
    places: Arc<Semaphore>,
    /// Ticks with each connection that begins to wait; tells who has waited longest.
    clock: AtomicU64,
    members: Mutex<HashMap<u64, Arc<Standing>>>,
}

/// One connection among the others, until dropped.
#[derive(Debug)]
pub(super) struct Member {
    crowd: Arc<Crowd>,
    id: u64,
    standing: Arc<Standing>,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Standing {
    /// The tick since which it has waited for its client, or [`Self::BUSY`].
    since: AtomicU64,
    asked_to_leave: Notify,
}

impl Standing {
    /// It waits for us, not for its client; or it was asked to leave already.
    const BUSY: u64 = u64::MAX;
}

impl Crowd {
    pub(super) fn new(size: u32) -> Arc<Self> {
        Arc::new(Self {
            size,
            places: Arc::new(Semaphore::new(size as usize)),
            clock: AtomicU64::new(0),
            members: Mutex::default(),
        })
    }

    /// A place for one more connection, as soon as another one has made room.
    pub(super) async fn enter(self: &Arc<Self>) -> Member {
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        // A free place is had at once.
        let mut patience = Duration::ZERO;
        loop {
            match tokio::time::timeout(patience, place.as_mut()).await {
                Ok(place) => return self.member(place.expect("nobody closes the semaphore")),
                Err(_) => self.make_room(),
            }
            patience = PATIENCE;
        }
    }

    fn member(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Member {
        let id = self.tick();
        let standing = Arc::new(Standing {
            since: AtomicU64::new(id),
            asked_to_leave: Notify::new(),
        });
        self.members().insert(id, Arc::clone(&standing));
        Member {
            crowd: Arc::clone(self),
            id,
            standing,
            _place: place,
        }
    }

    /// Asks the connection to leave that has waited longest for its client. None is asked while all wait for us.
    pub(super) fn make_room(&self) {
        let members = self.members();
        let longest = members
            .values()
            .map(|standing| (standing.since.load(Ordering::Relaxed), standing))
            .min_by_key(|(since, _)| *since);
        if let Some((since, standing)) = longest
            && since != Standing::BUSY
        {
            standing.since.store(Standing::BUSY, Ordering::Relaxed);
            standing.asked_to_leave.notify_one();
        }
    }

    /// Waits until there is no connection.
    pub(super) async fn all_left(&self) {
        let _ = self.places.acquire_many(self.size).await;
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn members(&self) -> MutexGuard<'_, HashMap<u64, Arc<Standing>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// From here on it waits for us and is not asked to leave.
    pub(super) fn is_busy(&self) {
        self.standing.since.store(Standing::BUSY, Ordering::Relaxed);
    }

    /// From here on it waits for its client: for a request, or to take an answer.
    pub(super) fn waits(&self) {
        let tick = self.crowd.tick();
        self.standing.since.store(tick, Ordering::Relaxed);
    }

    /// Ready when others need its place more.
    pub(super) async fn asked_to_leave(&self) {
        self.standing.asked_to_leave.notified().await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.members().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_asked(member: &Member) -> bool {
        member.asked_to_leave().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_one_that_waited_longest_makes_room() {
        let crowd = Crowd::new(3);
        let first = crowd.enter().await;
        let second = crowd.enter().await;
        let third = crowd.enter().await;
        // The first has had an answer since; the second is being answered.
        first.is_busy();
        first.waits();
        second.is_busy();
        crowd.make_room();
        assert_eq!(
            [&first, &second, &third].map(is_asked),
            [false, false, true]
        );
        crowd.make_room();
        assert_eq!(
            [&first, &second, &third].map(is_asked),
            [true, false, false]
        );
        crowd.make_room();
        assert_eq!(
            [&first, &second, &third].map(is_asked),
            [false, false, false],
            "nobody waits for a client who was not asked"
        );
    }

    #[tokio::test]
    async fn next_one_enters_as_soon_as_one_has_left() {
        let crowd = Crowd::new(1);
        let first = crowd.enter().await;
        let leaves = async {
            first.asked_to_leave().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(crowd.enter(), leaves);
        assert!(!is_asked(&second));
        assert_eq!(crowd.members().len(), 1);
    }
}
