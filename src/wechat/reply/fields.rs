//! Fields that may not be what they should be. WeChat's replies reach the exporter through several programs that each
//! spell a number their own way; a value that can't be read makes the field absent and fails nothing.

use serde::de::{Deserialize, Deserializer};
use serde_json::Value;

use crate::wechat::ServiceType;

/// Services kept of one account. The courier with the most documents 18; each one becomes a series.
const SERVICES_MAX: usize = 100;
/// A time beyond this is in milliseconds, or smaller parts of a second: the year 5138. Unit: seconds since 1970.
const LATEST_TIME: i64 = 100_000_000_000;

/// A text; empty where there is none. Whole numbers are texts too: an identifier may lose its quotes.
pub(in crate::wechat) fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Box<str>, D::Error> {
    Value::deserialize(field).map(text_of)
}

/// A number, also as a string.
pub(in crate::wechat) fn number<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<f64>, D::Error> {
    Value::deserialize(field).map(|value| number_of(&value))
}

/// A whole number, also as a string or a float.
pub(in crate::wechat) fn integer<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<i64>, D::Error> {
    Value::deserialize(field).map(|value| integer_of(&value))
}

/// Seconds since 1970; `None` for 0 and below, by which "never" is meant. What is read is read again as the same: a
/// stored snapshot passes here twice.
pub(in crate::wechat) fn time<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<i64>, D::Error> {
    let Some(mut time) = integer(field)? else {
        return Ok(None);
    };
    while time > LATEST_TIME {
        time /= 1000;
    }
    Ok((time > 0).then_some(time))
}

/// A boolean, also as a number.
pub(in crate::wechat) fn flag<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<bool>, D::Error> {
    let value = Value::deserialize(field)?;
    Ok(value.as_bool().or_else(|| Some(number_of(&value)? != 0.0)))
}

/// `service_type`: an array of objects; also of bare numbers, and either without the array.
pub(in crate::wechat) fn services<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Vec<ServiceType>, D::Error> {
    let services = match Value::deserialize(field)? {
        Value::Array(services) => services,
        service => vec![service],
    };
    let services = services.into_iter().filter_map(service);
    Ok(services.take(SERVICES_MAX).collect())
}

/// `None` where there is no number.
fn service(mut value: Value) -> Option<ServiceType> {
    let mut take = |keys: [&str; 2]| keys.iter().find_map(|key| Some(value.get_mut(key)?.take()));
    let service_name = take(["service_name", "serviceName"]);
    let service_type = take(["service_type", "serviceType"]).unwrap_or(value);
    Some(ServiceType {
        service_type: integer_of(&service_type)?,
        service_name: service_name.map(text_of).unwrap_or_default(),
    })
}

fn text_of(value: Value) -> Box<str> {
    match value {
        Value::String(text) => text.into(),
        Value::Number(number) if !number.is_f64() => number.to_string().into(),
        _ => Box::default(),
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => {
            let number: f64 = text.trim().parse().ok()?;
            number.is_finite().then_some(number)
        }
        _ => None,
    }
}

/// `None` where there is a fraction or `i64` has no such number.
fn integer_of(value: &Value) -> Option<i64> {
    /// The first whole number beyond `i64`.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let whole = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    whole.or_else(|| {
        let number = number_of(value)?;
        let fits = number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number);
        fits.then_some(number as i64)
    })
}
