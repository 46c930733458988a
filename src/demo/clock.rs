//! The simulation's clock: the machine's own, or one that a test sets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::Moment;

/// What the simulation takes for now.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Moment>>>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at `wall` until it is moved on. Clones move together.
    #[must_use]
    pub fn standing_at(wall: SystemTime) -> Self {
        let moment = Moment {
            wall,
            monotonic: std::time::Instant::now(),
        };
        Self(Some(Arc::new(Mutex::new(moment))))
    }

    /// Moves a standing clock on. The machine's own clock goes its own way.
    pub fn advance(&self, by: Duration) {
        if let Some(moment) = &self.0 {
            let mut moment = moment.lock().unwrap_or_else(PoisonError::into_inner);
            *moment = moment.after(by);
        }
    }

    /// Reads it.
    #[must_use]
    pub fn now(&self) -> Moment {
        match &self.0 {
            None => Moment::now(),
            Some(moment) => *moment.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
