//! What WeChat says of a courier account, in the API's own terms.

use serde::{Deserialize, Serialize};

use super::reply::{integer, number, text};

/// One courier account as `logistics.getAllAccount` lists it.
///
/// A field that WeChat did not send, sent as null or sent in a form that can't be read is `None`: the page has no
/// series for it, never a 0. Written under the API's own names, so that a stored snapshot is read by the same code as
/// a reply.
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
    /// Empty where none is set.
    pub alias: Box<str>,
    /// Why binding failed. Can hold personal data.
    pub remark_wrong_msg: Box<str>,
    /// What the shop wrote when it bound. Can hold personal data.
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
    /// What tells it from the app's other accounts: `biz_id` and `delivery_id`.
    pub(crate) fn id(&self) -> (&str, &str) {
        (&self.biz_id, &self.delivery_id)
    }

    /// The same, to be kept.
    pub(crate) fn key(&self) -> AccountKey {
        (self.biz_id.clone(), self.delivery_id.clone())
    }
}

/// `biz_id` and `delivery_id`.
pub(crate) type AccountKey = (Box<str>, Box<str>);

/// One entry of `service_type[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceType {
    /// The courier's number for it.
    pub service_type: i64,
    /// Empty where WeChat sent none.
    pub service_name: Box<str>,
}

/// A readable account list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccountList {
    /// The accounts in WeChat's order; may hold duplicates.
    pub accounts: Vec<Account>,
    /// `count`, where sent. The list is trusted, not this.
    pub count: Option<i64>,
    /// Rows that name no courier account: not an object, or without `biz_id` or `delivery_id`.
    pub invalid: u64,
    /// Rows beyond a limit: more accounts than allowed, or an identifier longer than allowed.
    pub beyond_limit: u64,
}

/// How much of an account list is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLimits {
    /// Accounts per app; further rows are counted in `beyond_limit`.
    pub accounts: usize,
    /// Unit: bytes. A row whose `biz_id` or `delivery_id` is longer is counted in `beyond_limit`; longer texts that
    /// identify nothing (alias, remarks, service names) are cut at a character's end.
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
    /// Empty where WeChat sent none.
    #[serde(alias = "deliveryName", deserialize_with = "text")]
    pub delivery_name: Box<str>,
    /// 1 where a balance can be asked for, else 0; `None` where not sent.
    #[serde(alias = "canGetQuota", deserialize_with = "integer")]
    pub can_get_quota: Option<i64>,
}

/// WeChat's own figures of one API path, from `openapi/quota/get`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiQuota {
    /// `None` where 0, which says nothing.
    #[serde(deserialize_with = "number")]
    pub daily_limit: Option<f64>,
    #[serde(deserialize_with = "number")]
    pub used: Option<f64>,
    /// `None` where the limit says nothing.
    #[serde(deserialize_with = "number")]
    pub remain: Option<f64>,
}
