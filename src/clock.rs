//! One reading of both clocks, and China's calendar.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The wall clock and the monotonic clock, read together.
///
/// What must survive a restart or follow the calendar goes by the wall clock, all other waiting by the monotonic one,
/// which nobody sets. By it the limiter notices that the wall clock was set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For calendars, pages and files.
    pub wall: SystemTime,
    /// For durations.
    pub monotonic: Instant,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    pub fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// The same two clocks some time later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self {
            wall: self.wall + duration,
            monotonic: self.monotonic + duration,
        }
    }
}

/// A day in China, where WeChat's quotas begin anew at midnight. Counted from 1970-01-01.
///
/// China has one time zone, UTC+8, and no summer time since 1991.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ChinaDay(pub i64);

impl ChinaDay {
    const OFFSET_SECONDS: i64 = 8 * 3600;
    const SECONDS: i64 = 24 * 3600;

    /// From midnight to midnight.
    pub const LENGTH: Duration = Duration::from_secs(Self::SECONDS.unsigned_abs());

    /// The day in China at that time.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        Self((unix_seconds(wall) + Self::OFFSET_SECONDS).div_euclid(Self::SECONDS))
    }

    /// The time from then to the next midnight in China, in whole seconds.
    #[must_use]
    pub fn left(wall: SystemTime) -> Duration {
        let second = (unix_seconds(wall) + Self::OFFSET_SECONDS).rem_euclid(Self::SECONDS);
        Self::LENGTH - Duration::from_secs(second.unsigned_abs())
    }
}

/// How far two clocks, or two looks at one, may be apart: a wait that is longer by so much is only cut.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// When something may be done again, by the wall clock; by default at any time. Kept as milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DueTime(#[serde(with = "as_unix_millis")] SystemTime);

impl Default for DueTime {
    fn default() -> Self {
        Self(UNIX_EPOCH)
    }
}

impl DueTime {
    /// So long after now.
    #[must_use]
    pub fn after(wait: Duration, now: SystemTime) -> Self {
        Self(now + wait)
    }

    /// Keeps its distance to the time, which the clock was set from and to.
    pub(crate) fn go_along(&mut self, from: SystemTime, to: SystemTime) {
        self.0 = match to.duration_since(from) {
            Ok(forth) => self.0 + forth,
            Err(error) => self.0 - error.duration(),
        };
    }

    /// The wait from now on; none where the time has come.
    #[must_use]
    pub fn left(self, now: SystemTime) -> Duration {
        self.0.duration_since(now).unwrap_or_default()
    }

    /// Whether the time has come.
    #[must_use]
    pub fn has_come(self, now: SystemTime) -> bool {
        self.0 <= now
    }

    /// Cuts the wait to the longest that its rule can ask for. One that is a good deal longer was set under a clock that
    /// was ahead, and ends at once; says whether it did.
    pub fn cut(&mut self, longest: Duration, now: SystemTime) -> bool {
        let left = self.left(now);
        let clock_was_ahead = left > longest.saturating_add(CLOCK_TOLERANCE);
        self.limit(
            if clock_was_ahead {
                Duration::ZERO
            } else {
                longest
            },
            now,
        );
        clock_was_ahead
    }

    /// Cuts a wait that is longer.
    pub(crate) fn limit(&mut self, longest: Duration, now: SystemTime) {
        if self.left(now) > longest {
            *self = Self::after(longest, now);
        }
    }
}

/// Whole seconds since 1970, negative before.
#[must_use]
pub fn unix_seconds(wall: SystemTime) -> i64 {
    match wall.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |s| -s - 1),
    }
}

/// The time so many milliseconds after 1970; `None` where the system's clock can't say it.
#[must_use]
pub fn from_unix_millis(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Milliseconds since 1970, 0 before.
#[must_use]
pub fn unix_millis(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// [`SystemTime`] in state files: whole milliseconds since 1970.
pub(crate) mod as_unix_millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use super::{SystemTime, from_unix_millis, unix_millis};

    pub(crate) fn serialize<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        unix_millis(*at).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let millis = u64::deserialize(from)?;
        from_unix_millis(millis).ok_or_else(|| de::Error::custom("a time is out of range"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn china_day_changes_at_sixteen_hundred_utc() {
        let at = |seconds| ChinaDay::at(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(16 * 3600 - 1), ChinaDay(0));
        assert_eq!(at(16 * 3600), ChinaDay(1));
        assert_eq!(
            ChinaDay::at(UNIX_EPOCH - Duration::from_secs(9 * 3600)),
            ChinaDay(-1)
        );
        let left = |seconds| ChinaDay::left(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(left(16 * 3600 - 1), Duration::from_secs(1));
        assert_eq!(left(16 * 3600), ChinaDay::LENGTH);
    }
}
