//! Numbers and times as people read them.

use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

use super::translations::{Texts, fill};

/// China has one time zone and no summer time since 1991.
const CHINA: UtcOffset = offset!(+8);

/// `2026-11-24 20:15:00` in China. `None` for 0 and before (WeChat's "never") and beyond the calendar.
pub(crate) fn china_time(unix: i64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(unix).ok()?;
    let time = time.checked_to_offset(CHINA).filter(|_| unix > 0)?;
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.format(&format).ok()
}

/// How long ago, or how far ahead where `seconds` is negative.
pub(crate) fn ago(seconds: i64, texts: &Texts) -> String {
    let template = match seconds {
        // Clocks of two machines differ by a little; that is not the future.
        -5..=1 => texts.just_now,
        ..-5 => texts.ahead,
        _ => texts.ago,
    };
    fill(template, &[("span", &span(seconds.unsigned_abs(), texts))])
}

/// A length of time in the largest unit that fits.
pub(crate) fn span(seconds: u64, texts: &Texts) -> String {
    let (count, one, many) = match seconds {
        seconds @ ..120 => (seconds, texts.second, texts.seconds),
        seconds @ ..7_200 => (seconds / 60, texts.minute, texts.minutes),
        seconds @ ..172_800 => (seconds / 3600, texts.hour, texts.hours),
        seconds => (seconds / 86_400, texts.day, texts.days),
    };
    format!("{count}\u{a0}{}", if count == 1 { one } else { many })
}

/// How long a balance lasts: hours below two days, tenths below ten days, then whole days.
pub(crate) fn days_left(days: f64, texts: &Texts) -> String {
    let hours = (days * 24.0).floor();
    match days {
        _ if hours < 1.0 => format!("<\u{a0}1\u{a0}{}", texts.hour),
        _ if hours < 2.0 => format!("1\u{a0}{}", texts.hour),
        days if days < 2.0 => format!("{hours:.0}\u{a0}{}", texts.hours),
        days if days < 10.0 => format!("{days:.1}\u{a0}{}", texts.days),
        days if days < 1000.0 => format!("{days:.0}\u{a0}{}", texts.days),
        _ => format!(">\u{a0}999\u{a0}{}", texts.days),
    }
}

/// `12,345` or `−1,234.5`; a fraction to two digits.
pub(crate) fn amount(amount: f64) -> String {
    // Beyond this a float skips whole numbers, and nobody can read a row of digits.
    if amount.abs() >= 1e15 || !amount.is_finite() {
        return format!("{amount:.2e}");
    }
    let digits = format!("{:.2}", amount.abs());
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let whole = digits.find('.').unwrap_or(digits.len());
    let mut text = String::new();
    if amount < 0.0 && digits != "0" {
        text.push('\u{2212}');
    }
    for (index, digit) in digits.char_indices() {
        if index > 0 && index < whole && (whole - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Language;
    use super::*;

    const ENGLISH: &Texts = Texts::of(Language::English);
    const CHINESE: &Texts = Texts::of(Language::Chinese);

    #[test]
    fn times_are_in_china_and_what_is_no_time_is_none() {
        // 2026-11-24 04:00 UTC.
        assert_eq!(china_time(1_795_492_800).unwrap(), "2026-11-24 12:00:00");
        for unix in [0, -1, i64::MIN, i64::MAX, 253_402_300_799] {
            assert_eq!(china_time(unix), None, "{unix}");
        }
    }

    #[test]
    fn spans_are_in_the_largest_unit_that_fits() {
        for (seconds, english, chinese) in [
            (0, "just now", "刚刚"),
            (-3, "just now", "刚刚"),
            (119, "119 seconds ago", "119 秒前"),
            (120, "2 minutes ago", "2 分钟前"),
            (7_200, "2 hours ago", "2 小时前"),
            (172_800, "2 days ago", "2 天前"),
            (-600, "in 10 minutes", "10 分钟后"),
        ] {
            assert_eq!(ago(seconds, ENGLISH).replace('\u{a0}', " "), english);
            assert_eq!(ago(seconds, CHINESE).replace('\u{a0}', " "), chinese);
        }
    }

    #[test]
    fn amounts_have_thousands_separators() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (7.0, "7"),
            (100.0, "100"),
            (1_000.0, "1,000"),
            (1_234_567.0, "1,234,567"),
            (-1_234.5, "\u{2212}1,234.5"),
            (0.001, "0"),
            (1e300, "1.00e300"),
        ] {
            assert_eq!(amount(number), text);
        }
    }

    #[test]
    fn days_left_are_as_exact_as_they_are_known() {
        for (days, text) in [
            (0.0, "< 1 hour"),
            (0.05, "1 hour"),
            (0.4, "9 hours"),
            (3.24, "3.2 days"),
            (25.4, "25 days"),
            (1e9, "> 999 days"),
        ] {
            assert_eq!(days_left(days, ENGLISH).replace('\u{a0}', " "), text);
        }
    }

    proptest! {
        #[test]
        fn every_number_has_a_text(number in any::<f64>(), seconds in any::<i64>()) {
            prop_assert!(!amount(number).is_empty());
            prop_assert!(!days_left(number, CHINESE).is_empty());
            prop_assert!(!ago(seconds, ENGLISH).is_empty());
            prop_assert!(china_time(seconds).is_none_or(|time| !time.is_empty()));
        }
    }
}
