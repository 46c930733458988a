//! Clients that are greedy, broken or countless. Meanwhile every other scrape is answered before Prometheus gives up,
//! and neither memory nor descriptors grow beyond a bound.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::raw_api::*;
use crate::support::*;

/// What a process may have over what it had before, whatever its clients do; a debug build needs about a fifth of it.
/// Unit: KiB.
const MORE_MEMORY: u64 = 96 << 10;

/// Connections (512 at most), WeChat, files.
const DESCRIPTORS: usize = 600;

/// An exporter with one app that was read already, its API, and what the exporter took at rest.
struct Setup {
    exporter: Exporter,
    at_rest: u64,
    _scratch: Scratch,
    _wechat: Wechat,
}

impl Setup {
    /// `accounts`: beside the usual two.
    async fn with(accounts: usize) -> Self {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.gives_token(TOKEN).await;
        let account = |number: usize| serde_json::json!({"biz_id": format!("K{number}"), "delivery_id": "STO", "quota_num": number});
        let list: Vec<_> = (0..accounts).map(account).collect();
        wechat.lists(json(serde_json::json!({"list": list}))).await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=1h"]);
        for _ in 0..5 {
            assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
        }
        Self {
            at_rest: resident(exporter.process()),
            exporter,
            _scratch: scratch,
            _wechat: wechat,
        }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.exporter.address);
        stream.await.expect("the system takes the connection")
    }

    fn assert_bounded(&self) {
        let (peak, at_rest) = (peak(self.exporter.process()), self.at_rest);
        assert!(
            peak < at_rest + MORE_MEMORY,
            "{at_rest} KiB at rest, {peak} KiB now"
        );
        let open = descriptors(self.exporter.process());
        assert!(open < DESCRIPTORS, "{open} descriptors");
    }

    /// Nothing of its clients stays behind after they have gone.
    async fn lets_go_of(&self, held: Vec<TcpStream>) {
        drop(held);
        let process = self.exporter.process();
        until("descriptors are free again", async || {
            descriptors(process) <= 60
        })
        .await;
        self.is_well().await;
    }

    async fn is_well(&self) {
        assert_eq!(self.exporter.get("/-/healthy").await.status, 200);
        let log = self.exporter.log();
        assert!(!log.contains("panic"), "{log}");
    }
}

/// Sends the bytes and takes what comes back until the server closes.
async fn exchange(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    // The server may close before it has read all. What is not finished never will be.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(60), read).await;
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let setup = Setup::with(2).await;
    let scraping = Scraping::of(&setup.exporter);
    // As many as other tests of this process leave room for.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = limit.map_or(2000, |limit| limit / 2).min(2000);
    let mut held = Vec::new();
    for number in 0..count {
        let mut stream = setup.connect().await;
        // Some say nothing, some say half of something, some have had an answer.
        let words: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET /metrics HTTP/1.1\r\nHo",
            2 => b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n",
            _ => b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        let _ = stream.write_all(words).await;
        held.push(stream);
    }
    for _ in 0..5 {
        assert_eq!(setup.exporter.scrape().await.up(APPID), Some(1.0));
    }
    setup.assert_bounded();
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_and_reads_that_are_broken_off_are_bounded() {
    let setup = Setup::with(20_000).await;
    let scraping = Scraping::of(&setup.exporter);
    let mut held = Vec::new();
    for number in 0..300 {
        let mut stream = setup.connect().await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        // Gone before the answer, or in its midst, or never taking the rest.
        if number % 3 > 0 {
            let _ = stream.read_u8().await;
        }
        // Fewer than --web.max-requests, so that others have theirs.
        if number % 3 == 2 && held.len() < 20 {
            held.push(stream);
        }
    }
    for _ in 0..100 {
        let mut stream = setup.connect().await;
        let requests = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4000);
        // Until the server no longer reads, because nobody takes its answers.
        let _ = tokio::time::timeout(Duration::from_millis(20), stream.write_all(&requests)).await;
        held.push(stream);
    }
    setup.assert_bounded();
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_heads_are_refused_and_cost_nothing() {
    let setup = Setup::with(2).await;
    let mega = 4 << 20;
    let heads = [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(mega)),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\nAccept: {}\r\n\r\n",
            "a/b,".repeat(mega / 4)
        ),
        format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "A: b\r\n".repeat(mega / 6)
        ),
        format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "G".repeat(mega)),
        "\r\n".repeat(mega / 2),
        "\0".repeat(mega),
    ];
    let mut requests = JoinSet::new();
    for head in heads.iter().cycle().take(48) {
        let (stream, head) = (setup.connect().await, head.clone());
        requests.spawn(async move { exchange(stream, head.as_bytes()).await });
    }
    while let Some(answer) = requests.join_next().await {
        // A server that closes while the client still sends may reset the connection, and its answer with it.
        if let Some(status) = status(&answer.unwrap()) {
            assert!([400, 414, 431].contains(&status), "{status}");
        }
    }
    setup.assert_bounded();
    setup.is_well().await;
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
    let odd_paths = [
        "//",
        "/../etc/passwd",
        "/%00",
        "*",
        "http://elsewhere.example/metrics",
    ];
    for method in ["CONNECT", "TRACE", "PROPFIND", "BREW", "get"] {
        for path in odd_paths {
            nonsense.push(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes());
        }
    }
    for bytes in nonsense {
        let answer = exchange(setup.connect().await, &bytes).await;
        let refused = answer.is_empty() || status(&answer).is_some_and(|status| status < 500);
        assert!(refused, "{}", String::from_utf8_lossy(&bytes));
    }
    setup.assert_bounded();
    setup.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scrapes_beyond_the_limit_get_503_and_health_checks_go_on() {
    let (scratch, api) = (Scratch::new(), RawApi::start().await);
    api.holds_lists();
    let more = ["--web.max-requests=5", "--scrape.timeout=1m"];
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
    let mut scrapes = JoinSet::new();
    for _ in 0..100 {
        let request = exporter.request(reqwest::Method::GET, "/metrics");
        scrapes.spawn(async move { Answer::of(request).await.status });
    }
    // The first answers are refusals, for the five scrapes wait for WeChat.
    for _ in 0..95 {
        assert_eq!(scrapes.join_next().await.unwrap().unwrap(), 503);
    }
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    api.lists(Reply::Well);
    while let Some(status) = scrapes.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let page = exporter.scrape().await;
    assert_eq!(api.token_and_list_calls(), (1, 1));
    let refused = "exporter_http_requests_total{code=\"503\",handler=\"metrics\"}";
    assert_eq!(page.value(refused), Some(95.0));
}
