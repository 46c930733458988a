//! The exporter reads what the shipped function returns. `node --test tests/cloudfunction/` maintains the fixtures.

use wechat_logistics_exporter::wechat::{CloudFunction, ListLimits, Reason, read_account_list};

use crate::support::*;

#[test]
fn account_list_is_read_with_every_field_and_a_failure_with_its_errcode() {
    let function = CloudFunction {
        env: "prod-1".to_owned(),
        name: "getAllAccount".to_owned(),
        pointer: None,
    };
    let read = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/cloud-function");
        let result = std::fs::read_to_string(format!("{folder}/{name}.json")).unwrap();
        let reply = json!({"errcode": 0, "errmsg": "ok", "resp_data": result.trim_end()});
        let limits = ListLimits::default();
        read_account_list(reply.to_string().as_bytes(), Some(&function), limits)
    };
    let list = read("success").unwrap();
    assert_eq!(list.count, Some(2));
    let franchise = &list.accounts[0];
    assert_eq!(&*franchise.biz_id, "四川成都某某公司_示例商户");
    assert_eq!(franchise.quota_num, Some(2.0));
    assert_eq!(franchise.quota_update_time, Some(1_578_552_960));
    assert_eq!(&*franchise.service_types[0].service_name, "标准快递");
    let direct = &list.accounts[1];
    assert_eq!((direct.quota_num, direct.status_code), (None, Some(1)));
    assert_eq!(read("no-accounts").unwrap().accounts, []);

    for (name, reason, errcode) in [
        ("refused", Reason::Permission, 48001),
        ("no-permission", Reason::Permission, -604_101),
        ("plain-error", Reason::Transient, -1),
        ("text", Reason::Decode, 0),
    ] {
        let cause = read(name).unwrap_err().cause;
        assert_eq!((cause.reason, cause.errcode), (reason, errcode), "{name}");
    }
}
