//! What one scrape costs and shows.

use std::time::Duration;

use serde_json::json;

use crate::raw_api::*;
use crate::support::*;

const FRANCHISE: &str =
    "{appid=\"wx00000000000000a1\",biz_id=\"四川成都某某公司_示例商户\",delivery_id=\"STO\"}";
const DIRECT: &str = "{appid=\"wx00000000000000a1\",biz_id=\"020K1839616\",delivery_id=\"JDL\"}";

#[tokio::test]
async fn first_scrape_costs_one_token_call_and_one_list_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    assert_eq!(
        wechat.token_and_list_calls().await,
        (0, 0),
        "no scrape, no cost"
    );

    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.served("fetched"), 1.0);
    assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    assert_eq!(
        page.value(&format!("account_status_code{DIRECT}")),
        Some(1.0)
    );
    assert_eq!(
        page.value(&format!(
            "account_quota_update_timestamp_seconds{FRANCHISE}"
        )),
        Some(1_578_552_960.0)
    );
    assert_eq!(
        page.value("accounts{appid=\"wx00000000000000a1\"}"),
        Some(2.0)
    );
    // What WeChat doesn't send is an absent series, not 0.
    for name in [
        "account_quota",
        "account_quota_update_timestamp_seconds",
        "account_create_timestamp_seconds",
        "account_update_timestamp_seconds",
    ] {
        assert!(
            page.value(&format!("{name}{FRANCHISE}")).is_some(),
            "{name}"
        );
        assert_eq!(page.value(&format!("{name}{DIRECT}")), None, "{name}");
    }
}

#[tokio::test]
async fn scrape_after_the_interval_costs_one_list_call_and_forgets_accounts_that_are_gone() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=100ms"]);
    exporter.scrape().await;
    wechat.reset().await;
    let mut fewer = accounts();
    fewer["list"].as_array_mut().unwrap().remove(0);
    wechat.lists(json(fewer)).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let page = exporter.scrape().await;
    assert!(!page.0.contains("\"STO\""), "{}", page.0);
    assert!(page.0.contains("\"JDL\""), "{}", page.0);
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_scrapes_at_once_cost_what_one_does() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    wechat
        .lists(json(accounts()).set_delay(Duration::from_millis(500)))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--web.max-requests=0"]);
    let scrapes = (0..200).map(|_| exporter.scrape());
    for page in futures_util::future::join_all(scrapes).await {
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    let page = exporter.scrape().await;
    assert_eq!(page.served("fetched"), 1.0);
    assert_eq!(
        page.served("fetched") + page.served("joined") + page.served("snapshot"),
        201.0
    );
}

#[tokio::test]
async fn second_scrape_within_the_interval_spends_no_call() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    exporter.scrape().await;
    for _ in 0..5 {
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    let page = exporter.scrape().await;
    assert_eq!(page.served("snapshot"), 6.0);
    assert_eq!(page.refused("interval"), 6.0);
}

#[tokio::test]
async fn late_answer_is_down_for_this_scrape_and_serves_the_next() {
    let (scratch, api) = (Scratch::new(), RawApi::start().await);
    api.holds_lists();
    // A token that costs no call: which one a scrape waited for is counted.
    let token = scratch.write("token", TOKEN).display().to_string();
    let exporter = Exporter::start(&[
        "--wechat.appid",
        APPID,
        "--wechat.token-file",
        &token,
        "--wechat.api-url",
        &api.url(),
    ]);

    let page = exporter.scrape_with_timeout("1").await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.served("none"), 1.0);
    assert_eq!(page.failures("account_getall", "timeout"), 1.0);
    assert!(page.series("account_quota").is_empty());

    api.lists(Reply::Well);
    let page = exporter.scrape_with_timeout("10").await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    assert_eq!(api.token_and_list_calls(), (0, 1));
}

#[tokio::test]
async fn client_that_leaves_wastes_neither_the_token_nor_the_call() {
    let (scratch, api) = (Scratch::new(), RawApi::start().await);
    api.holds_lists();
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &[]);
    let leaving = exporter.request(reqwest::Method::GET, "/metrics").send();
    let asked = until("the list is asked for", async || {
        api.token_and_list_calls() == (1, 1)
    });
    tokio::select! {
        answer = leaving => panic!("answered before the list was there: {answer:?}"),
        () = asked => {}
    }
    api.lists(Reply::Well);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(api.token_and_list_calls(), (1, 1));
}

#[tokio::test]
async fn hostile_timeout_headers_change_nothing() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    for header in [
        "NaN",
        "inf",
        "-inf",
        "1e300",
        "-1",
        "0",
        "",
        "ten",
        "0x10",
        "1e-300",
        "99999999999999999999",
    ] {
        let page = exporter.scrape_with_timeout(header).await;
        assert_eq!(page.up(APPID), Some(1.0), "{header}");
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
}

#[tokio::test]
async fn last_good_accounts_are_served_until_they_are_too_old() {
    for before in [Before::Fresh, Before::Stale] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let exporter = before.exporter(&scratch, &wechat.url(), &[], "").await;
        wechat.reset().await;
        wechat.lists(errcode(-1, "system error")).await;

        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(0.0));
        assert_eq!(page.failures("account_getall", "transient"), 1.0);
        let shown = usize::from(before == Before::Fresh);
        for name in ["account_quota", "accounts", "snapshot_timestamp_seconds"] {
            assert_eq!(page.series(name).len(), shown, "{name}, {before:?}");
        }
    }
}

#[tokio::test]
async fn one_apps_failure_never_touches_another() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    use wiremock::Mock;
    use wiremock::matchers::{body_partial_json, method, path};
    Mock::given(method("POST"))
        .and(path(STABLE_TOKEN_PATH))
        .and(body_partial_json(json!({"appid": OTHER_APPID})))
        .respond_with(errcode(
            40013,
            "invalid appid rid: 60c976e4-051e6c8e-47215cd3",
        ))
        .mount(&wechat.server)
        .await;
    wechat.gives_token(TOKEN).await;
    wechat.lists(json(accounts())).await;
    let file = scratch.two_apps(&wechat.url(), "");
    let exporter = Exporter::from_file(&file, &[]);

    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.up(OTHER_APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1);
    let failed = format!(
        "api_failures_total{{appid=\"{OTHER_APPID}\",api=\"stable_token\",reason=\"config\"}}"
    );
    assert_eq!(page.value(&failed), Some(1.0));
    assert_eq!(
        page.value(&format!("api_errcode{{appid=\"{OTHER_APPID}\"}}")),
        Some(40013.0)
    );
    assert_eq!(
        page.value(&format!("api_errcode{{appid=\"{APPID}\"}}")),
        Some(0.0)
    );
    assert_eq!(
        page.value(&format!("app_info{{appid=\"{APPID}\",name=\"主店\"}}")),
        Some(1.0)
    );
}

#[tokio::test]
async fn courier_is_what_the_configuration_says() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let couriers = "couriers:\n  STO: { name: 本地快递, network: direct }\n";
    let file = scratch.two_apps(&wechat.url(), couriers);
    let exporter = Exporter::from_file(&file, &[]);
    let page = exporter.scrape().await;
    let infos = page.series("account_info");
    let expected = ["delivery_name=\"本地快递\"", "network=\"direct\""];
    let is_expected = |series: &&str| expected.iter().all(|label| series.contains(label));
    assert_eq!(infos.into_iter().filter(is_expected).count(), 2);
    let index = exporter.get("/").await.body;
    assert!(index.contains("本地快递"), "{index}");
}
