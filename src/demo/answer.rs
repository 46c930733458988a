//! What WeChat says: errmsg texts, ids of requests, content types.

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::dice::Dice;

/// One answer, before it is put on the wire.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// WeChat sends JSON under either of two types.
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    /// Came through Cloud Run's open-interface service.
    pub(super) open_interface: bool,
}

/// As the gateway in front of WeChat's servers shows itself.
pub(super) const GATEWAY_PAGE: &str = "<html>\r\n<head><title>Error</title></head>\r\n<body>\r\n\
    <center><h1>Error</h1></center>\r\n<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n";

/// As a portal or a proxy of the operator's own network shows itself.
pub(super) const PORTAL_PAGE: &str = "<!DOCTYPE html><html lang=\"zh-CN\"><head><title>网络认证</title></head>\
    <body><h1>请先登录网络</h1></body></html>";

impl Answer {
    /// A call that went well. The body is the API's own JSON.
    pub(super) fn good(body: impl Into<Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "application/json; encoding=utf-8",
            body: body.into(),
            open_interface: false,
        }
    }

    /// A call that failed: HTTP 200 and an errcode.
    pub(super) fn refused(errcode: i64, rid: &str) -> Self {
        let errmsg = format!("{} rid: {rid}", errmsg(errcode));
        Self::good(json!({"errcode": errcode, "errmsg": errmsg}).to_string())
    }

    /// Something that is no JSON.
    pub(super) fn page(status: StatusCode, page: &'static str) -> Self {
        Self {
            status,
            content_type: "text/html",
            body: Bytes::from_static(page.as_bytes()),
            open_interface: false,
        }
    }

    /// No body at all.
    pub(super) fn bare(status: StatusCode) -> Self {
        Self::page(status, "")
    }

    /// The answer of an app that has API encryption switched on.
    pub(super) fn encrypted(dice: Dice) -> Self {
        let encrypted = json!({
            "iv": dice.with(1).text(16),
            "data": dice.with(2).text(512),
            "authtag": dice.with(3).text(24),
        });
        Self::good(encrypted.to_string())
    }
}

/// The result of a cloud function, as `/tcb/invokecloudfunction` hands it on: JSON inside a string.
pub(super) fn function_result(resp_data: &str) -> String {
    let resp_data = Value::from(resp_data);
    format!(r#"{{"errcode":0,"errmsg":"ok","resp_data":{resp_data}}}"#)
}

/// What the sample function returns when its own call was refused.
pub(super) fn function_failure(errcode: i64, rid: &str) -> String {
    let message = format!(
        "openapi.logistics.getAllAccount:fail {} rid: {rid}",
        errmsg(errcode)
    );
    function_result(&json!({"errCode": errcode, "errMsg": message}).to_string())
}

/// Whether the call inside the cloud function meets this code, not the call of the function.
pub(super) fn belongs_to_the_function(errcode: i64) -> bool {
    errcode <= -600_000
        || matches!(errcode, 45009 | 45011 | 48001 | 48004 | 50001 | 50002)
        || errcode >= 9_300_000
}

/// The id of one request: the time and two numbers.
pub(super) fn rid(unix_seconds: i64, dice: Dice) -> String {
    let bits = dice.bits();
    format!(
        "{:08x}-{:08x}-{:08x}",
        unix_seconds & 0xffff_ffff,
        bits >> 32,
        bits & 0xffff_ffff
    )
}

/// The texts as they were seen in replies and documents, or near them.
fn errmsg(errcode: i64) -> &'static str {
    match errcode {
        -1 => "system error",
        40001 => "invalid credential, access_token is invalid or not latest",
        40002 => "invalid grant_type",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40066 => "invalid url",
        40097 => "invalid args",
        40101 => "missing parameter",
        40125 => "invalid appsecret",
        40164 => "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
        40234 => "invalid signature",
        40243 => "AppSecret已被冻结，请登录小程序平台解冻后再次调用。",
        41001 => "access_token missing",
        41002 => "appid missing",
        41004 => "appsecret missing",
        42001 => "access_token expired",
        43001 => "require GET method",
        43002 => "require POST method",
        44002 => "empty post data",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        47001 => "data format error",
        48001 => "api unauthorized",
        48004 => "api forbidden for the violation of terms",
        50002 => "user limited",
        76003 => "cgi_path is invalid, should start with '/'",
        76021 => "cgi_path not found, please check",
        85088 => "no cloud env",
        89503 => "此次调用需要管理员确认，请耐心等候",
        -501_000 => "[FUNCTION_NOT_FOUND] FunctionName not found",
        -501_005 => "[INVALID_ENV] env not exists",
        -604_100 => "API not found",
        -604_101 => "function has no permission to call this API",
        -604_102 => "open API timeout",
        -604_103 => "open API system error",
        9_300_501 => "delivery logic fail",
        9_300_525 => "biz id not bind",
        9_300_530 => "biz id not found",
        _ => "simulated failure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_is_http_200_with_the_form_that_wechat_uses() {
        let rid = rid(0x60c9_76e4, Dice::new(1));
        let answer = Answer::refused(40001, &rid);
        assert_eq!(answer.status, StatusCode::OK);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body["errcode"], 40001);
        let errmsg = body["errmsg"].as_str().unwrap();
        let (text, rid) = errmsg.split_once(" rid: ").unwrap();
        assert_eq!(
            text,
            "invalid credential, access_token is invalid or not latest"
        );
        let parts: Vec<_> = rid.split('-').collect();
        assert_eq!(parts[0], "60c976e4");
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.len() == 8));
    }

    #[test]
    fn result_of_a_function_is_json_inside_a_string() {
        let body: Value = serde_json::from_str(&function_failure(-604_101, "r")).unwrap();
        assert_eq!(body["errcode"], 0);
        let inner: Value = serde_json::from_str(body["resp_data"].as_str().unwrap()).unwrap();
        assert_eq!(inner["errCode"], -604_101);
    }
}
