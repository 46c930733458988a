//! When a page's parts serve again and when they are made anew, and what is left out of a page.

use std::sync::Weak;

use super::*;

const APPS: [&str; 2] = ["wx0000000000000001", "wx0000000000000002"];

struct Setup {
    collector: Arc<Collector>,
    exposition: Exposition,
}

impl Setup {
    fn new() -> Self {
        let collector = collector(APPS.iter().map(|appid| app(appid, "shop")).collect());
        let exposition = Exposition::new(Arc::clone(&collector));
        Self {
            collector,
            exposition,
        }
    }

    fn page(&self, snapshots: &[Option<Arc<Snapshot>>], form: Form) -> Page {
        let scrape = scrape(&self.collector, snapshots);
        self.exposition.page(&scrape, Scope::AppsOnly, &[], form)
    }
}

/// Enough accounts for a piece that is sent as it is, not copied.
fn many(quota: f64) -> Option<Arc<Snapshot>> {
    let accounts = (0..500)
        .map(|number| account(&number.to_string(), "YTO", quota))
        .collect();
    Some(snapshot(accounts))
}

#[test]
fn next_scrape_of_the_same_snapshots_sends_the_same_bytes_without_a_copy() {
    let setup = Setup::new();
    let snapshots = [many(1.0), many(2.0)];
    for accept_encoding in ["identity", "gzip", "zstd"] {
        let form = form("text/plain", accept_encoding);
        let first = setup.page(&snapshots, form);
        let second = setup.page(&snapshots, form);
        let large = |page: &Page| {
            let piece = page.body.iter().max_by_key(|piece| piece.len()).unwrap();
            (piece.as_ptr(), piece.len())
        };
        assert!(large(&first).1 > 4096);
        assert_eq!(large(&first), large(&second), "{accept_encoding}");
    }
}

#[test]
fn page_takes_long_only_where_much_of_it_is_not_ready() {
    let setup = Setup::new();
    let found = [many(1.0), None];
    let takes_long = |snapshots: &[_], names: &[String], form| {
        let scrape = scrape(&setup.collector, snapshots);
        setup.exposition.takes_long(&scrape, names, form)
    };
    let zipped = form("text/plain", "gzip");
    assert!(takes_long(&found, &[], Form::TEXT));
    setup.page(&found, Form::TEXT);
    assert!(!takes_long(&found, &[], Form::TEXT));
    assert!(takes_long(&found, &[], zipped), "another form is not ready");
    let names = ["wechat_logistics_up".to_owned()];
    assert!(takes_long(&found, &names, Form::TEXT), "nor is some of it");
    assert!(takes_long(&[many(2.0), None], &[], Form::TEXT));
    assert!(!takes_long(&[None, None], &[], Form::TEXT));
}

#[test]
fn new_snapshot_is_on_the_next_page_and_the_old_one_is_let_go() {
    let setup = Setup::new();
    let old = many(1.0);
    let weak = Arc::downgrade(old.as_ref().unwrap());
    let before = text(&setup.page(&[old.clone(), None], Form::TEXT));
    assert!(before.contains("biz_id=\"499\",delivery_id=\"YTO\"} 1\n"));
    drop(old);
    assert_eq!(
        Weak::strong_count(&weak),
        0,
        "the kept page keeps no snapshot"
    );

    let after = text(&setup.page(
        &[Some(snapshot(vec![account("7", "YTO", 5.0)])), None],
        Form::TEXT,
    ));
    assert!(after.contains("biz_id=\"7\",delivery_id=\"YTO\"} 5\n"));
    assert!(
        !after.contains("biz_id=\"499\""),
        "an account that is gone is gone"
    );
    let stale = text(&setup.page(&[None, None], Form::TEXT));
    assert!(!stale.contains("biz_id="));
}

#[test]
fn counters_that_a_scrape_changes_are_new_on_each_page() {
    let setup = Setup::new();
    let snapshots = [many(1.0), None];
    for scrapes in 1..4 {
        setup.collector.apps().list()[0]
            .counters()
            .count_scrape(Source::Snapshot);
        let samples = reading::text(&text(&setup.page(&snapshots, Form::TEXT)));
        let labels = [("appid", APPS[0]), ("source", "snapshot")];
        assert_eq!(
            samples.value("wechat_logistics_scrapes_total", &labels),
            Some(f64::from(scrapes))
        );
    }
}

#[test]
fn reload_puts_new_names_on_the_page() {
    let setup = Setup::new();
    let snapshots = [many(1.0), None];
    let before = text(&setup.page(&snapshots, Form::TEXT));
    assert!(before.contains("name=\"shop\"}"));
    let apps = APPS.iter().map(|appid| app(appid, "renamed")).collect();
    setup.collector.reconfigure(&Config::new(apps)).unwrap();
    let after = text(&setup.page(&snapshots, Form::TEXT));
    assert!(after.contains("name=\"renamed\"}") && !after.contains("name=\"shop\"}"));
}

#[test]
fn interval_in_force_is_on_the_page_of_any_app_and_changes_with_a_reload() {
    let setup = Setup::new();
    let snapshots = [many(1.0), None];
    let intervals = || {
        let samples = reading::text(&text(&setup.page(&snapshots, Form::TEXT)));
        APPS.map(|appid| {
            samples.value("wechat_logistics_min_interval_seconds", &[("appid", appid)])
        })
    };
    assert_eq!(intervals(), [Some(60.0); 2]);
    let longer = AppConfig {
        min_interval: Duration::from_millis(90_500),
        ..app(APPS[1], "shop")
    };
    let apps = vec![app(APPS[0], "shop"), longer];
    setup.collector.reconfigure(&Config::new(apps)).unwrap();
    assert_eq!(intervals(), [Some(60.0), Some(90.5)]);
}

#[test]
fn page_of_one_app_has_that_apps_series_and_none_of_the_exporters() {
    let setup = Setup::new();
    let whole = [many(1.0), many(2.0)];
    setup.page(&whole, Form::TEXT);
    for (index, appid) in APPS.into_iter().enumerate() {
        let mut scrape = scrape(&setup.collector, &whole);
        scrape.readings = vec![scrape.readings.remove(index)];
        for _ in 0..2 {
            let page = setup
                .exposition
                .page(&scrape, Scope::AppsOnly, &[], Form::TEXT);
            let samples = reading::text(&text(&page));
            assert!(samples.0.keys().all(|(name, labels)| {
                name.starts_with("wechat_logistics_")
                    && labels[0] == ("appid".to_owned(), appid.to_owned())
            }));
            assert_eq!(samples.of("wechat_logistics_account_quota").count(), 500);
        }
    }
}

#[test]
fn named_families_alone_are_on_the_page() {
    let setup = Setup::new();
    let scrape = scrape(&setup.collector, &[many(1.0), None]);
    let names = [
        "wechat_logistics_scrapes_total",
        "wechat_logistics_fetch_duration_seconds",
        "wechat_logistics_up",
        "process_open_fds",
        "wechat_logistics_exporter_build_info",
        "wechat_logistics_fetch_duration_seconds_bucket",
        "no_such_metric",
    ]
    .map(str::to_owned);
    let page = text(
        &setup
            .exposition
            .page(&scrape, Scope::Everything, &names, Form::TEXT),
    );
    let types: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    assert_eq!(
        types,
        [
            "wechat_logistics_fetch_duration_seconds histogram",
            "process_open_fds gauge",
            "wechat_logistics_up gauge",
            "wechat_logistics_scrapes_total counter",
            "wechat_logistics_exporter_build_info gauge",
        ]
    );
    let apps_only = text(
        &setup
            .exposition
            .page(&scrape, Scope::AppsOnly, &names, Form::TEXT),
    );
    assert!(!apps_only.contains("process_") && !apps_only.contains("build_info"));
}

#[test]
fn requests_reloads_and_the_build_are_on_the_page() {
    let setup = Setup::new();
    let exporter = setup.exposition.exporter();
    exporter.count_http_request(Handler::Metrics, 200);
    exporter.count_http_request(Handler::Metrics, 200);
    exporter.count_http_request(Handler::Other, 405);
    for code in [0, 304, 418, 505, 599, u16::MAX] {
        exporter.count_http_request(Handler::Sd, code);
    }
    let page = |setup: &Setup| {
        let scrape = scrape(&setup.collector, &[None, None]);
        let page = setup
            .exposition
            .page(&scrape, Scope::Everything, &[], Form::TEXT);
        reading::text(&text(&page))
    };
    let samples = page(&setup);
    let requests = |handler, code| {
        let labels = [("handler", handler), ("code", code)];
        samples.value("wechat_logistics_exporter_http_requests_total", &labels)
    };
    assert_eq!(requests("metrics", "200"), Some(2.0));
    assert_eq!(requests("metrics", "503"), Some(0.0));
    assert_eq!(requests("other", "405"), Some(1.0));
    assert_eq!(requests("sd", "other"), Some(6.0));
    let reload = "wechat_logistics_exporter_config_last_reload_successful";
    let time = "wechat_logistics_exporter_config_last_reload_success_timestamp_seconds";
    assert_eq!(
        (samples.value(reload, &[]), samples.value(time, &[])),
        (Some(0.0), None)
    );

    exporter.reload_succeeded(noon().wall + Duration::from_millis(500));
    let samples = page(&setup);
    assert_eq!(samples.value(reload, &[]), Some(1.0));
    assert_eq!(samples.value(time, &[]), Some(1_795_492_800.5));
    exporter.reload_failed();
    let samples = page(&setup);
    assert_eq!(samples.value(reload, &[]), Some(0.0));
    assert_eq!(samples.value(time, &[]), Some(1_795_492_800.5));

    let (_, labels) = samples
        .of("wechat_logistics_exporter_build_info")
        .next()
        .unwrap();
    let build: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(build, ["version", "revision", "rustversion"]);
    assert_eq!(labels[0].1, env!("CARGO_PKG_VERSION"));
    assert!(labels[2].1.starts_with("1."), "{}", labels[2].1);
}

#[test]
fn lines_are_laid_out_anew_for_other_apps_and_for_a_code_not_seen_before() {
    let setup = Setup::new();
    let everything = |snapshots: &[_], form| {
        let scrape = scrape(&setup.collector, snapshots);
        let page = setup.exposition.page(&scrape, Scope::Everything, &[], form);
        text(&page)
    };
    let found = Some(snapshot(Vec::new()));
    let (one, both) = ([found.clone()], [found.clone(), None]);
    let count = |code| {
        let counters = setup.exposition.exporter();
        counters.count_http_request(Handler::Other, code);
    };
    for form in [Form::TEXT, form(OPENMETRICS, "identity")] {
        let [up, down] = APPS.map(|appid| format!("wechat_logistics_up{{appid=\"{appid}\"}} "));
        let page = everything(&both, form);
        assert!(page.contains(&format!("{up}1\n{down}0\n")), "{page}");
        let page = everything(&one, form);
        assert!(page.contains(&up) && !page.contains(&down), "{page}");
        assert!(everything(&both, form).contains(&down));
    }
    let line =
        |code: u16| format!("exporter_http_requests_total{{handler=\"other\",code=\"{code}\"}} ");
    assert!(!everything(&both, Form::TEXT).contains(&line(429)));
    count(429);
    assert!(everything(&both, Form::TEXT).contains(&(line(429) + "1\n")));
    count(429);
    count(404);
    let page = everything(&both, Form::TEXT);
    assert!(page.contains(&(line(429) + "2\n")) && page.contains(&(line(404) + "1\n")));
}
