//! Durations as Go writes them.

use std::time::Duration;

/// A duration as Go's `time.ParseDuration` reads it, not below zero; a bare number is nanoseconds.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    /// What Go's 64 bits hold, 292 years.
    const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds)).filter(|duration| *duration <= LONGEST);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[end..];
        total = total.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
    }
    let is_empty = text.is_empty() || text == "+";
    (!is_empty && total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(go_duration("1s"), Some(Duration::from_secs(1)));
        assert_eq!(
            go_duration("1h2m3.5s"),
            Some(Duration::from_millis(3_723_500))
        );
        assert_eq!(go_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(go_duration("0"), Some(Duration::ZERO));
        assert_eq!(go_duration("1000"), Some(Duration::from_micros(1)));
        for bad in [
            "",
            "+",
            "1x",
            "-1s",
            "s",
            ".s",
            "1.s.",
            "1e3s",
            "99999999999h",
        ] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_duration_panics(text in "[0-9.a-zµ+-]{0,24}") {
            let _ = go_duration(&text);
        }
    }
}
