//! The form of the state files, and of what replicas share: JSON with a version. The reading is kept as WeChat lists
//! accounts, and read by the same code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Failure, LastFetch, SavedProgress};
use crate::clock::{ChinaDay, Moment, from_unix_millis, unix_millis};
use crate::limiter::{SavedBreaker, SavedLimiter};
use crate::snapshot::{Dropped, Snapshot};
use crate::wechat::{self, Account, Api, ListLimits, Reason};

/// Grows with each change that an older exporter would misread.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct ProgressForm {
    version: u32,
    appid: String,
    #[serde(default)]
    next_fetch_unix_ms: Option<u64>,
    /// Calls by China day, counted from 1970-01-01.
    #[serde(default)]
    calls: BTreeMap<i64, u64>,
    #[serde(default)]
    breaker: Option<BreakerForm>,
    #[serde(default)]
    last_fetch: Option<LastFetchForm>,
}

#[derive(Serialize, Deserialize)]
struct BreakerForm {
    reason: String,
    #[serde(default)]
    until_unix_ms: Option<u64>,
    #[serde(default)]
    day: Option<i64>,
    next_backoff_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct LastFetchForm {
    at_unix_ms: u64,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    api: Option<String>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    errcode: i64,
}

#[derive(Serialize)]
struct SnapshotForm<'a> {
    version: u32,
    appid: &'a str,
    fetched_unix_ms: u64,
    dropped: DroppedForm,
    count: usize,
    list: &'a [Account],
}

#[derive(Deserialize)]
struct SnapshotHeader {
    version: u32,
    appid: String,
    fetched_unix_ms: u64,
    #[serde(default)]
    dropped: Option<DroppedForm>,
}

/// Rows that were left out of the list, and so are not in the file.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct DroppedForm {
    duplicate: u64,
    limit: u64,
    invalid: u64,
}

pub(crate) fn write_progress(progress: &SavedProgress, appid: &str) -> Vec<u8> {
    let limiter = &progress.limiter;
    to_json(&ProgressForm {
        version: VERSION,
        appid: appid.to_owned(),
        next_fetch_unix_ms: limiter.next_fetch.map(unix_millis),
        calls: limiter
            .used
            .iter()
            .map(|(day, calls)| (day.0, *calls))
            .collect(),
        breaker: limiter.breaker.map(|breaker| BreakerForm {
            reason: breaker.reason.to_string(),
            until_unix_ms: breaker.until.map(unix_millis),
            day: breaker.day.map(|day| day.0),
            next_backoff_ms: u64::try_from(breaker.next_backoff.as_millis()).unwrap_or(u64::MAX),
        }),
        last_fetch: progress.last_fetch.as_ref().map(|last| LastFetchForm {
            at_unix_ms: unix_millis(last.at),
            reason: last
                .failure
                .as_ref()
                .map(|failure| failure.reason.to_string()),
            api: last
                .failure
                .as_ref()
                .and_then(|failure| failure.api.map(|api| api.to_string())),
            error: last
                .failure
                .as_ref()
                .map_or_else(String::new, |failure| failure.text.clone()),
            errcode: last.errcode,
        }),
    })
}

pub(crate) fn read_progress(bytes: &[u8], appid: &str) -> Result<SavedProgress, String> {
    let form: ProgressForm = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    check_owner(form.version, &form.appid, appid)?;
    let time = |millis: u64| from_unix_millis(millis).ok_or("a time is out of range");
    let breaker = match form.breaker {
        None => None,
        Some(breaker) => Some(SavedBreaker {
            reason: reason(&breaker.reason)?,
            until: breaker.until_unix_ms.map(time).transpose()?,
            day: breaker.day.map(ChinaDay),
            next_backoff: Duration::from_millis(breaker.next_backoff_ms),
        }),
    };
    let last_fetch = match form.last_fetch {
        None => None,
        Some(last) => Some(LastFetch {
            at: time(last.at_unix_ms)?,
            failure: match last.reason {
                None => None,
                Some(label) => Some(Failure {
                    reason: reason(&label)?,
                    api: last.api.as_deref().and_then(Api::from_label),
                    text: last.error,
                }),
            },
            errcode: last.errcode,
        }),
    };
    Ok(SavedProgress {
        limiter: SavedLimiter {
            next_fetch: form.next_fetch_unix_ms.map(time).transpose()?,
            used: form
                .calls
                .into_iter()
                .map(|(day, calls)| (ChinaDay(day), calls))
                .collect(),
            breaker,
        },
        last_fetch,
    })
}

pub(crate) fn write_snapshot(snapshot: &Snapshot, appid: &str) -> Vec<u8> {
    to_json(&SnapshotForm {
        version: VERSION,
        appid,
        fetched_unix_ms: unix_millis(snapshot.fetched()),
        dropped: DroppedForm {
            duplicate: snapshot.dropped().duplicate,
            limit: snapshot.dropped().limit,
            invalid: snapshot.dropped().invalid,
        },
        count: snapshot.accounts().len(),
        list: snapshot.accounts(),
    })
}

pub(crate) fn read_snapshot(
    bytes: &[u8],
    appid: &str,
    limits: ListLimits,
    now: Moment,
) -> Result<Snapshot, String> {
    let header: SnapshotHeader =
        serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    check_owner(header.version, &header.appid, appid)?;
    let fetched = from_unix_millis(header.fetched_unix_ms).ok_or("a time is out of range")?;
    let list = wechat::read_account_list(bytes, limits).map_err(|error| error.to_string())?;
    let snapshot = Snapshot::new(list, fetched, now);
    let Some(dropped) = header.dropped else {
        return Ok(snapshot);
    };
    // What this reading left out by limits of its own comes on top.
    let again = snapshot.dropped();
    Ok(snapshot.with_dropped(Dropped {
        duplicate: dropped.duplicate.saturating_add(again.duplicate),
        limit: dropped.limit.saturating_add(again.limit),
        invalid: dropped.invalid.saturating_add(again.invalid),
    }))
}

fn check_owner(version: u32, found: &str, appid: &str) -> Result<(), String> {
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this exporter reads version {VERSION}"
        ));
    }
    if found != appid {
        return Err("it belongs to another appid".to_owned());
    }
    Ok(())
}

fn reason(label: &str) -> Result<Reason, String> {
    Reason::from_label(label).ok_or_else(|| format!("it has an unknown reason {label:?}"))
}

fn to_json<T: Serialize>(form: &T) -> Vec<u8> {
    serde_json::to_vec(form)
        .expect("these forms hold only strings, numbers and string keys, which JSON has")
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::wechat::{AccountList, ServiceType};

    const APPID: &str = "wx0000000000000001";

    /// Whole milliseconds, as the form has them.
    fn time() -> impl Strategy<Value = SystemTime> {
        (0_u64..1 << 43).prop_map(|millis| from_unix_millis(millis).unwrap())
    }

    fn a_reason() -> impl Strategy<Value = Reason> {
        prop::sample::select(Reason::ALL)
    }

    prop_compose! {
        fn a_breaker()(
            reason in a_reason(),
            until in option::of(time()),
            day in option::of(any::<i64>()),
            next_backoff in any::<u32>(),
        ) -> SavedBreaker {
            SavedBreaker {
                reason,
                until,
                day: day.map(ChinaDay),
                next_backoff: Duration::from_millis(next_backoff.into()),
            }
        }
    }

    prop_compose! {
        fn a_fetch()(
            at in time(),
            failure in option::of((
                a_reason(),
                option::of(prop::sample::select(Api::ALL)),
                any::<String>(),
            )),
            errcode in any::<i64>(),
        ) -> LastFetch {
            LastFetch {
                at,
                failure: failure.map(|(reason, api, text)| Failure { reason, api, text }),
                errcode,
            }
        }
    }

    prop_compose! {
        fn an_account()(
            (biz_id, delivery_id) in ("\\PC{1,20}", "[A-Z]{1,8}"),
            times in prop::array::uniform3(option::of(1_i64..4_000_000_000)),
            status_code in option::of(0_i64..10),
            texts in prop::array::uniform3("\\PC{0,20}"),
            quota_num in option::of(any::<i32>()),
            services in prop::collection::vec((0_i64..100, "\\PC{0,10}"), 0..4),
        ) -> Account {
            let [alias, remark_wrong_msg, remark_content] = texts.map(Into::into);
            let [create_time, update_time, quota_update_time] = times;
            Account {
                biz_id: biz_id.into(),
                delivery_id: delivery_id.into(),
                create_time,
                update_time,
                status_code,
                alias,
                remark_wrong_msg,
                remark_content,
                quota_num: quota_num.map(f64::from),
                quota_update_time,
                service_types: services
                    .into_iter()
                    .map(|(service_type, name)| ServiceType {
                        service_type,
                        service_name: name.into(),
                    })
                    .collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn progress_is_read_as_it_was_written(
            next_fetch in option::of(time()),
            used in prop::collection::btree_map(any::<i64>().prop_map(ChinaDay), any::<u64>(), 0..4),
            breaker in option::of(a_breaker()),
            last_fetch in option::of(a_fetch()),
        ) {
            let progress = SavedProgress {
                limiter: SavedLimiter { next_fetch, used, breaker },
                last_fetch,
            };
            let read = read_progress(&write_progress(&progress, APPID), APPID);
            prop_assert_eq!(read, Ok(progress));
        }

        #[test]
        fn reading_is_read_as_it_was_written(
            accounts in prop::collection::vec(an_account(), 0..8),
            fetched in time(),
            (duplicate, limit, invalid) in (0_u64..99, 0_u64..99, 0_u64..99),
        ) {
            let now = Moment::now();
            let list = AccountList { accounts, ..AccountList::default() };
            let dropped = Dropped { duplicate, limit, invalid };
            let written = Snapshot::new(list, fetched, now).with_dropped(dropped);
            let bytes = write_snapshot(&written, APPID);
            let read = read_snapshot(&bytes, APPID, ListLimits::default(), now).unwrap();
            prop_assert_eq!(read.accounts(), written.accounts());
            prop_assert_eq!(read.dropped(), dropped);
            prop_assert_eq!(read.fetched(), fetched);
        }

        #[test]
        fn anything_at_all_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_progress(&bytes, APPID);
            let _ = read_snapshot(&bytes, APPID, ListLimits::default(), Moment::now());
        }
    }
}
