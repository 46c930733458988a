//! Durations, URLs and names as operators write them. Each error is the second half of a sentence.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use super::SecretUrl;

/// The longest duration of a setting, far below the range of the clocks, so that no sum of two can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest duration other than zero, which switches some settings off.
const SHORTEST: Duration = Duration::from_millis(1);

/// Prometheus's units of time. Unit: seconds.
const UNITS: [(&str, f64); 6] = [
    ("w", 7.0 * 86_400.0),
    ("d", 86_400.0),
    ("h", 3600.0),
    ("m", 60.0),
    ("s", 1.0),
    ("ms", 1e-3),
];

/// Reads a duration as Prometheus writes it: `60s`, `1m30s`, `500ms`, `0.5s`, `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = sum(text).ok_or(
        "is not a duration; write a number and a unit (ms, s, m, h, d, w), for example 60s or 1m30s",
    )?;
    if duration.is_zero() || (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be 0 or from a millisecond to a year".to_owned())
    }
}

/// Reads a duration that can't be 0.
pub(super) fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Returns the sum of one or more numbers with units.
fn sum(text: &str) -> Option<Duration> {
    let is_of_a_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let (number, tail) = rest.split_at(rest.find(|c| !is_of_a_number(c))?);
        let (unit, tail) = tail.split_at(tail.find(is_of_a_number).unwrap_or(tail.len()));
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds);
        total = total.saturating_add(part.unwrap_or(Duration::MAX));
        if tail.is_empty() {
            return Some(total);
        }
        rest = tail;
    }
}

/// Reads the path of the metrics page.
pub(super) fn telemetry_path(text: &str) -> Result<String, String> {
    /// The exporter's own routes.
    const ROUTES: [&str; 2] = ["/probe", "/sd"];
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#%\"<>\\^`{|}".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(is_plain) {
        return Err("must begin with / and be a plain path, for example /metrics".to_owned());
    }
    if ROUTES.contains(&text) || text.starts_with("/-/") {
        return Err("is a path of the exporter's own; choose another".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads an appid, which becomes part of the names of series, files and keys.
pub(super) fn appid(text: &str) -> Result<String, String> {
    let is_of_an_appid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(is_of_an_appid) {
        return Ok(text.to_owned());
    }
    Err(
        "must be 1 to 64 of A-Z, a-z, 0-9, _ and -; the console shows it under 开发管理 → 开发设置 (AppID)"
            .to_owned(),
    )
}

/// Reads a base URL of the API.
pub(super) fn api_url(text: &str) -> Result<Url, String> {
    let url = url_with_host(text, ["http", "https"])?;
    // The URL must have no login, query or fragment, and / as its path.
    if url.as_str() != format!("{}/", url.origin().ascii_serialization()) {
        return Err(
            "must end after the host and have no password; for example https://api.weixin.qq.com"
                .to_owned(),
        );
    }
    Ok(url)
}

fn web_url(text: &str) -> Result<SecretUrl, String> {
    url_with_host(text, ["http", "https"]).map(SecretUrl::new)
}

fn redis_url(text: &str) -> Result<SecretUrl, String> {
    let url = url_with_host(text, ["redis", "rediss"])?;
    let database = url.path().trim_start_matches('/');
    let is_number = database.bytes().all(|byte| byte.is_ascii_digit());
    let is_database = database.is_empty() || (is_number && database.parse::<u32>().is_ok());
    if !is_database || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "must end after the host or with the number of a database, as in redis://redis.internal:6379/2"
                .to_owned(),
        );
    }
    Ok(SecretUrl::new(url))
}

fn url_with_host(text: &str, schemes: [&str; 2]) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| {
        schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty())
    });
    let [plain, tls] = schemes;
    url.ok_or_else(|| format!("must be a URL that begins with {plain}:// or {tls}:// and a host"))
}

/// Deserializes a text of the file and checks it.
fn checked<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    check: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    check(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

pub(crate) fn read_duration<'de, D: Deserializer<'de>, T: From<Duration>>(
    deserializer: D,
) -> Result<T, D::Error> {
    checked(deserializer, duration).map(T::from)
}

pub(super) fn read_api_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Url>>, D::Error> {
    checked(deserializer, api_url).map(|url| Some(vec![url]))
}

pub(super) fn read_web_url<'de, D: Deserializer<'de>, T: From<SecretUrl>>(
    deserializer: D,
) -> Result<T, D::Error> {
    checked(deserializer, web_url).map(T::from)
}

pub(super) fn read_redis_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<SecretUrl, D::Error> {
    checked(deserializer, redis_url)
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
            (".5s", 500),
            ("1.5h", 5_400_000),
            ("1w2d", 777_600_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "", "60", "1m30", "-5s", "s", "5 s", "5x", "1..5s", ".s", "1e9s", "NaN", "十s",
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("for example 60s or 1m30s"), "{text}");
        }
        let many_digits = "9".repeat(400) + "s";
        for text in ["0.9ms", "367d", &many_digits] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("from a millisecond to a year"), "{text}");
        }
    }

    #[test]
    fn redis_urls_that_are_not_understood_are_refused() {
        for text in [
            "redis://h",
            "redis://h/",
            "rediss://user:pass@h:6380/15",
            "redis://[::1]:6379/0",
        ] {
            assert!(redis_url(text).is_ok(), "{text}");
        }
        for text in [
            "redis://h/?db=2",
            "rediss://h/#insecure",
            "redis://h/x",
            "redis://h/+1",
            "redis://h/1/2",
            "redis://h/99999999999",
            "redis:///0",
            "redis+unix:///run/redis.sock",
            "http://h",
            "h:6379",
        ] {
            assert!(redis_url(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_duration_panics(text in "\\PC{0,24}|[0-9.a-zµ+-]{0,24}") {
            let _ = duration(&text);
        }
    }
}
