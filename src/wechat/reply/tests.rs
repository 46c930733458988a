//! How replies are read, one rule at a time.

use std::time::{Duration, UNIX_EPOCH};

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::wechat::courier::Network;
use crate::wechat::{Account, CloudFunction, ServiceType};

/// A reply that a shop posted in the developers' forum on 2020-01-09, with other names.
const SEEN: &str = r#"{"count":1,"list":[{"biz_id":"四川成都某某公司_示例商户","delivery_id":"STO","create_time":1578463586,"update_time":1578552332,"status_code":0,"alias":"四川成都某某公司_示例商户","remark_wrong_msg":"","remark_content":"","quota_num":2,"quota_update_time":1578552960,"service_type":[{"service_type":1,"service_name":"标准快递"}]}]}"#;

fn list(body: &str) -> Result<AccountList, Fault> {
    read_list(body.as_bytes(), None, ListLimits::default())
}

/// Returns the account of a list that has only this row.
fn row(row: &str) -> Account {
    let list = list(&format!(r#"{{"list":[{row}]}}"#)).unwrap();
    assert_eq!(
        (list.accounts.len(), list.invalid, list.beyond_limit),
        (1, 0, 0),
        "{row}"
    );
    list.accounts.into_iter().next().unwrap()
}

/// Returns an account whose row has this field and the two required ones.
fn field(field: &str) -> Account {
    row(&format!(r#"{{"biz_id":"a","delivery_id":"YTO",{field}}}"#))
}

fn refused(errcode: i64, errmsg: &str) -> Fault {
    Fault::Refused {
        errcode,
        errmsg: errmsg.into(),
        by_function: false,
    }
}

fn unreadable<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::Unreadable { what, .. }) => what,
        other => panic!("read as {other:?}"),
    }
}

fn seen_account() -> Account {
    Account {
        biz_id: "四川成都某某公司_示例商户".into(),
        delivery_id: "STO".into(),
        create_time: Some(1_578_463_586),
        update_time: Some(1_578_552_332),
        status_code: Some(0),
        alias: "四川成都某某公司_示例商户".into(),
        quota_num: Some(2.0),
        quota_update_time: Some(1_578_552_960),
        service_types: vec![ServiceType {
            service_type: 1,
            service_name: "标准快递".into(),
        }],
        ..Account::default()
    }
}

#[test]
fn field_that_is_absent_null_or_unreadable_is_none() {
    for value in [
        "null",
        r#""""#,
        r#""many""#,
        "true",
        "[]",
        r#"{"n":1}"#,
        r#"" ""#,
    ] {
        let account = field(&format!(
            r#""quota_num":{value},"quota_update_time":{value},"create_time":{value},"update_time":{value},"status_code":{value},"service_type":{value}"#
        ));
        let expected = Account {
            biz_id: "a".into(),
            delivery_id: "YTO".into(),
            ..Account::default()
        };
        assert_eq!(account, expected, "{value}");
    }
}

#[test]
fn fields_are_read_in_every_form_that_was_seen() {
    let account = |text: &str| field(text);
    for (sent, balance) in [
        ("0", 0.0),
        ("-1", -1.0),
        (r#""55""#, 55.0),
        ("210.0", 210.0),
    ] {
        let quota_num = account(&format!(r#""quota_num":{sent}"#)).quota_num;
        assert_eq!(quota_num, Some(balance), "{sent}");
    }
    for (sent, status) in [("7", 7), (r#""3""#, 3), ("-2.0", -2)] {
        let status_code = account(&format!(r#""statusCode":{sent}"#)).status_code;
        assert_eq!(status_code, Some(status), "{sent}");
    }
    for (sent, time) in [
        ("0", None),
        (r#""0""#, None),
        ("-62135596800", None),
        ("1578552332999", Some(1_578_552_332)),
        (r#""1578552332""#, Some(1_578_552_332)),
    ] {
        let update_time = account(&format!(r#""updateTime":{sent}"#)).update_time;
        assert_eq!(update_time, time, "{sent}");
    }
    for (sent, numbers) in [
        (r#"[{"service_type":1},{"serviceType":"2"}]"#, vec![1, 2]),
        (
            r#"[1,"2",3.0,null,"x",{},{"service_name":"n"}]"#,
            vec![1, 2, 3],
        ),
        ("5", vec![5]),
        (r#"{"service_type":6}"#, vec![6]),
    ] {
        let services = account(&format!(r#""service_type":{sent}"#)).service_types;
        let read: Vec<i64> = services
            .iter()
            .map(|service| service.service_type)
            .collect();
        assert_eq!(read, numbers, "{sent}");
    }
    for biz_id in ["123456789", "9223372036854775808", "18446744073709551615"] {
        let account = row(&format!(r#"{{"biz_id":{biz_id},"delivery_id":"YUNDA"}}"#));
        assert_eq!(&*account.biz_id, biz_id);
    }
}

#[test]
fn value_that_is_not_json_enough_costs_itself_alone() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    for odd in [&*deep, "1e999", r#""\ud83d""#] {
        let account = row(&format!(
            r#"{{"biz_id":"a","delivery_id":"YTO","alias":{odd},"quota_num":{odd},"service_type":{odd},"status_code":0}}"#
        ));
        assert_eq!((account.quota_num, account.status_code), (None, Some(0)));
        let nameless =
            format!(r#"{{"list":[{{"biz_id":{odd},"delivery_id":"YTO"}},["a","YTO"]]}}"#);
        assert_eq!(list(&nameless).unwrap().invalid, 2);
    }
    let odd_key = r#"{"\ud83d":1,"biz_id":"a","delivery_id":"YTO"}"#;
    assert_eq!(row(odd_key).id(), ("a", "YTO"));
    unreadable(list(&deep));
}

#[test]
fn services_without_end_are_not_kept() {
    for (services, kept) in [(1000, 100), (1_000_000, 0)] {
        let services = format!("[{}0]", "0,".repeat(services));
        let account = field(&format!(r#""service_type":{services}"#));
        assert_eq!(account.service_types.len(), kept);
    }
}

#[test]
fn key_that_is_there_twice_has_the_value_that_can_be_read() {
    for row in [
        r#""quota_num":2,"quotaNum":2"#,
        r#""quotaNum":null,"quota_num":2"#,
        r#""quota_num":2,"quotaNum":null"#,
        r#""quota_num":{},"quota_num":"2""#,
    ] {
        assert_eq!(field(row).quota_num, Some(2.0), "{row}");
    }
    let row = r#"{"biz_id":"a","bizId":"","deliveryId":"YTO","delivery_id":7}"#;
    let list = list(&format!(r#"{{"list":[{row}]}}"#)).unwrap();
    assert_eq!(list.accounts[0].id(), ("a", "7"));
}

#[test]
fn count_without_rows_reserves_no_memory() {
    let limits = ListLimits {
        accounts: usize::MAX,
        ..ListLimits::default()
    };
    let list = read_list(br#"{"count":9223372036854775807,"list":[]}"#, None, limits);
    assert_eq!(list.unwrap().accounts.capacity(), 1);
}

#[test]
fn field_of_another_reply_costs_nothing() {
    let odd = r#"{"list":[],"access_token":5,"quota":5,"resp_data":{},"quota_num":[]}"#;
    assert_eq!(list(odd).unwrap().accounts, []);
}

#[test]
fn control_characters_and_bytes_that_are_not_utf8_cost_nothing() {
    let body =
        b"{\"list\":[{\"biz_id\":\"a\",\"delivery_id\":\"YTO\",\"alias\":\"x\ny\x01\xff\"}]}";
    let list = read_list(body, None, ListLimits::default()).unwrap();
    assert_eq!(&*list.accounts[0].alias, "x y \u{fffd}");
}

#[test]
fn list_without_accounts_is_told_from_no_list() {
    for body in [
        r#"{"list":[]}"#,
        r#"{"count":"0"}"#,
        r#"{"errcode":"0","list":[]}"#,
        r#"{"errcode":null,"errCode":"","list":[]}"#,
    ] {
        assert!(list(body).unwrap().accounts.is_empty(), "{body}");
    }
    for body in [
        "{}",
        r#"{"count":3}"#,
        r#"{"list":null}"#,
        r#"{"count":3,"list":null}"#,
        r#"{"count":0,"list":{}}"#,
        r#"{"count":0,"list":"[]"}"#,
        r#"{"data":[]}"#,
        r#"{"errcode":0,"errmsg":"ok"}"#,
        "[]",
        "null",
        "1",
        r#""list""#,
        "",
        " ",
        "<html></html>",
        r#"{"list":[]"#,
        r#"{"list":[]} x"#,
    ] {
        assert!(list(body).is_err(), "{body}");
    }
}

#[test]
fn errcode_makes_a_refusal_whatever_else_is_there() {
    for body in [
        r#"{"errcode":48001,"errmsg":"api unauthorized"}"#,
        r#"{"errcode":"48001","errmsg":"api unauthorized"}"#,
        r#"{"errcode":48001.0,"errmsg":"api unauthorized"}"#,
        r#"{"errCode":48001,"errMsg":"api unauthorized"}"#,
        r#"{"errCode":48001,"errcode":0,"errMsg":"api unauthorized","list":[]}"#,
        r#"{"list":[],"errcode":0,"errCode":48001,"errmsg":"api unauthorized"}"#,
    ] {
        assert_eq!(
            list(body),
            Err(refused(48001, "api unauthorized")),
            "{body}"
        );
    }
    assert_eq!(list(r#"{"errcode":-1}"#), Err(refused(-1, "")));
    assert_eq!(list(r#"{"errcode":7,"errmsg":5}"#), Err(refused(7, "5")));
}

#[test]
fn token_is_read_with_its_end() {
    let asked = UNIX_EPOCH + Duration::from_secs(1000);
    let read = |body: &str| read_token(body.as_bytes(), asked).unwrap();
    for (body, end) in [
        (r#"{"access_token":"T","expires_in":7200}"#, 8200),
        (r#"{"access_token":"T","expires_in":"345"}"#, 1345),
        (r#"{"access_token":"T","expires_in":0}"#, 1001),
        (r#"{"access_token":"T","expires_in":-5}"#, 1001),
        (r#"{"access_token":"T","expires_in":1e300}"#, 8200),
        (r#"{"access_token":"T"}"#, 8200),
        (
            r#"{"access_token":"T","expires_in":"soon","errcode":0}"#,
            8200,
        ),
    ] {
        let token = read(body);
        assert_eq!(token.secret.expose_secret(), "T", "{body}");
        let end = UNIX_EPOCH + Duration::from_secs(end);
        assert_eq!(token.expires, Some(end), "{body}");
    }
}

#[test]
fn what_cant_be_a_token_is_refused_and_never_quoted() {
    let long = format!(r#"{{"access_token":"{}"}}"#, "canary".repeat(1000));
    for body in [
        "{}",
        "null",
        "[]",
        "canary",
        r#""canary""#,
        r#"{"access_token":null}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":123}"#,
        r#"{"access_token":"canary token"}"#,
        r#"{"access_token":"canary\n"}"#,
        r#"{"access_token":"canary\u0000"}"#,
        r#"{"access_token":"canary"#,
        &long,
    ] {
        let what = unreadable(read_token(body.as_bytes(), UNIX_EPOCH));
        assert!(!what.contains("canary"), "{what}");
    }
}

fn function(pointer: Option<&str>) -> CloudFunction {
    CloudFunction {
        env: "prod-1".to_owned(),
        name: "getAllAccount".to_owned(),
        pointer: pointer.map(str::to_owned),
    }
}

fn function_result(result: &Value, pointer: Option<&str>) -> Result<AccountList, Fault> {
    let reply = json!({"errcode": 0, "errmsg": "ok", "resp_data": result});
    read_list(
        reply.to_string().as_bytes(),
        Some(&function(pointer)),
        ListLimits::default(),
    )
}

#[test]
fn pointer_finds_the_list_in_the_functions_result() {
    let seen: Value = serde_json::from_str(SEEN).unwrap();
    for (result, pointer) in [
        (json!({"data": seen}), "/data"),
        (json!({"a/b": [{"~": seen}]}), "/a~1b/0/~0"),
        (json!({"statusCode": 200, "body": SEEN}), "/body"),
        (seen.clone(), ""),
    ] {
        let list = function_result(&json!(result.to_string()), Some(pointer)).unwrap();
        assert_eq!(list.accounts, [seen_account()], "{pointer}");
    }
    // Half of a surrogate pair, as JSON.stringify writes it, and a number that is too large affect no other field.
    let odd = r#"{"a":"\ud83d","data":[0,{"list":[{"biz_id":12345678901234567890123,"delivery_id":"YTO","alias":"cut\ud83d","quota_num":1e999,"status_code":0}]}]}"#;
    let list = function_result(&json!(odd), Some("/data/1")).unwrap();
    let account = &list.accounts[0];
    assert_eq!(&*account.biz_id, "12345678901234567890123");
    assert_eq!((account.quota_num, account.status_code), (None, Some(0)));
    let what = unreadable(function_result(&json!("{}"), Some("/data/list")));
    assert!(what.contains(r#""/data/list""#), "{what}");
    let error = json!(r#"{"errCode":-604101,"errMsg":"no permission"}"#);
    let refusal = function_result(&error, Some("/data")).unwrap_err();
    let is_the_functions = matches!(&refusal, Fault::Refused { errcode: -604_101, errmsg, by_function: true } if &**errmsg == "no permission");
    assert!(is_the_functions, "{refusal:?}");
}

#[test]
fn couriers_are_read_with_what_is_optional() {
    let body = json!({"count": 5, "data": [
        {"delivery_id": "BEST", "delivery_name": "百世快递", "can_use_cash": 0, "can_get_quota": 1},
        {"deliveryId": "SF", "deliveryName": "顺丰速运", "canGetQuota": "0"},
        {"delivery_id": "OTP"},
        {"delivery_name": "nobody"}, 7,
    ]});
    let read = read_deliveries(body.to_string().as_bytes(), ListLimits::default()).unwrap();
    let read: Vec<_> = read
        .iter()
        .map(|courier| {
            (
                &*courier.delivery_id,
                &*courier.delivery_name,
                courier.network(),
            )
        })
        .collect();
    let expected = [
        ("BEST", "百世快递", Network::Franchise),
        ("SF", "顺丰速运", Network::Direct),
        ("OTP", "", Network::Unknown),
    ];
    assert_eq!(read, expected);
    let read = |body: &str| read_deliveries(body.as_bytes(), ListLimits::default());
    for body in [
        "{}",
        r#"{"list":[]}"#,
        r#"{"count":2,"data":null}"#,
        r#"{"count":0,"data":{}}"#,
        r#"{"count":0}"#,
    ] {
        unreadable(read(body));
    }
}

#[test]
fn live_balance_is_read_or_absent() {
    for (body, expected) in [
        (r#"{"quota_num":210}"#, Some(210.0)),
        (r#"{"quota_num":"210"}"#, Some(210.0)),
        (r#"{"errcode":0,"quota_num":0}"#, Some(0.0)),
        (r#"{"quota_num":null}"#, None),
        ("{}", None),
    ] {
        assert_eq!(read_quota(body.as_bytes()), Ok(expected), "{body}");
    }
}

#[test]
fn daily_limit_of_zero_says_nothing() {
    let read = |quota: Value| {
        let body =
            json!({"errcode": 0, "errmsg": "ok", "quota": quota, "rate_limit": {"call_count": 1}});
        read_api_quota(body.to_string().as_bytes())
    };
    let quota = read(json!({"daily_limit": 1000, "used": 3, "remain": "997"})).unwrap();
    assert_eq!(
        (quota.daily_limit, quota.used, quota.remain),
        (Some(1000.0), Some(3.0), Some(997.0))
    );
    let quota = read(json!({"daily_limit": 0, "used": 3, "remain": 0})).unwrap();
    assert_eq!(
        (quota.daily_limit, quota.used, quota.remain),
        (None, Some(3.0), None)
    );
    unreadable(read(json!(null)));
}
