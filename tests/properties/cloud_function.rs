//! The reply of `/tcb/invokecloudfunction`.

use serde_json::{Value, json};
use wechat_logistics_exporter::wechat::{
    CloudFunction, ListLimits, read_account_list, read_function_reply,
};

use super::account_list;

const LIMITS: ListLimits = ListLimits {
    accounts: 10,
    label_bytes: 64,
};

fn function(pointer: Option<&str>) -> CloudFunction {
    CloudFunction {
        env: "prod-1".to_owned(),
        name: "getAllAccount".to_owned(),
        pointer: pointer.map(str::to_owned),
    }
}

/// Whatever is sent in WeChat's place, with a function that returns the list itself and one that wraps it.
pub fn check(input: &[u8]) {
    for pointer in [None, Some("/data")] {
        match read_function_reply(input, &function(pointer), LIMITS) {
            Ok(list) => account_list::is_within_limits(&list, LIMITS),
            Err(error) => account_list::fails_fit_for_a_log_line(&error),
        }
    }
    says_the_same_as_the_https_call(input);
}

/// The way into WeChat changes nothing of what a list says.
fn says_the_same_as_the_https_call(list: &[u8]) {
    let Ok(text) = std::str::from_utf8(list) else {
        return;
    };
    let through = |result: &Value, pointer| {
        let reply = json!({"errcode": 0, "errmsg": "ok", "resp_data": result}).to_string();
        read_function_reply(reply.as_bytes(), &function(pointer), LIMITS).ok()
    };
    let direct = read_account_list(list, LIMITS).ok();
    assert_eq!(through(&json!(text), None), direct);

    // Without keys that come twice, which a document can't hold.
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return;
    };
    let direct = read_account_list(document.to_string().as_bytes(), LIMITS).ok();
    assert_eq!(through(&document, None), direct);
    let wrapped = json!({"data": document});
    assert_eq!(through(&wrapped, Some("/data")), direct);
    assert_eq!(through(&json!(wrapped.to_string()), Some("/data")), direct);
}
