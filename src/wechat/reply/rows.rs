//! The rows of an account list.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{integer_in, name, number_in, services_in, text_in, time_in};
use crate::wechat::{Account, AccountList, ListLimits};

/// Reads the rows one after the other, so that the limits also bound the memory that a list takes while it is read. A
/// row that is no account costs itself alone. `None` for null.
pub(super) struct Rows {
    pub(super) limits: ListLimits,
    /// The number of rows to make room for. A list that grows takes more memory.
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

    /// Reads a row in either spelling. Not derived, because a key may occur in both; a readable value beats an unreadable
    /// one.
    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<Row, A::Error> {
        let mut account = Account::default();
        while let Some(key) = row.next_key::<&RawValue>()? {
            let json = row.next_value::<&RawValue>()?.get();
            match name(key) {
                "biz_id" | "bizId" => replace(&mut account.biz_id, text_in(json)),
                "delivery_id" | "deliveryId" => replace(&mut account.delivery_id, text_in(json)),
                "create_time" | "createTime" => replace(&mut account.create_time, time_in(json)),
                "update_time" | "updateTime" => replace(&mut account.update_time, time_in(json)),
                "status_code" | "statusCode" => replace(&mut account.status_code, integer_in(json)),
                "alias" => replace(&mut account.alias, text_in(json)),
                "remark_wrong_msg" | "remarkWrongMsg" => {
                    replace(&mut account.remark_wrong_msg, text_in(json))
                }
                "remark_content" | "remarkContent" => {
                    replace(&mut account.remark_content, text_in(json))
                }
                "quota_num" | "quotaNum" => replace(&mut account.quota_num, number_in(json)),
                "quota_update_time" | "quotaUpdateTime" => {
                    replace(&mut account.quota_update_time, time_in(json))
                }
                "service_type" | "serviceType" => {
                    replace(&mut account.service_types, services_in(json))
                }
                _ => {}
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

/// Sets the field, unless nothing could be read.
fn replace<T: Default + PartialEq>(field: &mut T, value: T) {
    if value != T::default() {
        *field = value;
    }
}
