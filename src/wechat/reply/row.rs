//! A row of an account list.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{integer_in, number_in, services_in, text_in, time_in};
use crate::wechat::Account;

/// The keys of a row, in either spelling.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    #[serde(alias = "bizId")]
    BizId,
    #[serde(alias = "deliveryId")]
    DeliveryId,
    #[serde(alias = "createTime")]
    CreateTime,
    #[serde(alias = "updateTime")]
    UpdateTime,
    #[serde(alias = "statusCode")]
    StatusCode,
    Alias,
    #[serde(alias = "remarkWrongMsg")]
    RemarkWrongMsg,
    #[serde(alias = "remarkContent")]
    RemarkContent,
    #[serde(alias = "quotaNum")]
    QuotaNum,
    #[serde(alias = "quotaUpdateTime")]
    QuotaUpdateTime,
    #[serde(alias = "serviceType")]
    ServiceType,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(row: D) -> Result<Self, D::Error> {
        row.deserialize_map(Row)
    }
}

struct Row;

impl<'de> Visitor<'de> for Row {
    type Value = Account;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of an account list")
    }

    /// Reads a row. Not derived, because a key may occur in both spellings. A readable value beats an unreadable one.
    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Account, A::Error> {
        let mut account = Account::default();
        while let Some(key) = row.next_key()? {
            let json = row.next_value::<&RawValue>()?.get();
            match key {
                Key::BizId => replace(&mut account.biz_id, json),
                Key::DeliveryId => replace(&mut account.delivery_id, json),
                Key::CreateTime => account.create_time = time_in(json).or(account.create_time),
                Key::UpdateTime => account.update_time = time_in(json).or(account.update_time),
                Key::StatusCode => account.status_code = integer_in(json).or(account.status_code),
                Key::Alias => replace(&mut account.alias, json),
                Key::RemarkWrongMsg => replace(&mut account.remark_wrong_msg, json),
                Key::RemarkContent => replace(&mut account.remark_content, json),
                Key::QuotaNum => account.quota_num = number_in(json).or(account.quota_num),
                Key::QuotaUpdateTime => {
                    account.quota_update_time = time_in(json).or(account.quota_update_time);
                }
                Key::ServiceType => {
                    let services = services_in(json);
                    if !services.is_empty() {
                        account.service_types = services;
                    }
                }
                Key::Other => {}
            }
        }
        Ok(account)
    }
}

fn replace(field: &mut Box<str>, json: &str) {
    let text = text_in(json);
    if !text.is_empty() {
        *field = text;
    }
}
