//! Replies that are wrong, and a network that is: each gives the promised page in time, a counted reason, one log
//! line, and changes nothing else, whether there is no snapshot, a fresh one or a stale one.

use std::time::{Duration, Instant};

use crate::raw_api::*;
use crate::support::*;

struct Case {
    name: &'static str,
    /// `None`: never one.
    reply: Option<Reply>,
    reasons: &'static [&'static str],
}

fn bytes(bytes: impl Into<Vec<u8>>) -> Reply {
    Reply::Bytes(bytes.into().into())
}

fn says(body: &str) -> Reply {
    answers("200 OK", "application/json; encoding=utf-8", body)
}

fn answers(status: &str, content_type: &str, body: &str) -> Reply {
    bytes(format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    ))
}

fn cases() -> Vec<Case> {
    let case = |name, reply, reasons| Case {
        name,
        reply: Some(reply),
        reasons,
    };
    let deep = "{\"list\":".repeat(100_000) + &"}".repeat(100_000);
    let endless = Reply::Repeated(
        b"HTTP/1.1 200 OK\r\n\r\n{\"list\":["[..].into(),
        vec![b' '; 64 << 10].into(),
        usize::MAX,
    );
    vec![
        case("deep nesting", says(&deep), &["decode"]),
        case("not HTTP", bytes("SSH-2.0-OpenSSH_9.2\r\n"), &["network"]),
        case(
            "reset midway",
            bytes("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"count\":1,\"list\":["),
            &["network"],
        ),
        case("closed without an answer", bytes(""), &["network"]),
        Case {
            name: "hang",
            reply: None,
            reasons: &["timeout"],
        },
        case("one byte at a time", Reply::Dripping, &["timeout"]),
        case("endless body", endless, &["decode", "timeout"]),
    ]
}

async fn page_after(case: &Case, before: Before) {
    let context = format!("{} with {before:?}", case.name);
    let scratch = Scratch::new();
    let api = RawApi::start().await;
    // Long enough for whatever answers, also on a machine with much else to do.
    let more = ["--wechat.timeout=3s"];
    let exporter = before.exporter(&scratch, &api.url(), &more, &context).await;
    match &case.reply {
        Some(reply) => api.lists(reply.clone()),
        None => api.holds_lists(),
    }
    let log_before = exporter.log().lines().count();

    let asked = Instant::now();
    let page = exporter.scrape_with_timeout("10").await;
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{context}: too late for Prometheus"
    );
    assert_eq!(page.up(APPID), Some(0.0), "{context}");
    let counted: Vec<_> = case
        .reasons
        .iter()
        .filter(|reason| page.failures("account_getall", reason) >= 1.0)
        .collect();
    assert_eq!(
        counted.len(),
        1,
        "{context}: {:?}",
        page.series("api_failures_total")
            .iter()
            .filter(|line| !line.ends_with(" 0"))
            .collect::<Vec<_>>()
    );
    let accounts_shown = page.series("account_status_code").len();
    assert_eq!(
        accounts_shown,
        if before == Before::Fresh { 2 } else { 0 },
        "{context}"
    );
    assert_eq!(
        page.value(&format!("app_info{{appid=\"{APPID}\",name=\"{APPID}\"}}")),
        Some(1.0),
        "{context}"
    );

    let failures = |log: &str| {
        let new = log.lines().skip(log_before);
        new.filter(|line| line.contains("fetch failed")).count()
    };
    let log = exporter.log_once(&context, |log| failures(log) > 0).await;
    assert_eq!(failures(&log), 1, "{context}: {log}");
    assert!(!log.contains("canary"), "{context}: {log}");
    assert!(!log.contains("panic"), "{context}: {log}");

    assert_eq!(exporter.get("/-/healthy").await.status, 200, "{context}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answer_gives_the_promised_page_in_time_with_a_counted_reason() {
    use futures_util::StreamExt as _;
    let cases = cases();
    let runs = cases.iter().zip(Before::ALL.into_iter().cycle());
    futures_util::stream::iter(runs)
        .for_each_concurrent(4, |(case, before)| page_after(case, before))
        .await;
}

#[tokio::test]
async fn empty_list_is_a_success_with_no_accounts() {
    for body in [
        r#"{"count":0,"list":[]}"#,
        r#"{"count":0}"#,
        r#"{"count":0,"list":null}"#,
        r#"{"errcode":0,"errmsg":"ok","count":"0","list":[]}"#,
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.gives_token(TOKEN).await;
        wechat
            .lists(wiremock::ResponseTemplate::new(200).set_body_raw(body, "text/plain"))
            .await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{body}");
        assert_eq!(
            page.value(&format!("accounts{{appid=\"{APPID}\"}}")),
            Some(0.0),
            "{body}"
        );
    }
}

#[tokio::test]
async fn odd_rows_are_counted_and_the_rest_is_read() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let list = r#"{"count":9,"list":[
        {"bizId":"camel","deliveryId":"YTO","quotaNum":"17","statusCode":"0","quotaUpdateTime":1578552960000,
         "serviceType":[{"serviceType":0,"serviceName":"普通快递"},7,7]},
        {"biz_id":"same","delivery_id":"ZTO","quota_num":5,"update_time":10},
        {"biz_id":"same","delivery_id":"ZTO","quota_num":6,"update_time":20},
        {"biz_id":"","delivery_id":"ZTO"}, 7, null, {"delivery_id":"ZTO"},
        {"biz_id":"odd","delivery_id":"YUNDA","quota_num":"many","status_code":9,"create_time":0,"alias":null},
        {"biz_id":"minus","delivery_id":"BEST","quota_num":-1.0,"status_code":3}
    ]}"#;
    wechat
        .lists(wiremock::ResponseTemplate::new(200).set_body_raw(list, "text/plain"))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let page = exporter.scrape().await;
    let of = |name: &str, biz_id: &str, delivery_id: &str| {
        page.value(&format!(
            "{name}{{appid=\"{APPID}\",biz_id=\"{biz_id}\",delivery_id=\"{delivery_id}\"}}"
        ))
    };
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(of("account_quota", "camel", "YTO"), Some(17.0));
    assert_eq!(
        of("account_quota_update_timestamp_seconds", "camel", "YTO"),
        Some(1_578_552_960.0)
    );
    assert_eq!(of("account_quota", "same", "ZTO"), Some(6.0));
    assert_eq!(of("account_quota", "odd", "YUNDA"), None);
    assert_eq!(of("account_status_code", "odd", "YUNDA"), Some(9.0));
    assert_eq!(of("account_create_timestamp_seconds", "odd", "YUNDA"), None);
    assert_eq!(of("account_quota", "minus", "BEST"), Some(-1.0));
    let dropped = |reason: &str| {
        page.value(&format!(
            "accounts_dropped{{appid=\"{APPID}\",reason=\"{reason}\"}}"
        ))
    };
    assert_eq!(dropped("duplicate"), Some(1.0));
    assert_eq!(dropped("invalid"), Some(4.0));
    assert_eq!(dropped("limit"), Some(0.0));
}

#[tokio::test]
async fn caps_on_accounts_and_label_length_are_counted() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let long = "长".repeat(400_000);
    let mut list: Vec<_> = (0..10)
        .map(|n| serde_json::json!({"biz_id": format!("b{n}"), "delivery_id": "YTO"}))
        .collect();
    list.insert(0, serde_json::json!({"biz_id": long, "delivery_id": "YTO"}));
    list.insert(
        1,
        serde_json::json!({"biz_id": "alias", "delivery_id": "YTO", "alias": long}),
    );
    wechat
        .lists(json(serde_json::json!({"count": 12, "list": list})))
        .await;
    let exporter = Exporter::for_one_app(
        &scratch,
        &wechat,
        &["--wechat.max-accounts=5", "--wechat.max-label-length=64"],
    );
    let page = exporter.scrape().await;
    assert_eq!(
        page.value(&format!("accounts{{appid=\"{APPID}\"}}")),
        Some(5.0)
    );
    let dropped = page.value(&format!(
        "accounts_dropped{{appid=\"{APPID}\",reason=\"limit\"}}"
    ));
    assert_eq!(dropped, Some(7.0));
    assert!(page.0.len() < 100_000, "{} bytes", page.0.len());
}
