//! A real Prometheus (Debian's package) scrapes every few seconds while certificates are rotated and files are broken and
//! mended: every scrape succeeds, but for those that the web configuration promises to turn away while it is broken.

use std::time::Instant;

use crate::certificates::Authority;
use crate::real_prometheus::{INTERVAL, Prometheus, scraping};
use crate::support::*;

impl Prometheus {
    /// Scrapes that address again and again. `more`: lines of the job.
    fn scraping(address: &str, more: &str) -> Self {
        Self::start(&scraping(address, more), &[])
    }

    /// Every sample of `up` so far: the time of the scrape and whether it succeeded.
    async fn scrapes(&self) -> Vec<(f64, bool)> {
        let result = self.query("up[10m]").await;
        let samples = result[0]["values"].as_array().expect("samples");
        samples
            .iter()
            .map(|sample| (sample[0].as_f64().unwrap(), sample[1] == "1"))
            .collect()
    }

    /// Waits for so many more scrapes.
    async fn scrapes_again(&self, times: usize) {
        let before = self.scrapes().await.len();
        until("it scrapes again", async || {
            self.scrapes().await.len() >= before + times
        })
        .await;
    }
}

fn unix_time() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_and_passwords_with_certificates_rotated_and_the_web_configuration_broken_and_mended()
 {
    let (scratch, wechat, authority) = (Scratch::new(), Wechat::healthy().await, Authority::new());
    authority.issue("server", "localhost");
    authority.issue("prometheus", "prometheus.example");
    authority.write("password", "correct horse");
    let hash = bcrypt::hash("correct horse", 5).unwrap();
    let web_config = format!(
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  prometheus: {hash}\n"
    );
    authority.write("web.yml", &web_config);
    let flag = format!("--web.config.file={}", authority.path("web.yml").display());
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&flag, "--wechat.min-interval=2s"]);
    let path = |name: &str| authority.path(name).display().to_string();
    let ca = path("ca.pem");
    let tls = format!(
        "  scheme: https\n  tls_config: {{ca_file: {ca}, cert_file: {}, key_file: {}, server_name: localhost}}\n",
        path("prometheus.pem"),
        path("prometheus.key")
    );
    let address = exporter.address.to_string();
    let login = |password: &str| {
        format!("{tls}  basic_auth: {{username: prometheus, password: {password}}}\n")
    };
    let right = Prometheus::scraping(
        &address,
        &format!(
            "{tls}  basic_auth: {{username: prometheus, password_file: {}}}\n",
            path("password")
        ),
    );
    let wrong = Prometheus::scraping(&address, &login("wrong"));
    let without_certificate = Prometheus::scraping(
        &address,
        &format!(
            "  scheme: https\n  tls_config: {{ca_file: {ca}, server_name: localhost}}\n  basic_auth: {{username: prometheus, password: correct horse}}\n"
        ),
    );
    let began = Instant::now();
    right.answer("up == 1").await;
    right.answer("wechat_logistics_account_quota").await;

    // Fresh certificates in place, a part at a time, twice.
    for _ in 0..2 {
        authority.issue("server", "localhost");
        right.scrapes_again(2).await;
        // New connections meet the new certificate: whoever scrapes from now on shakes hands anew.
        let newcomer = Prometheus::scraping(&address, &login("correct horse"));
        newcomer.answer("up == 1").await;
    }
    let quiet = right.scrapes().await;
    assert!(quiet.len() >= 5, "{quiet:?}");
    let first = quiet.iter().position(|(_, up)| *up).unwrap();
    assert!(quiet[first..].iter().all(|(_, up)| *up), "a gap: {quiet:?}");

    // Nobody is let in while the web configuration is broken, as with every official exporter.
    let write = |web_config: &str| {
        let before = unix_time();
        authority.write("web.yml", web_config);
        [before, unix_time()]
    };
    let broken = write("tls_server_config: [\n");
    right.answer("up == 0").await;
    right.scrapes_again(2).await;
    let mended = write(&web_config);
    right.answer("up == 1").await;
    right.scrapes_again(1).await;
    let longest = INTERVAL.as_secs_f64();
    for (at, up) in right.scrapes().await.into_iter().skip(first) {
        let context = format!("at {at}; broken at {broken:?}, mended at {mended:?}");
        // A scrape during a change may have met either. What began at `at` has ended by `end`.
        let end = at + longest;
        if end < broken[0] || at > mended[1] {
            assert!(up, "a gap {context}");
        } else if at > broken[1] && end < mended[0] {
            assert!(!up, "let in {context}");
        }
    }
    for stranger in [&wrong, &without_certificate] {
        let scrapes = stranger.scrapes().await;
        assert!(scrapes.len() > 5, "{scrapes:?}");
        assert!(scrapes.iter().all(|(_, up)| !up), "{scrapes:?}");
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = began.elapsed().as_secs_f64() / 2.0 + 2.0;
    assert_eq!(tokens, 1);
    assert!(
        f64::from(u32::try_from(lists).unwrap()) <= granted,
        "{lists} calls"
    );
    let log = exporter.log();
    assert!(
        !log.contains("panic") && !log.contains("correct horse"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_broken_and_mended_makes_no_gap_and_spends_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let good = std::fs::read_to_string(&file).unwrap();
    let exporter = Exporter::from_file(
        &file,
        &["--wechat.min-interval=2s", "--web.enable-lifecycle"],
    );
    let prometheus = Prometheus::scraping(&exporter.address.to_string(), "");
    let began = Instant::now();
    prometheus.answer("up == 1").await;
    let successful = "wechat_logistics_exporter_config_last_reload_successful";
    for bad in [
        "apps: [\n",
        "",
        "apps:\n- appid: wx1\n  nonsense: 1\n",
        "\0\u{feff}",
    ] {
        scratch.write("exporter.yml", bad);
        signal(exporter.process(), "HUP");
        let answer = Answer::of(exporter.request(reqwest::Method::POST, "/-/reload")).await;
        assert_eq!(answer.status, 500, "{bad:?}");
        prometheus.answer(&format!("{successful} == 0")).await;
        // The file away for a moment, as with an editor that writes it anew; then good again.
        let refused = || exporter.log().matches("can't be used").count();
        let before = refused();
        std::fs::remove_file(&file).unwrap();
        signal(exporter.process(), "HUP");
        until("the reload fails", async || refused() > before).await;
        scratch.write("exporter.yml", &good);
        signal(exporter.process(), "HUP");
        prometheus.answer(&format!("{successful} == 1")).await;
    }
    // The secret away and back: read again only when a token is needed.
    std::fs::remove_file(scratch.path("secret")).unwrap();
    signal(exporter.process(), "HUP");
    prometheus.scrapes_again(1).await;
    scratch.write("secret", SECRET);
    signal(exporter.process(), "HUP");
    prometheus.scrapes_again(1).await;

    let scrapes = prometheus.scrapes().await;
    let first = scrapes.iter().position(|(_, up)| *up).unwrap();
    assert!(scrapes.len() - first > 5, "{scrapes:?}");
    assert!(
        scrapes[first..].iter().all(|(_, up)| *up),
        "a gap: {scrapes:?}"
    );
    let apps_up = prometheus
        .query("min(min_over_time(wechat_logistics_up[10m]))")
        .await;
    assert_eq!(apps_up[0]["value"][1], "1", "an app was down meanwhile");
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let granted = 2.0 * (began.elapsed().as_secs_f64() / 2.0 + 2.0);
    assert!(
        f64::from(u32::try_from(lists).unwrap()) <= granted,
        "{lists} calls"
    );
    assert_eq!(tokens, 2, "tokens are kept over a reload");
}
