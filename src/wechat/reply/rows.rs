//! The rows of an account list.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{integer_in, number_in, services_in, text_in, time_in};
use crate::wechat::{Account, AccountList, ListLimits};

/// Reads the rows one after the other, so that the limits also bound the memory that a list takes while it is read. A
/// row that can't be read costs itself alone. `None` for null.
pub(super) struct Rows {
    pub(super) limits: ListLimits,
    /// The number of rows that the reply announces, 0 if unknown. Only a hint, which saves memory.
    pub(super) announced: usize,
}

impl<'de> DeserializeSeed<'de> for Rows {
    type Value = Option<AccountList>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Self::Value, D::Error> {
        list.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Rows {
    type Value = Option<AccountList>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an account list")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let Self { limits, announced } = self;
        let mut list = AccountList {
            accounts: Vec::with_capacity(announced.min(limits.accounts)),
            ..AccountList::default()
        };
        while list.accounts.len() < limits.accounts {
            let Some(Row(account)) = rows.next_element()? else {
                return Ok(Some(list));
            };
            if account.biz_id.is_empty() || account.delivery_id.is_empty() {
                list.invalid += 1;
            } else if account.biz_id.len().max(account.delivery_id.len()) > limits.label_bytes {
                list.beyond_limit += 1;
            } else {
                list.accounts.push(shortened(account, limits.label_bytes));
            }
        }
        while rows.next_element::<IgnoredAny>()?.is_some() {
            list.beyond_limit += 1;
        }
        Ok(Some(list))
    }
}

/// Cuts the texts that don't identify the account to `max` bytes.
fn shortened(mut account: Account, max: usize) -> Account {
    let services = account.service_types.iter_mut();
    let names = services.map(|service| &mut service.service_name);
    let texts = [
        &mut account.alias,
        &mut account.remark_wrong_msg,
        &mut account.remark_content,
    ];
    for text in texts.into_iter().chain(names) {
        if text.len() > max {
            *text = text[..text.floor_char_boundary(max)].into();
        }
    }
    account
}

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

/// The account of a row, without a name if the row is not an object.
#[derive(Default)]
struct Row(Account);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(row: D) -> Result<Self, D::Error> {
        row.deserialize_any(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row of an account list")
    }

    /// Reads a row. Not derived, because a key may occur in both spellings. A readable value beats an unreadable one.
    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Row, A::Error> {
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
        Ok(Row(account))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Row, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Row::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Row, E> {
        Ok(Row::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Row, E> {
        Ok(Row::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Row, E> {
        Ok(Row::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Row, E> {
        Ok(Row::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Row, E> {
        Ok(Row::default())
    }

    fn visit_unit<E>(self) -> Result<Row, E> {
        Ok(Row::default())
    }
}

fn replace(field: &mut Box<str>, json: &str) {
    let text = text_in(json);
    if !text.is_empty() {
        *field = text;
    }
}
