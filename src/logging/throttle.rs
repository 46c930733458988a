//! Limits the log lines about failures: while WeChat or a token source can't be reached, each app has one. Some lines
//! of each reason are written, whatever failed for it, and the others are counted in one line.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The most lines of one reason that are written in a [`WINDOW`].
const WRITTEN_MAX: u64 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// The lines of the process by reason.
static WINDOWS: Mutex<BTreeMap<&'static str, Window>> = Mutex::new(BTreeMap::new());

struct Window {
    ends: Instant,
    /// Lines in this window, written or not.
    lines: u64,
}

/// Reports whether to write a line of that reason. Otherwise the line is counted, and the first line of a later window
/// logs the count.
pub(crate) fn admits(reason: &'static str) -> bool {
    let (lines, untold) = count(reason, Instant::now());
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
fn count(reason: &'static str, now: Instant) -> (u64, u64) {
    let mut windows = WINDOWS.lock();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_a_minute_and_reason() {
        let now = Instant::now();
        for line in 1..=25 {
            assert_eq!(count("one", now), (line, 0));
        }
        assert_eq!(count("other", now), (1, 0));
        let later = now + WINDOW;
        assert_eq!(count("other", later), (1, 0));
        assert_eq!(count("one", later), (1, 5), "five have no line");
        assert_eq!(count("one", later), (2, 0));
    }
}
