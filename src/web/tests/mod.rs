//! Tests of the whole server over sockets:
//!
//! - `routing`: paths, methods, headers
//! - `limits`: clients that are slow, greedy or broken, and panics
//! - `stop`: shutdown
//! - `auth`: the web configuration's users, headers and rate limit
//! - `tls`: certificates of servers and clients
//! - `conformance`: the verdict on web configurations, compared with promtool's

mod auth;
mod conformance;
mod limits;
mod routing;
mod stop;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::connections::Limits;
use super::{ReloadRequest, Server, Site};
use crate::collector::Collector;
use crate::config::{
    AppConfig, Config, Credential, ListenAddress, ScrapeConfig, WebConfig, WechatConfig,
};
use crate::exposition::Exposition;
use crate::store::Store;
use crate::wechat::ListLimits;

/// The longest that anything in these tests may take. Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request that costs nothing and keeps its connection.
const READY: &[u8] = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n";
const RELOAD: &[u8] = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The settings of a server to be started.
struct Setup {
    web: WebConfig,
    limits: Limits,
    scrape: ScrapeConfig,
    apps: Vec<AppConfig>,
}

impl Setup {
    fn new() -> Self {
        Self {
            web: WebConfig {
                listen_addresses: vec![ListenAddress::Host("127.0.0.1:0".to_owned())],
                enable_lifecycle: true,
                ..Config::new(Vec::new()).web
            },
            limits: Limits::of(None),
            scrape: Config::new(Vec::new()).scrape,
            apps: Vec::new(),
        }
    }

    fn with_web_config(path: PathBuf) -> Self {
        let mut setup = Self::new();
        setup.web.config_file = Some(path);
        setup
    }

    async fn start(self) -> Running {
        let config = Config {
            scrape: self.scrape,
            wechat: WechatConfig {
                // A WeChat that doesn't answer must not time out during a test.
                timeout: 2 * PATIENCE,
                proxy_from_env: false,
                ..Config::new(Vec::new()).wechat
            },
            ..Config::new(self.apps)
        };
        let (reloads, requests) = mpsc::channel(1);
        let store = Store::open(None, ListLimits::default()).unwrap();
        let collector = Arc::new(Collector::new(&config, store).unwrap());
        let site = Arc::new(Site {
            exposition: Arc::new(Exposition::new(Arc::clone(&collector))),
            collector,
            reloads,
            config: self.web,
        });
        let mut server = Server::bind(&site.config, 1).await.unwrap();
        server.limits = self.limits;
        let address = server.addresses().next().unwrap().to_string();
        let stop = CancellationToken::new();
        let running = server.run(site, stop.clone().cancelled_owned());
        Running {
            address: address.parse().unwrap(),
            reloads: Mutex::new(requests),
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(running)),
        }
    }
}

/// Returns an app whose API doesn't answer.
fn app(appid: &str, name: &str) -> AppConfig {
    AppConfig {
        name: name.to_owned(),
        // The discard port of this machine, which refuses connections at once.
        api_urls: vec!["http://127.0.0.1:9".parse().unwrap()],
        ..AppConfig::new(appid, Credential::None { from_appid: None })
    }
}

/// A server that runs until it is dropped.
struct Running {
    address: SocketAddr,
    reloads: Mutex<mpsc::Receiver<ReloadRequest>>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Opens a connection and sends these bytes.
    async fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Returns the answer to one request, as received.
    async fn ask(&self, request_line: &str) -> String {
        self.ask_with(request_line, "").await
    }

    /// Asks with more headers, given as whole lines.
    async fn ask_with(&self, request_line: &str, headers: &str) -> String {
        let request = format!(
            "{request_line} HTTP/1.1\r\nHost: exporter.example:1\r\nConnection: close\r\n{headers}\r\n"
        );
        exchange(self.connect().await, request.as_bytes()).await
    }

    /// Returns the next request to reload. The client waits until it is answered.
    async fn reload(&self) -> ReloadRequest {
        within(self.reloads.lock().await.recv()).await.unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        within(self.task).await.unwrap();
    }
}

/// Sends the bytes and returns what comes back until the server closes.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

/// Returns what is still to come until the server closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A connection that was reset had its answer before.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until `text` has arrived.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&answer).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        let n = within(stream.read(&mut chunk)).await.unwrap();
        assert!(
            n > 0,
            "the connection ended before {text:?} came: {so_far:?}"
        );
        answer.extend_from_slice(&chunk[..n]);
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the server takes far too long")
}

fn status(answer: &str) -> u16 {
    answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Returns the line of a body that is JSON; the others are the lengths of chunks.
fn json_line(answer: &str) -> &str {
    let is_json = |line: &&str| line.starts_with('[');
    body(answer).lines().find(is_json).unwrap_or_default()
}
