//! The couriers that WeChat documents: names and networks, built in.
//!
//! Source: `developers.weixin.qq.com/miniprogram/dev/platform-capabilities/industry/express-old/expressinfo.html`.
//! That a franchise (加盟) means waybills bought in advance and direct (直营) a monthly account follows from
//! `logistics.getQuota`, which serves franchise couriers alone.

use serde::Deserialize;

use super::{Delivery, ServiceType};

/// How a courier sells its waybills: the `network` label.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// 加盟: outlets sell waybills in advance, so there is a balance to run out.
    Franchise,
    /// 直营: a monthly account, no stock of waybills.
    Direct,
    /// Not in the table.
    #[serde(skip)]
    Unknown,
}

impl Network {
    /// The label's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Franchise => "franchise",
            Self::Direct => "direct",
            Self::Unknown => "unknown",
        }
    }
}

impl Delivery {
    /// What WeChat's list of couriers says: a balance can be asked for where waybills are sold in advance.
    #[must_use]
    pub fn network(&self) -> Network {
        match self.can_get_quota {
            Some(true) => Network::Franchise,
            Some(false) => Network::Direct,
            None => Network::Unknown,
        }
    }
}

/// One courier of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Courier {
    /// `delivery_id`.
    pub delivery_id: &'static str,
    /// The Chinese name.
    pub name: &'static str,
    /// How it sells waybills.
    pub network: Network,
    /// `service_type` and `service_name`, where the page names them.
    pub(crate) services: &'static [(i64, &'static str)],
}

macro_rules! couriers {
    ($($network:ident $delivery_id:literal $name:literal [$($service:literal $service_name:literal),*])+) => {
        /// All of them.
        pub(crate) static ALL: &[Courier] = &[$(Courier {
            delivery_id: $delivery_id,
            name: $name,
            network: Network::$network,
            services: &[$(($service, $service_name)),*],
        }),+];
    };
}

couriers! {
    Franchise "YTO" "圆通速递" [0 "普通快递", 1 "圆准达"]
    Franchise "ZTO" "中通快递" [0 "标准快件"]
    Franchise "STO" "申通快递" [1 "标准快递"]
    Franchise "YUNDA" "韵达快递" [0 "标准快件"]
    Franchise "BEST" "百世快递" [1 "普通快递"]
    Franchise "JTSD" "极兔快递" [0 "标准快递"]
    Franchise "HHTT" "天天快递" [0 "标准快递"]
    Franchise "UCE" "优速快递" [0 "大包裹"]
    Franchise "ANE" "安能物流" [95 "MINI小包", 22 "特准快运"]
    Direct "SF" "顺丰速运" [0 "标准快递", 1 "即日", 2 "特快", 3 "标快", 4 "标快(协议)"]
    Direct "EMS" "中国邮政速递物流" [6 "标准快递", 9 "快递包裹"]
    Direct "JDL" "京东快递" []
    Direct "DB" "德邦快递" [1 "大件快递3.60", 2 "特准快件"]
    Direct "PJ" "品骏快递" [1 "普通快递"]
}

/// The courier of that id, if WeChat documents it.
#[must_use]
pub fn lookup(delivery_id: &str) -> Option<&'static Courier> {
    ALL.iter()
        .find(|courier| courier.delivery_id == delivery_id)
}

/// A service's name: as WeChat sent it, else the documented one, else empty.
#[must_use]
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
    fn courier_is_known_by_its_exact_id() {
        let yto = lookup("YTO").unwrap();
        assert_eq!((yto.name, yto.network), ("圆通速递", Network::Franchise));
        assert_eq!(lookup("SF").unwrap().network, Network::Direct);
        assert_eq!(lookup("yto"), None);
        assert_eq!(lookup(""), None);
        assert_eq!(lookup("TEST"), None);
    }

    #[test]
    fn name_that_wechat_sent_wins_over_the_documented_one() {
        assert_eq!(service_name("YTO", &service(1, "特快")), "特快");
        assert_eq!(service_name("YTO", &service(1, "")), "圆准达");
        assert_eq!(service_name("YTO", &service(99, "")), "");
        assert_eq!(service_name("OTP", &service(1, "")), "");
    }
}
