//! Lines about failures, of which there are as many as apps while WeChat can't be reached: some of each reason are
//! written, the others are counted in one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lines of one reason that are written in a [`WINDOW`].
const WRITTEN_MAX: u64 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the lines of all apps by their reason.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<HashMap<&'static str, Window>>);

#[derive(Debug)]
struct Window {
    ends: Instant,
    /// Lines asked for.
    lines: u64,
}

impl LogThrottle {
    /// Whether a line of that reason is to be written. If not, it is counted, and told of at the end of the window. Must
    /// run inside a runtime.
    pub(super) fn admits(self: &Arc<Self>, reason: &'static str) -> bool {
        let (lines, ends) = self.count(reason, Instant::now());
        if lines == WRITTEN_MAX + 1 {
            let log = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep_until(ends).await;
                log.tell(reason);
            });
        }
        lines <= WRITTEN_MAX
    }

    /// Counts a line; how many there are in this window, and when it ends.
    fn count(&self, reason: &'static str, now: Instant) -> (u64, Instant) {
        let mut windows = self.0.lock();
        let window = windows.entry(reason).or_insert(Window {
            ends: now + WINDOW,
            lines: 0,
        });
        // Where some were only counted, telling of them ends the window.
        if window.lines <= WRITTEN_MAX && window.ends <= now {
            window.ends = now + WINDOW;
            window.lines = 0;
        }
        window.lines += 1;
        (window.lines, window.ends)
    }

    /// Writes one line for those of that reason that were only counted, if any.
    fn tell(&self, reason: &'static str) {
        let window = self.0.lock().remove(reason);
        let lines = window.map_or(0, |window| window.lines.saturating_sub(WRITTEN_MAX));
        if lines > 0 {
            tracing::warn!(
                reason,
                lines,
                "more failures; not each has a line of its own"
            );
        }
    }

    /// Writes what is still to be told of, before the process ends.
    pub(crate) fn tell_rest(&self) {
        let reasons: Vec<_> = self.0.lock().keys().copied().collect();
        for reason in reasons {
            self.tell(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_a_minute_and_reason() {
        let (log, now) = (LogThrottle::default(), Instant::now());
        for line in 1..=25 {
            assert_eq!(log.count("network", now), (line, now + WINDOW));
        }
        assert_eq!(log.count("timeout", now).0, 1);
        let later = now + WINDOW;
        assert_eq!(log.count("timeout", later), (1, later + WINDOW));
        assert_eq!(log.count("network", later).0, 26, "some are untold");
        log.tell("network");
        assert_eq!(log.count("network", later).0, 1);
    }
}
