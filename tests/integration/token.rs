//! Rejected tokens: one retry, never a loop.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::*;

const STALE: &str =
    "invalid credential, access_token is invalid or not latest rid: 60c976e4-051e6c8e-47215cd3";

/// Starts a WeChat that issues [`TOKEN`] first and rejects it, and issues `next` from then on.
async fn rejecting(rejection: i64, next: &str) -> Wechat {
    let wechat = Wechat::silent().await;
    wechat.lists_for(TOKEN, errcode(rejection, STALE)).await;
    let first = ok(json!({"access_token": TOKEN, "expires_in": 7200}));
    wechat.answers_once(path(STABLE_TOKEN_PATH), first).await;
    wechat.gives_token(next).await;
    wechat
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_token_is_renewed_once_for_a_hundred_scrapes_and_the_list_asked_once_more() {
    for rejection in [40001, 40014, 42001] {
        let (scratch, wechat) = (Scratch::new(), rejecting(rejection, NEXT_TOKEN).await);
        let renewed = ok(accounts()).set_delay(Duration::from_millis(200));
        wechat.lists_for(NEXT_TOKEN, renewed).await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &["--web.max-requests=0"]);
        for page in join_all((0..100).map(|_| exporter.scrape())).await {
            assert_eq!(page.up(APPID), Some(1.0), "{rejection}");
            assert_eq!(page.failures("account_getall", "token"), 1.0, "{rejection}");
        }
        assert_eq!(wechat.token_and_list_calls().await, (2, 2), "{rejection}");
    }
}

#[tokio::test]
async fn second_rejection_ends_the_fetch_and_the_same_token_is_not_tried_again() {
    for (next, lists) in [(NEXT_TOKEN, 2), (TOKEN, 1)] {
        let (scratch, wechat) = (Scratch::new(), rejecting(42001, next).await);
        wechat.lists_for(next, errcode(42001, STALE)).await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(0.0), "{next}");
        assert_eq!(page.failures("account_getall", "token"), f64::from(lists));
        let calls = wechat.token_and_list_calls().await;
        assert_eq!(calls, (2, lists as usize), "{next}");
    }
}

#[tokio::test]
async fn token_that_the_cloud_function_lacks_spends_none_of_ours() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.gives_token(TOKEN).await;
    let invoke = "/tcb/invokecloudfunction";
    let result = json!({"errCode": 40001, "errMsg": STALE}).to_string();
    let result = ok(json!({"errcode": 0, "resp_data": result}));
    wechat.answers(path(invoke), result).await;
    let function = "  cloud_function: { env: prod-1, name: getAllAccount }\n";
    let settings = scratch.app(&wechat.url(), STABLE, function);
    let exporter = Exporter::from_file(&settings, &[]);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.failures("invoke_cloud_function", "token"), 1.0);
    let calls = wechat.calls().await;
    assert_eq!((calls[STABLE_TOKEN_PATH], calls[invoke]), (1, 1));
    exporter.log_with("ran the cloud function").await;
}

#[tokio::test]
async fn wrong_secret_is_asked_once_and_then_kept_back() {
    for code in [40001, 40125] {
        let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
        wechat.answers_token_call(errcode(code, "invalid")).await;
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[]);
        exporter.scrape().await;
        let page = exporter.scrape().await;
        assert_eq!(wechat.token_and_list_calls().await, (1, 0), "{code}");
        assert_eq!(page.failures("stable_token", "config"), 1.0, "{code}");
        assert_eq!(page.refused("breaker"), 1.0, "{code}");
        assert_eq!(page.of_app("api_errcode"), Some(code as f64));
    }
}

#[tokio::test]
async fn foreign_token_from_a_file_is_read_again_and_never_minted() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.lists_for(TOKEN, errcode(40001, STALE)).await;
    wechat.lists_for(NEXT_TOKEN, ok(accounts())).await;
    let file = scratch.write("token", &format!("{TOKEN}\n"));
    let settings = scratch.app(&wechat.url(), "{ file: { path: token } }", "");
    let exporter = Exporter::from_file(&settings, &["--wechat.min-interval=100ms"]);
    assert_eq!(exporter.scrape().await.up(APPID), Some(0.0));
    assert_eq!(wechat.token_and_list_calls().await, (0, 1));
    let rejected = format!(
        "WeChat rejects the token of token file {}; the program that keeps it there must renew it",
        file.display()
    );
    exporter.log_with(&rejected).await;

    let next = json!({"access_token": NEXT_TOKEN, "expires_in": 100});
    scratch.write("token", &next.to_string());
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    assert_eq!(wechat.token_and_list_calls().await, (0, 2));
}

#[tokio::test]
async fn rejected_token_is_the_reason_also_where_no_call_is_left_for_another() {
    let (scratch, wechat) = (Scratch::new(), rejecting(40001, NEXT_TOKEN).await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.daily-limit=2"]);
    let page = exporter.scrape().await;
    assert_eq!(wechat.token_and_list_calls().await, (1, 1));
    assert_eq!(page.failures("account_getall", "token"), 1.0);
    assert_eq!(page.refused("daily_limit"), 1.0);
    assert_eq!(page.up(APPID), Some(0.0), "the latest try failed");
}

#[tokio::test]
async fn token_that_is_rejected_in_fetch_after_fetch_is_renewed_rarely_and_the_log_says_how_to_fix_it()
 {
    let (scratch, wechat) = (Scratch::new(), Wechat::listing(errcode(40001, STALE)).await);
    let exporter = Exporter::for_one_app(&scratch, &wechat, &["--wechat.min-interval=20ms"]);
    for _ in 0..5 {
        exporter.scrape().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = exporter.scrape().await;
    let calls = wechat.token_and_list_calls().await;
    assert_eq!(calls, (2, 6), "a token, and one renewal");
    assert_eq!(page.failures("account_getall", "token"), 6.0);
    let log = exporter.log_with("fetches=4").await;
    assert_eq!(log.matches("in fetch after fetch").count(), 2, "{log}");
    assert!(log.contains("force_refresh"), "{log}");
}
