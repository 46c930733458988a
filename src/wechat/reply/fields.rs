//! Fields that may not be what they should be. WeChat's replies reach the exporter through several programs that each
//! spell a number their own way; a value that can't be read makes the field absent and fails nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::wechat::ServiceType;

/// Services kept of one account. The courier with the most documents 18; each one becomes a series.
const SERVICES_MAX: usize = 100;
/// A time beyond this is in milliseconds, or smaller parts of a second: the year 5138. Unit: seconds since 1970.
const LATEST_TIME: i64 = 100_000_000_000;

/// A JSON value as far as a field has a use for it.
enum Scalar<'a> {
    Integer(i64),
    /// Beyond `i64`.
    Unsigned(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bool(bool),
    /// Null, an array or an object.
    Nothing,
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Unsigned(value), Scalar::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nothing)
    }
}

impl Scalar<'_> {
    /// Also where it is a string.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => {
                let number: f64 = text.trim().parse().ok()?;
                number.is_finite().then_some(number)
            }
            Self::Bool(_) | Self::Nothing => None,
        }
    }

    /// Also where it is a string or ends in `.0`; `None` where there is a fraction or `i64` has no such number.
    fn integer(&self) -> Option<i64> {
        /// The first whole number beyond `i64`.
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        match self {
            Self::Integer(value) => return Some(*value),
            Self::Text(text) if let Ok(value) = text.trim().parse() => return Some(value),
            _ => {}
        }
        let number = self.number()?;
        let fits = number.fract() == 0.0 && (-BEYOND..BEYOND).contains(&number);
        fits.then_some(number as i64)
    }
}

/// A text; empty where there is none. Whole numbers are texts too: an identifier may lose its quotes.
pub(in crate::wechat) fn text<'de, D: Deserializer<'de>>(field: D) -> Result<Box<str>, D::Error> {
    Ok(match Scalar::deserialize(field)? {
        Scalar::Text(text) => text.into(),
        Scalar::Integer(number) => number.to_string().into(),
        Scalar::Unsigned(number) => number.to_string().into(),
        Scalar::Float(_) | Scalar::Bool(_) | Scalar::Nothing => Box::default(),
    })
}

/// A number, also as a string.
pub(in crate::wechat) fn number<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<f64>, D::Error> {
    Ok(Scalar::deserialize(field)?.number())
}

/// A whole number, also as a string or a float.
pub(in crate::wechat) fn integer<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Option<i64>, D::Error> {
    Ok(Scalar::deserialize(field)?.integer())
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
    Ok(match Scalar::deserialize(field)? {
        Scalar::Bool(flag) => Some(flag),
        scalar => scalar.number().map(|number| number != 0.0),
    })
}

/// `service_type`: an array of objects; also of bare numbers, and either without the array.
pub(in crate::wechat) fn services<'de, D: Deserializer<'de>>(
    field: D,
) -> Result<Vec<ServiceType>, D::Error> {
    let services = match Services::deserialize(field)? {
        Services::Several(services) => services,
        Services::One(service) => vec![service],
    };
    let services = services.into_iter().filter_map(Service::known);
    Ok(services.take(SERVICES_MAX).collect())
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Services<'a> {
    #[serde(borrow)]
    Several(Vec<Service<'a>>),
    One(Service<'a>),
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Service<'a> {
    Named(NamedService),
    #[serde(borrow)]
    Bare(Scalar<'a>),
}

#[derive(serde::Deserialize)]
#[serde(default)]
#[derive(Default)]
struct NamedService {
    #[serde(alias = "serviceType", deserialize_with = "integer")]
    service_type: Option<i64>,
    #[serde(alias = "serviceName", deserialize_with = "text")]
    service_name: Box<str>,
}

impl Service<'_> {
    /// `None` where there is no number.
    fn known(self) -> Option<ServiceType> {
        let (service_type, service_name) = match self {
            Self::Named(service) => (service.service_type, service.service_name),
            Self::Bare(number) => (number.integer(), Box::default()),
        };
        Some(ServiceType {
            service_type: service_type?,
            service_name,
        })
    }
}
