//! Every route except `/metrics`, and reloading and stopping.

use std::process::Command;

use tokio::net::TcpStream;

use crate::raw_api::*;
use crate::support::*;

#[tokio::test]
async fn nothing_but_scrapes_calls_wechat_and_requests_are_counted_by_handler_and_code() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    for (path, status) in [
        ("/-/healthy", 200),
        ("/-/ready", 200),
        ("/", 200),
        ("/sd", 200),
        ("/probe", 400),
        ("/nothing/1", 404),
        ("/nothing/2", 404),
    ] {
        assert_eq!(exporter.get(path).await.status, status, "{path}");
    }
    assert_eq!(wechat.token_and_list_calls().await, (0, 0));
    let page = exporter.scrape().await;
    for (handler, code, count) in [
        ("other", 404, 2.0),
        ("probe", 400, 1.0),
        ("healthy", 200, 1.0),
    ] {
        let series =
            format!("exporter_http_requests_total{{code=\"{code}\",handler=\"{handler}\"}}");
        assert_eq!(page.value(&series), Some(count), "{series}");
    }
}

#[tokio::test]
async fn probes_appids_and_names_narrow_the_page_and_what_it_costs() {
    let both = &[APPID, OTHER_APPID][..];
    let first = format!("/probe?target={APPID}");
    let second = format!("/metrics?appid={OTHER_APPID}");
    let repeated = format!("{second}&appid={APPID}");
    let names = "/metrics?name[]=wechat_logistics_up&name%5B%5D=wechat_logistics_account_quota";
    for (path, apps, has_own, has_all_families) in [
        ("/metrics", both, true, true),
        (&first, &[APPID], false, true),
        (&second, &[OTHER_APPID], true, true),
        (&repeated, both, true, true),
        (names, both, false, false),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let file = scratch.two_apps(&wechat.url(), "");
        let page = Page(Exporter::from_file(&file, &[]).get(path).await.body);
        for appid in both {
            let up = apps.contains(appid).then_some(1.0);
            assert_eq!(page.up(appid), up, "{path}");
            assert_eq!(page.0.contains(appid), up.is_some(), "{path}");
        }
        assert_eq!(page.series("account_quota").len(), apps.len(), "{path}");
        for own in ["wechat_logistics_exporter_", "process_"] {
            assert_eq!(page.0.contains(own), has_own, "{path}");
        }
        let families = page.0.matches("# TYPE ").count();
        assert_eq!(families > 2, has_all_families, "{path}");
        let calls = (apps.len(), apps.len());
        assert_eq!(wechat.token_and_list_calls().await, calls, "{path}");
    }
}

#[tokio::test]
async fn bad_configuration_is_refused_with_its_reason_and_the_old_one_stays() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &["--web.enable-lifecycle"]);
    let reloads = async || {
        let page = exporter.scrape().await;
        assert_eq!(page.up(OTHER_APPID), Some(1.0));
        let of = |name: &str| page.value(&format!("exporter_config_last_reload_{name}"));
        (of("successful"), of("success_timestamp_seconds"))
    };
    let (successful, loaded) = reloads().await;
    assert_eq!(successful, Some(1.0));

    let bad = "apps:\n  - appid: wx1\n    acess_token: {}\n";
    scratch.write("exporter.yml", bad);
    let reload = exporter.reload().await;
    assert_eq!(reload.status, 500);
    for word in ["acess_token", "line 3"] {
        assert!(reload.body.contains(word), "{}", reload.body);
    }
    assert_eq!(reloads().await, (Some(0.0), loaded));

    scratch.two_apps(&wechat.url(), "");
    assert_eq!(exporter.reload().await.status, 200);
    let (successful, reloaded) = reloads().await;
    assert_eq!(successful, Some(1.0));
    assert!(reloaded > loaded);
}

#[tokio::test]
async fn sighup_puts_a_new_configuration_in_force_and_keeps_counters_and_limits() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let url = wechat.url();
    let exporter = Exporter::from_file(&scratch.app(&url, STABLE, ""), &[]);
    exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    scratch.two_apps(&url, "");
    signal(exporter.process(), Signal::HUP);
    until("the second app is there", async || {
        exporter.scrape().await.up(OTHER_APPID).is_some()
    })
    .await;
    let page = exporter.scrape().await;
    assert_eq!(page.up(OTHER_APPID), Some(1.0), "{}", exporter.log());
    assert_eq!(page.served("fetched"), 1.0, "counters go on");
    assert_eq!(wechat.token_and_list_calls().await, (2, 2), "limits go on");

    // A shorter interval takes effect at once.
    scratch.two_apps(&url, "defaults: { min_interval: 1ms }\n");
    signal(exporter.process(), Signal::HUP);
    until("the list is fetched again", async || {
        exporter.scrape().await.served("fetched") > 1.0
    })
    .await;
}

#[tokio::test]
async fn stop_lets_scrapes_under_way_finish() {
    for end in [Signal::TERM, Signal::INT] {
        let (scratch, api) = (Scratch::new(), RawApi::start(None).await);
        let mut exporter = Exporter::for_one_app_at(&scratch, &api.url(), &[]);
        let stopping = async {
            until("the list is asked for", async || {
                api.token_and_list_calls() == (1, 1)
            })
            .await;
            signal(exporter.process(), end);
            until("nobody is let in", async || {
                TcpStream::connect(exporter.address).await.is_err()
            })
            .await;
            api.lists(Reply::well());
        };
        let (page, ()) = tokio::join!(exporter.scrape(), stopping);
        assert_eq!(page.up(APPID), Some(1.0), "{end:?}");
        assert!(exporter.ended().success(), "{end:?}: {}", exporter.log());
    }
}

#[tokio::test]
async fn second_signal_stops_at_once_and_the_calls_sent_stay_counted() {
    for (end, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (scratch, api) = (Scratch::new(), RawApi::start(None).await);
        let more = ["--wechat.timeout=60s", &scratch.state_flag()];
        let mut exporter = Exporter::for_one_app_at(&scratch, &api.url(), &more);
        let scrape = exporter.request(Method::GET, "/metrics").send();
        let scrape = tokio::spawn(scrape);
        until("the list is asked for", async || {
            api.token_and_list_calls() == (1, 1)
        })
        .await;
        signal(exporter.process(), end);
        exporter.log_with("may finish").await;
        let ended = exporter.stop(end);
        assert_eq!(ended.code(), Some(code), "{}", exporter.log());
        scrape.abort();
        let kept = &scratch.kept_limiter()["limiter"];
        let days = kept["calls"].as_object().unwrap().values();
        // Reserved calls count as sent at the next start.
        let counts = days.chain(kept.get("reserved"));
        let sent: u64 = counts.filter_map(Value::as_u64).sum();
        assert!(sent >= 2, "{kept}");
    }
}

#[tokio::test]
async fn web_configuration_that_becomes_a_pipe_lets_nobody_in_and_holds_nobody_up() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let web_config = scratch.write("web.yml", "");
    let flag = format!("--web.config.file={}", web_config.display());
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&flag]);
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
    std::fs::remove_file(&web_config).unwrap();
    let made = Command::new("mkfifo").arg(&web_config).status();
    assert!(made.unwrap().success());
    // More requests than there are threads that answer.
    for _ in 0..8 {
        assert_eq!(exporter.get("/-/healthy").await.status, 500);
    }
    std::fs::remove_file(&web_config).unwrap();
    scratch.write("web.yml", "");
    assert_eq!(exporter.get("/-/healthy").await.status, 200);
}
