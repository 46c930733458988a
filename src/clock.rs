//! The wall clock, the monotonic clock and China's calendar.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The wall clock and the monotonic clock, read together.
///
/// Times that must survive a restart or follow the calendar use the wall clock. All other waits use the monotonic
/// clock, which can't be set. By comparing the two, the limiter notices that the wall clock was set.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time for calendars, pages and files.
    pub wall: SystemTime,
    /// The time for durations.
    pub monotonic: Instant,
}

impl Moment {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self {
            wall: SystemTime::now(),
            monotonic: Instant::now(),
        }
    }

    /// Returns both clocks as they will be after `duration`.
    pub fn after(self, duration: Duration) -> Self {
        Self {
            wall: self.wall + duration,
            monotonic: self.monotonic + duration,
        }
    }
}

/// A day in China, counted from 1970-01-01. WeChat's quotas begin anew at midnight in China.
///
/// China has one time zone, UTC+8, and has had no summer time since 1991.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ChinaDay(pub i64);

impl ChinaDay {
    const OFFSET_SECONDS: i64 = 8 * 3600;
    const SECONDS: i64 = 24 * 3600;

    /// The time from midnight to midnight.
    pub const LENGTH: Duration = Duration::from_secs(Self::SECONDS.unsigned_abs());

    /// Returns the day in China at that time.
    pub fn at(wall: SystemTime) -> Self {
        Self((unix_seconds(wall) + Self::OFFSET_SECONDS).div_euclid(Self::SECONDS))
    }

    /// Returns the time from `wall` to the next midnight in China, in whole seconds.
    pub fn left(wall: SystemTime) -> Duration {
        let second = (unix_seconds(wall) + Self::OFFSET_SECONDS).rem_euclid(Self::SECONDS);
        Self::LENGTH - Duration::from_secs(second.unsigned_abs())
    }
}

/// How far clocks may disagree. A wait that is too long by less than this is shortened; one that is too long by more
/// was set under a clock that was ahead.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// The wall-clock time from which something may be done again; by default, any time. Stored in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DueTime(#[serde(with = "as_unix_millis")] SystemTime);

impl Default for DueTime {
    fn default() -> Self {
        Self(UNIX_EPOCH)
    }
}

impl DueTime {
    /// Returns the time that is `wait` after `now`.
    pub fn after(wait: Duration, now: SystemTime) -> Self {
        Self(now + wait)
    }

    /// Moves the time along with the wall clock, which was set from `from` to `to`, so that the wait stays the same.
    pub(crate) fn go_along(&mut self, from: SystemTime, to: SystemTime) {
        self.0 = match to.duration_since(from) {
            Ok(forth) => self.0 + forth,
            Err(error) => self.0 - error.duration(),
        };
    }

    /// Returns the wait from `now` on; zero if the time has come.
    pub fn left(self, now: SystemTime) -> Duration {
        self.0.duration_since(now).unwrap_or_default()
    }

    /// Reports whether the time has come.
    pub fn has_come(self, now: SystemTime) -> bool {
        self.0 <= now
    }

    /// Shortens the wait to `longest`, the longest wait that its rule allows. A wait that is much longer was set under
    /// a clock that was ahead, and ends at once. Reports whether that was so.
    pub fn cut(&mut self, longest: Duration, now: SystemTime) -> bool {
        let left = self.left(now);
        let clock_was_ahead = left > longest.saturating_add(CLOCK_TOLERANCE);
        if clock_was_ahead {
            *self = Self(now);
        }
        self.limit(longest, now);
        clock_was_ahead
    }

    /// Shortens the wait to `longest` if it is longer.
    pub(crate) fn limit(&mut self, longest: Duration, now: SystemTime) {
        if self.left(now) > longest {
            *self = Self::after(longest, now);
        }
    }
}

/// Returns the whole seconds since 1970, 0 before.
pub fn unix_seconds(wall: SystemTime) -> i64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Returns the time `millis` milliseconds after 1970; `None` if the system's clock can't represent it.
pub fn from_unix_millis(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

/// Returns the milliseconds since 1970, 0 before.
pub fn unix_millis(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// The form of [`SystemTime`] in state files: whole milliseconds since 1970.
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
        let left = |seconds| ChinaDay::left(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(left(16 * 3600 - 1), Duration::from_secs(1));
        assert_eq!(left(16 * 3600), ChinaDay::LENGTH);
    }
}
