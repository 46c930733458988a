//! Numbers and times as people read them.

use std::fmt;

use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

use super::translations::Texts;

/// China has one time zone and no summer time since 1991.
const CHINA: UtcOffset = offset!(+8);

/// A point in time in China; only years that can be written with four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChinaTime(OffsetDateTime);

impl ChinaTime {
    /// From seconds since 1970; `None` for what is no time (0 or before: WeChat's "never") or lies in no calendar.
    pub(super) fn from_unix(seconds: i64) -> Option<Self> {
        let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
        let time = time.checked_to_offset(CHINA)?;
        (seconds > 0).then_some(Self(time))
    }

    /// For the `datetime` attribute.
    pub(super) fn machine(self) -> String {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+08:00");
        self.0.format(&format).unwrap_or_default()
    }

    /// To the second.
    pub(super) fn to_the_second(self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        self.0.format(&format).unwrap_or_default()
    }

    /// To the minute; without the year where it is this year.
    pub(super) fn to_the_minute(self, now: Self) -> String {
        let short = format_description!("[month]-[day] [hour]:[minute]");
        let long = format_description!("[year]-[month]-[day] [hour]:[minute]");
        let formatted = if self.0.year() == now.0.year() {
            self.0.format(&short)
        } else {
            self.0.format(&long)
        };
        formatted.unwrap_or_default()
    }
}

/// How long ago, or how far ahead, in the largest unit that fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ago {
    /// Negative: in the future.
    pub(super) seconds: i64,
    pub(super) texts: &'static Texts,
}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = Span {
            seconds: self.seconds.unsigned_abs(),
            texts: self.texts,
        };
        // Clocks of two machines differ by a little; that is no future.
        let template = match self.seconds {
            -5..=1 => return f.write_str(self.texts.just_now),
            ..-5 => self.texts.ahead,
            _ => self.texts.ago,
        };
        let (before, after) = template.split_once("{span}").unwrap_or((template, ""));
        write!(f, "{before}{span}{after}")
    }
}

/// A length of time in the largest unit that fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) seconds: u64,
    pub(super) texts: &'static Texts,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.texts;
        let (count, one, many) = match self.seconds {
            seconds @ ..120 => (seconds, texts.second, texts.seconds),
            seconds @ ..7_200 => (seconds / 60, texts.minute, texts.minutes),
            seconds @ ..172_800 => (seconds / 3600, texts.hour, texts.hours),
            seconds => (seconds / 86_400, texts.day, texts.days),
        };
        write!(f, "{count}\u{a0}{}", if count == 1 { one } else { many })
    }
}

/// A number of waybills with its thousands apart: `12,345`; a fraction to two digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount(pub(super) f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Beyond this a float skips whole numbers, and no row of digits can be read.
        if self.0.abs() >= 1e15 || !self.0.is_finite() {
            return write!(f, "{:.2e}", self.0);
        }
        let digits = format!("{:.2}", self.0.abs());
        let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
        let fraction = fraction.trim_end_matches('0');
        if self.0 < 0.0 && (whole != "0" || !fraction.is_empty()) {
            f.write_str("\u{2212}")?;
        }
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        Ok(())
    }
}

/// How long a balance lasts: hours below two days, tenths below ten days, then whole days.
#[derive(Clone, Copy, Debug)]
pub(super) struct DaysLeft {
    pub(super) days: f64,
    pub(super) texts: &'static Texts,
}

impl fmt::Display for DaysLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = self.texts;
        match self.days {
            days if days < 1.0 / 24.0 => write!(f, "<\u{a0}1\u{a0}{}", texts.hour),
            days if days < 2.0 => {
                let hours = (days * 24.0).floor();
                let unit = if hours < 2.0 { texts.hour } else { texts.hours };
                write!(f, "{hours:.0}\u{a0}{unit}")
            }
            days if days < 10.0 => write!(f, "{days:.1}\u{a0}{}", texts.days),
            days if days < 1000.0 => write!(f, "{days:.0}\u{a0}{}", texts.days),
            _ => write!(f, ">\u{a0}999\u{a0}{}", texts.days),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Language;
    use super::*;

    const ENGLISH: &Texts = Texts::of(Language::English);
    const CHINESE: &Texts = Texts::of(Language::Chinese);

    #[test]
    fn times_are_china_s() {
        // 2026-11-24 04:00 UTC.
        let noon = ChinaTime::from_unix(1_795_492_800).unwrap();
        assert_eq!(noon.machine(), "2026-11-24T12:00:00+08:00");
        assert_eq!(noon.to_the_second(), "2026-11-24 12:00:00");
        assert_eq!(noon.to_the_minute(noon), "11-24 12:00");
        let last_year = ChinaTime::from_unix(1_795_492_800 - 365 * 86_400).unwrap();
        assert_eq!(last_year.to_the_minute(noon), "2025-11-24 12:00");
    }

    #[test]
    fn never_and_times_beyond_the_calendar_are_no_times() {
        for seconds in [0, -1, i64::MIN, i64::MAX, 253_402_300_799] {
            assert_eq!(ChinaTime::from_unix(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn spans_are_said_in_the_largest_unit_that_fits() {
        let ago = |seconds| {
            Ago {
                seconds,
                texts: ENGLISH,
            }
            .to_string()
            .replace('\u{a0}', " ")
        };
        assert_eq!(ago(0), "just now");
        assert_eq!(ago(-3), "just now");
        assert_eq!(ago(119), "119 seconds ago");
        assert_eq!(ago(120), "2 minutes ago");
        assert_eq!(ago(7_200), "2 hours ago");
        assert_eq!(ago(172_800), "2 days ago");
        assert_eq!(ago(-600), "in 10 minutes");
        let chinese = Ago {
            seconds: 7_200,
            texts: CHINESE,
        }
        .to_string();
        assert_eq!(chinese.replace('\u{a0}', " "), "2 小时前");
    }

    #[test]
    fn amounts_have_their_thousands_apart() {
        for (amount, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (999.0, "999"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1_234.5, "\u{2212}1,234.5"),
            (0.001, "0"),
            (1e300, "1.00e300"),
        ] {
            assert_eq!(Amount(amount).to_string(), text);
        }
    }

    #[test]
    fn days_left_are_said_as_exactly_as_they_are_known() {
        let said = |days| {
            DaysLeft {
                days,
                texts: ENGLISH,
            }
            .to_string()
            .replace('\u{a0}', " ")
        };
        assert_eq!(said(0.0), "< 1 hour");
        assert_eq!(said(0.05), "1 hour");
        assert_eq!(said(0.4), "9 hours");
        assert_eq!(said(3.24), "3.2 days");
        assert_eq!(said(25.4), "25 days");
        assert_eq!(said(1e9), "> 999 days");
    }

    proptest! {
        #[test]
        fn every_number_can_be_said(amount in any::<f64>(), seconds in any::<i64>()) {
            prop_assert!(!Amount(amount).to_string().is_empty());
            let ago = Ago { seconds, texts: ENGLISH };
            prop_assert!(!ago.to_string().is_empty());
            let days = DaysLeft { days: amount, texts: CHINESE };
            prop_assert!(!days.to_string().is_empty());
            if let Some(time) = ChinaTime::from_unix(seconds) {
                prop_assert!(!time.machine().is_empty());
            }
        }
    }
}
