//! Durations, counts, URLs and names as operators write them. What is wrong with one is the second half of a sentence.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use super::SecretUrl;
use super::file::in_base;
use crate::wechat::ListLimits;

/// The longest duration of a setting. Far below what the clocks can add, so that no sum of two can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest one, but for zero, which switches some settings off.
const SHORTEST: Duration = Duration::from_millis(1);

const WEEK: f64 = 7.0 * DAY;
const DAY: f64 = 24.0 * HOUR;
const HOUR: f64 = 60.0 * MINUTE;
const MINUTE: f64 = 60.0;

/// All units, the longest first. Unit: seconds.
const UNITS: [(&str, f64); 10] = [
    ("w", WEEK),
    ("d", DAY),
    ("h", HOUR),
    ("m", MINUTE),
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("μs", 1e-6),
    ("ns", 1e-9),
];
/// From weeks to milliseconds.
const PROMETHEUS_UNITS: &[(&str, f64)] = UNITS.split_at(6).0;
/// Those of Go's `time.ParseDuration`: from hours to nanoseconds.
const GO_UNITS: &[(&str, f64)] = UNITS.split_at(2).1;

/// Reads a duration as Prometheus writes it: `60s`, `1m30s`, `500ms`, `0.5s`, `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = sum(text, PROMETHEUS_UNITS).ok_or(
        "is not a duration; write a number and a unit (ms, s, m, h, d, w), for example 60s or 1m30s",
    )?;
    let is_zero = !text.contains(|c: char| ('1'..='9').contains(&c));
    if is_zero || (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err("must be 0 or from a millisecond to a year".to_owned())
    }
}

/// The same for what can't be 0.
pub(super) fn duration_above_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Reads a duration as Go's `time.ParseDuration` does, not below zero; a bare number is nanoseconds.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    /// What Go's 64 bits hold, 292 years.
    const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);
    let duration = match text.parse::<u64>() {
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
        Err(_) => {
            let text = text.strip_prefix('+').unwrap_or(text);
            sum(text, GO_UNITS)?
        }
    };
    Some(duration).filter(|duration| *duration <= LONGEST)
}

/// The sum of numbers with units, of which there is at least one.
fn sum(text: &str, units: &[(&str, f64)]) -> Option<Duration> {
    let is_of_a_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let (number, tail) = rest.split_at(rest.find(|c| !is_of_a_number(c))?);
        let (unit, tail) = tail.split_at(tail.find(is_of_a_number).unwrap_or(tail.len()));
        let (_, seconds) = units.iter().find(|(name, _)| *name == unit)?;
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds);
        total = total.saturating_add(part.unwrap_or(Duration::MAX));
        if tail.is_empty() {
            return Some(total);
        }
        rest = tail;
    }
}

/// Writes a duration as Prometheus does. Unit: whole milliseconds.
#[must_use]
pub(crate) fn display_duration(duration: Duration) -> String {
    /// Weeks are for reading only: nobody thinks of 7d as 1w. Unit: milliseconds.
    const UNITS: [(&str, u128); 5] = [
        ("d", 24 * 3_600_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS {
        if millis >= size {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    text
}

/// Reads a count that can't be 0. What is more than anybody has is a slip of the finger.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000_000) => Ok(count),
        _ => Err("must be a whole number from 1 to 1000000000".to_owned()),
    }
}

/// Reads the path of the metrics page.
pub(super) fn telemetry_path(text: &str) -> Result<String, String> {
    /// Routes of the exporter's own.
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

/// For serde: a text of the file that is checked as it is read.
fn checked<'de, D: Deserializer<'de>, T, U: From<T>>(
    deserializer: D,
    check: fn(&str) -> Result<T, String>,
) -> Result<U, D::Error> {
    let text = String::deserialize(deserializer)?;
    check(&text).map(U::from).map_err(de::Error::custom)
}

/// Text that is not empty.
pub(super) fn read_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    checked(deserializer, text)
}

/// A name that becomes a label.
pub(super) fn read_name<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<String>,
{
    checked(deserializer, name)
}

/// A path; a relative one begins at the folder of the configuration file.
pub(super) fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    checked(deserializer, text).map(|path: String| in_base(&path))
}

/// A duration, or 0.
pub(super) fn read_duration<'de, D>(deserializer: D) -> Result<Option<Duration>, D::Error>
where
    D: Deserializer<'de>,
{
    checked(deserializer, duration)
}

/// A JSON pointer (RFC 6901).
pub(super) fn read_pointer<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    checked(deserializer, pointer)
}

/// A URL of a token server; it may hold a password or a key.
pub(super) fn read_web_url<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: From<SecretUrl>,
{
    checked(deserializer, web_url)
}

/// The URL of a Redis or Valkey server; it may hold a password.
pub(super) fn read_redis_url<'de, D>(deserializer: D) -> Result<SecretUrl, D::Error>
where
    D: Deserializer<'de>,
{
    checked(deserializer, redis_url)
}

/// Reads an appid: it names series, files and keys.
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

fn text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty; give it a value".to_owned());
    }
    // Neither a path nor an argument can hold one, and no other text needs one.
    if text.contains('\0') {
        return Err("contains a NUL character; remove it".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a name that becomes a label.
pub(super) fn name(name: &str) -> Result<String, String> {
    let most = ListLimits::default().label_bytes;
    if name.len() > most {
        return Err(format!("is longer than {most} bytes; shorten it"));
    }
    text(name)
}

fn pointer(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(
            "must be a JSON pointer that begins with /, for example /data/access_token".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// Reads a base URL of the API, and takes a slash off its end.
pub(super) fn api_url(text: &str) -> Result<String, String> {
    const FORM: &str =
        "must be http:// or https:// and a host, for example https://api.weixin.qq.com";
    let url = Url::parse(text.trim()).map_err(|_| FORM)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(FORM.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the host; the API's paths are added to it".to_owned());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn web_url(text: &str) -> Result<SecretUrl, String> {
    url_with_host(text, ["http", "https"])?;
    Ok(SecretUrl::new(text.trim()))
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
    Ok(SecretUrl::new(text.trim()))
}

fn url_with_host(text: &str, schemes: [&str; 2]) -> Result<Url, String> {
    let url = Url::parse(text.trim()).ok().filter(|url| {
        schemes.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty())
    });
    let [plain, tls] = schemes;
    url.ok_or_else(|| format!("must be a URL that begins with {plain}:// or {tls}:// and a host"))
}

/// The known word that was probably meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // Comparing takes the product of both lengths.
    if word.len() > 100 {
        return None;
    }
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|known| (strsim::levenshtein(&word, known), *known))
        .filter(|(edits, known)| *edits <= (known.len() / 3).min(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, known)| known)
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
            ("0.000000000000s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn bad_durations_are_refused() {
        for text in [
            "", "60", "1m30", "-5s", "s", "5 s", "5x", "1..5s", ".s", "1e9s", "NaN", "十s",
        ] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("for example 60s or 1m30s"), "{text}");
        }
        let many_digits = "9".repeat(400) + "s";
        for text in ["0.0000000001s", "0.9ms", "367d", &many_digits] {
            let error = duration(text).unwrap_err();
            assert!(error.contains("from a millisecond to a year"), "{text}");
        }
    }

    #[test]
    fn durations_of_the_web_configuration_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("1s", 1_000_000_000),
            ("+1h2m3.5s", 3_723_500_000_000),
            ("250ms", 250_000_000),
            ("3µs", 3000),
            ("0", 0),
            ("1000", 1000),
        ] {
            assert_eq!(
                go_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        }
        for text in [
            "",
            "+",
            "1x",
            "-1s",
            "s",
            ".s",
            "1.s.",
            "1e3s",
            "99999999999h",
            "1d",
        ] {
            assert_eq!(go_duration(text), None, "{text}");
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
            "redis://h/0?protocol=resp3",
            "rediss://h/#insecure",
            "redis://h/x",
            "redis://h/-1",
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
            let _ = go_duration(&text);
        }

        #[test]
        fn duration_that_is_written_is_read_back(millis in 0_u64..31_000_000_000) {
            let written = Duration::from_millis(millis);
            prop_assert_eq!(duration(&display_duration(written)), Ok(written));
        }
    }
}
