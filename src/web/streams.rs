//! Requests under way on one HTTP/2 connection, and those among them whose answer the client doesn't take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::crowd::Member;

/// The streams of one connection. Time is counted in the connection's ticks.
#[derive(Debug)]
pub(super) struct Streams {
    state: Mutex<State>,
    connection: Arc<Member>,
}

#[derive(Debug, Default)]
struct State {
    tick: u32,
    next: u64,
    /// Since when each answer is being sent; `None`: it is still being made.
    under_way: HashMap<u64, Option<u32>>,
    idle_since: u32,
}

/// What a connection's streams look like at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// Ticks without a request; 0 while there is one.
    pub(super) idle: u32,
    /// Ticks that the oldest answer has been waiting to be taken.
    pub(super) stuck: u32,
    /// Ticks since the connection began.
    pub(super) age: u32,
}

/// One request, until its answer is sent or dropped.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Arc<Streams>,
    id: u64,
}

impl State {
    fn answers_are_being_made(&self) -> bool {
        self.under_way.values().any(Option::is_none)
    }
}

impl Streams {
    pub(super) fn of(connection: Arc<Member>) -> Self {
        Self {
            state: Mutex::default(),
            connection,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        let mut state = self.state();
        self.connection.is_busy();
        let id = state.next;
        state.next += 1;
        state.under_way.insert(id, None);
        Stream {
            streams: Arc::clone(self),
            id,
        }
    }

    /// One tick later.
    pub(super) fn tick(&self) -> Look {
        let mut state = self.state();
        state.tick += 1;
        let tick = state.tick;
        let oldest = state.under_way.values().flatten().min();
        Look {
            idle: if state.under_way.is_empty() {
                tick - state.idle_since
            } else {
                0
            },
            stuck: oldest.map_or(0, |since| tick - since),
            age: tick,
        }
    }

    /// Whether an answer is being made, or has become ready since the last tick: a client that reads has taken it by
    /// the next.
    pub(super) fn are_of_use(&self) -> bool {
        let state = self.state();
        let tick = state.tick;
        state
            .under_way
            .values()
            .any(|since| since.is_none_or(|since| since == tick))
    }

    /// With the state after an answer was made or given up.
    fn one_less(&self, state: &State) {
        if !state.answers_are_being_made() {
            self.connection.waits();
        }
    }
}

impl Stream {
    /// The answer is made; from now on the client has to take it.
    pub(super) fn sending(&self) {
        let mut state = self.streams.state();
        let tick = state.tick;
        state.under_way.insert(self.id, Some(tick));
        self.streams.one_less(&state);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self.streams.state();
        state.under_way.remove(&self.id);
        state.idle_since = state.tick;
        self.streams.one_less(&state);
    }
}

#[cfg(test)]
mod tests {
    use super::super::crowd::Crowd;
    use super::*;

    async fn streams() -> Arc<Streams> {
        let member = Crowd::new(1).enter().await;
        Arc::new(Streams::of(Arc::new(member)))
    }

    #[tokio::test]
    async fn connection_is_of_use_while_its_answers_are_made_or_just_ready() {
        let streams = streams().await;
        assert!(!streams.are_of_use());
        let (first, second) = (streams.begin(), streams.begin());
        assert!(streams.are_of_use());
        first.sending();
        streams.tick();
        assert!(streams.are_of_use(), "the second is being made");
        second.sending();
        assert!(streams.are_of_use(), "the second may be on its way");
        streams.tick();
        assert!(!streams.are_of_use(), "nobody takes them");
    }

    #[tokio::test]
    async fn only_an_answer_that_is_ready_can_be_stuck() {
        let streams = streams().await;
        assert_eq!(
            streams.tick(),
            Look {
                idle: 1,
                stuck: 0,
                age: 1
            }
        );
        let slow = streams.begin();
        let stuck = streams.begin();
        stuck.sending();
        assert_eq!(
            streams.tick(),
            Look {
                idle: 0,
                stuck: 1,
                age: 2
            }
        );
        drop(stuck);
        assert_eq!(
            streams.tick(),
            Look {
                idle: 0,
                stuck: 0,
                age: 3
            }
        );
        drop(slow);
        assert_eq!(
            streams.tick(),
            Look {
                idle: 1,
                stuck: 0,
                age: 4
            }
        );
    }
}
