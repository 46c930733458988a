//! Every route but `/metrics`, reload and stop.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::raw_api::*;
use crate::support::*;

#[tokio::test]
async fn health_and_readiness_never_call_wechat() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    for path in ["/-/healthy", "/-/ready", "/", "/sd"] {
        let answer = exporter.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));
}

#[tokio::test]
async fn probe_shows_one_app_and_nothing_of_the_exporters_own() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &[]);
    let page = Page(exporter.get(&format!("/probe?target={APPID}")).await.body);
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.series("account_quota").len(), 1);
    assert!(!page.0.contains(OTHER_APPID));
    assert!(!page.0.contains("wechat_logistics_exporter_"), "{}", page.0);
    assert!(!page.0.contains("process_"));
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn metrics_narrowed_by_appid_keep_the_exporters_own() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &[]);
    let page = Page(
        exporter
            .get(&format!("/metrics?appid={OTHER_APPID}"))
            .await
            .body,
    );
    assert_eq!(page.up(OTHER_APPID), Some(1.0));
    assert_eq!(page.up(APPID), None);
    assert!(!page.series("exporter_build_info").is_empty());
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    let page = Page(
        exporter
            .get(&format!("/metrics?appid={OTHER_APPID}&appid={APPID}"))
            .await
            .body,
    );
    assert_eq!(
        (page.up(OTHER_APPID), page.up(APPID)),
        (Some(1.0), Some(1.0))
    );
}

#[tokio::test]
async fn names_filter_the_page() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let path = "/metrics?name[]=wechat_logistics_up&name%5B%5D=wechat_logistics_account_quota";
    let page = Page(exporter.get(path).await.body);
    let families: Vec<_> = page
        .0
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    assert_eq!(families.len(), 2, "{}", page.0);
    assert_eq!(page.up(APPID), Some(1.0));
}

#[tokio::test]
async fn bad_configuration_is_refused_with_its_reason_and_the_old_one_stays() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &["--web.enable-lifecycle"]);
    let page = exporter.scrape().await;
    assert_eq!(
        page.value("exporter_config_last_reload_successful"),
        Some(1.0)
    );
    let loaded = page
        .value("exporter_config_last_reload_success_timestamp_seconds")
        .unwrap();

    scratch.write(
        "exporter.yml",
        "apps:\n  - appid: wx1\n    acess_token: {}\n",
    );
    let reload = exporter.reload().await;
    assert_eq!(reload.status, 500);
    assert!(
        reload.body.contains("acess_token") && reload.body.contains('3'),
        "{}",
        reload.body
    );
    let page = exporter.scrape().await;
    assert_eq!(
        page.value("exporter_config_last_reload_successful"),
        Some(0.0)
    );
    assert_eq!(
        page.value("exporter_config_last_reload_success_timestamp_seconds"),
        Some(loaded)
    );
    assert_eq!(page.up(OTHER_APPID), Some(1.0));

    scratch.two_apps(&wechat.url(), "");
    assert_eq!(exporter.reload().await.status, 200);
    assert_eq!(
        exporter
            .scrape()
            .await
            .value("exporter_config_last_reload_successful"),
        Some(1.0)
    );
}

#[tokio::test]
async fn sighup_puts_a_new_configuration_in_force_and_keeps_counters_and_limits() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &[]);
    exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
    let third = "wx00000000000000c3";
    scratch.two_apps(
        &wechat.url(),
        &format!("- appid: {third}\n  api_url: {}\n  access_token: {{ stable_token: {{ secret_file: secret }} }}\n", wechat.url()),
    );
    signal(exporter.process(), "HUP");
    until("the third app is there", async || {
        exporter.scrape().await.up(third).is_some()
    })
    .await;
    let page = exporter.scrape().await;
    assert_eq!(page.up(third), Some(1.0), "{}", exporter.log());
    assert_eq!(page.served("fetched"), 1.0, "counters go on");
    assert_eq!(wechat.token_and_list_calls().await, (3, 3), "limits go on");
}

#[tokio::test]
async fn stop_lets_scrapes_under_way_finish() {
    for name in ["TERM", "INT"] {
        let (scratch, api) = (Scratch::new(), RawApi::start().await);
        api.holds_lists();
        let mut exporter = Exporter::for_one_app_at(&scratch, &api.url(), &[]);
        let stopping = async {
            until("the list is asked for", async || {
                api.token_and_list_calls() == (1, 1)
            })
            .await;
            signal(exporter.process(), name);
            until("nobody is let in", async || {
                TcpStream::connect(exporter.address).await.is_err()
            })
            .await;
            api.lists(Reply::Well);
        };
        let (page, ()) = tokio::join!(exporter.scrape(), stopping);
        assert_eq!(page.up(APPID), Some(1.0), "{name}");
        assert_eq!(
            exporter.ended().code(),
            Some(0),
            "{name}: {}",
            exporter.log()
        );
    }
}

#[tokio::test]
async fn second_signal_stops_at_once_and_the_calls_sent_stay_counted() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.gives_token(TOKEN).await;
        wechat
            .lists(json(accounts()).set_delay(Duration::from_secs(60)))
            .await;
        let state = scratch.state_flag();
        let more = ["--wechat.timeout=60s", &state];
        let mut exporter = Exporter::for_one_app(&scratch, &wechat, &more);
        let scrape = exporter.request(reqwest::Method::GET, "/metrics");
        let scrape = tokio::spawn(scrape.send());
        let began = std::time::Instant::now();
        while wechat.token_and_list_calls().await != (1, 1) {
            assert!(began.elapsed() < PATIENCE, "{}", exporter.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        signal(exporter.process(), name);
        exporter.log_with("may finish").await;
        signal(exporter.process(), name);
        assert_eq!(exporter.ended().code(), Some(code), "{}", exporter.log());
        scrape.abort();
        let kept = std::fs::read_to_string(scratch.path(&format!("state/{APPID}.limiter.json")));
        let kept: serde_json::Value = serde_json::from_str(&kept.unwrap()).unwrap();
        let counts = kept["limiter"]["calls"].as_object().unwrap().values();
        let sent: u64 = counts.filter_map(serde_json::Value::as_u64).sum();
        // What is reserved counts as sent at the next start.
        let reserved = kept["limiter"]["reserved"].as_u64().unwrap_or_default();
        assert!(sent + reserved >= 2, "{kept}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_handler_and_code() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    for path in ["/", "/-/healthy", "/nothing/1", "/nothing/2", "/probe"] {
        exporter.get(path).await;
    }
    let page = exporter.scrape().await;
    let counted = |handler: &str, code: &str| {
        let series = page.series("exporter_http_requests_total");
        let line = series.iter().find(|line| {
            line.contains(&format!("handler=\"{handler}\""))
                && line.contains(&format!("code=\"{code}\""))
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    assert_eq!(
        counted("other", "404"),
        Some(2.0),
        "{:?}",
        page.series("exporter_http_requests_total")
    );
    assert_eq!(counted("probe", "400"), Some(1.0));
    assert_eq!(counted("healthy", "200"), Some(1.0));
}

#[tokio::test]
async fn web_configuration_that_becomes_a_pipe_lets_nobody_in_and_holds_nobody_up() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let web_config = scratch.write("web.yml", "");
    let flag = format!("--web.config.file={}", web_config.display());
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&flag]);
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    std::fs::remove_file(&web_config).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&web_config)
        .status();
    assert!(made.unwrap().success());
    // More than there are threads that answer.
    for _ in 0..8 {
        assert_eq!(exporter.get("/-/healthy").await.status, 500);
    }
    std::fs::remove_file(&web_config).unwrap();
    scratch.write("web.yml", "");
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
}
