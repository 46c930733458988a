//! The account list, read in one pass straight into [`Account`]s.

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::tolerant::{Kept, Key, KeyRead, Number, Read, Scalar, Shape, Text, Tolerant};
use super::{Fault, Head};
use crate::wechat::{Account, AccountList, ListLimits, ServiceType};

/// Services kept of one account. The courier with the most documents 18; each one becomes a series.
const SERVICES_MAX: usize = 100;

/// The reply's object, without the keys that mean nothing here.
#[derive(Debug, Default)]
pub(super) struct ListReply {
    is_object: bool,
    head: Head,
    count: Option<i64>,
    list: List,
}

#[derive(Debug, Default)]
enum List {
    /// Absent or null.
    #[default]
    Missing,
    Rows(Rows),
    /// Something that is no array.
    Other,
}

#[derive(Debug, Default)]
struct Rows {
    accounts: Vec<Account>,
    invalid: u64,
    beyond_limit: u64,
}

impl ListReply {
    /// The list, if the reply is one. A reply without `list` is no list without accounts, unless it counts 0.
    pub(super) fn account_list(self) -> Result<AccountList, Fault> {
        if !self.is_object {
            return Err(Fault::malformed("it is JSON but no object"));
        }
        if let Some(fault) = self.head.fault() {
            return Err(fault);
        }
        let rows = match self.list {
            List::Rows(rows) => rows,
            List::Missing if self.count == Some(0) => Rows::default(),
            List::Missing => return Err(Fault::malformed("it has no `list`")),
            List::Other => return Err(Fault::malformed("its `list` is no array")),
        };
        Ok(AccountList {
            accounts: rows.accounts,
            count: self.count,
            invalid: rows.invalid,
            beyond_limit: rows.beyond_limit,
            lossy: false,
        })
    }
}

/// Reads a [`ListReply`].
#[derive(Clone, Copy, Debug)]
pub(super) struct ListShape(pub(super) ListLimits);

#[derive(Clone, Copy)]
enum ReplyKey {
    Errcode,
    Errmsg,
    Count,
    List,
    Iv,
    Data,
    Authtag,
}

impl Key for ReplyKey {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "list" => Self::List,
            "count" => Self::Count,
            "errcode" | "errCode" => Self::Errcode,
            "errmsg" | "errMsg" => Self::Errmsg,
            "iv" => Self::Iv,
            "data" => Self::Data,
            "authtag" => Self::Authtag,
            _ => return None,
        })
    }
}

impl<'de> Shape<'de> for ListShape {
    type Value = ListReply;

    fn scalar(self, _: Scalar<'_>) -> ListReply {
        ListReply::default()
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<ListReply, A::Error> {
        let mut reply = ListReply {
            is_object: true,
            ..ListReply::default()
        };
        while let Some(KeyRead(key)) = object.next_key()? {
            match key {
                Some(ReplyKey::List) => {
                    reply.list = object.next_value_seed(Tolerant(RowsShape(self.0)))?;
                }
                Some(ReplyKey::Count) => reply.count = integer(&mut object)?,
                Some(ReplyKey::Errcode) => reply.head.errcode(integer(&mut object)?),
                Some(ReplyKey::Errmsg) => {
                    // Whole: what is cut before secrets are taken out may hold half of one.
                    let bytes = usize::MAX;
                    reply.head.errmsg = object.next_value_seed(Tolerant(Text { bytes }))?.text;
                }
                Some(ReplyKey::Iv) => reply.head.iv = object.next_value_seed(Tolerant(IsText))?,
                Some(ReplyKey::Data) => {
                    reply.head.data = object.next_value_seed(Tolerant(IsText))?;
                }
                Some(ReplyKey::Authtag) => {
                    reply.head.authtag = object.next_value_seed(Tolerant(IsText))?;
                }
                None => pass_over(&mut object)?,
            }
        }
        Ok(reply)
    }
}

/// Whether a value is a string.
struct IsText;

impl Shape<'_> for IsText {
    type Value = bool;

    fn scalar(self, scalar: Scalar<'_>) -> bool {
        matches!(scalar, Scalar::Text(_))
    }
}

struct RowsShape(ListLimits);

impl<'de> Shape<'de> for RowsShape {
    type Value = List;

    fn scalar(self, scalar: Scalar<'_>) -> List {
        match scalar {
            Scalar::Nothing => List::Missing,
            _ => List::Other,
        }
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<List, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(List::Other)
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<List, A::Error> {
        let limits = self.0;
        let mut rows = Rows::default();
        while rows.accounts.len() < limits.accounts {
            match array.next_element_seed(Tolerant(RowShape(limits)))? {
                Some(Row::Account(account)) => rows.accounts.push(account),
                Some(Row::Invalid) => rows.invalid += 1,
                Some(Row::TooLong) => rows.beyond_limit += 1,
                None => return Ok(List::Rows(rows)),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {
            rows.beyond_limit += 1;
        }
        Ok(List::Rows(rows))
    }
}

enum Row {
    Account(Account),
    Invalid,
    TooLong,
}

struct RowShape(ListLimits);

#[derive(Clone, Copy)]
enum RowKey {
    BizId,
    DeliveryId,
    CreateTime,
    UpdateTime,
    StatusCode,
    Alias,
    RemarkWrongMsg,
    RemarkContent,
    QuotaNum,
    QuotaUpdateTime,
    ServiceType,
}

impl Key for RowKey {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "biz_id" | "bizId" => Self::BizId,
            "delivery_id" | "deliveryId" => Self::DeliveryId,
            "create_time" | "createTime" => Self::CreateTime,
            "update_time" | "updateTime" => Self::UpdateTime,
            "status_code" | "statusCode" => Self::StatusCode,
            "alias" => Self::Alias,
            "remark_wrong_msg" | "remarkWrongMsg" => Self::RemarkWrongMsg,
            "remark_content" | "remarkContent" => Self::RemarkContent,
            "quota_num" | "quotaNum" => Self::QuotaNum,
            "quota_update_time" | "quotaUpdateTime" => Self::QuotaUpdateTime,
            "service_type" | "serviceType" => Self::ServiceType,
            _ => return None,
        })
    }
}

impl<'de> Shape<'de> for RowShape {
    type Value = Row;

    fn scalar(self, _: Scalar<'_>) -> Row {
        Row::Invalid
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Row, A::Error> {
        let text = Tolerant(Text {
            bytes: self.0.label_bytes,
        });
        let mut biz_id = Kept::default();
        let mut delivery_id = Kept::default();
        let mut account = Account::default();
        // A key that comes twice means what it says last.
        while let Some(KeyRead(key)) = object.next_key()? {
            match key {
                Some(RowKey::BizId) => biz_id = object.next_value_seed(text)?,
                Some(RowKey::DeliveryId) => delivery_id = object.next_value_seed(text)?,
                Some(RowKey::CreateTime) => account.create_time = timestamp(&mut object)?,
                Some(RowKey::UpdateTime) => account.update_time = timestamp(&mut object)?,
                Some(RowKey::StatusCode) => account.status_code = integer(&mut object)?,
                Some(RowKey::Alias) => account.alias = object.next_value_seed(text)?.text,
                Some(RowKey::RemarkWrongMsg) => {
                    account.remark_wrong_msg = object.next_value_seed(text)?.text;
                }
                Some(RowKey::RemarkContent) => {
                    account.remark_content = object.next_value_seed(text)?.text;
                }
                Some(RowKey::QuotaNum) => {
                    let number = object.next_value_seed(Tolerant(Number))?;
                    account.quota_num = number.map(Read::float);
                }
                Some(RowKey::QuotaUpdateTime) => {
                    account.quota_update_time = timestamp(&mut object)?;
                }
                Some(RowKey::ServiceType) => {
                    account.service_types = object.next_value_seed(Tolerant(Services(self.0)))?;
                }
                None => pass_over(&mut object)?,
            }
        }
        Ok(if biz_id.cut || delivery_id.cut {
            Row::TooLong
        } else if biz_id.text.is_empty() || delivery_id.text.is_empty() {
            Row::Invalid
        } else {
            account.biz_id = biz_id.text;
            account.delivery_id = delivery_id.text;
            Row::Account(account)
        })
    }
}

/// `service_type`: an array of objects; also of bare numbers, and either without the array.
struct Services(ListLimits);

impl<'de> Shape<'de> for Services {
    type Value = Vec<ServiceType>;

    fn scalar(self, scalar: Scalar<'_>) -> Vec<ServiceType> {
        Service(self.0).scalar(scalar).into_iter().collect()
    }

    fn object<A: MapAccess<'de>>(self, object: A) -> Result<Vec<ServiceType>, A::Error> {
        Ok(Service(self.0).object(object)?.into_iter().collect())
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<ServiceType>, A::Error> {
        let mut services = Vec::new();
        while services.len() < SERVICES_MAX {
            match array.next_element_seed(Tolerant(Service(self.0)))? {
                Some(service) => services.extend(service),
                None => return Ok(services),
            }
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(services)
    }
}

struct Service(ListLimits);

#[derive(Clone, Copy)]
enum ServiceKey {
    Type,
    Name,
}

impl Key for ServiceKey {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "service_type" | "serviceType" => Self::Type,
            "service_name" | "serviceName" => Self::Name,
            _ => return None,
        })
    }
}

impl<'de> Shape<'de> for Service {
    type Value = Option<ServiceType>;

    fn scalar(self, scalar: Scalar<'_>) -> Option<ServiceType> {
        Some(ServiceType {
            service_type: Number.scalar(scalar)?.integer()?,
            service_name: Box::default(),
        })
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Option<ServiceType>, A::Error> {
        let text = Tolerant(Text {
            bytes: self.0.label_bytes,
        });
        let mut number = None;
        let mut service_name = Box::default();
        while let Some(KeyRead(key)) = object.next_key()? {
            match key {
                Some(ServiceKey::Type) => number = integer(&mut object)?,
                Some(ServiceKey::Name) => service_name = object.next_value_seed(text)?.text,
                None => pass_over(&mut object)?,
            }
        }
        Ok(number.map(|service_type| ServiceType {
            service_type,
            service_name,
        }))
    }
}

fn integer<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Option<i64>, A::Error> {
    let number = object.next_value_seed(Tolerant(Number))?;
    Ok(number.and_then(Read::integer))
}

fn timestamp<'de, A: MapAccess<'de>>(object: &mut A) -> Result<Option<i64>, A::Error> {
    let number = object.next_value_seed(Tolerant(Number))?;
    Ok(number.and_then(Read::timestamp))
}

fn pass_over<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|IgnoredAny| ())
}
