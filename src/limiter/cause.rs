//! Why a call is kept back.

use std::fmt;

/// Why the exporter kept a call back: the `cause` label of `calls_refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The last fetch was granted less than an interval ago.
    Interval,
    /// The day's calls are used up.
    DailyLimit,
    /// WeChat's last answer makes trying again useless for now.
    Breaker,
}

impl Cause {
    /// Every value; a counter exists for each from the start.
    pub const ALL: &'static [Self] = &[Self::Interval, Self::DailyLimit, Self::Breaker];

    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::DailyLimit => "daily_limit",
            Self::Breaker => "breaker",
        }
    }

    /// The value that a label names.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|cause| cause.as_str() == label)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
