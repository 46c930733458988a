//! Each call is read as what was said.

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use wechat_logistics_exporter::config::SecretSource;
use wechat_logistics_exporter::wechat::courier::{Network, lookup};
use wechat_logistics_exporter::wechat::{AccessToken, Api, Authorization, Reason};

use crate::support::{Pair, Unmetered};

#[tokio::test]
async fn account_list_is_read_over_both_ways_with_every_field() {
    let pair = Pair::new().await;
    let direct = pair.accounts(&pair.token(0).await.unwrap()).await.unwrap();
    let cloud = pair
        .cloud_accounts(&pair.token(1).await.unwrap())
        .await
        .unwrap();
    for list in [&direct, &cloud] {
        assert_eq!(list.count, Some(12));
        assert_eq!((list.invalid, list.beyond_limit), (0, 0));
        let first = &list.accounts[0];
        assert_eq!(&*first.delivery_id, "YTO");
        assert_eq!(first.status_code, Some(0));
        assert!(first.quota_num.is_some());
        assert!(first.quota_update_time.is_some());
        assert!(first.create_time < first.update_time);
        assert_eq!(&*first.service_types[0].service_name, "普通快递");
    }
    // The first app shows every state.
    let direct_courier = direct.accounts.iter().find(|row| &*row.delivery_id == "SF");
    assert_eq!(direct_courier.unwrap().quota_num, None);
    let failed = direct
        .accounts
        .iter()
        .find(|row| row.status_code == Some(2));
    assert!(!failed.unwrap().remark_wrong_msg.is_empty());
}

#[tokio::test]
async fn token_is_read_with_its_end() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    assert!(token.expires.unwrap() > SystemTime::now());
    assert!(token.secret.expose_secret().len() > 100);
}

#[tokio::test]
async fn classic_token_opens_the_list() {
    let pair = Pair::new().await;
    let secret = SecretSource::Simulated.read().unwrap();
    let appid = &pair.apps[0].appid;
    let token = pair.client.token(appid, &secret, &Unmetered).await.unwrap();
    assert_eq!(pair.accounts(&token).await.unwrap().accounts.len(), 12);
}

#[tokio::test]
async fn wrong_secret_is_for_the_operator_to_mend() {
    let pair = Pair::new().await;
    let secret = SecretString::from("wrong");
    let appid = &pair.apps[0].appid;
    let error = pair.client.stable_token(appid, &secret, &Unmetered).await;
    let error = error.unwrap_err();
    assert_eq!(error.reason(), Reason::Config);
    assert_eq!(error.errcode(), Some(40125));
}

#[tokio::test]
async fn cloudbase_token_and_open_interface_open_the_list() {
    let pair = Pair::new().await;
    let appid = &pair.apps[0].appid;
    let token = AccessToken {
        secret: pair.simulation.cloudbase_token(appid).into(),
        expires: None,
    };
    let authorization = Authorization::CloudbaseAccessToken(&token);
    let list = pair.client.account_getall(authorization, &Unmetered).await;
    assert_eq!(list.unwrap().accounts.len(), 12);

    let without = Authorization::None { from_appid: None };
    let refused = pair.client.account_getall(without, &Unmetered).await;
    assert_eq!(refused.unwrap_err().errcode(), Some(41001));
    pair.simulation.set_open_interface(Some(appid));
    let list = pair.client.account_getall(without, &Unmetered).await;
    assert_eq!(list.unwrap().accounts.len(), 12);
}

#[tokio::test]
async fn couriers_of_the_world_are_the_ones_that_the_exporter_knows() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    let authorization = Authorization::AccessToken(&token);
    let couriers = pair
        .client
        .delivery_getall(authorization, &Unmetered)
        .await
        .unwrap();
    assert_eq!(couriers.len(), 14);
    for courier in couriers {
        let known = lookup(&courier.delivery_id).unwrap();
        assert_eq!(known.name, &*courier.delivery_name);
        let franchise = known.network == Network::Franchise;
        assert_eq!(courier.can_get_quota, Some(franchise), "{}", known.name);
    }
}

#[tokio::test]
async fn live_balance_of_a_chinese_account_number_is_read() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    let list = pair.accounts(&token).await.unwrap();
    let chinese = list.accounts.iter().find(|row| !row.biz_id.is_ascii());
    let account = chinese.unwrap();
    let balance = pair
        .client
        .quota_get(
            Authorization::AccessToken(&token),
            &account.delivery_id,
            &account.biz_id,
            &Unmetered,
        )
        .await;
    assert!(balance.unwrap().is_some());
    let sent = pair.simulation.call_log().pop().unwrap();
    assert!(sent.body.contains(&*account.biz_id), "{}", sent.body);
}

#[tokio::test]
async fn api_quota_is_read() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    pair.accounts(&token).await.unwrap();
    let quota = pair
        .client
        .api_quota_get(
            Authorization::AccessToken(&token),
            Api::AccountGetall,
            &Unmetered,
        )
        .await
        .unwrap();
    assert_eq!(quota.daily_limit, Some(10_000.0));
    assert_eq!(quota.used, Some(1.0));
    assert_eq!(quota.remain, Some(9_999.0));
}

#[tokio::test]
async fn hundred_thousand_accounts_are_read() {
    let pair = Pair::new().await;
    let token = pair.token(0).await.unwrap();
    let appid = &pair.apps[0].appid;
    pair.simulation.set_account_count(appid, 100_000);
    let list = pair.accounts(&token).await.unwrap();
    assert_eq!(list.accounts.len(), 100_000);
    assert_eq!((list.invalid, list.beyond_limit), (0, 0));
}

#[tokio::test]
async fn rows_of_a_test_are_read_over_both_ways() {
    let pair = Pair::new().await;
    let rows = vec![json!({"biz_id": "甲", "delivery_id": "YTO", "quota_num": "7"})];
    for app in [0, 1] {
        let appid = &pair.apps[app].appid;
        pair.simulation.set_accounts(appid, rows.clone());
        let token = pair.token(app).await.unwrap();
        let list = match app {
            0 => pair.accounts(&token).await.unwrap(),
            _ => pair.cloud_accounts(&token).await.unwrap(),
        };
        assert_eq!(list.accounts.len(), 1);
        assert_eq!(list.accounts[0].quota_num, Some(7.0));
    }
}
