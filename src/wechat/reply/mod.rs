//! What WeChat's replies mean. A reply is judged by its `errcode` and its shape alone: the content type says
//! `text/plain` at times, and the cloud call spells every key its own way.

mod json;
mod list;
mod small;
mod tolerant;

use serde_json::Value;

pub(super) use small::{
    read_api_quota, read_deliveries, read_errcode, read_function_result, read_quota, read_token,
};

use list::ListShape;
use tolerant::Tolerant;

use super::{AccountList, Api, CloudFunction, Error, ListLimits};

/// Why a reply is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// WeChat said no.
    Refused {
        errcode: i64,
        /// As sent: it can hold whatever a remote side likes to echo.
        errmsg: Box<str>,
    },
    /// WeChat said no to the cloud function, which ran.
    FunctionRefused {
        errcode: i64,
        /// As the function returned it.
        errmsg: Box<str>,
    },
    /// An encrypted reply: the Mini Program's API encryption (API 安全) is on.
    Encrypted,
    /// It can't be read; our own words, which quote nothing of it.
    Malformed(String),
}

impl Fault {
    fn malformed(what: &str) -> Self {
        Self::Malformed(what.to_owned())
    }
}

/// What any reply can say beside its content.
#[derive(Clone, Debug, Default)]
struct Head {
    errcode: Option<i64>,
    errmsg: Box<str>,
    iv: bool,
    data: bool,
    authtag: bool,
}

impl Head {
    fn of(reply: &Value) -> Self {
        let mut head = Self::default();
        for name in ["errcode", "errCode"] {
            head.errcode(small::number(reply, [name]).and_then(tolerant::Read::integer));
        }
        head.errmsg = small::text(reply, ["errmsg", "errMsg"], usize::MAX);
        let is_text = |name| reply.get(name).is_some_and(Value::is_string);
        head.iv = is_text("iv");
        head.data = is_text("data");
        head.authtag = is_text("authtag");
        head
    }

    /// Takes note of an errcode. The cloud call adds its own `errCode` to the API's; either may tell of a failure.
    fn errcode(&mut self, errcode: Option<i64>) {
        if errcode.is_some_and(|errcode| errcode != 0) {
            self.errcode = errcode;
        }
    }

    fn fault(self) -> Option<Fault> {
        if let Some(errcode) = self.errcode {
            let errmsg = self.errmsg;
            return Some(Fault::Refused { errcode, errmsg });
        }
        (self.iv && self.data && self.authtag).then_some(Fault::Encrypted)
    }
}

/// Reads an account list in either spelling.
///
/// Also reads what the exporter itself stored of one, because an [`Account`](super::Account) is stored under the API's
/// own names; keys that mean nothing here are passed over.
///
/// # Errors
/// When the reply carries an errcode, is encrypted, or is no account list. A row or a field that can't be read fails
/// nothing: the row is counted as invalid and the field is absent.
pub fn read_account_list(body: &[u8], limits: ListLimits) -> Result<AccountList, Error> {
    read_list(body, limits).map_err(|fault| Error::from_fault(Api::AccountGetall, fault, &[]))
}

/// Reads the account list in the reply to a cloud function's call.
///
/// # Errors
/// When the reply or the function's result carries an errcode, or the result is no account list.
pub fn read_function_reply(
    body: &[u8],
    function: &CloudFunction,
    limits: ListLimits,
) -> Result<AccountList, Error> {
    read_function_result(body, function, limits)
        .map_err(|fault| Error::from_fault(Api::InvokeCloudFunction, fault, &[]))
}

pub(super) fn read_list(body: &[u8], limits: ListLimits) -> Result<AccountList, Fault> {
    json::read(body, Tolerant(ListShape(limits)))
        .map_err(Fault::Malformed)?
        .account_list()
}

#[cfg(test)]
mod tests;
