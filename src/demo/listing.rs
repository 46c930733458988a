//! One app's account list as bytes.

use std::io::Write;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::fault::FaultKind;
use super::world::{Case, World};
use crate::clock::unix_seconds;

/// What an app lists.
#[derive(Debug)]
pub(super) struct Listing {
    /// Accounts of the simulated world.
    count: usize,
    /// Rows that a test put in their place, in `snake_case`.
    rows: Option<Vec<Value>>,
    /// The last list that was made, and for which minute.
    made: Option<(i64, Case, Bytes)>,
}

impl Listing {
    pub(super) const fn new(count: usize) -> Self {
        Self {
            count,
            rows: None,
            made: None,
        }
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Lists so many accounts of the simulated world from now on.
    pub(super) fn set_count(&mut self, count: usize) {
        *self = Self::new(count);
    }

    /// Lists these rows from now on.
    pub(super) fn set_rows(&mut self, rows: Vec<Value>) {
        self.rows = Some(rows);
        self.made = None;
    }

    /// The list at that time. Balances change with whole minutes, so a list is made once in each.
    pub(super) fn body(
        &mut self,
        world: &World,
        app: usize,
        case: Case,
        wall: SystemTime,
    ) -> Bytes {
        let minute = unix_seconds(wall).div_euclid(60);
        if let Some((made_for, in_case, body)) = &self.made
            && (*made_for, *in_case) == (minute, case)
        {
            return body.clone();
        }
        let body = Bytes::from(self.write(world, app, case, wall, 0));
        self.made = Some((minute, case, body.clone()));
        body
    }

    /// The list with something wrong; `None` where this fault leaves it as it is.
    pub(super) fn broken(
        &self,
        world: &World,
        app: usize,
        case: Case,
        wall: SystemTime,
        fault: FaultKind,
    ) -> Option<Bytes> {
        match fault {
            FaultKind::NoList => Some(Bytes::from_static(b"{}")),
            FaultKind::NoAccounts => {
                let mut body = begin(0);
                end(&mut body, case);
                Some(body.into())
            }
            FaultKind::Duplicates => Some(self.write(world, app, case, wall, 3).into()),
            _ => None,
        }
    }

    /// The first `twice` rows stand again at the end, as they were a day before.
    fn write(
        &self,
        world: &World,
        app: usize,
        case: Case,
        wall: SystemTime,
        twice: usize,
    ) -> Vec<u8> {
        if let Some(rows) = &self.rows {
            let again = rows.iter().take(twice);
            let mut body = begin(rows.len() + again.len());
            for (index, row) in rows.iter().chain(again).enumerate() {
                match case {
                    Case::Snake => push(&mut body, index, row),
                    Case::Camel => push(&mut body, index, &camel_case(row)),
                }
            }
            end(&mut body, case);
            return body;
        }
        let twice = twice.min(self.count);
        let mut body = begin(self.count + twice);
        body.reserve(320 * self.count);
        for account in 0..self.count {
            let row = world.row(app, account, wall);
            push(&mut body, account, &row.spelled(case));
        }
        for account in 0..twice {
            let day = Duration::from_secs(24 * 3600);
            let before = wall.checked_sub(day).unwrap_or(wall);
            let mut row = world.row(app, account, before);
            row.update_time -= 24 * 3600;
            push(&mut body, self.count + account, &row.spelled(case));
        }
        end(&mut body, case);
        body
    }
}

fn begin(count: usize) -> Vec<u8> {
    format!(r#"{{"count":{count},"list":["#).into_bytes()
}

fn push(body: &mut Vec<u8>, index: usize, row: &impl Serialize) {
    if index > 0 {
        body.push(b',');
    }
    // Neither can fail: the keys are strings and a Vec takes every byte.
    let _ = serde_json::to_writer(&mut *body, row);
}

fn end(body: &mut Vec<u8>, case: Case) {
    let tail = match case {
        // No errcode: the API sends none when all is well.
        Case::Snake => "]}",
        // wx-server-sdk adds both.
        Case::Camel => r#"],"errMsg":"openapi.logistics.getAllAccount:ok","errCode":0}"#,
    };
    let _ = body.write_all(tail.as_bytes());
}

/// What wx-server-sdk makes of a reply: every key at every depth in `camelCase`.
fn camel_case(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (camel_key(key), camel_case(value)))
            .collect(),
        Value::Array(values) => values.iter().map(camel_case).collect(),
        other => other.clone(),
    }
}

fn camel_key(key: &str) -> String {
    let mut camel = String::with_capacity(key.len());
    let mut upper = false;
    for c in key.chars() {
        if c == '_' && !camel.is_empty() {
            upper = true;
        } else if upper {
            camel.extend(c.to_uppercase());
            upper = false;
        } else {
            camel.push(c);
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_487_400)
    }

    fn parsed(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn list_over_https_has_the_fields_of_a_real_reply_and_no_errcode() {
        let world = World::new(1, 60);
        let body = Listing::new(10).body(&world, 0, Case::Snake, noon());
        let list = parsed(&body);
        assert_eq!(list["count"], 10);
        assert!(list.get("errcode").is_none());
        let keys: Vec<_> = list["list"][0].as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "alias",
                "biz_id",
                "create_time",
                "delivery_id",
                "quota_num",
                "quota_update_time",
                "remark_content",
                "remark_wrong_msg",
                "service_type",
                "status_code",
                "update_time"
            ]
        );
        assert!(list["list"][0]["service_type"][0]["service_name"].is_string());
        let text = str::from_utf8(&body).unwrap();
        assert!(!text.contains("\\u"), "Chinese stands as it is");
    }

    #[test]
    fn list_of_the_cloud_call_says_the_same_in_camel_case() {
        let world = World::new(1, 60);
        let mut listing = Listing::new(10);
        let snake = parsed(&listing.body(&world, 0, Case::Snake, noon()));
        let camel = parsed(&listing.body(&world, 0, Case::Camel, noon()));
        assert_eq!(camel_case(&snake["list"]), camel["list"]);
        assert_eq!(camel["errCode"], 0);
        assert_eq!(camel["errMsg"], "openapi.logistics.getAllAccount:ok");
    }

    #[test]
    fn same_seed_and_time_give_the_same_bytes_and_another_seed_others() {
        let body = |seed| Listing::new(50).body(&World::new(seed, 60), 1, Case::Snake, noon());
        assert_eq!(body(1), body(1));
        assert_ne!(body(1), body(2));
    }

    #[test]
    fn list_is_made_once_a_minute() {
        let world = World::new(1, 60);
        let mut listing = Listing::new(5);
        let first = listing.body(&world, 0, Case::Snake, noon());
        let again = listing.body(&world, 0, Case::Snake, noon() + Duration::from_secs(59));
        assert_eq!(first.as_ptr(), again.as_ptr());
        let later = listing.body(&world, 0, Case::Snake, noon() + Duration::from_secs(60));
        assert_ne!(first, later);
    }

    #[test]
    fn rows_of_a_test_are_listed_as_they_are() {
        let mut listing = Listing::new(5);
        let row =
            json!({"biz_id": "甲", "quota_num": "7", "service_type": [{"service_name": null}]});
        listing.set_rows(vec![row.clone()]);
        let world = World::new(1, 60);
        let snake = parsed(&listing.body(&world, 0, Case::Snake, noon()));
        assert_eq!(snake, json!({"count": 1, "list": [row]}));
        let camel = parsed(&listing.body(&world, 0, Case::Camel, noon()));
        assert_eq!(
            camel["list"][0],
            json!({"bizId": "甲", "quotaNum": "7", "serviceType": [{"serviceName": null}]})
        );
        listing.set_count(2);
        assert_eq!(
            parsed(&listing.body(&world, 0, Case::Snake, noon()))["count"],
            2
        );
    }

    #[test]
    fn broken_lists_are_broken_as_their_fault_says() {
        let world = World::new(1, 60);
        let listing = Listing::new(5);
        let broken = |fault| {
            let body = listing.broken(&world, 0, Case::Snake, noon(), fault);
            parsed(&body.unwrap())
        };
        assert_eq!(broken(FaultKind::NoList), json!({}));
        assert_eq!(
            broken(FaultKind::NoAccounts),
            json!({"count": 0, "list": []})
        );
        let doubled = broken(FaultKind::Duplicates);
        assert_eq!(doubled["count"], 8);
        let (first, again) = (&doubled["list"][0], &doubled["list"][5]);
        assert_eq!(first["biz_id"], again["biz_id"]);
        assert!(first["update_time"].as_i64() > again["update_time"].as_i64());
    }
}
