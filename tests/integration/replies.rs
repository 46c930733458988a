//! Bad replies and a bad network. Each leads to the promised page in time, a counted reason and one log line, within
//! bounded memory, and changes nothing else, whether there is no snapshot, a fresh one or a stale one.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::raw_api::*;
use crate::support::*;

/// The snapshot that an exporter has before its API goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Fresh,
    Stale,
}

struct Case {
    name: &'static str,
    /// `None` if the call is never answered.
    reply: Option<Reply>,
    /// The possible reasons, of which one is counted.
    reasons: &'static [&'static str],
    /// The most memory that the process may have taken at its peak. Unit: MiB.
    peak: u64,
    before: Before,
}

/// Returns 512 MB in half a megabyte, because a gzip file may have any number of members.
fn gzip_bomb() -> Reply {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n";
    Reply::repeated(head, gzip.finish().unwrap(), 512)
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    use Before::{Fresh, Nothing, Stale};
    let case = |name, reply, reasons, peak, before| Case { name, reply: Some(reply), reasons, peak, before };
    let ok = "HTTP/1.1 200 OK\r\n";
    let begun = format!("{ok}\r\n{{\"list\":[");
    let space = vec![b' '; 1 << 20];
    let chunk = [b"100000\r\n".to_vec(), space.clone(), b"\r\n".to_vec()].concat();
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20);
    let in_chunks = format!("{ok}Transfer-Encoding: chunked\r\n\r\n9\r\n{{\"list\":[\r\n");
    let announced = format!("{ok}Content-Length: 209715200\r\n\r\n{{\"list\":[");
    let dripping = Reply { pause: Duration::from_millis(100), ..Reply::repeated(&*begun, " ", usize::MAX) };
    vec![
        Case { reply: None, ..case("hang", Reply::well(), &["timeout"], 64, Fresh) },
        case("a byte at a time", dripping, &["timeout"], 64, Stale),
        case("endless body", Reply::repeated(&*begun, vec![b' '; 64 << 10], usize::MAX), &["decode", "timeout"], 384, Nothing),
        case("not HTTP", Reply::bytes("SSH-2.0-OpenSSH_9.2\r\n"), &["network"], 64, Fresh),
        case("closed without an answer", Reply::bytes(""), &["network"], 64, Stale),
        case("reset midway", Reply::bytes(format!("{ok}Content-Length: 500\r\n\r\n{{")), &["network"], 64, Nothing),
        case("deep nesting", Reply::body(&"{\"list\":".repeat(100_000)), &["decode"], 64, Fresh),
        case("200 MB announced", Reply::repeated(announced, space.clone(), 200), &["decode"], 128, Fresh),
        case("200 MB in chunks", Reply::repeated(in_chunks, chunk, 200), &["decode", "timeout"], 384, Fresh),
        case("gzip bomb", gzip_bomb(), &["decode"], 64, Fresh),
        case("1xx without end", Reply::repeated("", hints, 1000), &["network", "timeout", "decode"], 64, Stale),
        case("a header without end", Reply::repeated(format!("{ok}X: "), space, 50), &["network", "decode"], 96, Nothing),
        case("headers without end", Reply::repeated(ok, b"X: a\r\n".repeat(10_000), 100), &["network", "decode"], 96, Fresh),
    ]
}

async fn check(case: Case) {
    let (name, before) = (case.name, case.before);
    let (scratch, api) = (Scratch::new(), RawApi::start(Some(Reply::well())).await);
    let max_stale = match before {
        Before::Stale => "--scrape.max-stale=100ms",
        _ => "--scrape.max-stale=15m",
    };
    // Long enough for every reply that ends, even on a busy machine.
    let more = [
        "--wechat.timeout=6s",
        "--wechat.min-interval=50ms",
        max_stale,
    ];
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
    if before != Before::Nothing {
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0), "{name}");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    api.lists(case.reply);

    let asked = Instant::now();
    let page = exporter.scrape_with_timeout("10").await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "{name}: {took:?}");
    assert_eq!(page.up(APPID), Some(0.0), "{name}");
    let log = exporter.log_with("fetch failed").await;
    let counted = |reason: &&str| page.failures("account_getall", reason);
    let counted: f64 = case.reasons.iter().map(counted).sum();
    assert_eq!(counted, 1.0, "{name}: {log}");
    let shown = if before == Before::Fresh { 2 } else { 0 };
    assert_eq!(page.series("account_status_code").len(), shown, "{name}");
    assert_eq!(page.series("app_info").len(), 1, "{name}");
    let peak = exporter.peak() >> 10;
    assert!(peak < case.peak, "{name}: {peak} MiB");
    assert_eq!(log.matches("fetch failed").count(), 1, "{name}: {log}");
    assert!(log.lines().all(|line| line.len() < 4 << 10), "{name}");
    for word in ["canary", "panic"] {
        assert!(!log.contains(word), "{name}: {log}");
    }
    assert_eq!(exporter.get("/-/healthy").await.status, 200, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_answer_gives_the_promised_page_in_time_with_a_counted_reason_within_a_bound() {
    use futures_util::StreamExt as _;
    // Four at a time, because the machine that builds has little memory.
    let cases = futures_util::stream::iter(cases());
    cases.for_each_concurrent(4, check).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_too_many_too_long_or_odd_are_counted_and_the_rest_is_read() {
    let long = "长".repeat(350_000);
    let row = |number| format!(r#"{{"biz_id":"K{number}","delivery_id":"STO"}}"#);
    let rows: Vec<_> = (0..300_000).map(row).collect();
    let list = format!(
        r#"{{"list":[
            {{"bizId":"camel","deliveryId":"YTO","quotaNum":"17","alias":"{long}"}},
            {{"biz_id":"same","delivery_id":"ZTO","quota_num":5,"update_time":10}},
            {{"biz_id":"same","delivery_id":"ZTO","quota_num":6,"update_time":20}},
            {{"biz_id":"{long}","delivery_id":"STO"}}, {{"biz_id":"","delivery_id":"ZTO"}}, 7, null,
            {}]}}"#,
        rows.join(",")
    );
    let (scratch, api) = (
        Scratch::new(),
        RawApi::start(Some(Reply::body(&list))).await,
    );
    // A debug build on a busy machine is slow.
    let more = [
        "--scrape.timeout=100s",
        "--wechat.timeout=100s",
        "--wechat.max-label-length=64",
    ];
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
    let page = exporter.scrape_with_timeout("100").await;
    assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
    let quota = |account: &str| {
        page.value(&format!(
            "account_quota{{appid=\"{APPID}\",biz_id={account}}}"
        ))
    };
    assert_eq!(quota("\"camel\",delivery_id=\"YTO\""), Some(17.0));
    assert_eq!(quota("\"same\",delivery_id=\"ZTO\""), Some(6.0));
    assert_eq!(page.dropped("duplicate"), 1.0);
    assert_eq!(page.dropped("invalid"), 3.0);
    assert_eq!(page.dropped("limit"), 200_004.0);
    assert_eq!(page.of_app("accounts"), Some(99_999.0));
    let cut = format!("alias=\"{}\"", "长".repeat(64 / 3));
    assert!(page.0.contains(&cut));
    let peak = exporter.peak() >> 10;
    assert!(peak < 512, "{peak} MiB");
}
