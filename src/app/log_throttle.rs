//! Limits the log lines about failures: while WeChat can't be reached, each app has one. Some lines of each reason are
//! written, and the others are counted in one line.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The most lines of one reason that are written in a [`WINDOW`].
const WRITTEN_MAX: u64 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// The count of the lines of all apps by reason.
#[derive(Default)]
pub(crate) struct LogThrottle(Mutex<HashMap<&'static str, Window>>);

struct Window {
    ends: Instant,
    /// Lines in this window, written or not.
    lines: u64,
}

impl LogThrottle {
    /// Reports whether to write a line of that reason. Otherwise the line is counted, and the first line of a later
    /// window logs the count.
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

    /// Counts a line. Returns the number of lines in this window, and how many of the last window were not written.
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
