//! Rejected tokens: one retry, never a loop.

use std::time::Duration;

use crate::support::*;

const STALE: &str =
    "invalid credential, access_token is invalid or not latest rid: 60c976e4-051e6c8e-47215cd3";

#[tokio::test]
async fn rejected_token_is_renewed_once_and_the_list_asked_once_more() {
    for rejection in [40001, 40014, 42001] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.lists_for(TOKEN, errcode(rejection, STALE)).await;
        wechat.lists_for(NEXT_TOKEN, json(accounts())).await;
        // The first token call gets the old token, every later one the new.
        let first = json(serde_json::json!({"access_token": TOKEN, "expires_in": 7200}));
        wiremock::Mock::given(wiremock::matchers::path(STABLE_TOKEN_PATH))
            .respond_with(first)
            .up_to_n_times(1)
            .mount(&wechat.server)
            .await;
        wechat.gives_token(NEXT_TOKEN).await;

        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{rejection}");
        assert_eq!(wechat.token_and_list_calls().await, (2, 2), "{rejection}");
        assert_eq!(page.failures("account_getall", "token"), 1.0, "{rejection}");
    }
}

#[tokio::test]
async fn same_token_again_is_not_tried_again() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    wechat
        .lists(errcode(
            42001,
            "access_token expired rid: 60c976e4-051e6c8e-47215cd3",
        ))
        .await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(wechat.token_and_list_calls().await, (2, 1));
    assert_eq!(page.failures("account_getall", "token"), 1.0);
}

#[tokio::test]
async fn token_that_the_cloud_function_lacks_spends_none_of_ours() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let invoke = "/tcb/invokecloudfunction";
    let result = serde_json::json!({"errCode": 40001, "errMsg": STALE}).to_string();
    wiremock::Mock::given(wiremock::matchers::path(invoke))
        .respond_with(json(serde_json::json!({"errcode": 0, "resp_data": result})))
        .mount(&wechat.server)
        .await;
    let file = scratch.write(
        "exporter.yml",
        &format!(
            "apps:\n  - appid: {APPID}\n    api_url: {}\n    access_token: {{ stable_token: {{ secret_file: secret }} }}\n    cloud_function: {{ env: prod-1, name: getAllAccount }}\n",
            wechat.url()
        ),
    );
    let exporter = Exporter::from_file(&file, &[]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.failures("invoke_cloud_function", "token"), 1.0);
    let calls = wechat.calls().await;
    assert_eq!((calls[STABLE_TOKEN_PATH], calls[invoke]), (1, 1));
    exporter.log_with("ran the cloud function").await;
}

#[tokio::test]
async fn wrong_secret_is_asked_once_and_then_kept_back() {
    for (code, message) in [
        (40001, "invalid credential"),
        (40125, "invalid appsecret, view more at http://t.cn/RAEkdVq"),
    ] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.answers_token_call(errcode(code, message)).await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        exporter.scrape().await;
        let page = exporter.scrape().await;
        assert_eq!(wechat.token_and_list_calls().await, (1, 0), "{code}");
        assert_eq!(page.failures("stable_token", "config"), 1.0, "{code}");
        assert_eq!(page.refused("breaker"), 1.0, "{code}");
        assert_eq!(
            page.value(&format!("api_errcode{{appid=\"{APPID}\"}}")),
            Some(code as f64)
        );
    }
}

#[tokio::test]
async fn token_about_to_end_is_renewed_before_it_is_used() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat
        .answers_token_call(json(
            serde_json::json!({"access_token": TOKEN, "expires_in": 200}),
        ))
        .await;
    wechat.lists(json(accounts())).await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=100ms"]);
    exporter.scrape().await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (2, 2));
}

#[tokio::test]
async fn foreign_token_from_a_file_is_read_again_and_never_minted() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.lists_for(TOKEN, errcode(40001, STALE)).await;
    wechat.lists_for(NEXT_TOKEN, json(accounts())).await;
    let file = scratch.write("token", &format!("{TOKEN}\n"));
    let (file_text, url) = (file.display().to_string(), wechat.url());
    let exporter = Exporter::start(&[
        "--wechat.appid",
        APPID,
        "--wechat.token-file",
        &file_text,
        "--wechat.api-url",
        &url,
        "--wechat.min-interval=100ms",
    ]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
    let log = exporter.log();
    let said = format!(
        "WeChat rejects the token of token file {file_text}; the program that keeps it there must renew it"
    );
    assert!(log.contains(&said), "{log}");

    scratch.write(
        "token",
        &format!("{{\"access_token\": \"{NEXT_TOKEN}\", \"expires_in\": 100}}"),
    );
    tokio::time::sleep(Duration::from_millis(150)).await;
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(1.0));
    assert_eq!(wechat.token_and_list_calls().await, (0, 2));
}

#[tokio::test]
async fn rejected_token_is_the_reason_also_where_no_call_is_left_for_another() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let exporter = Exporter::for_one_app(
        &scratch,
        &wechat,
        &["--wechat.min-interval=20ms", "--wechat.daily-limit=3"],
    );
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    wechat.reset().await;
    wechat.lists(errcode(40001, "invalid credential")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
    assert_eq!(page.failures("account_getall", "token"), 1.0);
    assert_eq!(page.refused("daily_limit"), 1.0);
    assert_eq!(page.up(APPID), Some(0.0), "the latest try failed");
}

#[tokio::test]
async fn token_that_is_rejected_in_fetch_after_fetch_is_renewed_rarely_and_the_log_says_how_to_fix_it()
 {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    wechat.lists(errcode(40001, STALE)).await;
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=20ms"]);
    for _ in 0..5 {
        exporter.scrape().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = exporter.scrape().await;
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert_eq!((tokens, lists), (2, 6), "a token, and one renewal");
    assert_eq!(page.failures("account_getall", "token"), 6.0);
    let log = exporter.log_with("fetches=4").await;
    assert_eq!(log.matches("in fetch after fetch").count(), 2, "{log}");
    assert!(log.contains("force_refresh"), "{log}");
}
