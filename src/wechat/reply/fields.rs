//! Lenient readers of fields. WeChat's replies reach the exporter through several programs, each of which writes
//! numbers its own way. A value that can't be read makes the field absent and is not an error.
//!
//! Each field is taken as raw JSON and then read from it, so that a value of any size and kind costs only what is kept
//! of it.

use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::wechat::ServiceType;

/// The maximum number of services kept per account. Each becomes a series. No courier documents more than 18.
const SERVICES_MAX: usize = 100;
/// The maximum length of `service_type`. A longer one is read as no services. Unit: bytes.
const SERVICES_JSON_MAX: usize = 1 << 20;
/// The year 5138. A time beyond it is in milliseconds or smaller parts of a second. Unit: seconds since 1970.
const LATEST_TIME: i64 = 100_000_000_000;

fn json<'de, D: Deserializer<'de>>(field: D) -> Result<&'de str, D::Error> {
    <&RawValue>::deserialize(field).map(RawValue::get)
}

/// Returns a key. One with an escape, which no key that matters has, stays escaped, so that it can't be invalid.
pub(super) fn name(key: &RawValue) -> &str {
    key.get().trim_matches('"')
}

/// Reads a text, empty if there is none. Whole numbers count as text, because an identifier may lose its quotes.
pub(in crate::wechat) fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Box<str>, D::Error> {
    json(field).map(text_in)
}

pub(super) fn text_in(json: &str) -> Box<str> {
    let is_whole_number = || {
        json.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    };
    match json.strip_prefix('"') {
        // A string without escapes, like nearly all of them, is the text between the quotes.
        Some(text) if !text.contains('\\') => text.trim_end_matches('"').into(),
        None if is_whole_number() => json.into(),
        _ => serde_json::from_str(json).unwrap_or_default(),
    }
}

/// Reads a number, which may be written as a string.
pub(in crate::wechat) fn number<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<f64>, D::Error> {
    json(field).map(number_in)
}

pub(super) fn number_in(json: &str) -> Option<f64> {
    let number: f64 = without_quotes(json).parse().ok()?;
    number.is_finite().then_some(number)
}

fn without_quotes(json: &str) -> &str {
    json.trim_matches('"').trim()
}

/// Reads a whole number, which may be written as a string or a float.
pub(in crate::wechat) fn integer<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<i64>, D::Error> {
    json(field).map(integer_in)
}

/// Returns `None` if the number has a fraction or doesn't fit into `i64`.
pub(super) fn integer_in(json: &str) -> Option<i64> {
    let whole = without_quotes(json).parse().ok();
    whole.or_else(|| {
        let number = number_in(json)?;
        let whole = number as i64;
        (whole as f64 == number).then_some(whole)
    })
}

/// Reads seconds since 1970. Returns `None` for 0 and below, which mean "never". Reading the result again gives the
/// same time, because a stored snapshot passes through here twice.
pub(super) fn time_in(json: &str) -> Option<i64> {
    let mut time = integer_in(json)?;
    while time > LATEST_TIME {
        time /= 1000;
    }
    (time > 0).then_some(time)
}

/// Reads `service_type`: an array of objects or bare numbers, or a single one without the array.
pub(super) fn services_in(json: &str) -> Vec<ServiceType> {
    if json.len() > SERVICES_JSON_MAX {
        return Vec::new();
    }
    let Ok(array) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return service_in(json).into_iter().collect();
    };
    let services = array.into_iter().map(RawValue::get).filter_map(service_in);
    services.take(SERVICES_MAX).collect()
}

/// Returns `None` if the JSON names no service.
fn service_in(json: &str) -> Option<ServiceType> {
    #[derive(serde::Deserialize)]
    struct Service {
        #[serde(alias = "serviceType", default, deserialize_with = "integer")]
        service_type: Option<i64>,
        #[serde(alias = "serviceName", default, deserialize_with = "text")]
        service_name: Box<str>,
    }
    if !json.starts_with('{') {
        // A bare number is a service without a name.
        return integer_in(json).map(|service_type| ServiceType {
            service_type,
            ..ServiceType::default()
        });
    }
    let service: Service = serde_json::from_str(json).ok()?;
    Some(ServiceType {
        service_type: service.service_type?,
        service_name: service.service_name,
    })
}
