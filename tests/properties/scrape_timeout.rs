//! `X-Prometheus-Scrape-Timeout-Seconds`.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use wechat_logistics_exporter::config::ScrapeConfig;
use wechat_logistics_exporter::web::deadline::time_allowed;

const HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// A client's own timeout, as it writes it.
pub fn check(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    let theirs = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<f64>().ok())
        .filter(|seconds| *seconds > 0.0);
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(HEADER), value);

    for (timeout, offset) in [(10_000, 500), (1, 0), (31_622_400_000, 31_622_400_000)] {
        let scrape = ScrapeConfig {
            timeout: Duration::from_millis(timeout),
            timeout_offset: Duration::from_millis(offset),
            ..ScrapeConfig::default()
        };
        let allowed = time_allowed(&headers, scrape);
        assert!(!allowed.is_zero(), "no time at all");
        assert!(allowed <= scrape.timeout, "longer than our own limit");
        match theirs {
            None => assert_eq!(allowed, scrape.timeout, "what says nothing changes nothing"),
            // Times are whole nanoseconds.
            Some(theirs) => assert!(
                allowed.as_secs_f64() <= theirs + 1e-9,
                "{allowed:?} is longer than the client waits"
            ),
        }
    }
}
