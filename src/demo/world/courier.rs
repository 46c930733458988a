//! The couriers of the simulated world, as WeChat documents them.
//!
//! Written down apart from the exporter's own table on purpose: the simulation is the other end of the wire.
//! Source: <https://developers.weixin.qq.com/miniprogram/dev/platform-capabilities/industry/express-old/expressinfo.html>.

use serde_json::{Value, json};

/// One courier.
#[derive(Debug)]
pub(crate) struct Courier {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// 加盟: sells waybills in advance. The others (直营) keep a monthly account.
    pub(crate) franchise: bool,
    /// The account number that takes cash and needs no binding.
    pub(crate) cash_biz_id: Option<&'static str>,
    pub(crate) services: &'static [(i64, &'static str)],
}

const fn franchise(
    id: &'static str,
    name: &'static str,
    services: &'static [(i64, &'static str)],
) -> Courier {
    Courier {
        id,
        name,
        franchise: true,
        cash_biz_id: None,
        services,
    }
}

const fn direct(
    id: &'static str,
    name: &'static str,
    cash_biz_id: Option<&'static str>,
    services: &'static [(i64, &'static str)],
) -> Courier {
    Courier {
        id,
        name,
        franchise: false,
        cash_biz_id,
        services,
    }
}

/// Couriers that sell waybills in advance.
pub(crate) const FRANCHISE: &[Courier] = &[
    franchise("YTO", "圆通速递", &[(0, "普通快递"), (1, "圆准达")]),
    franchise("ZTO", "中通快递", &[(0, "标准快件")]),
    franchise("STO", "申通快递", &[(1, "标准快递")]),
    franchise("YUNDA", "韵达快递", &[(0, "标准快件")]),
    franchise("JTSD", "极兔快递", &[(0, "标准快递")]),
    franchise("BEST", "百世快递", &[(1, "普通快递")]),
    franchise("HHTT", "天天快递", &[(0, "标准快递")]),
    franchise("UCE", "优速快递", &[(0, "大包裹")]),
    franchise("ANE", "安能物流", &[(95, "MINI小包"), (22, "特准快运")]),
];

/// Couriers without a stock of waybills.
pub(crate) const DIRECT: &[Courier] = &[
    direct(
        "SF",
        "顺丰速运",
        Some("SF_CASH"),
        &[(0, "标准快递"), (1, "顺丰即日"), (2, "顺丰特快")],
    ),
    direct("JDL", "京东快递", None, &[(0, "特惠送")]),
    direct(
        "EMS",
        "中国邮政速递物流",
        None,
        &[(6, "标准快递"), (9, "快递包裹")],
    ),
    direct(
        "DB",
        "德邦快递",
        Some("DB_CASH"),
        &[(1, "大件快递3.60"), (2, "特准快件")],
    ),
    direct("PJ", "品骏快递", None, &[(1, "普通快递")]),
];

impl Courier {
    /// Its entry in getAllDelivery's `data`.
    pub(crate) fn delivery(&self) -> Value {
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(number, name)| json!({"service_type": number, "service_name": name}))
            .collect();
        let mut delivery = json!({
            "delivery_id": self.id,
            "delivery_name": self.name,
            "can_use_cash": i64::from(self.cash_biz_id.is_some()),
            "can_get_quota": i64::from(self.franchise),
            "service_type": services,
        });
        if let Some(cash) = self.cash_biz_id {
            delivery["cash_biz_id"] = json!(cash);
        }
        delivery
    }
}
