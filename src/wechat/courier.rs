//! The built-in table of the couriers that WeChat documents, with their names and networks.
//!
//! Source: `developers.weixin.qq.com/miniprogram/dev/platform-capabilities/industry/express-old/expressinfo.html`.
//! Waybills of a franchise courier (加盟) are bought in advance, those of a direct one (直营) are billed monthly. This
//! follows from `logistics.getQuota`, which serves only franchise couriers.

use serde::Deserialize;

use super::{Delivery, ServiceType};
use Network::{Direct, Franchise};

/// How a courier sells its waybills: the `network` label.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// 加盟: outlets sell waybills in advance, so there is a balance that can run out.
    Franchise,
    /// 直营: a monthly account, no stock of waybills.
    Direct,
    /// Not in the table.
    #[serde(skip)]
    Unknown,
}

impl Network {
    /// Returns the label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Franchise => "franchise",
            Self::Direct => "direct",
            Self::Unknown => "unknown",
        }
    }
}

impl Delivery {
    /// Returns the network according to WeChat's list: a balance can be queried if waybills are sold in advance.
    pub fn network(&self) -> Network {
        match self.can_get_quota {
            Some(0) => Network::Direct,
            Some(_) => Network::Franchise,
            None => Network::Unknown,
        }
    }
}

/// One courier of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Courier {
    pub delivery_id: &'static str,
    /// The Chinese name.
    pub name: &'static str,
    /// How it sells waybills.
    pub network: Network,
    /// The `service_type` and `service_name` of each service that the page names.
    pub(crate) services: &'static [(i64, &'static str)],
}

/// All couriers that WeChat documents.
#[rustfmt::skip]
pub(crate) static ALL: [Courier; 14] = [
    Courier { delivery_id: "YTO", name: "圆通速递", network: Franchise, services: &[(0, "普通快递"), (1, "圆准达")] },
    Courier { delivery_id: "ZTO", name: "中通快递", network: Franchise, services: &[(0, "标准快件")] },
    Courier { delivery_id: "STO", name: "申通快递", network: Franchise, services: &[(1, "标准快递")] },
    Courier { delivery_id: "YUNDA", name: "韵达快递", network: Franchise, services: &[(0, "标准快件")] },
    Courier { delivery_id: "BEST", name: "百世快递", network: Franchise, services: &[(1, "普通快递")] },
    Courier { delivery_id: "JTSD", name: "极兔快递", network: Franchise, services: &[(0, "标准快递")] },
    Courier { delivery_id: "HHTT", name: "天天快递", network: Franchise, services: &[(0, "标准快递")] },
    Courier { delivery_id: "UCE", name: "优速快递", network: Franchise, services: &[(0, "大包裹")] },
    Courier { delivery_id: "ANE", name: "安能物流", network: Franchise, services: &[(95, "MINI小包"), (22, "特准快运")] },
    Courier { delivery_id: "SF", name: "顺丰速运", network: Direct, services: &[(0, "标准快递"), (1, "即日"), (2, "特快"), (3, "标快"), (4, "标快(协议)")] },
    Courier { delivery_id: "EMS", name: "中国邮政速递物流", network: Direct, services: &[(6, "标准快递"), (9, "快递包裹")] },
    Courier { delivery_id: "JDL", name: "京东快递", network: Direct, services: &[] },
    Courier { delivery_id: "DB", name: "德邦快递", network: Direct, services: &[(1, "大件快递3.60"), (2, "特准快件")] },
    Courier { delivery_id: "PJ", name: "品骏快递", network: Direct, services: &[(1, "普通快递")] },
];

/// Returns the courier with this id, if WeChat documents it.
pub fn lookup(delivery_id: &str) -> Option<&'static Courier> {
    ALL.iter()
        .find(|courier| courier.delivery_id == delivery_id)
}

/// Returns a service's name: the one that WeChat sent, else the documented one, else an empty string.
pub fn service_name<'a>(delivery_id: &str, service: &'a ServiceType) -> &'a str {
    if !service.service_name.is_empty() {
        return &service.service_name;
    }
    lookup(delivery_id)
        .and_then(|courier| {
            let mut services = courier.services.iter();
            services.find(|(number, _)| *number == service.service_type)
        })
        .map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(service_type: i64, service_name: &str) -> ServiceType {
        ServiceType {
            service_type,
            service_name: service_name.into(),
        }
    }

    #[test]
    fn name_that_wechat_sent_wins_over_the_documented_one() {
        assert_eq!(service_name("YTO", &service(1, "特快")), "特快");
        assert_eq!(service_name("YTO", &service(1, "")), "圆准达");
        assert_eq!(service_name("YTO", &service(99, "")), "");
        assert_eq!(service_name("OTP", &service(1, "")), "");
    }
}
