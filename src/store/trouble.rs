//! Writes that fail: told of when that begins, once a minute while it lasts, and when it ends. Each fetch writes its
//! state several times, and an exporter may have thousands of apps.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines while it lasts.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Files whose latest write failed.
    files: HashSet<String>,
    /// Failures since it began.
    failures: u64,
    told: Option<Instant>,
}

impl Trouble {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file could not be written.
    pub(super) fn failed(&self, file: &str, error: &str, now: Instant) {
        let mut state = self.lock();
        let begins = state.files.is_empty();
        state.files.insert(file.to_owned());
        state.failures += 1;
        if begins {
            tracing::warn!(
                file,
                error,
                "state can't be written; the exporter goes on from memory"
            );
        } else if state.told.is_none_or(|told| now >= told + PAUSE) {
            tracing::warn!(
                file,
                error,
                files = state.files.len(),
                failures = state.failures,
                "state still can't be written; the exporter goes on from memory"
            );
        } else {
            return;
        }
        state.told = Some(now);
    }

    /// A file was written.
    pub(super) fn written(&self, file: &str) {
        let mut state = self.lock();
        if state.files.remove(file) && state.files.is_empty() {
            tracing::info!(failures = state.failures, "state is written again");
            *state = State::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_of_when_it_begins_each_minute_and_when_it_ends() {
        let (trouble, began) = (Trouble::default(), Instant::now());
        let told = || trouble.lock().told;
        trouble.written("a");
        trouble.failed("a", "full", began);
        assert_eq!(told(), Some(began));
        for second in 1..60 {
            trouble.failed("b", "full", began + Duration::from_secs(second));
            assert_eq!(told(), Some(began));
        }
        let later = began + PAUSE;
        trouble.failed("a", "full", later);
        assert_eq!(told(), Some(later));
        assert_eq!(trouble.lock().failures, 61);

        trouble.written("b");
        assert_eq!(told(), Some(later), "one file is still in trouble");
        trouble.written("a");
        assert_eq!(told(), None);
        trouble.failed("a", "full", later);
        assert_eq!(told(), Some(later), "it begins again");
    }
}
