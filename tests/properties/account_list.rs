//! The reply of `logistics.getAllAccount`.

use serde_json::{Value, json};
use wechat_logistics_exporter::wechat::{
    Account, AccountList, Error, ListLimits, read_account_list,
};

use super::sentence;

/// So low that small inputs meet them.
const LOW: ListLimits = ListLimits {
    accounts: 3,
    label_bytes: 8,
};

/// Whatever WeChat, or who answers in its place, sends.
pub fn check(input: &[u8]) {
    for limits in [ListLimits::default(), LOW] {
        match read_account_list(input, limits) {
            Ok(list) => {
                is_within_limits(&list, limits);
                counts_every_row(&list, input);
                is_read_again_as_it_was(&list.accounts, limits);
            }
            Err(error) => fails_fit_for_a_log_line(&error),
        }
    }
}

/// What the page and the state file rely on.
pub fn is_within_limits(list: &AccountList, limits: ListLimits) {
    assert!(list.accounts.len() <= limits.accounts);
    for account in &list.accounts {
        assert!(!account.biz_id.is_empty() && !account.delivery_id.is_empty());
        let services = account.service_types.iter();
        let texts = [
            &account.biz_id,
            &account.delivery_id,
            &account.alias,
            &account.remark_wrong_msg,
            &account.remark_content,
        ];
        for text in texts
            .into_iter()
            .chain(services.map(|service| &service.service_name))
        {
            let bytes = text.len();
            assert!(bytes <= limits.label_bytes, "{bytes} bytes: {text}");
        }
        assert!(account.service_types.len() <= 100);
        assert!(account.quota_num.is_none_or(f64::is_finite));
        for time in [
            account.create_time,
            account.update_time,
            account.quota_update_time,
        ] {
            // Later than the year 5138 is a slip of somebody's unit.
            assert!(time.is_none_or(|seconds| (1..=100_000_000_000).contains(&seconds)));
        }
    }
}

/// A row is an account, or is counted as dropped.
fn counts_every_row(list: &AccountList, input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else {
        return;
    };
    if let Some(Value::Array(rows)) = document.get("list") {
        let counted = list.accounts.len() as u64 + list.invalid + list.beyond_limit;
        assert_eq!(counted, rows.len() as u64, "rows that nobody counted");
    }
}

/// The state file holds accounts as WeChat lists them, and the same code reads them.
fn is_read_again_as_it_was(accounts: &[Account], limits: ListLimits) {
    let stored = json!({"count": accounts.len(), "list": accounts}).to_string();
    let again = read_account_list(stored.as_bytes(), limits).expect("our own list is readable");
    assert_eq!(again.accounts, accounts);
    assert_eq!((again.invalid, again.beyond_limit), (0, 0));
}

/// A failure's text goes into the log and onto the status page.
pub fn fails_fit_for_a_log_line(error: &Error) {
    sentence::is_one_line(&error.to_string());
    sentence::quotes_no_secret(&error.to_string());
    sentence::quotes_no_secret(&format!("{error:?}"));
}
