//! What WeChat reports about courier accounts, in the API's own terms.

use serde::{Deserialize, Serialize};

use super::reply::{integer, number, text};

/// One courier account as `logistics.getAllAccount` lists it.
///
/// A field that WeChat omitted, sent as null or sent in a form that can't be read is `None`. The page then has no
/// series for it, never a 0. Accounts are serialized under the API's own names, so the same code reads stored snapshots
/// and replies.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// The customer code at the courier. Any UTF-8, Chinese for franchise couriers; never empty.
    pub biz_id: Box<str>,
    /// The courier, for example `YTO`; never empty.
    pub delivery_id: Box<str>,
    /// Unit: seconds since 1970.
    pub create_time: Option<i64>,
    /// Unit: seconds since 1970.
    pub update_time: Option<i64>,
    /// 0 bound, 1 under review, 2 failed, 3 unbound; other values as sent.
    pub status_code: Option<i64>,
    /// Empty if none is set.
    pub alias: Box<str>,
    /// Why binding failed. Can hold personal data.
    pub remark_wrong_msg: Box<str>,
    /// The shop's remark from when it bound the account. Can hold personal data.
    pub remark_content: Box<str>,
    /// Unit: electronic waybills left.
    pub quota_num: Option<f64>,
    /// When WeChat refreshed the balance. Unit: seconds since 1970.
    pub quota_update_time: Option<i64>,
    /// The services that the account may use.
    #[serde(rename = "service_type")]
    pub service_types: Vec<ServiceType>,
}

impl Account {
    /// Returns `biz_id` and `delivery_id`, which together identify the account within its app.
    pub(crate) fn id(&self) -> (&str, &str) {
        (&self.biz_id, &self.delivery_id)
    }

    /// Returns the id as an owned key.
    pub(crate) fn key(&self) -> AccountKey {
        (self.biz_id.clone(), self.delivery_id.clone())
    }
}

/// The `biz_id` and `delivery_id` of an account.
pub(crate) type AccountKey = (Box<str>, Box<str>);

/// One entry of `service_type[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceType {
    /// The courier's number for the service.
    pub service_type: i64,
    /// Empty if WeChat sent none.
    pub service_name: Box<str>,
}

/// A readable account list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountList {
    /// The accounts in WeChat's order; may hold duplicates.
    pub accounts: Vec<Account>,
    /// The reply's `count`, if sent. The exporter trusts the list instead.
    pub count: Option<i64>,
    /// The number of rows that name no courier account: not an object, or without `biz_id` or `delivery_id`.
    pub invalid: u64,
    /// The number of rows beyond a limit: more accounts than allowed, or an identifier longer than allowed.
    pub beyond_limit: u64,
}

/// The limits on what is kept of an account list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// The maximum number of accounts per app. Further rows are counted in `beyond_limit`.
    pub accounts: usize,
    /// The maximum length of a text. A row with a longer `biz_id` or `delivery_id` is counted in `beyond_limit`. Longer
    /// texts that identify nothing (alias, remarks, service names) are cut between characters. Unit: bytes.
    pub label_bytes: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self {
            accounts: 100_000,
            label_bytes: 1024,
        }
    }
}

/// One courier as `logistics.getAllDelivery` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// For example `YTO`.
    #[serde(alias = "deliveryId", deserialize_with = "text")]
    pub delivery_id: Box<str>,
    /// Empty if WeChat sent none.
    #[serde(alias = "deliveryName", deserialize_with = "text")]
    pub delivery_name: Box<str>,
    /// 1 if the balance can be queried, else 0; `None` if not sent.
    #[serde(alias = "canGetQuota", deserialize_with = "integer")]
    pub can_get_quota: Option<i64>,
}

/// WeChat's own quota figures for one API path, from `openapi/quota/get`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiQuota {
    /// `None` if WeChat sent 0, which means nothing.
    #[serde(deserialize_with = "number")]
    pub daily_limit: Option<f64>,
    #[serde(deserialize_with = "number")]
    pub used: Option<f64>,
    /// `None` if `daily_limit` is `None`.
    #[serde(deserialize_with = "number")]
    pub remain: Option<f64>,
}
