//! Durations as Prometheus writes them: `60s`, `1m30s`, `500ms`, `0.5s`.

use std::time::Duration;

/// The longest that makes sense for a setting. Far below what the clocks can add, so no sum of two can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The units from the longest, as each may stand once and in this order. Unit: milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration.
///
/// # Errors
/// What is wrong with it, as the second half of a sentence.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a number and a unit (ms, s, m, h, d, w), for example 60s or 1m30s";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(format!("is empty; {FORM}"));
    }
    if text.starts_with('-') {
        return Err(format!("is negative; {FORM}"));
    }
    let mut units = UNITS.iter();
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| format!("has no unit; {FORM}"))?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let (_, millis) = units
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("is no duration; {FORM}"))?;
        let part = read_number(number)
            .ok_or_else(|| format!("is no duration; {FORM}"))?
            .checked_mul(u128::from(*millis))
            .and_then(|nanos| u64::try_from(nanos / 1000).ok())
            .map(Duration::from_nanos);
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= LONGEST)
            .ok_or("is longer than a year; choose less")?;
        rest = tail;
    }
    // 0 switches some settings off, which nobody means by a very small number.
    if total.is_zero() && text.contains(|c: char| ('1'..='9').contains(&c)) {
        return Err("is shorter than a nanosecond; choose more, or 0".to_owned());
    }
    Ok(total)
}

/// A decimal number in 1/1,000,000,000: `0.5` is 500,000,000. Digits beyond the ninth place are cut off.
fn read_number(text: &str) -> Option<u128> {
    let (whole, fraction) = match text.split_once('.') {
        None => (text, ""),
        // `1.` and `.5` are as good as `1.0` and `0.5`, but a point alone is nothing.
        Some(("", "")) => return None,
        Some((_, fraction)) if fraction.contains('.') => return None,
        Some((whole, fraction)) => (whole, fraction),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // More digits than any duration allowed has; keeps the product below within u128.
    if whole.len() > 18 {
        return Some(u128::from(u64::MAX) * 1_000_000_000);
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let nine: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    Some(whole * 1_000_000_000 + nine.parse::<u128>().ok()?)
}

/// Writes a duration the same way.
#[must_use]
pub(crate) fn display(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    // Weeks are for reading only: nobody thinks of 7d as 1w.
    for (unit, size) in &UNITS[1..] {
        if millis >= *size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        for (text, millis) in [
            ("60s", 60_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("0.5s", 500),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("15m", 900_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1w2d", 777_600_000),
            ("0", 0),
            ("0s", 0),
            ("0.000000000000s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bad_durations_say_what_to_write() {
        let form = "write a number and a unit (ms, s, m, h, d, w), for example 60s or 1m30s";
        for (text, what) in [
            ("", "is empty"),
            ("60", "has no unit"),
            ("1m30", "has no unit"),
            ("-5s", "is negative"),
            ("s", "is no duration"),
            ("5 s", "is no duration"),
            ("5x", "is no duration"),
            ("1s1m", "is no duration"),
            ("1s1s", "is no duration"),
            ("1..5s", "is no duration"),
            (".s", "is no duration"),
            ("1e9s", "is no duration"),
            ("NaN", "is no duration"),
            ("十s", "is no duration"),
        ] {
            assert_eq!(parse(text), Err(format!("{what}; {form}")), "{text}");
        }
        for text in ["0.0000000001s", "0.0000001ms", "0h0.00000000001m"] {
            let what = "is shorter than a nanosecond; choose more, or 0";
            assert_eq!(parse(text), Err(what.to_owned()), "{text}");
        }
        assert_eq!(parse("0.000000001s"), Ok(Duration::from_nanos(1)));
        for text in [
            "367d",
            "99999999999999999999999999w",
            "18446744073709551616ms",
        ] {
            assert_eq!(
                parse(text),
                Err("is longer than a year; choose less".to_owned()),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(millis in 0_u64..31_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&display(duration)), Ok(duration));
        }
    }
}
