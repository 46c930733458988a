//! Each fault is told apart as the reason that the metrics show.

use std::time::Duration;

use wechat_logistics_exporter::demo::Fault;
use wechat_logistics_exporter::wechat::{ListLimits, Reason, read_account_list};

use crate::support::Pair;

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

#[tokio::test]
async fn fault_of_the_list_has_its_reason_over_both_ways() {
    let pair = Pair::new().await;
    let (first, second) = (pair.token(0).await.unwrap(), pair.token(1).await.unwrap());
    for (text, reason, errcode) in [
        ("-1", Reason::Transient, Some(-1)),
        ("40001", Reason::Token, Some(40001)),
        ("40014", Reason::Token, Some(40014)),
        ("42001", Reason::Token, Some(42001)),
        ("40164", Reason::IpWhitelist, Some(40164)),
        ("45009", Reason::DailyQuota, Some(45009)),
        ("45011", Reason::Rate, Some(45011)),
        ("48001", Reason::Permission, Some(48001)),
        ("987654", Reason::Unknown, Some(987_654)),
        ("html", Reason::Decode, None),
        ("empty", Reason::Decode, None),
        ("no-list", Reason::Decode, None),
        ("huge", Reason::Decode, None),
        ("reset", Reason::Network, None),
        ("truncated", Reason::Network, None),
    ] {
        pair.simulation.set_fault(fault(text));
        let direct = pair.accounts(&first).await.unwrap_err();
        assert_eq!(
            (direct.reason(), direct.errcode()),
            (reason, errcode),
            "{text}"
        );
        let cloud = pair.cloud_accounts(&second).await.unwrap_err();
        assert_eq!(
            (cloud.reason(), cloud.errcode()),
            (reason, errcode),
            "{text}, cloud"
        );
        pair.simulation.clear_faults();
        assert!(pair.accounts(&first).await.is_ok(), "after {text}");
    }
}

#[tokio::test]
async fn encrypted_answer_is_for_the_operator_to_mend() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    pair.simulation.set_fault(fault("encrypted"));
    let error = pair.accounts(&token).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Config);
}

#[tokio::test]
async fn hanging_call_ends_at_the_clients_timeout() {
    let pair = Pair::with_timeout(Duration::from_millis(200)).await;
    pair.simulation.set_fault(fault("timeout"));
    let error = pair.token(0).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Timeout);
}

#[tokio::test]
async fn slow_answer_is_read_in_the_end() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    pair.simulation.set_fault(fault("slow-100ms"));
    assert_eq!(pair.accounts(&token).await.unwrap().accounts.len(), 12);
}

#[tokio::test]
async fn empty_and_doubled_lists_are_lists() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    pair.simulation.set_fault(fault("no-accounts"));
    assert_eq!(pair.accounts(&token).await.unwrap().accounts.len(), 0);
    pair.simulation.clear_faults();
    pair.simulation.set_fault(fault("duplicates"));
    assert_eq!(pair.accounts(&token).await.unwrap().accounts.len(), 15);
}

#[tokio::test]
async fn spent_token_is_rejected_and_the_next_one_is_good() {
    let pair = Pair::new().await;
    let appid = pair.apps[0].appid.clone();
    let token = pair.token(0).await.unwrap();
    pair.simulation.expire_tokens(&appid);
    let error = pair.accounts(&token).await.unwrap_err();
    assert!(error.token_rejected());
    assert_eq!(error.errcode(), Some(42001));
    let token = pair.token(0).await.unwrap();
    pair.simulation.replace_tokens(&appid);
    let error = pair.accounts(&token).await.unwrap_err();
    assert_eq!(error.errcode(), Some(40001));
    assert!(pair.accounts(&pair.token(0).await.unwrap()).await.is_ok());
}

#[test]
fn reply_without_a_list_is_no_empty_list() {
    assert!(read_account_list(b"{}", ListLimits::default()).is_err());
}
