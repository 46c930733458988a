//! One courier account: the part it plays, and its row in the account list.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::courier::{Courier, DIRECT, FRANCHISE};
use super::stock::{Habit, Stock};
use crate::demo::dice::Dice;

/// The part that an account plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Bound, with waybills for many days.
    Plenty,
    /// Bound; waybills for one to three days.
    Short,
    /// Bound; waybills for less than a day.
    NearlyOut,
    /// Bound; bought every few hours, with hardly one left.
    JustInTime,
    /// Bound; bought every few hours, some time after the last one was used up.
    TooLate,
    /// Bound, used up, and nobody buys.
    Empty,
    /// Bound and shipping, but WeChat refreshes its balance no more.
    Stale,
    /// Bound to a courier that keeps a monthly account.
    Monthly,
    /// Under review, for days.
    Waiting,
    /// Binding failed.
    Failed,
    /// Unbound after it had worked.
    Unbound,
}

/// The parts of the first accounts: of the first Mini Program, the second and so on, and again from the start. The
/// first one shows every part that matters, so that a world of one is worth a look; most accounts of the others are
/// well, so that trouble stands out.
const CASTS: [&[(Part, &str)]; 3] = [
    &[
        (Part::Plenty, "YTO"),
        (Part::TooLate, "STO"),
        (Part::JustInTime, "ZTO"),
        (Part::Monthly, "SF"),
        (Part::Waiting, "JTSD"),
        (Part::Failed, "YUNDA"),
        (Part::Unbound, "BEST"),
        (Part::Plenty, "YUNDA"),
        (Part::Monthly, "JDL"),
        (Part::Stale, "HHTT"),
    ],
    &[
        (Part::Plenty, "YTO"),
        (Part::Empty, "STO"),
        (Part::NearlyOut, "ZTO"),
        (Part::Monthly, "EMS"),
        (Part::Plenty, "JTSD"),
        (Part::Plenty, "YUNDA"),
        (Part::Waiting, "UCE"),
        (Part::Monthly, "DB"),
    ],
    &[
        (Part::Short, "YTO"),
        (Part::Plenty, "STO"),
        (Part::Plenty, "ZTO"),
        (Part::Monthly, "SF"),
        (Part::Failed, "YUNDA"),
        (Part::Plenty, "JTSD"),
        (Part::Plenty, "ANE"),
        (Part::Monthly, "JDL"),
    ],
];

/// Parts of the accounts behind them, as often as they stand here.
const CROWD: &[Part] = &[
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Plenty,
    Part::Short,
    Part::NearlyOut,
    Part::Monthly,
    Part::Monthly,
    Part::Waiting,
    Part::Failed,
    Part::Unbound,
];

/// Outlets, as they stand in Chinese account numbers.
const OUTLETS: &[&str] = &[
    "浙江义乌公司",
    "四川成都武侯公司",
    "福建晋江公司",
    "广东广州白云公司",
    "江苏南通通州公司",
    "山东临沂兰山公司",
    "河北石家庄长安公司",
    "湖北武汉汉口北公司",
];

const WRONG_PASSWORD: &str = "客户编码或密码错误，请联系网点核实";

/// In the form that the API's document asks for; the number and the place are nobody's.
const REMARK: &str =
    "电话:13800000000 联系人:示例 服务类型:标准快递 发货地址:示例省示例市示例路1号";

/// 2024-01-01 00:00 in China: no account of the world is older.
const FIRST_DAY: i64 = 1_704_038_400;
/// How many account numbers there are.
const NUMBERS: i64 = 100_000_000;

const DAY: i64 = 24 * 3600;

/// What is fixed about an account, whatever the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) dice: Dice,
    /// Its place in the list, from 0.
    place: usize,
    /// At couriers that number their customers. Unique within the app.
    number: i64,
    part: Part,
    courier: &'static Courier,
}

impl Plan {
    /// `number` is the app's, from 0.
    pub(super) fn new(app: Dice, number: usize, place: usize) -> Self {
        let dice = app.with(place as u64 + 1);
        let (part, courier) = match CASTS[number % CASTS.len()].get(place) {
            Some((part, id)) => {
                let mut couriers = FRANCHISE.iter().chain(DIRECT);
                let courier = couriers.find(|courier| courier.id == *id);
                (*part, courier.unwrap_or(&FRANCHISE[0]))
            }
            None => {
                let part = *dice.with(1).pick(CROWD);
                let couriers = if part == Part::Monthly {
                    DIRECT
                } else {
                    FRANCHISE
                };
                (part, dice.with(2).pick(couriers))
            }
        };
        Self {
            dice,
            place,
            // The factor has no divisor in common with the modulus, so 100 million places have numbers of their own.
            number: (app.below(NUMBERS) + place as i64 * 7_368_787) % NUMBERS,
            part,
            courier,
        }
    }

    pub(super) fn refresh_stopped(&self) -> bool {
        self.part == Part::Stale
    }

    pub(super) fn bound(&self) -> bool {
        !matches!(self.part, Part::Waiting | Part::Failed | Part::Unbound)
    }

    /// Its waybills; `None` where it has none to use up. `speed` is how many of its seconds pass per second.
    ///
    /// Days of stock are the viewer's, whatever the speed: in a fast world a shop that has waybills for a week has
    /// many, or it would be in trouble on every dashboard.
    pub(super) fn stock(&self, speed: i64) -> Option<Stock> {
        // Nights at 60 would be minutes in which nothing happens.
        let rhythm = if speed > 1 { 250 } else { 1000 };
        // Short enough for a viewer of ten minutes to see a purchase at the default speed.
        let often = if speed > 1 { 10 * 3600 } else { DAY };
        let viewer_day = DAY * speed;
        let (slow, fast) = (
            20 + self.dice.with(5).below(80),
            300 + self.dice.with(5).below(400),
        );
        let (per_day, round, habit) = match self.part {
            Part::Plenty | Part::Stale => {
                let lasts = (10 + self.dice.with(3).below(9)) * viewer_day / 2;
                (slow, viewer_day, Habit::InTime(lasts))
            }
            Part::Short => (slow, viewer_day * 4 / 5, Habit::InTime(viewer_day * 7 / 5)),
            Part::NearlyOut => (slow, viewer_day / 2, Habit::InTime(viewer_day / 4)),
            Part::JustInTime => (fast, often, Habit::InTime(3600)),
            Part::TooLate => (fast, often, Habit::TooLate),
            Part::Empty => (slow, viewer_day, Habit::Never),
            Part::Monthly | Part::Waiting | Part::Failed | Part::Unbound => return None,
        };
        Some(Stock {
            dice: self.dice.with(4),
            per_day,
            round,
            habit,
            rhythm,
        })
    }

    /// Whether it is the account of that number at that courier.
    pub(super) fn is(&self, shop: &str, delivery_id: &str, biz_id: &str) -> bool {
        self.courier.id == delivery_id && self.biz_id(shop) == biz_id
    }

    /// `now` is the calendar's, in seconds since 1970 UTC.
    pub(super) fn row(&self, shop: &str, balance: Option<i64>, refreshed: i64, now: i64) -> Row {
        let created = FIRST_DAY + self.dice.with(6).below(360 * DAY);
        // The shop's last try, or the last time that it gave up: every so many days, and four days ago at least.
        let last = |days: i64| {
            let offset = self.dice.with(8).below(days * DAY);
            (now - offset).div_euclid(days * DAY) * days * DAY + offset - 4 * DAY
        };
        let (status_code, updated) = match self.part {
            Part::Waiting => (1, last(10)),
            Part::Failed => (2, last(20)),
            Part::Unbound => (3, last(60)),
            _ => (0, created + 2 * DAY),
        };
        let quota = match (self.part, balance) {
            (_, Some(balance)) => Some((balance, refreshed)),
            // Nobody knows what WeChat sends here; some rows hold zeros, some nothing at all.
            (Part::Monthly, None) if self.courier.cash_biz_id.is_none() => Some((0, 0)),
            (Part::Unbound, None) => Some((12, updated / 60 * 60)),
            (_, None) => None,
        };
        let biz_id = self.biz_id(shop);
        Row {
            alias: biz_id.clone(),
            biz_id,
            delivery_id: self.courier.id,
            create_time: created,
            update_time: updated,
            status_code,
            remark_wrong_msg: match self.part {
                Part::Failed => WRONG_PASSWORD,
                _ => "",
            },
            remark_content: match self.part {
                Part::Waiting | Part::Failed => REMARK,
                _ => "",
            },
            quota,
            services: self.courier.services,
        }
    }

    /// Numbers at most couriers, Chinese text at some; unique within the app.
    fn biz_id(&self, shop: &str) -> String {
        let number = self.number;
        match self.courier.id {
            "STO" | "ANE" => {
                let outlet = self.dice.with(7).pick(OUTLETS);
                match self.place {
                    0..10 => format!("{outlet}_{shop}"),
                    place => format!("{outlet}_{shop}{place}"),
                }
            }
            "YTO" => format!("K{number:09}"),
            "JDL" => format!("020K{number:08}"),
            "SF" => format!("028{number:08}"),
            _ => format!("1{number:08}"),
        }
    }
}

/// One entry of `list`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) biz_id: String,
    pub(crate) delivery_id: &'static str,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) status_code: i64,
    pub(crate) alias: String,
    pub(crate) remark_wrong_msg: &'static str,
    pub(crate) remark_content: &'static str,
    /// `quota_num` and `quota_update_time`; `None`: neither is sent.
    pub(crate) quota: Option<(i64, i64)>,
    pub(crate) services: &'static [(i64, &'static str)],
}

/// How keys are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Case {
    /// `biz_id`, over HTTPS.
    Snake,
    /// `bizId`, as wx-server-sdk hands it on.
    Camel,
}

impl Row {
    /// The row, to be written in that spelling.
    pub(crate) const fn spelled(&self, case: Case) -> impl Serialize {
        Spelled { row: self, case }
    }
}

struct Spelled<'a> {
    row: &'a Row,
    case: Case,
}

impl Case {
    const fn of(self, snake: &'static str, camel: &'static str) -> &'static str {
        match self {
            Self::Snake => snake,
            Self::Camel => camel,
        }
    }
}

impl Serialize for Spelled<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (row, case) = (self.row, self.case);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(case.of("biz_id", "bizId"), &row.biz_id)?;
        map.serialize_entry(case.of("delivery_id", "deliveryId"), row.delivery_id)?;
        map.serialize_entry(case.of("create_time", "createTime"), &row.create_time)?;
        map.serialize_entry(case.of("update_time", "updateTime"), &row.update_time)?;
        map.serialize_entry(case.of("status_code", "statusCode"), &row.status_code)?;
        map.serialize_entry("alias", &row.alias)?;
        let key = case.of("remark_wrong_msg", "remarkWrongMsg");
        map.serialize_entry(key, row.remark_wrong_msg)?;
        let key = case.of("remark_content", "remarkContent");
        map.serialize_entry(key, row.remark_content)?;
        if let Some((balance, refreshed)) = row.quota {
            map.serialize_entry(case.of("quota_num", "quotaNum"), &balance)?;
            let key = case.of("quota_update_time", "quotaUpdateTime");
            map.serialize_entry(key, &refreshed)?;
        }
        let services = Services {
            services: row.services,
            case,
        };
        map.serialize_entry(case.of("service_type", "serviceType"), &services)?;
        map.end()
    }
}

struct Services {
    services: &'static [(i64, &'static str)],
    case: Case,
}

impl Serialize for Services {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.services.iter().map(|(number, name)| Service {
            number: *number,
            name,
            case: self.case,
        }))
    }
}

struct Service {
    number: i64,
    name: &'static str,
    case: Case,
}

impl Serialize for Service {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(self.case.of("service_type", "serviceType"), &self.number)?;
        map.serialize_entry(self.case.of("service_name", "serviceName"), self.name)?;
        map.end()
    }
}
