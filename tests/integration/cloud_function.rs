//! What the shipped cloud function returns is read. `node --test tests/cloudfunction/` keeps the fixtures.

use serde_json::json;
use wechat_logistics_exporter::wechat::{
    AccountList, CloudFunction, Error, ListLimits, Reason, read_function_reply,
};

fn read(result: &str) -> Result<AccountList, Error> {
    let function = CloudFunction {
        env: "prod-1".to_owned(),
        name: "getAllAccount".to_owned(),
        pointer: None,
    };
    let reply = json!({"errcode": 0, "errmsg": "ok", "resp_data": result.trim_end()});
    read_function_reply(
        reply.to_string().as_bytes(),
        &function,
        ListLimits::default(),
    )
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../data/cloud-function/", $name, ".json"))
    };
}

#[test]
fn account_list_is_read_with_every_field() {
    let list = read(fixture!("success")).unwrap();
    assert_eq!(list.count, Some(2));
    let franchise = &list.accounts[0];
    assert_eq!(&*franchise.biz_id, "四川成都某某公司_示例商户");
    assert_eq!(franchise.quota_num, Some(2.0));
    assert_eq!(franchise.quota_update_time, Some(1_578_552_960));
    assert_eq!(&*franchise.service_types[0].service_name, "标准快递");
    let direct = &list.accounts[1];
    assert_eq!((direct.quota_num, direct.status_code), (None, Some(1)));
    assert_eq!(read(fixture!("no-accounts")).unwrap().accounts, []);
}

#[test]
fn failure_inside_the_function_keeps_its_errcode() {
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
        let error = read(result).unwrap_err();
        assert_eq!(
            (error.reason(), error.errcode()),
            (reason, errcode),
            "{result}"
        );
    }
}
