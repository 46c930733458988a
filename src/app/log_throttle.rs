//! Lines about failures, of which there are as many as apps while WeChat can't be reached: some of each reason are
//! written, the others are counted in one.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lines of one reason that are written in a [`WINDOW`].
const WRITTEN_MAX: u64 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts the lines of all apps by their reason.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle(Mutex<HashMap<&'static str, Window>>);

#[derive(Debug)]
struct Window {
    ends: Instant,
    /// Lines asked for.
    lines: u64,
}

impl LogThrottle {
    /// Whether a line of that reason is to be written. If not, it is counted, and told of with the first one of a later
    /// window.
    pub(super) fn admits(&self, reason: &'static str) -> bool {
        let (lines, untold) = self.count(reason, Instant::now());
        if untold > 0 {
            tracing::warn!(
                reason,
                lines = untold,
                "earlier failures of this kind that have no line of their own"
            );
        }
        lines <= WRITTEN_MAX
    }

    /// Counts a line; how many there are in this window, and how many of the last one were not written.
    fn count(&self, reason: &'static str, now: Instant) -> (u64, u64) {
        let mut windows = self.0.lock();
        let begun = || Window {
            ends: now + WINDOW,
            lines: 0,
        };
        let window = windows.entry(reason).or_insert_with(begun);
        let mut untold = 0;
        if window.ends <= now {
            untold = window.lines.saturating_sub(WRITTEN_MAX);
            *window = begun();
        }
        window.lines += 1;
        (window.lines, untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_a_minute_and_reason() {
        let (log, now) = (LogThrottle::default(), Instant::now());
        for line in 1..=25 {
            assert_eq!(log.count("network", now), (line, 0));
        }
        assert_eq!(log.count("timeout", now), (1, 0));
        let later = now + WINDOW;
        assert_eq!(log.count("timeout", later), (1, 0));
        assert_eq!(log.count("network", later), (1, 5), "five have no line");
        assert_eq!(log.count("network", later), (2, 0));
    }
}
