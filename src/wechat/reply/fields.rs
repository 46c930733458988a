//! Fields that may not be what they should be. WeChat's replies reach the exporter through several programs that each
//! spell a number their own way; a value that can't be read makes the field absent and fails nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::wechat::ServiceType;

/// Services kept of one account. The courier with the most documents 18; each one becomes a series.
const SERVICES_MAX: usize = 100;
/// A time beyond this is in milliseconds, or smaller parts of a second: the year 5138. Unit: seconds since 1970.
const LATEST_TIME: i64 = 100_000_000_000;

/// A value as it was sent, whatever the field should be. Not `serde_json::Value`: a list has ten fields an account, and
/// most texts can be borrowed.
enum Field<'a> {
    Text(Cow<'a, str>),
    Number(Number),
    Boolean(bool),
    /// An object or an array, as far as it names services.
    Services(Vec<ServiceType>),
    Null,
}

/// The keys of a service.
#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    #[serde(alias = "serviceType")]
    ServiceType,
    #[serde(alias = "serviceName")]
    ServiceName,
    #[serde(other)]
    Other,
}

struct AnyField;

impl<'de> Deserialize<'de> for Field<'de> {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        field.deserialize_any(AnyField)
    }
}

impl<'de> Visitor<'de> for AnyField {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Field<'de>, E> {
        Ok(Field::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<'de>, E> {
        Ok(Field::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field<'de>, E> {
        Ok(Field::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<'de>, E> {
        Ok(Field::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field<'de>, E> {
        Ok(Number::from_f64(value).map_or(Field::Null, Field::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Field<'de>, E> {
        Ok(Field::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Field<'de>, A::Error> {
        let mut services = Vec::new();
        while let Some(field) = array.next_element::<Field<'_>>()? {
            services.extend(services_of(field));
        }
        Ok(Field::Services(services))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Field<'de>, A::Error> {
        let (mut service_type, mut service_name) = (None, Box::default());
        while let Some(key) = object.next_key()? {
            match key {
                Key::ServiceType => service_type = integer_of(&object.next_value()?),
                Key::ServiceName => service_name = text_of(object.next_value()?),
                Key::Other => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        let service = service_type.map(|service_type| ServiceType {
            service_type,
            service_name,
        });
        Ok(Field::Services(service.into_iter().collect()))
    }
}

/// A text; empty where there is none. Whole numbers are texts too: an identifier may lose its quotes.
pub(in crate::wechat) fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Box<str>, D::Error> {
    Field::deserialize(field).map(text_of)
}

/// A number, also as a string.
pub(in crate::wechat) fn number<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<f64>, D::Error> {
    Field::deserialize(field).map(|value| number_of(&value))
}

/// A whole number, also as a string or a float.
pub(in crate::wechat) fn integer<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<i64>, D::Error> {
    Field::deserialize(field).map(|value| integer_of(&value))
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
    Ok(match Field::deserialize(field)? {
        Field::Boolean(value) => Some(value),
        field => number_of(&field).map(|number| number != 0.0),
    })
}

/// `service_type`: an array of objects; also of bare numbers, and either without the array.
pub(in crate::wechat) fn services<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Vec<ServiceType>, D::Error> {
    let mut services = services_of(Field::deserialize(field)?);
    services.truncate(SERVICES_MAX);
    Ok(services)
}

/// A bare number is a service without a name.
fn services_of(field: Field<'_>) -> Vec<ServiceType> {
    let number = integer_of(&field);
    match field {
        Field::Services(services) => services,
        _ => number
            .map(|service_type| ServiceType {
                service_type,
                ..ServiceType::default()
            })
            .into_iter()
            .collect(),
    }
}

fn text_of(field: Field<'_>) -> Box<str> {
    match field {
        Field::Text(text) => text.into(),
        Field::Number(number) if !number.is_f64() => number.to_string().into(),
        _ => Box::default(),
    }
}

fn number_of(field: &Field<'_>) -> Option<f64> {
    match field {
        Field::Number(number) => number.as_f64(),
        Field::Text(text) => {
            let number: f64 = text.trim().parse().ok()?;
            number.is_finite().then_some(number)
        }
        _ => None,
    }
}

/// `None` where there is a fraction or `i64` has no such number.
fn integer_of(field: &Field<'_>) -> Option<i64> {
    /// The first whole number beyond `i64`.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let whole = match field {
        Field::Number(number) => number.as_i64(),
        Field::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    whole.or_else(|| {
        let number = number_of(field)?;
        let fits = number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number);
        fits.then_some(number as i64)
    })
}
