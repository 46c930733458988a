//! Greedy, broken and countless clients. While they are connected, every other scrape is answered before Prometheus
//! gives up, and neither memory nor descriptors grow beyond a bound.

use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::raw_api::*;
use crate::support::*;

/// The most memory that the process may take beyond its use at rest, whatever its clients do; a debug build needs about
/// a fifth of it. Unit: KiB.
const MORE_MEMORY: u64 = 96 << 10;

/// The most open descriptors: connections (512 at most), WeChat and files.
const DESCRIPTORS: usize = 600;

/// An exporter whose only app has been fetched, its API, and the memory that the exporter took at rest.
struct Setup {
    exporter: Exporter,
    at_rest: u64,
    _scratch: Scratch,
    _wechat: Wechat,
}

impl Setup {
    async fn with(accounts: usize) -> Self {
        let list = ok(many_accounts(accounts));
        let (scratch, wechat) = (Scratch::new(), Wechat::listing(list).await);
        let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=1h"]);
        for _ in 0..3 {
            assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
        }
        Self {
            at_rest: exporter.resident(),
            exporter,
            _scratch: scratch,
            _wechat: wechat,
        }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.exporter.address);
        stream.await.expect("the system takes the connection")
    }

    /// Opens a connection and sends these bytes.
    async fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        // Ends when the server closes the connection, or stops reading because nobody reads its replies.
        let sent = stream.write_all(bytes);
        let _ = tokio::time::timeout(Duration::from_millis(20), sent).await;
        stream
    }

    /// Asserts that memory and descriptors stayed bounded, and that nothing of the clients remains once they are gone.
    async fn lets_go_of(&self, held: Vec<TcpStream>) {
        let (exporter, at_rest) = (&self.exporter, self.at_rest);
        let grown = exporter.peak().saturating_sub(at_rest);
        assert!(grown < MORE_MEMORY, "{grown} KiB beside {at_rest} at rest");
        let open = exporter.descriptors();
        assert!(open < DESCRIPTORS, "{open} descriptors");
        drop(held);
        until("descriptors are free again", async || {
            exporter.descriptors() <= 60
        })
        .await;
        assert_eq!(exporter.get("/-/healthy").await.status, 200);
        assert!(!exporter.log().contains("panic"), "{}", exporter.log());
    }
}

/// Sends the bytes and returns the status that comes back before the server closes, if any.
async fn status(mut stream: TcpStream, bytes: &[u8]) -> Option<u16> {
    let mut answer = Vec::new();
    // The server may close before it has read everything. The shutdown tells it that a partial request stays partial.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(60), read).await;
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let setup = Setup::with(2).await;
    let scraping = Scraping::of(&setup.exporter);
    // Leaves room for the other tests of this process.
    let limit = getrlimit(Resource::Nofile).current;
    let count = limit.map_or(2000, |limit| limit / 2).min(2000);
    let mut held = Vec::new();
    // Some send nothing, some send part of a request, and some have been answered.
    let words: [&[u8]; 4] = [
        b"",
        b"GET /metrics HTTP/1.1\r\nHo",
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
        b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    for words in words.iter().cycle().take(count as usize) {
        held.push(setup.sending(words).await);
    }
    for _ in 0..5 {
        assert_eq!(setup.exporter.scrape().await.up(APPID), Some(1.0));
    }
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_and_reads_that_are_broken_off_are_bounded() {
    let setup = Setup::with(3000).await;
    let scraping = Scraping::of(&setup.exporter);
    let mut held = Vec::new();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    for number in 0..150 {
        let mut stream = setup.sending(request).await;
        // Some leave before the answer, some in the middle of it, and some never read the rest.
        if number % 3 > 0 {
            let _ = stream.read_u8().await;
        }
        // Fewer than --web.max-requests, so that other scrapes are admitted.
        if number % 3 == 2 && held.len() < 20 {
            held.push(stream);
        }
    }
    let many = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4000);
    held.extend(join_all((0..100).map(|_| setup.sending(&many))).await);
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads_are_refused_and_cost_nothing() {
    let setup = Setup::with(2).await;
    let mega = 4 << 20;
    let after = |line: &str, more: String| format!("{line} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let heads = [
        after(&format!("GET /{}", "a".repeat(mega)), String::new()),
        after("GET /", format!("Accept: {}\r\n", "a/b,".repeat(mega / 4))),
        after("GET /", "A: b\r\n".repeat(mega / 6)),
        after(&format!("{} /", "G".repeat(mega)), String::new()),
        "\r\n".repeat(mega / 2),
        "\0".repeat(mega),
    ];
    let mut requests = JoinSet::new();
    for head in heads.iter().cycle().take(48) {
        let (stream, head) = (setup.connect().await, head.clone());
        requests.spawn(async move { status(stream, head.as_bytes()).await });
    }
    // A server that closes while the client still sends may reset the connection, and the answer is lost with it.
    for status in requests.join_all().await.into_iter().flatten() {
        assert!([400, 414, 431].contains(&status), "{status}");
    }
    setup.lets_go_of(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_odd_methods_are_refused_and_harm_nobody() {
    let setup = Setup::with(2).await;
    let mut nonsense: Vec<Vec<u8>> = [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello on a plain port"[..],
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: folded\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"",
    ]
    .map(<[u8]>::to_vec)
    .into();
    let good = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    for place in (0..good.len()).step_by(3) {
        for byte in [0, 10, 13, 32, 128, 255] {
            let mut bent = good.to_vec();
            bent[place] = byte;
            nonsense.push(bent);
        }
    }
    for method in ["CONNECT", "TRACE", "PROPFIND", "BREW", "get"] {
        for path in [
            "//",
            "/../etc/passwd",
            "/%00",
            "*",
            "http://elsewhere/metrics",
        ] {
            nonsense.push(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes());
        }
    }
    for bytes in nonsense {
        let status = status(setup.connect().await, &bytes).await;
        let is_refused = status.is_none_or(|status| status < 500);
        assert!(is_refused, "{}", String::from_utf8_lossy(&bytes));
    }
    setup.lets_go_of(Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_beyond_the_limit_get_503_and_health_checks_go_on() {
    let (scratch, api) = (Scratch::new(), RawApi::start(None).await);
    let more = ["--web.max-requests=5", "--scrape.timeout=1m"];
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
    let mut scrapes = JoinSet::new();
    for _ in 0..100 {
        let request = exporter.request(Method::GET, "/metrics");
        scrapes.spawn(async move { Answer::of(request).await.status });
    }
    // The first answers are refusals, because the five scrapes wait for WeChat.
    for _ in 0..95 {
        assert_eq!(scrapes.join_next().await.unwrap().unwrap(), 503);
    }
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    api.lists(Reply::well());
    assert_eq!(scrapes.join_all().await, [200; 5]);
    let page = exporter.scrape().await;
    assert_eq!(api.token_and_list_calls(), (1, 1));
    let refused = "exporter_http_requests_total{code=\"503\",handler=\"metrics\"}";
    assert_eq!(page.value(refused), Some(95.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_requests_in_one_packet_hold_up_no_other_client() {
    let scratch = Scratch::new();
    let app =
        |n| format!("  - appid: wx{n}\n    access_token: {{ none: {{ from_appid: wx{n} }} }}\n");
    let apps: String = (0..1000).map(app).collect();
    let file = scratch.write("apps.yml", &format!("apps:\n{apps}"));
    let exporter = Exporter::from_file(&file, &[]);
    let mut greedy = TcpStream::connect(exporter.address).await.unwrap();
    let requests = "HEAD /sd HTTP/1.1\r\nHost: x\r\n\r\n".repeat(300);
    greedy.write_all(requests.as_bytes()).await.unwrap();
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    let mut replies = vec![0; 1 << 20];
    let length = greedy.read(&mut replies).await.unwrap();
    let answered = text(&replies[..length]).matches("HTTP/1.1 200").count();
    assert!(answered < 300, "the other client waited for all of them");
}
