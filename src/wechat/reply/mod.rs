//! The meaning of WeChat's replies. Only the `errcode` and the shape of a reply count: the content type is sometimes
//! `text/plain`, and the cloud call spells every key differently.

mod fields;
mod rows;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

pub(super) use fields::{integer, number, text};
use fields::{integer_in, name, number_in, text_in};
use rows::Rows;

use super::{
    AccessToken, AccountList, Api, ApiQuota, CloudFunction, Delivery, Error, ListLimits, Symptom,
};

/// The maximum length of a token, longer than any real one. WeChat says that 512 characters are enough for now.
const TOKEN_BYTES_MAX: usize = 4096;
/// The maximum lifetime of a token (`getStableAccessToken`, seen 2026-11). Unit: seconds.
const TOKEN_LIFETIME: f64 = 7200.0;

/// The maximum number of a reply's fields that are kept beside the list. WeChat sends 5 at most.
const FIELDS_MAX: usize = 100;

/// The length of the shortest row that is an account. No reply has more rows, whatever count it announces.
const ROW_BYTES_MIN: usize = 30;

/// The reason why a reply can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// WeChat refused the call.
    Refused {
        errcode: i64,
        /// The message as sent. The remote side may echo anything in it, even secrets.
        errmsg: Box<str>,
        /// Whether the error is the cloud function's. WeChat then ran it, so the exporter's own call was good.
        by_function: bool,
    },
    /// API encryption (API安全) is on.
    Encrypted,
    Unreadable {
        /// The exporter's own words, which never quote the reply.
        what: String,
        symptom: Option<Symptom>,
    },
}

impl Fault {
    pub(super) fn unreadable(what: impl Into<String>) -> Self {
        Self::Unreadable {
            what: what.into(),
            symptom: None,
        }
    }
}

/// A reply: the account list, if it is asked for, and its other fields as raw JSON.
#[derive(Default)]
struct Reply<'a> {
    list: Option<AccountList>,
    fields: HashMap<&'a str, &'a RawValue>,
}

/// Reads a reply of this length, with the limits on the account list if that is asked for.
struct ReplyReader {
    limits: Option<ListLimits>,
    bytes: usize,
}

impl<'de> Visitor<'de> for ReplyReader {
    type Value = Reply<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reply")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reply<'de>, A::Error> {
        let mut reply = Reply::default();
        while let Some(key) = map.next_key()? {
            let name = name(key);
            match self.limits {
                Some(limits) if name == "list" => {
                    let count = usize::try_from(reply.count().unwrap_or(0)).unwrap_or(0);
                    let announced = count.min(self.bytes / ROW_BYTES_MIN);
                    reply.list = map.next_value_seed(Rows { limits, announced })?;
                }
                _ if reply.fields.len() < FIELDS_MAX => {
                    reply.fields.insert(name, map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(reply)
    }
}

impl<'a> Reply<'a> {
    /// Reads a reply to a call for something other than the account list.
    fn read(body: &'a str) -> Result<Self, Fault> {
        Self::read_with(body, None)
    }

    /// Reads a reply. A reply that reports a failure is an error.
    fn read_with(body: &'a str, limits: Option<ListLimits>) -> Result<Self, Fault> {
        let body = body.trim_start_matches('\u{feff}').trim_start();
        if body.starts_with('<') {
            return Err(Fault::Unreadable {
                what: "it is a web page and not JSON".to_owned(),
                symptom: Some(Symptom::Intercepted),
            });
        }
        if !body.starts_with('{') {
            return Err(Fault::unreadable("it is not a JSON object"));
        }
        let bytes = body.len();
        let mut json = serde_json::Deserializer::from_str(body);
        let reply = json
            .deserialize_map(ReplyReader { limits, bytes })
            .and_then(|reply| json.end().map(|()| reply))
            .map_err(|error| not_read(&error, body))?;
        // The cloud call's SDK adds an errcode of its own to the API's. Either may report a failure.
        let mut errcodes = ["errcode", "errCode"].into_iter();
        let errcode =
            errcodes.find_map(|name| integer_in(reply.field(name)?).filter(|code| *code != 0));
        if let Some(errcode) = errcode {
            let mut errmsgs = ["errmsg", "errMsg"].into_iter();
            let errmsg = errmsgs
                .find_map(|name| Some(text_in(reply.field(name)?)).filter(|text| !text.is_empty()));
            return Err(Fault::Refused {
                errcode,
                errmsg: errmsg.unwrap_or_default(),
                by_function: false,
            });
        }
        if ["iv", "data", "authtag"]
            .iter()
            .all(|name| reply.field(name).is_some())
        {
            return Err(Fault::Encrypted);
        }
        Ok(reply)
    }

    /// Returns the number of rows that the reply announces.
    fn count(&self) -> Option<i64> {
        integer_in(self.field("count")?)
    }

    /// Returns the JSON of a field, `None` if it is absent or null.
    fn field(&self, name: &str) -> Option<&'a str> {
        let json = self.fields.get(name)?.get();
        Some(json).filter(|json| *json != "null")
    }

    /// Returns the value of a field, `None` if it is absent or not of the type that it must have.
    fn typed<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.field(name)?).ok()
    }
}

/// Describes a JSON error without quoting the body, which could hold a token.
fn not_read(error: &serde_json::Error, body: &str) -> Fault {
    Fault::unreadable(if error.is_eof() {
        let length = body.len();
        format!("it ends in the middle of the JSON, after {length} bytes")
    } else {
        let (line, column) = (error.line(), error.column());
        format!("it is not the JSON that was asked for, at line {line}, column {column}")
    })
}

/// Converts a reply to text. Some shops' remarks contain control characters, which JSON doesn't allow, or bytes that
/// are not UTF-8. The former become spaces, the latter replacement characters.
fn as_text(body: &[u8]) -> Cow<'_, str> {
    // For valid text this is several times faster than `from_utf8_lossy` alone.
    let text =
        std::str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    // The loop is a hundred times faster without an early exit, and it would hardly ever exit early.
    if text.bytes().fold(false, |any, byte| any | (byte < b' ')) {
        return Cow::Owned(text.replace(|c: char| c < ' ', " "));
    }
    text
}

/// Reads an account list in either spelling or, with a `function`, the reply to a call of it.
///
/// Also reads the list in a stored snapshot, because an account is stored under the API's own names. Unknown keys
/// are ignored.
///
/// # Errors
/// When the reply or the function's result carries an errcode, is encrypted, or is not an account list. A row or a field
/// that can't be read is not an error: the row is counted as invalid and the field is absent.
pub fn read_account_list(
    body: &[u8],
    function: Option<&CloudFunction>,
    limits: ListLimits,
) -> Result<AccountList, Error> {
    read_list(body, function, limits)
        .map_err(|fault| Error::from_fault(Api::of_account_list(function), fault, &[]))
}

pub(super) fn read_list(
    body: &[u8],
    function: Option<&CloudFunction>,
    limits: ListLimits,
) -> Result<AccountList, Fault> {
    let body = as_text(body);
    match function {
        None => read_list_text(&body, limits),
        Some(function) => read_function_result(&body, function, limits),
    }
}

fn read_list_text(body: &str, limits: ListLimits) -> Result<AccountList, Fault> {
    let reply = Reply::read_with(body, Some(limits))?;
    let count = reply.count();
    let list = reply.list.or((count == Some(0)).then(AccountList::default));
    let list = list.ok_or_else(|| Fault::unreadable("it has no `list`"))?;
    Ok(AccountList { count, ..list })
}

/// Reads the account list in a cloud function's result, which is a JSON text in the reply's `resp_data`.
fn read_function_result(
    body: &str,
    function: &CloudFunction,
    limits: ListLimits,
) -> Result<AccountList, Fault> {
    let result: Option<String> = Reply::read(body)?.typed("resp_data");
    let result = result.ok_or_else(|| Fault::unreadable("it has no `resp_data`"))?;
    let result = as_text(result.as_bytes());
    list_at(function.pointer.as_deref(), &result, limits).map_err(of_function)
}

/// Reads the account list at the configured pointer in a function's result.
fn list_at(pointer: Option<&str>, result: &str, limits: ListLimits) -> Result<AccountList, Fault> {
    let Some(pointer) = pointer else {
        return read_list_text(result, limits);
    };
    match at_pointer(result, pointer) {
        Some(text) if text.starts_with('"') => {
            let text: String =
                serde_json::from_str(text).map_err(|error| not_read(&error, text))?;
            read_list_text(&as_text(text.as_bytes()), limits)
        }
        Some(list) => read_list_text(list, limits),
        None => {
            // If the function returned an error or no JSON, that says more.
            Reply::read(result)?;
            let what = format!("it has nothing at the configured pointer {pointer:?}");
            Err(Fault::unreadable(what))
        }
    }
}

/// Returns the raw JSON at a pointer (RFC 6901). Parsing it here could fail on odd values that the list may contain.
fn at_pointer<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
    let mut json = json.trim_ascii();
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        let value = if json.starts_with('[') {
            let array: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            *array.get(key.parse::<usize>().ok()?)?
        } else {
            let mut object: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            object.remove(&key)?
        };
        json = value.get();
    }
    Some(json)
}

/// Marks a fault as the cloud function's.
fn of_function(mut fault: Fault) -> Fault {
    match &mut fault {
        Fault::Refused { by_function, .. } => *by_function = true,
        Fault::Unreadable { what, symptom } => {
            what.insert_str(0, "the cloud function's result: ");
            *symptom = Some(Symptom::FunctionResult);
        }
        Fault::Encrypted => {}
    }
    fault
}

/// Returns the errcode and errmsg, if any, of a reply whose HTTP status already reports a failure.
pub(super) fn read_errcode(body: &[u8]) -> Option<Fault> {
    match Reply::read(&as_text(body)) {
        Err(fault @ Fault::Refused { .. }) => Some(fault),
        _ => None,
    }
}

/// Reads a token that was requested at `asked`.
pub(super) fn read_token(body: &[u8], asked: SystemTime) -> Result<AccessToken, Fault> {
    let body = as_text(body);
    let reply = Reply::read(&body)?;
    let token: Option<String> = reply.typed("access_token");
    let token = token.ok_or_else(|| Fault::unreadable("it has no `access_token`"))?;
    let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_token || token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(Fault::unreadable(
            "its `access_token` is empty, too long or has characters that no token has",
        ));
    }
    // A token that has just arrived is valid for at least a moment.
    let seconds = reply.field("expires_in").and_then(number_in);
    let seconds = seconds.unwrap_or(TOKEN_LIFETIME);
    let lifetime = Duration::from_secs_f64(seconds.clamp(1.0, TOKEN_LIFETIME));
    Ok(AccessToken {
        secret: token.into(),
        expires: Some(asked + lifetime),
    })
}

/// Reads the couriers, without those that can't be read or have no id or too long a text.
pub(super) fn read_deliveries(body: &[u8], limits: ListLimits) -> Result<Vec<Delivery>, Fault> {
    let body = as_text(body);
    let reply = Reply::read(&body)?;
    let data = reply.field("data").unwrap_or_default();
    let rows: Vec<&RawValue> =
        serde_json::from_str(data).map_err(|_| Fault::unreadable("it has no array `data`"))?;
    let deliveries = rows
        .into_iter()
        .filter_map(|row| serde_json::from_str::<Delivery>(row.get()).ok());
    let is_short = |text: &str| text.len() <= limits.label_bytes;
    Ok(deliveries
        .filter(|delivery| !delivery.delivery_id.is_empty())
        .filter(|delivery| is_short(&delivery.delivery_id) && is_short(&delivery.delivery_name))
        .collect())
}

/// Reads a live balance. Returns `None` if there is none.
pub(super) fn read_quota(body: &[u8]) -> Result<Option<f64>, Fault> {
    let body = as_text(body);
    Ok(Reply::read(&body)?.field("quota_num").and_then(number_in))
}

/// Reads WeChat's own quota figures for one API.
pub(super) fn read_api_quota(body: &[u8]) -> Result<ApiQuota, Fault> {
    let body = as_text(body);
    let quota: Option<ApiQuota> = Reply::read(&body)?.typed("quota");
    let quota = quota.ok_or_else(|| Fault::unreadable("it has no `quota`"))?;
    // The documentation's own samples show a limit of 0, which doesn't say how many calls are allowed.
    let daily_limit = quota.daily_limit.filter(|limit| *limit > 0.0);
    Ok(ApiQuota {
        daily_limit,
        remain: quota.remain.filter(|_| daily_limit.is_some()),
        ..quota
    })
}

#[cfg(test)]
mod tests;
