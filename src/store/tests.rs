use std::fs;
use std::os::unix::fs::PermissionsExt;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::clock::{ChinaDay, from_unix_millis};
use crate::limiter::{Breaker, Rejections};
use crate::snapshot::Dropped;
use crate::wechat::{Account, AccountList, Cause, Error, Reason, ServiceType};

const APPID: &str = "wx0000000000000001";

fn store(directory: &Path) -> Store {
    Store::open(Some(directory.to_owned()), ListLimits::default()).unwrap()
}

/// Returns a state in which so many calls were sent.
fn state(calls: u64) -> SavedState {
    let mut state = SavedState::default();
    state.limiter.calls.insert(ChinaDay(20_000), calls);
    state
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "in-use.lock")
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn files_are_for_the_exporters_user_alone_and_read_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/when/missing");
    let account = Account {
        biz_id: "四川成都某某公司".into(),
        delivery_id: "STO".into(),
        quota_num: Some(2.0),
        ..Account::default()
    };
    let list = AccountList {
        accounts: vec![account.clone()],
        ..AccountList::default()
    };
    let snapshot = Arc::new(Snapshot::fetched_now(list, Moment::now()));
    {
        let store = store(&path);
        store.save_state(APPID, state(3)).await;
        store.save_snapshot(APPID, &snapshot).await;
        assert_eq!(store.write_failures(), 0);
    }
    let saved = store(&path).load(APPID, Moment::now()).unwrap();
    assert_eq!(saved.state, state(3));
    assert_eq!(saved.snapshot.unwrap().accounts, [account]);
    assert_eq!(names(&path).len(), 2);
    for name in names(&path) {
        let mode = fs::metadata(path.join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn link_in_the_place_of_a_file_to_be_written_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    fs::write(&elsewhere, "of another").unwrap();
    let beside = format!("{}.new", state_file(APPID));
    std::os::unix::fs::symlink(&elsewhere, directory.path().join(beside)).unwrap();
    let store = store(directory.path());
    for failures in [1, 1] {
        store.save_state(APPID, state(1)).await;
        assert_eq!(store.write_failures(), failures);
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "of another");
    assert_eq!(names(directory.path()), [state_file(APPID)]);
}

#[tokio::test]
async fn disk_that_hangs_is_left_alone_after_a_while() {
    let directory = tempfile::tempdir().unwrap();
    // Opening a FIFO for writing waits for a reader.
    let beside = format!("{}.new", state_file(APPID));
    let fifo = directory.path().join(beside);
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let store = store(directory.path());
    for failures in [1, 2] {
        store.save_state(APPID, state(1)).await;
        assert_eq!(store.write_failures(), failures);
    }
    // The first write goes on; the second one was not begun.
    drop(fs::File::open(&fifo).unwrap());
}

#[test]
fn directory_is_for_one_process_at_a_time_and_not_made_for_a_moments_use() {
    let directory = tempfile::tempdir().unwrap();
    let open_unused = |path: &Path| Store::open_unused(path, ListLimits::default());
    let first = open_unused(directory.path()).unwrap();
    let second = open_unused(directory.path());
    assert_eq!(second.err().unwrap(), "a running exporter uses it");
    drop(first);
    // A program that another test starts may have a copy of the lock for a moment.
    let is_free = |_| {
        std::thread::sleep(Duration::from_millis(10));
        open_unused(directory.path()).is_ok()
    };
    assert!((0..100).any(is_free));
    let missing = directory.path().join("missing");
    assert_eq!(open_unused(&missing).err().unwrap(), "it does not exist");
    assert!(!missing.exists());
}

#[test]
fn state_is_read_as_it_was_written() {
    let at = from_unix_millis(1_795_492_800_123).unwrap();
    let due = DueTime::after(Duration::ZERO, at);
    let cause = Cause {
        reason: Reason::Permission,
        api: Some(Api::AccountGetall),
        errcode: 48001,
        symptom: None,
    };
    let text = "\"api unauthorized\"".to_owned();
    let quota = ApiQuota {
        daily_limit: None,
        used: Some(9.0),
        remain: None,
    };
    let state = SavedState {
        limiter: SavedLimiter {
            next_fetch: due,
            calls: [(ChinaDay(-1), 3), (ChinaDay(20_000), u64::MAX)].into(),
            reserved: 4,
            breaker: Some(Breaker {
                reason: Reason::Rate,
                until: due,
                failures: 2,
            }),
            rejections: Rejections {
                in_a_row: 5,
                next_renewal: due,
            },
        },
        last_fetch: Some(LastFetch {
            at,
            failure: Some(Error { cause, text }),
        }),
        optional_calls: OptionalCallsState {
            api_quota_due: due,
            api_quota: Some((Api::AccountGetall, quota)),
            balances_due: due,
        },
        fetching: true,
        snapshot_id: Some(7),
    };
    let written = form::write_state(&state, APPID);
    let failure = r#""failure":{"reason":"permission","api":"account_getall","errcode":48001,"symptom":null,"text":"#;
    assert!(String::from_utf8_lossy(&written).contains(failure));
    assert_eq!(form::read_state(&written, APPID), Ok(state));
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
        let service = |(service_type, name): (i64, String)| ServiceType {
            service_type,
            service_name: name.into(),
        };
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
            service_types: services.into_iter().map(service).collect(),
        }
    }
}

proptest! {
    #[test]
    fn snapshot_is_read_as_it_was_written(
        accounts in prop::collection::vec(an_account(), 0..8),
        fetched in (0_u64..1 << 40).prop_map(|millis| from_unix_millis(millis).unwrap()),
        (duplicate, limit, invalid) in (0_u64..99, 0_u64..99, 0_u64..99),
    ) {
        let now = Moment::now();
        let list = AccountList { accounts, ..AccountList::default() };
        let dropped = Dropped { duplicate, limit, invalid };
        let written = Snapshot::new(list, dropped, fetched, now);
        let bytes = form::write_snapshot(&written, APPID);
        let read = form::read_snapshot(&bytes, APPID, ListLimits::default(), now).unwrap();
        prop_assert_eq!(&read.accounts, &written.accounts);
        prop_assert_eq!(read.dropped, written.dropped);
        prop_assert_eq!(read.fetched, fetched);
    }
}

#[test]
fn figures_of_wechats_own_are_shown_until_they_may_be_of_another_day() {
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let figures = Some((Api::AccountGetall, ApiQuota::default()));
    let state = OptionalCallsState {
        api_quota_due: DueTime::after(hour, now),
        api_quota: figures,
        ..OptionalCallsState::default()
    };
    assert_eq!(state.api_quota(now + hour + hour / 2), figures);
    assert_eq!(state.api_quota(now + 2 * hour), None);
}
