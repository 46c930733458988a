//! What the shipped cloud function returns is read, success and failure.
//!
//! `node --test tests/cloudfunction/` keeps the fixtures; see there.

use serde_json::json;
use wechat_logistics_exporter::wechat::{AccountList, Api, Error, Reason};

use crate::support::Pair;

/// Hands the fixture to the exporter as `resp_data` of `/tcb/invokecloudfunction`.
async fn read(result: &str) -> Result<AccountList, Error> {
    let pair = Pair::new().await;
    let body = json!({"errcode": 0, "errmsg": "ok", "resp_data": result.trim_end()});
    pair.simulation.set_reply(
        Api::InvokeCloudFunction,
        &pair.apps[1].appid,
        body.to_string(),
    );
    let token = pair.token(1).await.unwrap();
    pair.cloud_accounts(&token).await
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../data/cloud-function/", $name, ".json"))
    };
}

#[tokio::test]
async fn success_is_read_with_every_field() {
    let list = read(fixture!("success")).await.unwrap();
    assert_eq!(list.count, Some(2));
    let franchise = &list.accounts[0];
    assert_eq!(&*franchise.biz_id, "四川成都某某公司_示例商户");
    assert_eq!(franchise.quota_num, Some(2.0));
    assert_eq!(franchise.quota_update_time, Some(1_578_552_960));
    assert_eq!(&*franchise.service_types[0].service_name, "标准快递");
    let direct = &list.accounts[1];
    assert_eq!((direct.quota_num, direct.status_code), (None, Some(1)));
}

#[tokio::test]
async fn app_without_accounts_is_a_success() {
    let list = read(fixture!("no-accounts")).await.unwrap();
    assert_eq!(
        list,
        AccountList {
            count: Some(0),
            ..AccountList::default()
        }
    );
}

#[tokio::test]
async fn failures_keep_their_errcode() {
    for (result, reason, errcode) in [
        (fixture!("refused"), Reason::Permission, Some(48001)),
        (
            fixture!("no-permission"),
            Reason::Permission,
            Some(-604_101),
        ),
        (fixture!("plain-error"), Reason::Transient, Some(-1)),
        (fixture!("text"), Reason::Decode, None),
    ] {
        let error = read(result).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.errcode()),
            (reason, errcode),
            "{result}"
        );
    }
}
