//! Formats numbers and times for people.

use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

use super::translations::{Texts, fill};

/// China has one time zone and has had no daylight saving time since 1991.
const CHINA: UtcOffset = offset!(+8);

/// Formats a time as `2026-11-24 20:15:00` in China. Returns `None` for a time beyond the calendar.
pub(crate) fn china_time(unix: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(unix).ok()?;
    let time = time.checked_to_offset(CHINA)?;
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.format(&format).ok()
}

pub(crate) fn ago(seconds: u64, texts: &Texts) -> String {
    match seconds {
        0..=1 => texts.just_now.to_owned(),
        _ => fill(texts.ago, &[("span", &span(seconds, texts))]),
    }
}

/// Formats a time span in the largest unit of which it contains at least two, so that no singular is needed.
pub(crate) fn span(seconds: u64, texts: &Texts) -> String {
    let (count, unit) = match seconds {
        seconds @ ..120 => (seconds, texts.seconds),
        seconds @ ..7_200 => (seconds / 60, texts.minutes),
        seconds @ ..172_800 => (seconds / 3600, texts.hours),
        seconds => (seconds / 86_400, texts.days),
    };
    format!("{count}\u{a0}{unit}")
}

/// Formats how long a balance lasts: in hours below two days, in tenths of a day below ten days, then in whole days.
pub(crate) fn days_left(days: f64, texts: &Texts) -> String {
    let hours = (days * 24.0).floor();
    match days {
        _ if hours < 2.0 => format!("<\u{a0}2\u{a0}{}", texts.hours),
        days if days < 2.0 => format!("{hours:.0}\u{a0}{}", texts.hours),
        days if days < 10.0 => format!("{days:.1}\u{a0}{}", texts.days),
        days if days < 1000.0 => format!("{days:.0}\u{a0}{}", texts.days),
        _ => format!(">\u{a0}999\u{a0}{}", texts.days),
    }
}

/// Formats a whole number as `12,345` or `−1,234`.
pub(crate) fn amount(amount: f64) -> String {
    let mut text = (amount.abs().round() as u64).to_string();
    let mut end = text.len();
    while end > 3 {
        end -= 3;
        text.insert(end, ',');
    }
    if amount <= -0.5 {
        text.insert(0, '\u{2212}');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Language;
    use super::*;

    const ENGLISH: &Texts = Texts::of(Language::English);
    const CHINESE: &Texts = Texts::of(Language::Chinese);

    #[test]
    fn times_are_in_china() {
        // 2026-11-24 04:00 UTC.
        assert_eq!(china_time(1_795_492_800).unwrap(), "2026-11-24 12:00:00");
        for beyond in [i64::MIN, i64::MAX, 253_402_300_799] {
            assert_eq!(china_time(beyond), None, "{beyond}");
        }
    }

    #[test]
    fn spans_are_in_the_largest_unit_that_fits_twice() {
        for (seconds, english, chinese) in [
            (0, "just now", "刚刚"),
            (119, "119 seconds ago", "119 秒前"),
            (120, "2 minutes ago", "2 分钟前"),
            (7_200, "2 hours ago", "2 小时前"),
            (172_800, "2 days ago", "2 天前"),
        ] {
            assert_eq!(ago(seconds, ENGLISH).replace('\u{a0}', " "), english);
            assert_eq!(ago(seconds, CHINESE).replace('\u{a0}', " "), chinese);
        }
    }

    #[test]
    fn amounts_have_thousands_separators() {
        for (number, text) in [
            (-0.0, "0"),
            (100.0, "100"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1_234.4, "\u{2212}1,234"),
            (f64::NAN, "0"),
            (f64::INFINITY, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(amount(number), text);
        }
    }

    #[test]
    fn days_left_are_as_exact_as_they_are_known() {
        for (days, text) in [
            (0.05, "< 2 hours"),
            (0.4, "9 hours"),
            (3.24, "3.2 days"),
            (25.4, "25 days"),
            (1e9, "> 999 days"),
        ] {
            assert_eq!(days_left(days, ENGLISH).replace('\u{a0}', " "), text);
        }
    }
}
