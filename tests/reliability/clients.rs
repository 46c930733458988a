//! Clients that are slow, greedy, broken or countless. Meanwhile every other scrape is answered before Prometheus
//! gives up, and neither memory nor descriptors grow beyond a bound.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::*;
use crate::raw_api::*;
use crate::support::*;

/// What a process may have over what it had before, whatever its clients do. Unit: KiB. A debug build needs about a
/// fifth of it.
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

async fn setup(more: &[&str]) -> Setup {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, more);
    for _ in 0..10 {
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    }
    Setup {
        at_rest: memory(exporter.process()).resident,
        exporter,
        _scratch: scratch,
        _wechat: wechat,
    }
}

impl Setup {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.exporter.address)
            .await
            .expect("the system takes the connection")
    }

    fn assert_bounded(&self) {
        let process = self.exporter.process();
        let peak = memory(process).peak;
        assert!(
            peak < self.at_rest + MORE_MEMORY,
            "{} KiB at rest, {peak} KiB now",
            self.at_rest
        );
        let open = descriptors(process);
        assert!(open < DESCRIPTORS, "{open} descriptors");
    }

    /// After its clients have gone nothing of them stays behind.
    async fn lets_go_of(&self, held: Vec<TcpStream>) {
        drop(held);
        descriptors_fall_to(self.exporter.process(), 60).await;
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
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(20), read).await;
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_keep_nobody_out() {
    let setup = setup(&[]).await;
    let scraping = Scraping::of(&setup.exporter);
    let mut held = Vec::new();
    for number in 0..connections() {
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
    setup.assert_bounded();
    for _ in 0..10 {
        assert_eq!(setup.exporter.scrape().await.up(APPID), Some(1.0));
    }
    setup.assert_bounded();
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_end_and_answers_that_nobody_takes_are_bounded() {
    let setup = setup(&[]).await;
    let scraping = Scraping::of(&setup.exporter);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = setup.connect().await;
        let requests =
            b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /x HTTP/1.1\r\nHost: x\r\n\r\n"
                .repeat(2000);
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
    let setup = setup(&[]).await;
    let mega = 4 << 20;
    let heads = [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(mega)),
        format!(
            "GET /metrics?appid={} HTTP/1.1\r\nHost: x\r\n\r\n",
            "%41".repeat(mega / 3)
        ),
        format!(
            "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: {}\r\n\r\n",
            "a/b,".repeat(mega / 4)
        ),
        format!(
            "GET /metrics HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "A: b\r\n".repeat(mega / 6)
        ),
        format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "G".repeat(mega)),
        "\r\n".repeat(mega / 2),
        "a".repeat(mega),
        "\0".repeat(mega),
    ];
    let mut requests = JoinSet::new();
    for head in &heads {
        for _ in 0..rounds(8) {
            let (stream, head) = (setup.connect().await, head.clone());
            requests.spawn(async move { exchange(stream, head.as_bytes()).await });
        }
    }
    while let Some(answer) = requests.join_next().await {
        // A server that closes while the client still sends may reset the connection, and its answer with it.
        let answer = answer.unwrap();
        if let Some(status) = status(&answer) {
            assert!([400, 414, 431].contains(&status), "{status}");
        }
    }
    setup.assert_bounded();
    setup.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_gets_an_answer_on_every_path() {
    let setup = setup(&[]).await;
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND",
        "BREW", "get", "M-SEARCH",
    ];
    let paths = [
        "/",
        "/metrics",
        "/probe",
        "/sd",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/nothing",
        "//",
        "/../etc/passwd",
        "/%00",
        "/metrics/",
        "*",
        "http://elsewhere.example/metrics",
    ];
    for method in methods {
        for path in paths {
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let answer = exchange(setup.connect().await, request.as_bytes()).await;
            let status = status(&answer);
            assert!(
                matches!(status, Some(200 | 204 | 400 | 403 | 404 | 405)),
                "{method} {path}: {status:?}"
            );
            if !matches!(method, "GET" | "HEAD") {
                assert_ne!(status, Some(200), "{method} {path}");
            }
        }
    }
    setup.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_and_harms_nobody() {
    let setup = setup(&[]).await;
    let mut nonsense: Vec<Vec<u8>> = [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello on a plain port"[..],
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\n Host: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\0: x\r\n\r\n",
        b"\xff\xfe\xfd\r\n\r\n",
        b"",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // Every byte value at every place of a small request.
    let good = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    for place in (0..good.len()).step_by(3) {
        for byte in [0, 9, 10, 13, 32, 58, 127, 128, 255] {
            let mut bent = good.to_vec();
            bent[place] = byte;
            nonsense.push(bent);
        }
    }
    for bytes in nonsense {
        let mut stream = setup.connect().await;
        let _ = stream.write_all(&bytes).await;
        // What is not finished never will be.
        let _ = stream.shutdown().await;
        let answer = exchange(stream, b"").await;
        assert!(
            answer.is_empty() || status(&answer).is_some_and(|status| status < 500),
            "{:?}: {:?}",
            String::from_utf8_lossy(&bytes),
            String::from_utf8_lossy(&answer)
        );
    }
    setup.assert_bounded();
    setup.is_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aborted_reads_leave_nothing_behind() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let list: Vec<_> = (0..20_000)
        .map(|number| serde_json::json!({"biz_id": format!("K{number}"), "delivery_id": "STO", "status_code": 0, "quota_num": number}))
        .collect();
    wechat
        .lists(json(serde_json::json!({"count": list.len(), "list": list})))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=1h"]);
    let page = exporter.scrape().await;
    assert!(page.0.len() > 4 << 20, "{} bytes", page.0.len());
    for _ in 0..5 {
        exporter.scrape().await;
    }
    let setup = Setup {
        at_rest: memory(exporter.process()).resident,
        exporter,
        _scratch: scratch,
        _wechat: wechat,
    };
    let scraping = Scraping::of(&setup.exporter);
    let mut held = Vec::new();
    for number in 0..rounds(600) {
        let mut stream = setup.connect().await;
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut byte = [0];
        match number % 3 {
            // Gone before the answer.
            0 => {}
            // Gone in the middle of it.
            1 => {
                let _ = stream.read(&mut byte).await;
            }
            // Takes the rest never. Fewer than --web.max-requests, so that others have theirs.
            _ => {
                let _ = stream.read(&mut byte).await;
                held.push(stream);
                if held.len() > 20 {
                    held.remove(0);
                }
            }
        }
    }
    setup.assert_bounded();
    scraping.all_were_answered().await;
    setup.lets_go_of(held).await;
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
    assert_eq!(exporter.get("/-/ready").await.status, 200);
    api.lists(Reply::Well);
    while let Some(status) = scrapes.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    assert_eq!(api.token_and_list_calls(), (1, 1));
    let requests = |code: u16, page: &Page| {
        page.value(&format!(
            "exporter_http_requests_total{{code=\"{code}\",handler=\"metrics\"}}"
        ))
    };
    assert_eq!(requests(503, &exporter.scrape().await), Some(95.0));
}
