//! The real program as a child process, and a fake WeChat API that counts every call.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Match, Mock, MockServer, ResponseTemplate};

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
        self.answers(path(STABLE_TOKEN_PATH), reply).await;
    }

    /// Answers every account-list call alike.
    pub async fn lists(&self, reply: ResponseTemplate) {
        self.answers(path(LIST_PATH), reply).await;
    }

    /// Answers account-list calls with this token alone.
    pub async fn lists_for(&self, token: &str, reply: ResponseTemplate) {
        self.answers(query_param("access_token", token), reply)
            .await;
    }

    pub async fn answers(&self, call: impl Match + 'static, reply: ResponseTemplate) {
        let mock = Mock::given(call).respond_with(reply);
        mock.mount(&self.server).await;
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

    /// The flag for a state directory in this folder.
    pub fn state_flag(&self) -> String {
        format!("--state.dir={}", self.path("state").display())
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

/// The same, started by another program.
pub fn wrapped(wrapper: &[&str]) -> Command {
    let inner = program();
    let mut command = Command::new(wrapper[0]);
    command
        .args(&wrapper[1..])
        .arg(inner.get_program())
        .stdin(Stdio::null());
    for (name, _) in inner.get_envs() {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    run_in(&[], arguments)
}

/// Runs the program to its end with these environment variables.
pub fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = program();
    command.envs(environment.iter().copied()).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        signal(id, "KILL");
        panic!("{arguments:?} did not end in {PATIENCE:?}");
    };
    output.expect("the program's output")
}

/// Standard output and standard error.
pub fn all_output(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
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

/// A running exporter; ended when dropped.
pub struct Exporter {
    child: Child,
    pub address: SocketAddr,
    log: tempfile::NamedTempFile,
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
        let flags = flags.iter().map(String::as_str);
        Self::start(&flags.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// `serve` for the apps of a settings file.
    pub fn from_file(file: &Path, more: &[&str]) -> Self {
        let file = file.display().to_string();
        Self::start(&[&["--config.file", &file], more].concat())
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
        let log = tempfile::NamedTempFile::new().expect("a file for the log");
        let stderr = log.reopen().expect("a file for the log");
        command.stdout(Stdio::null()).stderr(stderr);
        let mut exporter = Self {
            child: command.spawn().expect("the program starts"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            client: client(),
        };
        let began = Instant::now();
        loop {
            let log = exporter.log();
            let lines = log.split_inclusive('\n');
            let mut whole_lines = lines.filter(|line| line.ends_with('\n'));
            if let Some(address) = whole_lines.find_map(listening_address) {
                exporter.address = address;
                return exporter;
            }
            let has_ended = exporter
                .child
                .try_wait()
                .expect("a child process")
                .is_some();
            assert!(
                !has_ended && began.elapsed() < PATIENCE,
                "the exporter does not listen: {log}"
            );
            std::thread::sleep(Duration::from_millis(5));
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
        std::fs::read_to_string(self.log.path()).expect("a log in UTF-8")
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

    /// `POST /-/reload`.
    pub async fn reload(&self) -> Answer {
        Answer::of(self.request(reqwest::Method::POST, "/-/reload")).await
    }

    /// Ends it without a chance to say anything.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        self.kill();
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

    /// The first app's series of that name with these further labels.
    fn of_app(&self, name: &str, labels: &str) -> f64 {
        let series = format!("{name}{{appid=\"{APPID}\"{labels}}}");
        let value = self.value(&series);
        value.unwrap_or_else(|| panic!("no {series} in: {}", self.0))
    }

    /// `up` of an app.
    pub fn up(&self, appid: &str) -> Option<f64> {
        self.value(&format!("up{{appid=\"{appid}\"}}"))
    }

    /// When the first app's snapshot was fetched. Unit: seconds since 1970.
    pub fn snapshot_time(&self) -> f64 {
        self.of_app("snapshot_timestamp_seconds", "")
    }

    /// The first app's calls to WeChat.
    pub fn requests(&self, api: &str) -> f64 {
        self.of_app("api_requests_total", &format!(",api=\"{api}\""))
    }

    /// Failures of the first app's calls.
    pub fn failures(&self, api: &str, reason: &str) -> f64 {
        let labels = format!(",api=\"{api}\",reason=\"{reason}\"");
        self.of_app("api_failures_total", &labels)
    }

    /// How the first app's scrapes were served.
    pub fn served(&self, source: &str) -> f64 {
        self.of_app("scrapes_total", &format!(",source=\"{source}\""))
    }

    /// Calls of the first app that were kept back.
    pub fn refused(&self, cause: &str) -> f64 {
        self.of_app("calls_refused_total", &format!(",cause=\"{cause}\""))
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
        let is_of_it = |line: &&str| {
            let rest = line.strip_prefix(&start);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        self.0.lines().filter(is_of_it).collect()
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
    let (_, rest) = line
        .to_lowercase()
        .contains("listening on")
        .then(|| line.split_once("address"))??;
    let address = rest.trim_start_matches(['=', '"', ':', ' ']);
    address
        .split(['"', ' ', ',', '}', '\n'])
        .next()?
        .parse()
        .ok()
}

/// A line of `/proc/PID/status`. Unit: KiB.
fn kibibytes(process: u32, name: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("a live process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    number.expect("a number of KiB")
}

/// Memory that the process holds now. Unit: KiB.
pub fn resident(process: u32) -> u64 {
    kibibytes(process, "VmRSS")
}

/// The most memory that the process ever held. Unit: KiB.
pub fn peak(process: u32) -> u64 {
    kibibytes(process, "VmHWM")
}

/// Open file descriptors.
pub fn descriptors(process: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{process}/fd"));
    open.expect("a live process").count()
}

/// Scrapes until told to stop, on a new connection each time; each must be answered with 200 within ten seconds.
pub struct Scraping {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Scraping {
    pub fn of(exporter: &Exporter) -> Self {
        let (client, url) = (client(), exporter.url("/metrics"));
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            while stopped.try_recv().is_err() {
                let request = client.get(&url).header("Connection", "close");
                let answer = Answer::of(request.timeout(Duration::from_secs(10))).await;
                assert_eq!(answer.status, 200);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { stop, task }
    }

    pub async fn all_were_answered(self) {
        let _ = self.stop.send(());
        self.task.await.expect("every scrape is answered in time");
    }
}
