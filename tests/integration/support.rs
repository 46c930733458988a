//! The real program as a child process, and a fake WeChat API that counts every call.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub use reqwest::Method;
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
pub use serde_json::{Value, json};
pub use wiremock::ResponseTemplate;
pub use wiremock::matchers::path;
use wiremock::matchers::query_param;
use wiremock::{Match, Mock, MockServer};

pub const APPID: &str = "wx00000000000000a1";
pub const OTHER_APPID: &str = "wx00000000000000b2";
pub const SECRET: &str = "canary-appsecret-5d41402abc4b2a76";
/// As long as WeChat's tokens.
pub const TOKEN: &str = "canary-token-7d793037a0760186574b0282f2f435e7_7d793037a0760186574b0282f2f435e7-7d793037a0760186574b0282f2f435e7";
pub const NEXT_TOKEN: &str = "canary-token-bbb8aae57c104cda40c93843ad5e6db8-bbb8aae57c104cda40c93843ad5e6db8_bbb8aae57c104cda40c93843ad5e6db8";

/// A credential that uses the secret of [`Scratch`].
pub const STABLE: &str = "{ stable_token: { secret_file: secret } }";

pub const STABLE_TOKEN_PATH: &str = "/cgi-bin/stable_token";
pub const LIST_PATH: &str = "/cgi-bin/express/business/account/getall";
pub const QUOTA_PATH: &str = "/cgi-bin/express/business/quota/get";

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A fake WeChat API.
pub struct Wechat {
    server: MockServer,
}

impl Wechat {
    /// Starts an API that answers nothing yet.
    pub async fn silent() -> Self {
        Self {
            server: MockServer::start().await,
        }
    }

    /// Starts an API that issues [`TOKEN`] and gives this reply to list calls.
    pub async fn listing(reply: ResponseTemplate) -> Self {
        let wechat = Self::silent().await;
        wechat.gives_token(TOKEN).await;
        wechat.lists(reply).await;
        wechat
    }

    /// Starts an API that issues [`TOKEN`] and lists [`accounts`].
    pub async fn healthy() -> Self {
        Self::listing(ok(accounts())).await
    }

    pub async fn gives_token(&self, token: &str) {
        let reply = ok(json!({"access_token": token, "expires_in": 7200}));
        self.answers_token_call(reply).await;
    }

    pub async fn answers_token_call(&self, reply: ResponseTemplate) {
        self.answers(path(STABLE_TOKEN_PATH), reply).await;
    }

    /// Answers every account-list call with this reply.
    pub async fn lists(&self, reply: ResponseTemplate) {
        self.answers(path(LIST_PATH), reply).await;
    }

    /// Answers only account-list calls with this token.
    pub async fn lists_for(&self, token: &str, reply: ResponseTemplate) {
        self.answers(query_param("access_token", token), reply)
            .await;
    }

    pub async fn answers(&self, call: impl Match + 'static, reply: ResponseTemplate) {
        let mock = Mock::given(call).respond_with(reply);
        mock.mount(&self.server).await;
    }

    /// Answers only the next call.
    pub async fn answers_once(&self, call: impl Match + 'static, reply: ResponseTemplate) {
        let mock = Mock::given(call).respond_with(reply).up_to_n_times(1);
        mock.mount(&self.server).await;
    }

    /// Forgets all answers and calls.
    pub async fn reset(&self) {
        self.server.reset().await;
    }

    /// Returns the number of calls so far, by path.
    pub async fn calls(&self) -> HashMap<String, usize> {
        let mut calls = HashMap::new();
        for request in self.server.received_requests().await.unwrap() {
            *calls.entry(request.url.path().to_owned()).or_default() += 1;
        }
        calls
    }

    /// Returns the numbers of token calls and list calls so far.
    pub async fn token_and_list_calls(&self) -> (usize, usize) {
        let calls = self.calls().await;
        let of = |path: &str| calls.get(path).copied().unwrap_or(0);
        (of(STABLE_TOKEN_PATH), of(LIST_PATH))
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }
}

pub fn ok(body: impl serde::Serialize) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

pub fn errcode(errcode: i64, errmsg: &str) -> ResponseTemplate {
    ok(json!({"errcode": errcode, "errmsg": errmsg}))
}

/// Returns the reply on WeChat's page of the account list, with a second, sparse account.
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

/// Returns a list of that many accounts, bound and with a balance.
pub fn many_accounts(count: usize) -> Value {
    let account = |number| json!({"biz_id": format!("客户{number}"), "delivery_id": "STO", "status_code": 0, "quota_num": 5});
    json!({"list": (0..count).map(account).collect::<Vec<_>>()})
}

/// A scratch folder with secrets and settings.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        let scratch = Self(tempfile::tempdir().unwrap());
        scratch.write("secret", SECRET);
        scratch
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Creates the self-signed certificate `NAME.pem` for that host, and its key `NAME.key`.
    pub fn certificate(&self, name: &str, host: &str) {
        let identity = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        self.write(&format!("{name}.pem"), &identity.cert.pem());
        let key = identity.signing_key.serialize_pem();
        self.write(&format!("{name}.key"), &key);
    }

    /// Returns the flag for a state directory in this folder.
    pub fn state_flag(&self) -> String {
        format!("--state.dir={}", self.path("state").display())
    }

    /// Returns the path of one of the first app's files in the state directory: its `limiter` or its `snapshot`.
    pub fn state_file(&self, kind: &str) -> PathBuf {
        self.path(&format!("state/{APPID}.{kind}.json"))
    }

    /// Returns what the state directory holds of the first app's limiter.
    pub fn kept_limiter(&self) -> Value {
        let kept = fs::read_to_string(self.state_file("limiter")).unwrap_or_default();
        serde_json::from_str::<Value>(&kept).unwrap_or_default()
    }

    /// Waits until the state directory holds the end of the first app's fetch, which is written after the answer and
    /// after the snapshot.
    pub async fn fetch_is_kept(&self) {
        until("the fetch's end is kept", async || {
            self.kept_limiter()["last_fetch"].is_object()
        })
        .await;
    }

    /// Writes settings of the first app with this `access_token`. `more`: lines after it.
    pub fn app(&self, api_url: &str, access_token: &str, more: &str) -> PathBuf {
        let app =
            format!("- appid: {APPID}\n  api_url: {api_url}\n  access_token: {access_token}\n");
        self.write("exporter.yml", &format!("apps:\n{app}{more}"))
    }

    /// Writes settings of two apps with stable tokens.
    pub fn two_apps(&self, api_url: &str, more: &str) -> PathBuf {
        let other =
            format!("- appid: {OTHER_APPID}\n  api_url: {api_url}\n  access_token: {STABLE}\n");
        self.app(api_url, STABLE, &format!("{other}{more}"))
    }
}

/// Returns the folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the program's command line, without the environment of whoever runs the tests.
pub fn program() -> Command {
    wrapped(&[])
}

/// Returns the same command line, started by another program.
pub fn wrapped(wrapper: &[&str]) -> Command {
    let program = env!("CARGO_BIN_EXE_wechat-logistics-exporter");
    let words = [wrapper, &[program]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("WECHAT_LOGISTICS_") || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    run_in(&[], arguments)
}

/// Runs the program to its end with these environment variables.
pub fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = wrapped(&["timeout", "--signal=KILL", "120"]);
    command.envs(environment.iter().copied()).args(arguments);
    command.output().unwrap()
}

/// Returns standard output and standard error.
pub fn all_output(output: &Output) -> String {
    text(&[&output.stdout[..], &output.stderr].concat())
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

pub fn signal(process: u32, signal: Signal) {
    let process = Pid::from_raw(process.try_into().unwrap());
    kill_process(process.unwrap(), signal).unwrap();
}

/// A child process; killed when dropped.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    /// Waits until the process ends.
    pub fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A running exporter; killed when dropped.
pub struct Exporter {
    child: Killed,
    pub address: SocketAddr,
    log: tempfile::NamedTempFile,
    client: reqwest::Client,
}

/// Returns the flags for one app on the API at that URL.
pub fn one_app(scratch: &Scratch, url: &str) -> [String; 3] {
    let secret = scratch.path("secret");
    [
        format!("--wechat.appid={APPID}"),
        format!("--wechat.secret-file={}", secret.display()),
        format!("--wechat.api-url={url}"),
    ]
}

impl Exporter {
    /// Starts `serve` for one app on that API.
    pub fn for_one_app(scratch: &Scratch, wechat: &Wechat, more: &[&str]) -> Self {
        Self::for_one_app_at(scratch, &wechat.url(), more)
    }

    /// Starts `serve` for one app on the API at that URL.
    pub fn for_one_app_at(scratch: &Scratch, url: &str, more: &[&str]) -> Self {
        let mut command = program();
        command.args(one_app(scratch, url)).args(more);
        Self::spawn(command)
    }

    /// Starts `serve` for the apps of a settings file.
    pub fn from_file(file: &Path, more: &[&str]) -> Self {
        let mut command = program();
        command.arg("--config.file").arg(file).args(more);
        Self::spawn(command)
    }

    /// Starts a prepared command line on a free port and waits until it says that it listens.
    pub fn spawn(mut command: Command) -> Self {
        command.arg("--web.listen-address=127.0.0.1:0");
        Self::spawn_as_it_is(command)
    }

    /// Does the same without adding a listen address.
    pub fn spawn_as_it_is(mut command: Command) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        command.stdout(Stdio::null()).stderr(log.reopen().unwrap());
        let mut exporter = Self {
            child: Killed(command.spawn().unwrap()),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            client: client(),
        };
        let began = Instant::now();
        loop {
            let log = exporter.log();
            let listens = log.split("\"Listening on\" address=").nth(1);
            if let Some((address, _)) = listens.and_then(|rest| rest.split_once(' ')) {
                exporter.address = address.parse().unwrap();
                return exporter;
            }
            let has_ended = exporter.child.0.try_wait().unwrap().is_some();
            let goes_on = !has_ended && began.elapsed() < PATIENCE;
            assert!(goes_on, "the exporter does not listen: {log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    /// Scrapes `/metrics`, which must be answered with 200.
    pub async fn scrape(&self) -> Page {
        self.scrape_with_timeout("10").await
    }

    /// Scrapes like a Prometheus with this timeout header.
    pub async fn scrape_with_timeout(&self, header: &str) -> Page {
        let request = self.request(Method::GET, "/metrics");
        let request = request.header("X-Prometheus-Scrape-Timeout-Seconds", header);
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Page(answer.body)
    }

    /// Sends `POST /-/reload`.
    pub async fn reload(&self) -> Answer {
        Answer::of(self.request(Method::POST, "/-/reload")).await
    }

    pub fn process(&self) -> u32 {
        self.child.0.id()
    }

    /// Returns every line written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// Waits until the log contains `text` and returns the log.
    pub async fn log_with(&self, text: &str) -> String {
        until(text, async || self.log().contains(text)).await;
        self.log()
    }

    /// Sends a signal and waits until the process ends.
    pub fn stop(&mut self, signal: Signal) -> ExitStatus {
        self::signal(self.process(), signal);
        self.ended()
    }

    pub fn ended(&mut self) -> ExitStatus {
        self.child.ended()
    }

    /// Returns the memory that the process holds now. Unit: KiB.
    pub fn resident(&self) -> u64 {
        self.kibibytes("VmRSS:")
    }

    /// Returns the most memory that the process ever held. Unit: KiB.
    pub fn peak(&self) -> u64 {
        self.kibibytes("VmHWM:")
    }

    fn kibibytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.unwrap().trim().strip_suffix(" kB");
        number.unwrap().parse().unwrap()
    }

    /// Returns the number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process()));
        open.unwrap().count()
    }
}

/// An answer of the exporter.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
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
}

/// A page in text format.
pub struct Page(pub String);

impl Page {
    /// Returns the value of one series, named as on the page but without the common prefix.
    pub fn value(&self, series: &str) -> Option<f64> {
        let start = format!("wechat_logistics_{series} ");
        let mut values = self.0.lines().filter_map(|line| line.strip_prefix(&start));
        values.next().map(|value| value.parse().unwrap())
    }

    /// Returns the value of the first app's series of that name with no further labels.
    pub fn of_app(&self, name: &str) -> Option<f64> {
        self.value(&format!("{name}{{appid=\"{APPID}\"}}"))
    }

    pub fn up(&self, appid: &str) -> Option<f64> {
        self.value(&format!("up{{appid=\"{appid}\"}}"))
    }

    /// Returns when the first app's snapshot was fetched. Unit: seconds since 1970.
    pub fn snapshot_time(&self) -> f64 {
        self.of_app("snapshot_timestamp_seconds").unwrap()
    }

    /// Returns a counter of the first app with these further labels.
    fn count(&self, name: &str, labels: &str) -> f64 {
        let series = format!("{name}{{appid=\"{APPID}\",{labels}}}");
        let value = self.value(&series);
        value.unwrap_or_else(|| panic!("no {series} in: {}", self.0))
    }

    /// Returns the number of the first app's calls to WeChat.
    pub fn requests(&self, api: &str) -> f64 {
        self.count("api_requests_total", &format!("api=\"{api}\""))
    }

    /// Returns how many of the first app's calls failed for that reason.
    pub fn failures(&self, api: &str, reason: &str) -> f64 {
        let labels = format!("api=\"{api}\",reason=\"{reason}\"");
        self.count("api_failures_total", &labels)
    }

    /// Returns how many of the first app's scrapes were served from that source.
    pub fn served(&self, source: &str) -> f64 {
        self.count("scrapes_total", &format!("source=\"{source}\""))
    }

    /// Returns how many of the first app's calls were refused for that cause.
    pub fn refused(&self, cause: &str) -> f64 {
        self.count("calls_refused_total", &format!("cause=\"{cause}\""))
    }

    /// Returns how many rows were left out of the first app's snapshot for that reason.
    pub fn dropped(&self, reason: &str) -> f64 {
        self.count("accounts_dropped", &format!("reason=\"{reason}\""))
    }

    /// Returns the lines of one family's series.
    pub fn series(&self, name: &str) -> Vec<&str> {
        let start = format!("wechat_logistics_{name}");
        let is_of_it = |line: &&str| {
            let rest = line.strip_prefix(&start);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        self.0.lines().filter(is_of_it).collect()
    }
}

/// Waits until `is_so` returns true.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns an address that was bound and released; the next program that asks for a free port is unlikely to get it.
pub fn free_address() -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    bound.local_addr().unwrap()
}

/// Returns a client that ignores the environment's proxies.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    client.build().unwrap()
}

/// A loop of scrapes, each on a new connection, until stopped. Each must be answered with 200 within ten seconds.
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
