//! The replies that are small enough to be read into a JSON value first.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeSeed;
use serde_json::Value;

use super::list::ListShape;
use super::tolerant::{Number, Read, Text, Tolerant};
use super::{Fault, Head, json, read_list};
use crate::wechat::{AccessToken, AccountList, ApiQuota, CloudFunction, Delivery, ListLimits};

/// Longer than any token. WeChat says that 512 characters must be enough for now.
const TOKEN_BYTES_MAX: usize = 4096;
/// Longer than any token lives. Unit: seconds.
const EXPIRES_IN_MAX: f64 = 86_400.0 * 365.0;

#[derive(Clone, Copy)]
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}

/// The reply's object, if it tells of no failure.
fn object(body: &[u8]) -> Result<Value, Fault> {
    let reply = json::read(body, AnyValue).map_err(Fault::Malformed)?;
    if !reply.is_object() {
        return Err(Fault::malformed("it is JSON but no object"));
    }
    match Head::of(&reply).fault() {
        Some(fault) => Err(fault),
        None => Ok(reply),
    }
}

/// The first of the names that has a number.
pub(super) fn number<const N: usize>(object: &Value, names: [&str; N]) -> Option<Read> {
    names
        .iter()
        .filter_map(|name| object.get(name))
        .find_map(|value| Tolerant(Number).deserialize(value).ok().flatten())
}

/// The first of the names that has a text.
pub(super) fn text<const N: usize>(object: &Value, names: [&str; N], bytes: usize) -> Box<str> {
    names
        .iter()
        .filter_map(|name| object.get(name))
        .filter_map(|value| Tolerant(Text { bytes }).deserialize(value).ok())
        .map(|kept| kept.text)
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

/// The errcode and errmsg of a reply whose HTTP status tells of a failure already.
pub(in crate::wechat) fn read_errcode(body: &[u8]) -> Option<Fault> {
    match object(body) {
        Err(fault @ Fault::Refused { .. }) => Some(fault),
        _ => None,
    }
}

/// A token that was asked for at `asked`.
pub(in crate::wechat) fn read_token(body: &[u8], asked: SystemTime) -> Result<AccessToken, Fault> {
    let reply = object(body)?;
    let token = ["access_token", "accessToken"]
        .iter()
        .find_map(|name| reply.get(name).and_then(Value::as_str))
        .ok_or_else(|| Fault::malformed("it has no `access_token`"))?;
    if token.is_empty() {
        return Err(Fault::malformed("its `access_token` is empty"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Fault::malformed("its `access_token` is too long to be one"));
    }
    if token.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Fault::malformed(
            "its `access_token` has spaces or line breaks in it",
        ));
    }
    let expires = number(&reply, ["expires_in", "expiresIn"]).and_then(|seconds| {
        // A token that just came is good for a moment at least.
        let seconds = seconds.float().clamp(1.0, EXPIRES_IN_MAX);
        asked.checked_add(Duration::from_secs_f64(seconds))
    });
    Ok(AccessToken {
        secret: token.into(),
        expires,
    })
}

/// The account list in a cloud function's result, which is a JSON text in the reply's `resp_data`.
pub(in crate::wechat) fn read_function_result(
    body: &[u8],
    function: &CloudFunction,
    limits: ListLimits,
) -> Result<AccountList, Fault> {
    let mut reply = object(body)?;
    let result = reply.as_object_mut().and_then(|reply| {
        reply
            .remove("resp_data")
            .or_else(|| reply.remove("respData"))
    });
    let Some(result) = result.filter(|result| !result.is_null()) else {
        return Err(Fault::malformed("it has no `resp_data`"));
    };
    let Some(pointer) = &function.pointer else {
        return match &result {
            // The common case: the list is read straight from the text.
            Value::String(text) => read_list(text.as_bytes(), limits),
            result => list_of(result, limits),
        }
        .map_err(|fault| of_function(fault, &result));
    };
    let result = match result {
        Value::String(text) => json::read(text.as_bytes(), AnyValue)
            .map_err(|error| Fault::Malformed(format!("the cloud function's result: {error}")))?,
        result => result,
    };
    let Some(list) = result.pointer(pointer) else {
        let fault = Head::of(&result).fault();
        return Err(match fault {
            Some(fault) => of_function(fault, &result),
            None => Fault::Malformed(format!(
                "the cloud function's result has nothing at the configured pointer {pointer:?}"
            )),
        });
    };
    match list {
        Value::String(text) => read_list(text.as_bytes(), limits),
        list => list_of(list, limits),
    }
    .map_err(|fault| of_function(fault, list))
}

fn list_of(value: &Value, limits: ListLimits) -> Result<AccountList, Fault> {
    Tolerant(ListShape(limits))
        .deserialize(value)
        .map_err(|_| Fault::malformed("it is no account list"))?
        .account_list()
}

/// Says what most likely happened in the function.
fn of_function(fault: Fault, result: &Value) -> Fault {
    let what = match fault {
        Fault::Malformed(what) => what,
        Fault::Refused { errcode, errmsg } => return Fault::FunctionRefused { errcode, errmsg },
        fault => return fault,
    };
    let parsed = result
        .as_str()
        .and_then(|text| json::read(text.as_bytes(), AnyValue).ok());
    let hint = match parsed.as_ref().unwrap_or(result) {
        Value::Object(result) if result.is_empty() => {
            "; a JavaScript Error that the function returns looks like that, so let it return `errCode` and `errMsg`"
        }
        Value::Object(result) if result.get("result").is_some_and(Value::is_string) => {
            "; WeChat answered the function with a text that is no JSON"
        }
        Value::Object(result) if result.contains_key("data") || result.contains_key("result") => {
            "; where the function wraps it, set `cloud_function.pointer`"
        }
        Value::Null => "; the function returned nothing",
        _ => "",
    };
    Fault::Malformed(format!("the cloud function's result: {what}{hint}"))
}

/// The couriers.
pub(in crate::wechat) fn read_deliveries(
    body: &[u8],
    limits: ListLimits,
) -> Result<Vec<Delivery>, Fault> {
    let reply = object(body)?;
    let bytes = limits.label_bytes;
    let rows = match reply.get("data") {
        Some(Value::Array(rows)) => rows.as_slice(),
        None | Some(Value::Null)
            if number(&reply, ["count"]).and_then(Read::integer) == Some(0) =>
        {
            &[]
        }
        None | Some(Value::Null) => return Err(Fault::malformed("it has no `data`")),
        Some(_) => return Err(Fault::malformed("its `data` is no array")),
    };
    let deliveries = rows.iter().map(|row| Delivery {
        delivery_id: text(row, ["delivery_id", "deliveryId"], bytes),
        delivery_name: text(row, ["delivery_name", "deliveryName"], bytes),
        can_get_quota: flag(row, ["can_get_quota", "canGetQuota"]),
    });
    Ok(deliveries
        .filter(|delivery| !delivery.delivery_id.is_empty())
        .collect())
}

fn flag<const N: usize>(object: &Value, names: [&str; N]) -> Option<bool> {
    names.iter().find_map(|name| match object.get(name) {
        Some(Value::Bool(flag)) => Some(*flag),
        _ => number(object, [name]).map(|number| number.float() != 0.0),
    })
}

/// A live balance; `None` where there is none.
pub(in crate::wechat) fn read_quota(body: &[u8]) -> Result<Option<f64>, Fault> {
    Ok(number(&object(body)?, ["quota_num", "quotaNum"]).map(Read::float))
}

/// WeChat's own figures of one API.
pub(in crate::wechat) fn read_api_quota(body: &[u8]) -> Result<ApiQuota, Fault> {
    let reply = object(body)?;
    let quota = reply
        .get("quota")
        .filter(|quota| quota.is_object())
        .ok_or_else(|| Fault::malformed("it has no `quota`"))?;
    let figure = |names: [&str; 2]| number(quota, names).map(Read::float);
    // A limit of 0 is what the documentation's own samples show; it says nothing of how many calls are allowed.
    let daily_limit = figure(["daily_limit", "dailyLimit"]).filter(|limit| *limit > 0.0);
    Ok(ApiQuota {
        daily_limit,
        used: figure(["used", "used"]),
        remain: daily_limit.and_then(|_| figure(["remain", "remain"])),
    })
}
