//! Requests under way on one HTTP/2 connection, and those among them whose answer the client doesn't take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The streams of one connection. Time is counted in the connection's ticks.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<State>);

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

impl Streams {
    pub(super) fn begin(self: &Arc<Self>) -> Stream {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
}

impl Stream {
    /// The answer is made; from now on the client has to take it.
    pub(super) fn sending(&self) {
        let mut state = self
            .streams
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tick = state.tick;
        state.under_way.insert(self.id, Some(tick));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut state = self
            .streams
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.under_way.remove(&self.id);
        state.idle_since = state.tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_is_ready_can_be_stuck() {
        let streams = Arc::new(Streams::default());
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
