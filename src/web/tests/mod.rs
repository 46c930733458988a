//! The server as a whole, on sockets: what belongs where.
//!
//! - `routing`: paths, methods, headers
//! - `limits`: clients that are slow, greedy or broken, and panics
//! - `stop`: how it ends
//! - `auth`: the web configuration's users, headers and rate limit
//! - `tls`: certificates of both sides
//! - `certificates`: an authority of the tests' own, and what it issues
//! - `conformance`: the web configuration beside promtool's verdict on it

mod auth;
mod certificates;
mod conformance;
mod limits;
mod routing;
mod stop;
mod tls;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::connections::Limits;
use super::{Reload, Server, Site};
use crate::collector::Collector;
use crate::config::{
    AppConfig, Config, Credential, ListenAddress, ScrapeConfig, WebConfig, WechatConfig,
};
use crate::exposition::Exposition;
use crate::store::Store;
use crate::wechat::ListLimits;

/// The longest that anything in these tests may take; never waited for unless a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reload that waits for the test's word, and so is a request under way for as long as the test likes.
#[derive(Debug, Default)]
struct Reloading {
    begun: Notify,
    end: Notify,
    waits: bool,
    panics: bool,
}

impl Reloading {
    fn waiting() -> Arc<Self> {
        Arc::new(Self {
            waits: true,
            ..Self::default()
        })
    }
}

impl Reload for Reloading {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async {
            assert!(!self.panics, "a fault in a handler");
            self.begun.notify_one();
            if self.waits {
                self.end.notified().await;
            }
            Ok(())
        })
    }
}

/// A server in the making.
struct Setup {
    web: WebConfig,
    limits: Limits,
    reloading: Arc<Reloading>,
    scrape: ScrapeConfig,
    apps: Vec<AppConfig>,
}

impl Setup {
    fn new() -> Self {
        Self {
            web: WebConfig {
                listen_addresses: vec![ListenAddress::Socket(([127, 0, 0, 1], 0).into())],
                enable_lifecycle: true,
                ..WebConfig::default()
            },
            limits: Limits::default(),
            reloading: Arc::default(),
            scrape: ScrapeConfig::default(),
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
                // A WeChat that is silent stays so for the whole of a test.
                timeout: 2 * PATIENCE,
                proxy_from_env: false,
                ..WechatConfig::default()
            },
            web: self.web.clone(),
            ..Config::new(self.apps)
        };
        let store = Store::open(None, ListLimits::default()).unwrap();
        let collector = Arc::new(Collector::new(&config, store).unwrap());
        let site = Arc::new(Site {
            exposition: Arc::new(Exposition::new(Arc::clone(&collector))),
            collector,
            reload: Arc::<Reloading>::clone(&self.reloading),
            config: self.web,
        });
        let mut server = Server::bind(&site.config).await.unwrap();
        server.limits = self.limits;
        // Those of TCP; a Unix socket's is a path.
        let addresses = server.addresses();
        let addresses = addresses
            .filter_map(|address| address.to_string().parse().ok())
            .collect();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.run(Arc::clone(&site), async {
            let _ = stopped.await;
        }));
        Running {
            addresses,
            config,
            site,
            reloading: self.reloading,
            stop: Some(stop),
            task,
        }
    }
}

/// An app whose API nobody answers.
fn app(appid: &str, name: &str) -> AppConfig {
    AppConfig {
        name: name.to_owned(),
        // The discard port of this machine: refused at once.
        api_urls: vec!["http://127.0.0.1:9".to_owned()],
        ..AppConfig::new(appid, Credential::None { from_appid: None })
    }
}

/// A server that runs until it is dropped.
struct Running {
    addresses: Vec<SocketAddr>,
    config: Config,
    site: Arc<Site>,
    reloading: Arc<Reloading>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Puts other apps in force.
    fn reload(&self, apps: Vec<AppConfig>) {
        let config = Config {
            apps,
            ..self.config.clone()
        };
        self.site.collector.reconfigure(&config).unwrap();
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    /// A connection on which these bytes have been sent.
    async fn sending(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The answer to one request, as it is on the wire.
    async fn ask(&self, request_line: &str) -> String {
        self.ask_with(request_line, "").await
    }

    /// `headers`: whole lines.
    async fn ask_with(&self, request_line: &str, headers: &str) -> String {
        let request = format!(
            "{request_line} HTTP/1.1\r\nHost: exporter.example:1\r\nConnection: close\r\n{headers}\r\n"
        );
        exchange(self.connect().await, request.as_bytes()).await
    }

    fn begin_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    async fn stop(mut self) {
        self.begin_to_stop();
        within(&mut self.task).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What comes back until the server closes.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    rest(&mut stream).await
}

/// What is still to come until the server closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    // A connection that is reset had its answer before.
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text has come.
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
