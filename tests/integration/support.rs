//! The real program as a child process, and a fake WeChat API that counts every call.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

pub const APPID: &str = "wx00000000000000a1";
pub const OTHER_APPID: &str = "wx00000000000000b2";
pub const SECRET: &str = "canary-appsecret-5d41402abc4b2a76";
/// As long as WeChat's are.
pub const TOKEN: &str = "canary-token-7d793037a0760186574b0282f2f435e7_7d793037a0760186574b0282f2f435e7-7d793037a0760186574b0282f2f435e7";
pub const NEXT_TOKEN: &str = "canary-token-bbb8aae57c104cda40c93843ad5e6db8-bbb8aae57c104cda40c93843ad5e6db8_bbb8aae57c104cda40c93843ad5e6db8";

pub const STABLE_TOKEN_PATH: &str = "/cgi-bin/stable_token";
pub const LIST_PATH: &str = "/cgi-bin/express/business/account/getall";

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A fake WeChat API.
pub struct Wechat {
    pub server: MockServer,
}

impl Wechat {
    /// One that answers nothing yet.
    pub async fn silent() -> Self {
        Self {
            server: MockServer::start().await,
        }
    }

    /// One that hands out [`TOKEN`] and lists [`accounts`].
    pub async fn healthy() -> Self {
        let wechat = Self::silent().await;
        wechat.gives_token(TOKEN).await;
        wechat.lists(json(accounts())).await;
        wechat
    }

    pub async fn gives_token(&self, token: &str) {
        let reply = json(json!({"access_token": token, "expires_in": 7200}));
        self.answers_token_call(reply).await;
    }

    pub async fn answers_token_call(&self, reply: ResponseTemplate) {
        Mock::given(method("POST"))
            .and(path(STABLE_TOKEN_PATH))
            .respond_with(reply)
            .mount(&self.server)
            .await;
    }

    /// Answers every account-list call alike.
    pub async fn lists(&self, reply: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(LIST_PATH))
            .respond_with(reply)
            .mount(&self.server)
            .await;
    }

    /// Answers account-list calls with this token alone.
    pub async fn lists_for(&self, token: &str, reply: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path(LIST_PATH))
            .and(query_param("access_token", token))
            .respond_with(reply)
            .mount(&self.server)
            .await;
    }

    /// Forgets answers and calls.
    pub async fn reset(&self) {
        self.server.reset().await;
    }

    /// Calls so far, by path.
    pub async fn calls(&self) -> HashMap<String, usize> {
        let mut calls = HashMap::new();
        for request in self.server.received_requests().await.unwrap_or_default() {
            *calls.entry(request.url.path().to_owned()).or_default() += 1;
        }
        calls
    }

    /// Token calls and list calls so far.
    pub async fn token_and_list_calls(&self) -> (usize, usize) {
        let calls = self.calls().await;
        let of = |path: &str| calls.get(path).copied().unwrap_or(0);
        (of(STABLE_TOKEN_PATH), of(LIST_PATH))
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }
}

pub fn json(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub fn errcode(errcode: i64, errmsg: &str) -> ResponseTemplate {
    json(json!({"errcode": errcode, "errmsg": errmsg}))
}

/// The reply on WeChat's page of the account list with a second, sparse account.
///
/// Source: <https://developers.weixin.qq.com/miniprogram/dev/server/API/express/express-by-business/api_getallaccount>.
pub fn accounts() -> Value {
    json!({"count": 2, "list": [
        {
            "biz_id": "四川成都某某公司_示例商户", "delivery_id": "STO",
            "create_time": 1_578_463_586, "update_time": 1_578_552_332, "status_code": 0,
            "alias": "四川成都某某公司_示例商户", "remark_wrong_msg": "", "remark_content": "电话:13800000000",
            "quota_num": 2, "quota_update_time": 1_578_552_960,
            "service_type": [{"service_type": 1, "service_name": "标准快递"}],
        },
        {"biz_id": "020K1839616", "delivery_id": "JDL", "status_code": 1},
    ]})
}

/// A scratch folder with secrets and settings.
pub struct Scratch {
    pub dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self {
            dir: tempfile::tempdir().expect("a scratch folder"),
        };
        scratch.write("secret", SECRET);
        scratch
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path(name);
        std::fs::write(&path, content).expect("the scratch folder can be written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("own file");
        path
    }

    /// Settings of two apps with stable tokens.
    pub fn two_apps(&self, api_url: &str, more: &str) -> PathBuf {
        self.write(
            "exporter.yml",
            &format!(
                "apps:\n\
                 - appid: {APPID}\n  name: 主店\n  api_url: {api_url}\n  access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
                 - appid: {OTHER_APPID}\n  api_url: {api_url}\n  access_token: {{ stable_token: {{ secret_file: secret }} }}\n\
                 {more}"
            ),
        )
    }
}

/// The program's command line without the environment of whoever runs the tests.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wechat-logistics-exporter"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy().to_ascii_uppercase();
        if name_text.starts_with("WECHAT_LOGISTICS_") || name_text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    run_in(&[], arguments)
}

/// Runs the program to its end with these environment variables.
pub fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let child = program()
        .envs(environment.iter().copied())
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("the program's output"),
        Err(_) => {
            signal(id, "KILL");
            panic!("{arguments:?} did not end in {PATIENCE:?}");
        }
    }
}

/// Sends a signal with the system's `kill`.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "kill -s {name} {process}"
    );
}

/// What a child has written to standard error. A line may come after the answer that it belongs to.
struct Log {
    stream: UnixStream,
    bytes: Vec<u8>,
}

impl Log {
    /// An empty one and the standard error that fills it.
    fn new() -> (Self, Stdio) {
        let (stream, stderr) = UnixStream::pair().expect("a pair of sockets");
        stream.set_nonblocking(true).expect("a socket");
        let log = Self {
            stream,
            bytes: Vec::new(),
        };
        (log, Stdio::from(OwnedFd::from(stderr)))
    }

    /// Takes in what is there; `false` at its end.
    fn take(&mut self) -> bool {
        let taken = self.stream.read_to_end(&mut self.bytes);
        taken.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn text(&mut self) -> String {
        self.take();
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A running exporter; ended when dropped.
pub struct Exporter {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    client: reqwest::Client,
}

/// One answer of the exporter's.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

/// The flags for one app on the API at that URL.
pub fn one_app(scratch: &Scratch, url: &str) -> [String; 3] {
    let secret = scratch.path("secret");
    [
        format!("--wechat.appid={APPID}"),
        format!("--wechat.secret-file={}", secret.display()),
        format!("--wechat.api-url={url}"),
    ]
}

/// The snapshot that an exporter has before its API goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Before {
    Nothing,
    Fresh,
    Stale,
}

impl Before {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Fresh, Self::Stale];

    /// An exporter that has it, of one app on the API at that URL.
    pub async fn exporter(
        self,
        scratch: &Scratch,
        url: &str,
        more: &[&str],
        context: &str,
    ) -> Exporter {
        let max_stale = match self {
            Self::Stale => "--scrape.max-stale=100ms",
            Self::Nothing | Self::Fresh => "--scrape.max-stale=15m",
        };
        let flags = [&["--wechat.min-interval=50ms", max_stale], more].concat();
        let exporter = Exporter::for_one_app_at(scratch, url, &flags);
        if self != Self::Nothing {
            assert_eq!(exporter.scrape().await.up(APPID), Some(1.0), "{context}");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        exporter
    }
}

impl Exporter {
    /// `serve` for one app on that API.
    pub fn for_one_app(scratch: &Scratch, wechat: &Wechat, more: &[&str]) -> Self {
        Self::for_one_app_at(scratch, &wechat.url(), more)
    }

    /// The same on the API at that URL.
    pub fn for_one_app_at(scratch: &Scratch, url: &str, more: &[&str]) -> Self {
        let flags = one_app(scratch, url);
        let arguments: Vec<&str> = flags
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        Self::start(&arguments)
    }

    /// `serve` for the apps of a settings file.
    pub fn from_file(file: &Path, more: &[&str]) -> Self {
        let file = file.display().to_string();
        let mut arguments = vec!["--config.file", &file];
        arguments.extend(more);
        Self::start(&arguments)
    }

    /// Starts the program on a free port and waits until it says that it listens.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command
            .args(arguments)
            .arg("--web.listen-address=127.0.0.1:0");
        Self::spawn(command)
    }

    /// Starts a prepared command line and waits until it says that it listens.
    pub fn spawn(mut command: Command) -> Self {
        let (log, stderr) = Log::new();
        let log = Arc::new(Mutex::new(log));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        // Else this end would stay open after the child's.
        drop(command);
        let taken = Arc::clone(&log);
        std::thread::spawn(move || {
            // So that the program never waits for a test to look.
            while taken.lock().expect("the log").take() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let began = Instant::now();
        let address = loop {
            let text = log.lock().expect("the log").text();
            let mut whole_lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            if let Some(address) = whole_lines.find_map(listening_address) {
                break address;
            }
            if began.elapsed() > PATIENCE || child.try_wait().expect("a child process").is_some() {
                let _ = child.kill();
                panic!("the exporter does not listen: {text}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Self {
            child,
            address,
            log,
            client: client(),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(reqwest::Method::GET, path)).await
    }

    /// Scrapes `/metrics`, which must be answered with 200.
    pub async fn scrape(&self) -> Page {
        self.scrape_with_timeout("10").await
    }

    /// Scrapes as a Prometheus with this timeout header would.
    pub async fn scrape_with_timeout(&self, header: &str) -> Page {
        let request = self
            .request(reqwest::Method::GET, "/metrics")
            .header("X-Prometheus-Scrape-Timeout-Seconds", header);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Page(answer.body)
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Every line that it has written by now.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").text()
    }

    /// The same once that is in it.
    pub async fn log_with(&self, text: &str) -> String {
        self.log_once(text, |log| log.contains(text)).await
    }

    /// The same once it is as `expected`.
    pub async fn log_once(&self, what: &str, expected: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let log = self.log();
            if expected(&log) {
                return log;
            }
            assert!(began.elapsed() < PATIENCE, "{what:?} is not in: {log}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for its end after a signal.
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child process") {
                return status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the exporter does not end: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("the exporter answers");
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.expect("the whole answer arrives"),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("an ASCII header"))
    }
}

/// A page in text format.
pub struct Page(pub String);

impl Page {
    /// The value of one series, written as the page writes it, without the common prefix.
    pub fn value(&self, series: &str) -> Option<f64> {
        let start = format!("wechat_logistics_{series} ");
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .map(|value| value.trim().parse().expect("a number"))
    }

    /// `up` of an app.
    pub fn up(&self, appid: &str) -> Option<f64> {
        self.value(&format!("up{{appid=\"{appid}\"}}"))
    }

    /// Failures of the first app's calls.
    pub fn failures(&self, api: &str, reason: &str) -> f64 {
        self.value(&format!(
            "api_failures_total{{appid=\"{APPID}\",api=\"{api}\",reason=\"{reason}\"}}"
        ))
        .expect("a counter of every known reason")
    }

    /// How the first app's scrapes were served.
    pub fn served(&self, source: &str) -> f64 {
        self.value(&format!(
            "scrapes_total{{appid=\"{APPID}\",source=\"{source}\"}}"
        ))
        .expect("a counter of every source")
    }

    /// Calls of the first app that were kept back.
    pub fn refused(&self, cause: &str) -> f64 {
        self.value(&format!(
            "calls_refused_total{{appid=\"{APPID}\",cause=\"{cause}\"}}"
        ))
        .expect("a counter of every cause")
    }

    /// Whether the exporter did without an answer of Redis that was not there in half a second. A busy machine can take
    /// longer; what replicas do together is seen where none did.
    pub fn redis_was_late(&self) -> bool {
        let late = self.value("exporter_shared_state_failures_total{reason=\"timeout\"}");
        late.expect("a counter of every reason") > 0.0
    }

    /// The lines of one family's series.
    pub fn series(&self, name: &str) -> Vec<&str> {
        let start = format!("wechat_logistics_{name}");
        self.0
            .lines()
            .filter(|line| {
                line.strip_prefix(&start)
                    .is_some_and(|rest| rest.starts_with(['{', ' ']))
            })
            .collect()
    }
}

/// Waits until that is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Bound and let go again: the next program that asks for a free port is unlikely to get this one.
pub fn free_address() -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0").expect("a free port");
    bound.local_addr().expect("its address")
}

/// A client without the environment's proxies.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .expect("a plain client")
}

fn listening_address(line: &str) -> Option<SocketAddr> {
    if !line.to_lowercase().contains("listening on") {
        return None;
    }
    let at = line.find("address")?;
    let rest = line[at + "address".len()..].trim_start_matches(['=', '"', ':', ' ']);
    rest.split(['"', ' ', ',', '}', '\n']).next()?.parse().ok()
}
