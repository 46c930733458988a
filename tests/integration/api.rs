//! An API that lies, floods or breaks off, where that could cost memory, and one whose certificate is wrong.

use std::io::Write as _;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::raw_api::*;
use crate::servers::{Authority, Issued};
use crate::support::*;

/// Far more than Prometheus's usual 10 s: a debug build on a busy machine needs half a minute for the largest reply.
const SCRAPE_TIMEOUT: &str = "100s";

struct Case {
    name: &'static str,
    reply: Reply,
    /// One of them is counted; none: the reply can be read.
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
    let bomb = gzip.finish().unwrap().repeat(512);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    );
    [head.into_bytes(), bomb].concat()
}

fn million_accounts() -> Vec<u8> {
    let row = |number: usize| {
        format!(
            r#"{{"biz_id":"K{number}","delivery_id":"STO","quota_num":{number},"status_code":0}}"#
        )
    };
    let rows: Vec<_> = (0..1_000_000).map(row).collect();
    well(&format!(
        r#"{{"count":1000000,"list":[{}]}}"#,
        rows.join(",")
    ))
}

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let case = |name, reply, reasons, peak| Case { name, reply, reasons, peak };
    let space = vec![b' '; 1 << 20];
    let chunk = [b"100000\r\n".to_vec(), space.clone(), b"\r\n".to_vec()].concat();
    let long = "长".repeat(350_000);
    let long_labels = format!(
        r#"{{"list":[{{"biz_id":"{long}","delivery_id":"STO"}},{{"biz_id":"a","delivery_id":"STO","alias":"{long}"}}]}}"#
    );
    let ok = "HTTP/1.1 200 OK\r\n";
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let body_in_chunks = format!("{ok}Transfer-Encoding: chunked\r\n\r\n9\r\n{{\"list\":[\r\n");
    let body_announced = format!("{ok}Content-Length: 209715200\r\n\r\n{{\"list\":[");
    vec![
        case("200 MB announced", repeated(&body_announced, space.clone(), 200), &["decode"], 128),
        case("200 MB in chunks", repeated(&body_in_chunks, chunk, 200), &["decode"], 384),
        case("gzip bomb", bytes(gzip_bomb()), &["decode"], 64),
        case("1xx without end", repeated("", hints.repeat(20), 1000), &["network", "timeout", "decode"], 64),
        case("a header without end", repeated(&format!("{ok}X: "), space, 50), &["network", "decode"], 96),
        case("headers without end", repeated(ok, b"X: a\r\n".repeat(10_000), 100), &["network", "decode"], 96),
        case("a million accounts", bytes(million_accounts()), &[], 768),
        case("labels of 1 MB", bytes(well(&long_labels)), &[], 96),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_could_cost_memory_give_the_promised_page_within_a_bound() {
    // One at a time: the machine that builds has little memory too.
    for case in cases() {
        let (scratch, api) = (Scratch::new(), RawApi::start().await);
        let timeouts =
            ["scrape", "wechat"].map(|what| format!("--{what}.timeout={SCRAPE_TIMEOUT}"));
        let more = ["--wechat.min-interval=0s", &timeouts[0], &timeouts[1]];
        let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
        assert_eq!(
            exporter.scrape().await.up(APPID),
            Some(1.0),
            "{}",
            case.name
        );
        api.lists(case.reply);
        let page = exporter.scrape_with_timeout(&SCRAPE_TIMEOUT[..3]).await;
        let log = exporter.log();
        if case.reasons.is_empty() {
            assert_eq!(page.up(APPID), Some(1.0), "{}: {log}", case.name);
        } else {
            assert_eq!(page.up(APPID), Some(0.0), "{}", case.name);
            let counted: f64 = case
                .reasons
                .iter()
                .map(|reason| page.failures("account_getall", reason))
                .sum();
            assert_eq!(counted, 1.0, "{}: {log}", case.name);
            assert_eq!(
                page.series("account_status_code").len(),
                2,
                "{}: the last reading is shown",
                case.name
            );
        }
        let peak = peak(exporter.process()) >> 10;
        assert!(peak < case.peak, "{}: {peak} MiB", case.name);
        for (text, longest) in [(&page.0, 16 << 10), (&log, 4 << 10)] {
            assert!(
                text.lines().all(|line| line.len() < longest),
                "{}: a long line",
                case.name
            );
        }
        assert!(
            !log.contains("panic") && !log.contains("canary"),
            "{}",
            case.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_beyond_the_limit_are_counted() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let row =
        |number: u32| serde_json::json!({"biz_id": format!("K{number}"), "delivery_id": "STO"});
    let list: Vec<_> = (0..30).map(row).collect();
    wechat.lists(json(serde_json::json!({"list": list}))).await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.max-accounts=10"]);
    let page = exporter.scrape().await;
    let dropped = format!("accounts_dropped{{appid=\"{APPID}\",reason=\"limit\"}}");
    assert_eq!(page.value(&dropped), Some(20.0));
    assert_eq!(page.series("account_info").len(), 10);
}

fn acceptor(issued: Issued) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate], issued.key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Scrapes an exporter that trusts `authority` alone.
async fn page_of(authority: &Authority, scheme: &str, api: &RawApi) -> (Page, String) {
    let scratch = Scratch::new();
    let mut command = program();
    command
        .args(one_app(
            &scratch,
            &format!("{scheme}://localhost:{}", api.address.port()),
        ))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--log.level=trace",
            "--wechat.timeout=3s",
        ])
        .env("SSL_CERT_FILE", authority.path("ca.pem"))
        .env_remove("SSL_CERT_DIR");
    let mut exporter = Exporter::spawn(command);
    let page = exporter.scrape().await;
    signal(exporter.process(), "TERM");
    exporter.ended();
    (page, exporter.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificate_or_no_tls_is_a_failure_of_the_network_and_the_secret_stays_here() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let long_ago = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    let good = || authority.issue("api", "localhost");
    for (name, scheme, issued) in [
        (
            "from a stranger",
            "https",
            Some(stranger.issue("api", "localhost")),
        ),
        (
            "of another host",
            "https",
            Some(authority.issue("api", "elsewhere.example")),
        ),
        (
            "expired",
            "https",
            Some(authority.issue_with("api", "localhost", long_ago)),
        ),
        ("https to a plain port", "https", None),
        ("http to a port with TLS", "http", Some(good())),
    ] {
        let is_certificate = scheme == "https" && issued.is_some();
        let api = match issued {
            Some(issued) => RawApi::behind(acceptor(issued)).await,
            None => RawApi::start().await,
        };
        let (page, log) = page_of(&authority, scheme, &api).await;
        assert_eq!(page.up(APPID), Some(0.0), "{name}");
        // One that waits for an HTTP request to end never answers a handshake.
        let counted = ["network", "timeout"].map(|reason| page.failures("stable_token", reason));
        assert_eq!(counted.iter().sum::<f64>(), 1.0, "{name}: {log}");
        assert!(
            !is_certificate || log.contains("ertificate"),
            "{name}: {log}"
        );
        assert!(!log.contains("canary"), "{name}: {log}");
        assert_eq!(api.token_and_list_calls(), (0, 0), "{name}");
    }
    let api = RawApi::behind(acceptor(good())).await;
    let (page, log) = page_of(&authority, "https", &api).await;
    assert_eq!(page.up(APPID), Some(1.0), "{log}");
}
