//! What WeChat says of a courier account, in the API's own terms.

use serde::{Deserialize, Serialize};

/// One courier account as `logistics.getAllAccount` lists it.
///
/// A field that WeChat did not send, sent as null or sent in a form that can't be read is `None`: the page has no
/// series for it, never a 0. Serialised under the API's own names, so that a stored snapshot is read by the same
/// code as a reply.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// `biz_id`: the customer code at the courier. Any UTF-8, Chinese for franchise couriers; never empty.
    pub biz_id: Box<str>,
    /// `delivery_id`: the courier, for example `YTO`; never empty.
    pub delivery_id: Box<str>,
    /// `create_time`. Unit: seconds since 1970.
    pub create_time: Option<i64>,
    /// `update_time`. Unit: seconds since 1970.
    pub update_time: Option<i64>,
    /// `status_code`: 0 bound, 1 under review, 2 failed, 3 unbound; other values as sent.
    pub status_code: Option<i64>,
    /// `alias`; empty where none is set.
    pub alias: Box<str>,
    /// `remark_wrong_msg`: why binding failed. Can hold personal data.
    pub remark_wrong_msg: Box<str>,
    /// `remark_content`: what the shop wrote when it bound. Can hold personal data.
    pub remark_content: Box<str>,
    /// `quota_num`. Unit: electronic waybills left.
    pub quota_num: Option<f64>,
    /// `quota_update_time`: when WeChat refreshed the balance. Unit: seconds since 1970.
    pub quota_update_time: Option<i64>,
    /// `service_type[]`.
    #[serde(rename = "service_type")]
    pub service_types: Vec<ServiceType>,
}

impl Account {
    /// What tells it from the app's other accounts: `biz_id` and `delivery_id`.
    pub(crate) fn id(&self) -> (&str, &str) {
        (&self.biz_id, &self.delivery_id)
    }
}

/// One entry of `service_type[]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ServiceType {
    /// `service_type`: the courier's number for it.
    pub service_type: i64,
    /// `service_name`; empty where WeChat sent none.
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
    /// Whether bytes that are no UTF-8 were replaced. Identifiers that differ in those alone have become one.
    pub lossy: bool,
}

impl AccountList {
    /// The same, known to be read from that.
    pub(super) fn read_from(mut self, body: &[u8]) -> Self {
        self.lossy |= std::str::from_utf8(body).is_err();
        self
    }
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `delivery_id`.
    pub delivery_id: Box<str>,
    /// `delivery_name`.
    pub delivery_name: Box<str>,
    /// `can_get_quota`: whether a balance can be asked for; `None` where not sent.
    pub can_get_quota: Option<bool>,
}

/// WeChat's own figures of one API path, from `openapi/quota/get`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiQuota {
    /// `daily_limit`; `None` where 0, which says nothing.
    pub daily_limit: Option<f64>,
    /// `used`.
    pub used: Option<f64>,
    /// `remain`; `None` where the limit says nothing.
    pub remain: Option<f64>,
}
