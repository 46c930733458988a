//! A real Prometheus (Debian's package): PromQL for every metric, the service discovery of docs/operation.md, and no gap
//! while certificates are replaced and files are broken and corrected.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use wechat_logistics_exporter::exposition::families;

use crate::support::*;

/// The scrape interval and the scrape timeout, long enough for a busy machine. Unit: seconds.
const INTERVAL: f64 = 2.0;

struct Prometheus {
    url: String,
    client: reqwest::Client,
    _child: Killed,
    _scratch: Scratch,
}

impl Prometheus {
    fn start(config: &str) -> Self {
        let scratch = Scratch::new();
        let file = scratch.write("prometheus.yml", config);
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(file);
        command.arg("--storage.tsdb.path").arg(scratch.path("data"));
        command.arg(format!("--web.listen-address={address}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self {
            url: format!("http://{address}/api/v1/query"),
            client: client(),
            _child: Killed(child.expect("prometheus is installed")),
            _scratch: scratch,
        }
    }

    /// Starts one that scrapes the exporter continuously. `more`: lines of the job.
    fn scraping(exporter: &Exporter, more: &str) -> Self {
        let address = exporter.address;
        Self::start(&format!(
            "scrape_configs:\n- job_name: wechat\n  scrape_interval: {INTERVAL}s\n  scrape_timeout: {INTERVAL}s\n{more}  static_configs:\n  - targets: ['{address}']\n"
        ))
    }

    /// Returns the current result of a query; empty if Prometheus doesn't answer yet.
    async fn query(&self, query: &str) -> Vec<Value> {
        let url = reqwest::Url::parse_with_params(&self.url, [("query", query)]);
        let Ok(response) = self.client.get(url.unwrap()).send().await else {
            return Vec::new();
        };
        let answer = response.text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let result = answer["data"]["result"].as_array();
        result.cloned().unwrap_or_default()
    }

    /// Waits until a query has a result and returns it.
    async fn answer(&self, query: &str) -> Vec<Value> {
        until(query, async || !self.query(query).await.is_empty()).await;
        self.query(query).await
    }

    /// Returns every sample of `up` so far: the time of the scrape and whether it succeeded.
    async fn scrapes(&self) -> Vec<(f64, bool)> {
        let result = self.query("up[10m]").await;
        let samples = result[0]["values"].as_array().unwrap();
        let scrape = |sample: &Value| (sample[0].as_f64().unwrap(), sample[1] == "1");
        samples.iter().map(scrape).collect()
    }

    /// Returns the scrapes from the first successful one on; the exporter has been running since before the first.
    async fn scrapes_since_up(&self) -> Vec<(f64, bool)> {
        let scrapes = self.scrapes().await.into_iter();
        scrapes.skip_while(|(_, up)| !up).collect()
    }

    /// Waits for that many more scrapes.
    async fn scrapes_again(&self, times: usize) {
        let before = self.scrapes().await.len();
        until("it scrapes again", async || {
            self.scrapes().await.len() >= before + times
        })
        .await;
    }
}

fn demo() -> Exporter {
    let mut command = program();
    command.args(["demo", "--demo.seed=7"]);
    Exporter::spawn(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_answers_promql_for_every_metric() {
    let exporter = demo();
    let prometheus = Prometheus::scraping(&exporter, "");
    prometheus.answer("up == 1").await;
    prometheus.answer("wechat_logistics_accounts > 0").await;
    // Absent unless the operator enables their source.
    let opt_in = ["api_host_info", "shared_state_failures_total"];
    let mut metrics = 0;
    for name in families::ALL.iter().map(|family| family.name) {
        if opt_in.iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let is_histogram = name == "wechat_logistics_fetch_duration_seconds";
        let suffix = if is_histogram { "_bucket" } else { "" };
        prometheus.answer(&format!("{name}{suffix}")).await;
        metrics += 1;
    }
    assert!(metrics > 20, "{metrics}");
    prometheus.answer("process_resident_memory_bytes").await;
    assert!(prometheus.query("up == 0").await.is_empty());
}

/// Returns the jobs that the docs show for thousands of Mini Programs, adapted to these replicas, a single Prometheus,
/// and an interval of one second.
fn recipe(page: &str, replicas: [&Exporter; 2]) -> String {
    let page = format!("{}/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(page).unwrap();
    let jobs = page
        .split("```yaml\n")
        .filter_map(|block| block.split("```").next())
        .find(|block| block.contains("http_sd_configs"))
        .expect("the page shows jobs with service discovery");
    let lines = jobs.lines().filter(|line| !line.contains("__tmp_share"));
    let jobs: String = lines.map(|line| format!("{line}\n")).collect();
    let [one, other] = replicas.map(|replica| replica.address.to_string());
    let urls = format!("- url: http://{one}/sd\n      - url: http://{other}/sd");
    jobs.replace("60s", "1s")
        .replace("15s", "1s")
        .replace("- url: http://localhost:10086/sd", &urls)
        .replace("\"localhost:10086\"", &format!("\"{one}\", \"{other}\""))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_prometheus_finds_apps_by_service_discovery_and_probes_each_of_each_replica() {
    let replicas = [demo(), demo()];
    for page in ["docs/operation.md", "docs/operation.zh-CN.md"] {
        let prometheus = Prometheus::start(&recipe(page, [&replicas[0], &replicas[1]]));
        let own = "wechat_logistics_exporter_build_info";
        // Without an `instance` of its own, each replica would write to the other's series.
        let apps = "count(count by (appid) (wechat_logistics_up) == 2) == 3";
        prometheus.answer(apps).await;
        let exporters = format!("count({own}{{job=\"wechat-logistics-exporter\"}}) == 2");
        prometheus.answer(&exporters).await;
        for query in [
            &*format!("{own}{{job=\"wechat-logistics-apps\"}}"),
            "{job=\"wechat-logistics-exporter\", appid!=\"\"}",
        ] {
            assert!(prometheus.query(query).await.is_empty(), "{page}: {query}");
        }
    }
}

fn unix_time() -> f64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.unwrap().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_replaced_make_no_gap_and_a_broken_web_configuration_lets_nobody_in()
{
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    for (name, host) in [
        ("server", "localhost"),
        ("next", "localhost"),
        ("prometheus", "prometheus.example"),
    ] {
        scratch.certificate(name, host);
    }
    let path = |name: &str| scratch.path(name).display().to_string();
    let pem = |name| fs::read_to_string(path(name)).unwrap();
    scratch.write("servers.pem", &(pem("server.pem") + &pem("next.pem")));
    let hash = bcrypt::hash("correct horse", 5).unwrap();
    let web_config = format!(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: prometheus.pem\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  prometheus: {hash}\n"
    );
    // The new file replaces the old one atomically.
    let replace = |name: &str, text: &str| {
        let before = unix_time();
        fs::rename(scratch.write("new", text), path(name)).unwrap();
        [before, unix_time()]
    };
    replace("web.yml", &web_config);
    let flag = format!("--web.config.file={}", path("web.yml"));
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&flag, "--wechat.min-interval=2s"]);
    let scrape = |certificate: &str, password: &str| {
        let trusted = path("servers.pem");
        Prometheus::scraping(
            &exporter,
            &format!(
                "  scheme: https\n  tls_config: {{ca_file: {trusted}, server_name: localhost{certificate}}}\n  basic_auth: {{username: prometheus, password: {password}}}\n"
            ),
        )
    };
    let own = [path("prometheus.pem"), path("prometheus.key")];
    let certificate = format!(", cert_file: {}, key_file: {}", own[0], own[1]);
    let right = scrape(&certificate, "correct horse");
    let strangers = [scrape(&certificate, "wrong"), scrape("", "correct horse")];
    right.answer("wechat_logistics_account_quota").await;

    replace("server.key", &pem("next.key"));
    replace("server.pem", &pem("next.pem"));
    right.scrapes_again(2).await;
    // A new client gets the new certificate.
    let anew = scrape(&certificate, "correct horse");
    anew.answer("up == 1").await;
    let quiet = right.scrapes_since_up().await;
    assert!(quiet.iter().all(|(_, up)| *up), "a gap: {quiet:?}");

    let broken = replace("web.yml", "tls_server_config: [\n");
    right.answer("up == 0").await;
    right.scrapes_again(1).await;
    let corrected = replace("web.yml", &web_config);
    right.answer("up == 1").await;
    for (at, up) in right.scrapes_since_up().await {
        let context = format!("at {at}; broken at {broken:?}, corrected at {corrected:?}");
        // A scrape during a change may have seen either state. A scrape that began at `at` has ended by `end`.
        let end = at + INTERVAL;
        if end < broken[0] || at > corrected[1] {
            assert!(up, "a gap {context}");
        } else if at > broken[1] && end < corrected[0] {
            assert!(!up, "let in {context}");
        }
    }
    for stranger in &strangers {
        let scrapes = stranger.scrapes().await;
        let is_kept_out = scrapes.len() > 2 && scrapes.iter().all(|(_, up)| !up);
        assert!(is_kept_out, "{scrapes:?}");
    }
    let log = exporter.log();
    for word in ["panic", "correct horse"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_broken_and_corrected_makes_no_gap_and_spends_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let good = fs::read_to_string(&file).unwrap();
    let more = ["--wechat.min-interval=2s", "--web.enable-lifecycle"];
    let exporter = Exporter::from_file(&file, &more);
    let prometheus = Prometheus::scraping(&exporter, "");
    let began = Instant::now();
    prometheus.answer("up == 1").await;
    let successful = "wechat_logistics_exporter_config_last_reload_successful";
    for bad in [Some("apps: [\n"), None] {
        match bad {
            Some(bad) => drop(scratch.write("exporter.yml", bad)),
            // Missing for a moment, as with an editor that rewrites the file.
            None => fs::remove_file(&file).unwrap(),
        }
        assert_eq!(exporter.reload().await.status, 500, "{bad:?}");
        prometheus.answer(&format!("{successful} == 0")).await;
        scratch.write("exporter.yml", &good);
        signal(exporter.process(), Signal::HUP);
        prometheus.answer(&format!("{successful} == 1")).await;
    }
    let scrapes = prometheus.scrapes_since_up().await;
    assert!(scrapes.iter().all(|(_, up)| *up), "a gap: {scrapes:?}");
    let apps_up = "min(min_over_time(wechat_logistics_up[10m])) == 1";
    prometheus.answer(apps_up).await;
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = 2.0 * (began.elapsed().as_secs_f64() / 2.0 + 2.0);
    assert!(lists as f64 <= granted, "{lists} calls");
    assert_eq!(tokens, 2, "tokens are kept over a reload");
}
