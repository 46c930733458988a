//! An API that lies, floods or breaks off, met without a snapshot, with a fresh one and with a stale one. Beside the
//! cases of the integration tests (`replies`), those that could cost memory: each has a bound, read from the kernel.

use std::io::Write as _;
use std::time::Duration;

use crate::process::*;
use crate::raw_api::*;
use crate::support::*;

/// What counts as well: the reading is shown.
const READ: &[&str] = &[];

/// What the scrape allows. Far more than Prometheus' usual 10 s: a debug build beside much other work needs half a
/// minute to read and show the largest reply. Unit: seconds.
const SCRAPE_TIMEOUT: u64 = 100;

struct Case {
    name: &'static str,
    reply: Reply,
    /// The reason that is counted; none where the reply can be read.
    reasons: &'static [&'static str],
    /// What the process may have taken at its peak. Unit: MiB.
    peak: u64,
}

fn bytes(bytes: impl Into<Vec<u8>>) -> Reply {
    Reply::Bytes(bytes.into().into())
}

fn repeated(first: &str, again: Vec<u8>, times: usize) -> Reply {
    Reply::Repeated(first.as_bytes().into(), again.into(), times)
}

/// 512 MB in half a megabyte: a gzip file may have any number of members.
fn gzip_bomb() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    gzip.finish().unwrap().repeat(512)
}

fn accounts_without_end(count: usize) -> Reply {
    let mut rows = Vec::with_capacity(100 * count);
    for number in 0..count {
        let comma = if number == 0 { "" } else { "," };
        write!(
            rows,
            r#"{comma}{{"biz_id":"K{number}","delivery_id":"STO","quota_num":{number},"status_code":0}}"#
        )
        .unwrap();
    }
    let body = format!(
        r#"{{"count":{count},"list":[{}]}}"#,
        String::from_utf8(rows).unwrap()
    );
    bytes(well(&body))
}

fn cases() -> Vec<Case> {
    let case = |name, reply, reasons, peak| Case {
        name,
        reply,
        reasons,
        peak,
    };
    let bomb = gzip_bomb();
    let mut bombed = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    bombed.extend(bomb);
    let mega = "长".repeat(350_000);
    vec![
        case(
            "200 MB announced",
            repeated(
                "HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n{\"list\":[",
                vec![b' '; 1 << 20],
                200,
            ),
            &["decode"],
            128,
        ),
        case(
            "200 MB in chunks",
            repeated(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"list\":[\r\n",
                [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat(),
                200,
            ),
            &["decode"],
            384,
        ),
        case("gzip bomb", bytes(bombed), &["decode"], 64),
        case(
            "100 Continue without end",
            repeated("", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000), 20),
            &["network", "timeout", "decode"],
            64,
        ),
        case(
            "103 Early Hints without end",
            repeated("", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(20), 1000),
            &["network", "timeout", "decode"],
            64,
        ),
        case(
            "101 Switching Protocols",
            bytes(&b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n{}"[..]),
            &["network", "decode", "unknown", "config", "transient"],
            64,
        ),
        case(
            "1xx before a good answer",
            bytes([&b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n"[..], &well(&accounts().to_string())].concat()),
            READ,
            64,
        ),
        case(
            "a header without end",
            repeated("HTTP/1.1 200 OK\r\nX-Long: ", vec![b'a'; 1 << 20], 50),
            &["network", "decode"],
            96,
        ),
        case(
            "headers without end",
            repeated("HTTP/1.1 200 OK\r\n", b"X-Many: a\r\n".repeat(10_000), 100),
            &["network", "decode"],
            96,
        ),
        case("10^6 accounts", accounts_without_end(1_000_000), READ, 768),
        case(
            "labels of 1 MB",
            bytes(well(&format!(
                r#"{{"count":2,"list":[{{"biz_id":"{mega}","delivery_id":"STO"}},{{"biz_id":"a","delivery_id":"STO","alias":"{mega}","status_code":0}}]}}"#
            ))),
            READ,
            96,
        ),
        case(
            "duplicate keys",
            bytes(well(
                r#"{"count":1,"list":[{"biz_id":"a","biz_id":"b","delivery_id":"STO","quota_num":1,"quota_num":2,"status_code":0}],"count":2,"list":[{"biz_id":"c","delivery_id":"STO","status_code":0}]}"#,
            )),
            READ,
            64,
        ),
    ]
}

async fn meets(case: &Case, before: Before) {
    let context = format!("{} with {before:?}", case.name);
    let scratch = Scratch::new();
    let api = RawApi::start().await;
    let more = ["scrape", "wechat"].map(|what| format!("--{what}.timeout={SCRAPE_TIMEOUT}s"));
    let more = more.each_ref().map(String::as_str);
    let exporter = before.exporter(&scratch, &api.url(), &more, &context).await;
    api.lists(case.reply.clone());
    let lines_before = exporter.log().lines().count();
    let asked = std::time::Instant::now();
    let page = exporter
        .scrape_with_timeout(&SCRAPE_TIMEOUT.to_string())
        .await;
    assert!(
        asked.elapsed() < Duration::from_secs(SCRAPE_TIMEOUT),
        "{context}: too late for the scrape"
    );
    if case.reasons.is_empty() {
        assert_eq!(page.up(APPID), Some(1.0), "{context}: {}", exporter.log());
    } else {
        assert_eq!(page.up(APPID), Some(0.0), "{context}");
        let counted: f64 = case
            .reasons
            .iter()
            .map(|reason| page.failures("account_getall", reason))
            .sum();
        assert_eq!(counted, 1.0, "{context}: {}", exporter.log());
        let shown = page.series("account_status_code").len();
        let expected = if before == Before::Fresh { 2 } else { 0 };
        assert_eq!(shown, expected, "{context}");
        let told = |log: &str| {
            log.lines()
                .skip(lines_before)
                .filter(|line| line.contains("fetch failed") || line.contains("late for a scrape"))
                .count()
        };
        let log = exporter.log_once(&context, |log| told(log) > 0).await;
        assert!(told(&log) <= 2, "{context}: {log}");
    }
    let peak = memory(exporter.process()).peak >> 10;
    assert!(peak < case.peak, "{context}: {peak} MiB");
    let longest = page.0.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 16 << 10, "{context}: a line of {longest} bytes");
    let log = exporter.log();
    assert!(
        !log.contains("panic") && !log.contains("canary"),
        "{context}"
    );
    let longest = log.lines().map(str::len).max().unwrap_or(0);
    assert!(
        longest < 4 << 10,
        "{context}: a log line of {longest} bytes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_could_cost_memory_give_the_promised_page_within_a_bound() {
    // One at a time: the machine that builds has little memory too.
    for case in cases() {
        for before in Before::ALL {
            meets(&case, before).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_beyond_the_limit_are_counted_and_the_last_of_two_keys_counts() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let rows: Vec<_> = (0..30)
        .map(|number| {
            format!(r#"{{"biz_id":"K{number}","delivery_id":"STO","delivery_id":"YTO"}}"#)
        })
        .collect();
    let body = format!(r#"{{"list":[{}]}}"#, rows.join(","));
    wechat
        .lists(wiremock::ResponseTemplate::new(200).set_body_raw(body, "application/json"))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.max-accounts=10"]);
    let page = exporter.scrape().await;
    let dropped = page.value(&format!(
        "accounts_dropped{{appid=\"{APPID}\",reason=\"limit\"}}"
    ));
    assert_eq!(dropped, Some(20.0));
    let info = page.series("account_info");
    assert_eq!(info.len(), 10);
    let couriers: std::collections::BTreeSet<_> = info
        .iter()
        .map(|line| line.contains("delivery_id=\"YTO\""))
        .collect();
    assert_eq!(
        couriers.len(),
        1,
        "one of the two keys counts, always the same"
    );
}
