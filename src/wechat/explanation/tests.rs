//! What WeChat answers, and what is said of it in both languages: rows beside those of
//! `tests/integration/explanations.rs`.

use std::collections::HashSet;

use super::super::reply::{read_errcode, read_function_reply};
use super::*;
use crate::status::translations::assert_chinese_punctuation;
use crate::wechat::{CloudFunction, Error, ListLimits};

const LIST: Api = Api::AccountGetall;
const CLOUD: Api = Api::InvokeCloudFunction;

use CredentialKind::{Cloudbase, Command, File, Http, None as NoToken, Redis, StableToken};
use Reason::{Config, DailyQuota, Decode, IpWhitelist, Permission, Rate, Timeout, Token, Unknown};

/// The error of a call that was answered so.
fn refused(api: Api, reply: &str) -> Error {
    let fault = read_errcode(reply.as_bytes()).expect("it has an errcode");
    Error::from_fault(api, fault, &[])
}

/// The error of a cloud function that returned so.
fn returned(result: &str) -> Error {
    let reply = serde_json::json!({"errcode": 0, "errmsg": "ok", "resp_data": result}).to_string();
    let function = CloudFunction {
        env: "prod-1".to_owned(),
        name: "getAllAccount".to_owned(),
        pointer: None,
    };
    read_function_reply(reply.as_bytes(), &function, ListLimits::default()).unwrap_err()
}

fn assert_explained(
    error: &Error,
    kind: CredentialKind,
    reason: Reason,
    errcode: i64,
    says: [&str; 2],
) {
    let context = format!("{error} with {kind}");
    assert_eq!(
        (error.reason(), error.errcode().unwrap_or(0)),
        (reason, errcode),
        "{context}"
    );
    let explanation = error.cause().explanation(kind);
    let [english, chinese] = says;
    let text = format!("{}. {}", explanation.meaning, explanation.fix);
    assert!(text.contains(english), "{context}: {text}");
    let text = format!("{}。{}", explanation.meaning_zh, explanation.fix_zh);
    assert!(text.contains(chinese), "{context}: {text}");
}

#[test]
fn fix_follows_the_message_and_the_place_that_it_came_from() {
    type Row = (
        Api,
        CredentialKind,
        &'static str,
        Reason,
        i64,
        [&'static str; 2],
    );
    #[rustfmt::skip]
    let table: &[Row] = &[
        (Api::StableToken, StableToken, r#"{"errcode":40001,"errmsg":"invalid credential"}"#, Config, 40001, ["AppSecret is wrong", "AppSecret 错误"]),
        (Api::StableToken, StableToken, r#"{"errcode":45009,"errmsg":"reach max api daily quota limit"}"#, DailyQuota, 45009, ["after midnight", "零点后恢复"]),
        (Api::StableToken, StableToken, r#"{"errcode":40164,"errmsg":"invalid ip 203.0.113.7, not in whitelist"}"#, IpWhitelist, 40164, ["IP白名单", "IP白名单"]),
        (LIST, Http, r#"{"errcode":40001,"errmsg":"not latest"}"#, Token, 40001, ["token server must renew", "中控服务器须更新"]),
        (LIST, Redis, r#"{"errcode":40001,"errmsg":"not latest"}"#, Token, 40001, ["Redis key", "Redis 键"]),
        (LIST, NoToken, r#"{"errcode":40001,"errmsg":"not latest"}"#, Token, 40001, ["开放接口服务", "开放接口服务"]),
        (LIST, NoToken, r#"{"errcode":41001,"errmsg":"access_token missing"}"#, Config, 41001, ["开放接口服务 on", "开启开放接口服务"]),
        (LIST, Cloudbase, r#"{"errcode":85105,"errmsg":"not authorised"}"#, Permission, 85105, ["publish a new version", "发布新版本"]),
        (LIST, NoToken, r#"{"errcode":48001,"errmsg":"api unauthorized"}"#, Permission, 48001, ["from_appid", "from_appid"]),
        (LIST, File, r#"{"errcode":48001,"errmsg":"api unauthorized"}"#, Permission, 48001, ["45 or 71", "45 或 71"]),
        (LIST, StableToken, r#"{"errcode":48017,"errmsg":""}"#, Config, 48017, ["/etc/hosts", "/etc/hosts"]),
        (LIST, Http, r#"{"errcode":45035,"errmsg":"access clientip is not registered, not in ip-white-list"}"#, IpWhitelist, 45035, ["open.weixin.qq.com", "open.weixin.qq.com"]),
        (LIST, Http, r#"{"errcode":61016,"errmsg":""}"#, Permission, 61016, ["authorise", "重新授权"]),
        (LIST, StableToken, r#"{"errcode":45009,"errmsg":"reach max api Minute quota limit"}"#, Rate, 45009, ["within minutes", "短时间内"]),
        (CLOUD, StableToken, r#"{"errcode":-601002,"errmsg":""}"#, Config, -601_002, ["env and name", "环境 ID（env）"]),
        (CLOUD, StableToken, r#"{"errcode":-601018,"errmsg":""}"#, Unknown, -601_018, ["error code", "错误码"]),
        (CLOUD, StableToken, r#"{"errcode":-501015,"errmsg":""}"#, Config, -501_015, ["quota", "套餐"]),
        (CLOUD, StableToken, r#"{"errcode":-501019,"errmsg":""}"#, Permission, -501_019, ["belong to this Mini Program", "属于该小程序"]),
        (CLOUD, StableToken, r#"{"errcode":-404011,"errmsg":"cloud function execution error"}"#, Config, -404_011, ["function's own log", "该函数的日志"]),
        (CLOUD, StableToken, r#"{"errcode":-504002,"errmsg":"functions execute fail | TypeError"}"#, Config, -504_002, ["function's own log", "该函数的日志"]),
        (CLOUD, StableToken, r#"{"errcode":-504002,"errmsg":"Invoking task timed out after 3 seconds"}"#, Timeout, -504_002, ["5 seconds at most", "最长 5 秒"]),
    ];
    for (api, kind, reply, reason, errcode, says) in table {
        assert_explained(&refused(*api, reply), *kind, *reason, *errcode, *says);
    }
}

#[test]
fn function_is_told_from_the_call_that_ran_it() {
    let not_a_list = ["not an account list", "不是账号列表"];
    #[rustfmt::skip]
    let table: &[(&str, Reason, i64, [&str; 2])] = &[
        (r#"{"errCode":-604101,"errMsg":"fail"}"#, Permission, -604_101, ["config.json", "config.json"]),
        (r#"{"errCode":48001,"errMsg":""}"#, Permission, 48001, ["功能 → 物流助手", "功能 → 物流助手"]),
        (r#""{\"count\":0,\"list\":[]}""#, Decode, 0, not_a_list),
        (r#"{"statusCode":200,"body":"{\"count\":0,\"list\":[]}"}"#, Decode, 0, not_a_list),
        ("<html>", Decode, 0, not_a_list),
        ("{}", Decode, 0, not_a_list),
        ("null", Decode, 0, not_a_list),
    ];
    for (result, reason, errcode, says) in table {
        let error = returned(result);
        assert_explained(&error, StableToken, *reason, *errcode, *says);
        assert!(!error.token_rejected(), "{error}");
    }
}

#[test]
fn source_without_a_token_is_named() {
    #[rustfmt::skip]
    let table = [
        (File, Token, ["token file", "令牌文件"]),
        (Http, Token, ["token server", "中控服务器"]),
        (Command, Token, ["token command", "令牌命令"]),
        (Redis, Token, ["Redis key", "Redis 键"]),
        (StableToken, Config, ["AppSecret can't be read", "无法读取 AppSecret"]),
        (Http, Reason::Network, ["can't be reached", "无法连接"]),
    ];
    for (kind, reason, says) in table {
        let unknown = Cause::unknown();
        let explanation = Cause { reason, ..unknown }.explanation(kind);
        let text = format!("{explanation:?}");
        assert!(text.contains(says[0]) && text.contains(says[1]), "{text}");
        assert!(!text.contains("mp.weixin.qq.com"), "{text}");
    }
}

#[test]
fn address_to_whitelist_is_read_from_the_message() {
    #[rustfmt::skip]
    let table = [
        ("invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 60c976e4-051e6c8e-47215cd3", "203.0.113.7"),
        ("invalid ip 2001:db8::1, not in whitelist", "2001:db8::1"),
        ("access clientip is not registered requestIP: 203.0.113.9 rid: 60c976e4-051e6c8e-47215cd3", "203.0.113.9"),
        ("invalid ip <b>, not", ""),
        ("a: b", ""),
    ];
    for (message, address) in table {
        let found = address_to_whitelist(message);
        assert_eq!(found, address.parse().ok(), "{message}");
    }
}

/// Every explanation that can be shown.
fn all() -> HashSet<Explanation> {
    let codes = (-604_200..=90_000_i64).chain(9_300_500..9_300_600);
    let codes = codes.filter(|code| *code == 0 || errcode::is_known(*code));
    let apis = [Api::Token, Api::StableToken, LIST, CLOUD].map(Some);
    let mut all = HashSet::new();
    for errcode in codes {
        for api in apis.into_iter().chain([None]) {
            for reason in Reason::ALL.iter().copied() {
                for symptom in Symptom::ALL.iter().copied().map(Some).chain([None]) {
                    let cause = Cause {
                        reason,
                        api,
                        errcode,
                        symptom,
                    };
                    let kinds = CredentialKind::ALL.iter();
                    all.extend(kinds.map(|kind| cause.explanation(*kind)));
                }
            }
        }
    }
    let kinds = CredentialKind::ALL.iter();
    all.extend(kinds.map(|kind| token_rejected_again(*kind)));
    all
}

#[test]
fn texts_are_whole_and_chinese_ones_have_chinese_punctuation() {
    let all = all();
    assert!(all.len() > 100, "{}", all.len());
    for explanation in all {
        let english = [explanation.meaning, explanation.fix];
        let chinese = [explanation.meaning_zh, explanation.fix_zh];
        assert!(
            explanation
                .meaning
                .starts_with(|c: char| c.is_ascii_uppercase()),
            "{english:?}"
        );
        assert!(
            !explanation.meaning.ends_with('.') && !explanation.meaning_zh.ends_with('。'),
            "{english:?}"
        );
        for text in chinese {
            assert!(!text.is_ascii(), "{text}");
            assert_chinese_punctuation(text);
        }
    }
}
