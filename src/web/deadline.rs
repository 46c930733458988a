//! The time by which a scrape must be answered.

use std::time::Duration;

use hyper::HeaderMap;

use crate::config::ScrapeConfig;

/// The header in which Prometheus sends its own timeout, in seconds.
const SCRAPE_TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// Returns how long a scrape with these headers may take.
///
/// A client may send anything. A header that isn't a positive number of seconds (`NaN`, `-1`, empty) is ignored, and
/// one beyond our own limit changes nothing. If the timeout is too short for the offset, half of the timeout is left.
pub(super) fn time_allowed(headers: &HeaderMap, scrape: ScrapeConfig) -> Duration {
    let Some(theirs) = headers
        .get(SCRAPE_TIMEOUT_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse::<f64>().ok())
        .filter(|seconds| *seconds > 0.0)
    else {
        return scrape.timeout;
    };
    // Infinity and 1e300 don't fit a `Duration`, and exceed our own limit anyway.
    let theirs = Duration::try_from_secs_f64(theirs).unwrap_or(Duration::MAX);
    let less_offset = theirs.checked_sub(scrape.timeout_offset);
    let less_offset = less_offset.filter(|left| !left.is_zero());
    less_offset.unwrap_or(theirs / 2).min(scrape.timeout)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::config::Config;

    fn own_limit() -> Duration {
        Config::new(Vec::new()).scrape.timeout
    }

    fn allowed(header: &[u8]) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(
            SCRAPE_TIMEOUT_HEADER,
            HeaderValue::from_bytes(header).unwrap(),
        );
        time_allowed(&headers, Config::new(Vec::new()).scrape)
    }

    #[test]
    fn answer_comes_before_prometheus_gives_up_and_within_our_own_limit() {
        for (header, millis) in [("3", 2500), ("0.75", 250), ("0.4", 200), ("0.5", 250)] {
            let expected = Duration::from_millis(millis);
            assert_eq!(allowed(header.as_bytes()), expected, "{header}");
        }
        for next_to_nothing in ["1e-9", "1e-10", "5e-324"] {
            let allowed = allowed(next_to_nothing.as_bytes());
            assert_eq!(allowed, Duration::ZERO, "{next_to_nothing}");
        }
        for long_or_no_number in [
            "60", "1e300", "inf", "1e19", "", "NaN", "-1", "-inf", "0", "ten", "1s", "0x10", "１",
        ] {
            let allowed = allowed(long_or_no_number.as_bytes());
            assert_eq!(allowed, own_limit(), "{long_or_no_number}");
        }
        assert_eq!(allowed(b"\xff\xfe"), own_limit());
        let none = time_allowed(&HeaderMap::new(), Config::new(Vec::new()).scrape);
        assert_eq!(none, own_limit());
    }
}
