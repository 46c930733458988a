//! What one scrape costs and shows.

use std::time::Duration;

use futures_util::future::join_all;
use wiremock::matchers::body_partial_json;

use crate::raw_api::*;
use crate::support::*;

const FRANCHISE: &str =
    "{appid=\"wx00000000000000a1\",biz_id=\"四川成都某某公司_示例商户\",delivery_id=\"STO\"}";

#[tokio::test]
async fn first_scrape_costs_two_calls_and_those_within_the_interval_none() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    assert_eq!(wechat.token_and_list_calls().await, (0, 0), "no scrape yet");
    for within_the_interval in 0..4 {
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
        assert_eq!(page.served("fetched"), 1.0);
        assert_eq!(page.served("snapshot"), f64::from(within_the_interval));
        assert_eq!(page.refused("interval"), f64::from(within_the_interval));
        assert_eq!(wechat.token_and_list_calls().await, (1, 1));
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
    wechat.lists(ok(fewer)).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let page = exporter.scrape().await;
    assert!(!page.0.contains("\"STO\""), "{}", page.0);
    assert!(page.0.contains("\"JDL\""), "{}", page.0);
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_scrapes_at_once_cost_what_one_does() {
    let late = ok(accounts()).set_delay(Duration::from_millis(500));
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(late).await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--web.max-requests=0"]);
    for page in join_all((0..200).map(|_| exporter.scrape())).await {
        assert_eq!(page.up(APPID), Some(1.0));
        assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    }
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    let page = exporter.scrape().await;
    assert_eq!(page.served("fetched"), 1.0);
    assert_eq!(page.served("joined") + page.served("snapshot"), 200.0);
}

#[tokio::test]
async fn late_answer_is_down_for_this_scrape_and_serves_the_next() {
    let (scratch, api) = (Scratch::new(), RawApi::start(None).await);
    // A token file costs no call, so the timeout is counted for the list call.
    let token = scratch.write("token", TOKEN);
    let mut command = program();
    command.args(["--wechat.appid", APPID, "--wechat.api-url", &api.url()]);
    command.arg("--wechat.token-file").arg(token);
    let exporter = Exporter::spawn(command);

    let page = exporter.scrape_with_timeout("1").await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.served("none"), 1.0);
    assert_eq!(page.failures("account_getall", "timeout"), 1.0);
    assert!(page.series("account_quota").is_empty());

    api.lists(Reply::well());
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.value(&format!("account_quota{FRANCHISE}")), Some(2.0));
    assert_eq!(api.token_and_list_calls(), (0, 1));
}

#[tokio::test]
async fn client_that_leaves_wastes_neither_the_token_nor_the_call() {
    let (scratch, api) = (Scratch::new(), RawApi::start(None).await);
    let exporter = Exporter::for_one_app_at(&scratch, &api.url(), &[]);
    let leaving = exporter.request(Method::GET, "/metrics").send();
    let asked = until("the list is asked for", async || {
        api.token_and_list_calls() == (1, 1)
    });
    tokio::select! {
        answer = leaving => panic!("answered before the list was there: {answer:?}"),
        () = asked => {}
    }
    api.lists(Reply::well());
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    assert_eq!(api.token_and_list_calls(), (1, 1));
}

#[tokio::test]
async fn one_apps_failure_never_touches_another() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    let refused = errcode(40013, "invalid appid rid: 60c976e4-051e6c8e-47215cd3");
    let other = body_partial_json(json!({"appid": OTHER_APPID}));
    wechat.answers(other, refused).await;
    wechat.gives_token(TOKEN).await;
    wechat.lists(ok(accounts())).await;
    let couriers = "couriers: { STO: { name: 本地快递, network: direct } }\n";
    let file = scratch.two_apps(&wechat.url(), couriers);
    let exporter = Exporter::from_file(&file, &[]);

    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(page.up(OTHER_APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1);
    let of_other = |name: &str, labels: &str| {
        page.value(&format!("{name}{{appid=\"{OTHER_APPID}\"{labels}}}"))
    };
    let labels = ",api=\"stable_token\",reason=\"config\"";
    assert_eq!(of_other("api_failures_total", labels), Some(1.0));
    assert_eq!(of_other("api_errcode", ""), Some(40013.0));
    assert_eq!(page.of_app("api_errcode"), Some(0.0));
    // The courier is as configured.
    let courier = "delivery_name=\"本地快递\",network=\"direct\"";
    assert_eq!(page.0.matches(courier).count(), 1, "{}", page.0);
    let index = exporter.get("/").await.body;
    assert!(index.contains("本地快递"), "{index}");
}
