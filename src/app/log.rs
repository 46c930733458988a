//! Lines about failures, of which there are as many as apps while WeChat can't be reached: some of each kind are
//! written, the others are counted in one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::wechat::Reason;

/// Lines of one kind that are written in a [`WINDOW`].
const WRITTEN_MAX: u64 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// What lines are alike in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A fetch failed for a reason for which the one before it had not. Apart from the others, so that an app that
    /// has just begun to fail is named beside those that go on failing.
    Failed(Reason),
    /// It failed for the same reason as the one before it.
    FailedAgain(Reason),
    /// A fetch is late for a scrape.
    Late,
}

impl Kind {
    fn reason(self) -> Reason {
        match self {
            Self::Failed(reason) | Self::FailedAgain(reason) => reason,
            Self::Late => Reason::Timeout,
        }
    }
}

/// Counts the lines about failures of all apps.
#[derive(Debug, Default)]
pub struct FailureLog(Mutex<HashMap<Kind, Window>>);

#[derive(Debug)]
struct Window {
    ends: Instant,
    written: u64,
    /// Not written, and not yet told of.
    counted: u64,
}

impl FailureLog {
    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a line of that kind is to be written. If not, it is counted, and told of at the end of the window. Must
    /// run inside a runtime.
    pub(super) fn admits(self: &Arc<Self>, kind: Kind) -> bool {
        let (admitted, first_counted) = self.count(kind, Instant::now());
        if let Some(ends) = first_counted {
            let log = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep_until(ends).await;
                log.tell(kind);
            });
        }
        admitted
    }

    /// Whether the line is to be written, and where it is the first that is not, the window's end.
    fn count(&self, kind: Kind, now: Instant) -> (bool, Option<Instant>) {
        let mut windows = self.lock();
        let anew = Window {
            ends: now + WINDOW,
            written: 0,
            counted: 0,
        };
        let window = windows.entry(kind).or_insert(anew);
        if window.counted == 0 && window.ends <= now {
            window.ends = now + WINDOW;
            window.written = 0;
        }
        if window.written < WRITTEN_MAX {
            window.written += 1;
            return (true, None);
        }
        window.counted += 1;
        (false, (window.counted == 1).then_some(window.ends))
    }

    /// Writes one line for those of that kind that were only counted, if any.
    fn tell(&self, kind: Kind) {
        let window = self.lock().remove(&kind);
        if let Some(Window {
            counted: lines @ 1..,
            ..
        }) = window
        {
            let reason = kind.reason().as_str();
            let what = match kind {
                Kind::Failed(_) | Kind::FailedAgain(_) => "more fetches failed",
                Kind::Late => "more fetches were late for a scrape",
            };
            tracing::warn!(reason, lines, "{what}; not each has a line of its own");
        }
    }

    /// Writes what is still to be told of, before the process ends.
    pub fn tell_rest(&self) {
        let kinds: Vec<_> = self.lock().keys().copied().collect();
        for kind in kinds {
            self.tell(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_so_many_in_a_minute_are_counted_by_kind() {
        let (log, now) = (FailureLog::default(), Instant::now());
        let (kind, other) = (Kind::FailedAgain(Reason::Network), Kind::Late);
        for _ in 0..WRITTEN_MAX {
            assert_eq!(log.count(kind, now), (true, None));
        }
        assert_eq!(log.count(kind, now), (false, Some(now + WINDOW)));
        assert_eq!(log.count(kind, now), (false, None));
        assert_eq!(log.count(other, now), (true, None));
        assert_eq!(
            log.count(Kind::Failed(Reason::Network), now),
            (true, None),
            "an app that has just begun to fail is named"
        );
        assert_eq!(log.lock()[&kind].counted, 2);

        // Whoever tells of them may come late.
        let later = now + WINDOW;
        assert_eq!(log.count(kind, later), (false, None));
        log.tell(kind);
        assert_eq!(log.count(kind, later), (true, None));

        // Where none was only counted, the next minute begins by itself.
        assert_eq!(log.count(other, later), (true, None));
        assert_eq!(log.lock()[&other].written, 1);
    }
}
