//! The files of `--state.dir`.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use wechat_logistics_exporter::clock::{ChinaDay, Moment};
use wechat_logistics_exporter::limiter::{Budget, Cause, RateLimiter, SavedLimiter};
use wechat_logistics_exporter::store::{Saved, SavedProgress, Store};
use wechat_logistics_exporter::wechat::{ListLimits, Reason};

use super::scratch;

const APPID: &str = "wx1";
const LIMITS: ListLimits = ListLimits {
    accounts: 20,
    label_bytes: 64,
};
const MINUTE: Duration = Duration::from_secs(60);
/// The longest that the exporter waits by itself before it tries again what only the operator can mend.
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
const BUDGETS: [Budget; 3] = [
    Budget {
        min_interval: MINUTE,
        daily_limit: Some(5),
    },
    Budget {
        min_interval: Duration::ZERO,
        daily_limit: None,
    },
    Budget {
        min_interval: Duration::from_secs(3600),
        daily_limit: Some(u64::MAX),
    },
];

thread_local! {
    static PLACE: Place = Place::new();
}

/// A store has no memory of its files, so that one does for all inputs.
struct Place {
    store: Store,
    files: [PathBuf; 2],
    asides: [PathBuf; 2],
    runtime: Runtime,
    _folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = scratch::folder();
        let files =
            ["limiter", "snapshot"].map(|kind| folder.path().join(format!("{APPID}.{kind}.json")));
        Self {
            store: Store::open(Some(folder.path().to_owned()), LIMITS).unwrap(),
            asides: files
                .each_ref()
                .map(|file| file.with_extension("json.unreadable")),
            files,
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            _folder: folder,
        }
    }

    /// Nothing is lost: each file is still there, or beside. Tells which is beside.
    fn set_aside(&self, input: &[u8]) -> [bool; 2] {
        [0, 1].map(|kind| {
            let (there, is_aside) = match fs::read(&self.files[kind]) {
                Ok(there) => (there, false),
                Err(_) => (fs::read(&self.asides[kind]).unwrap(), true),
            };
            assert!(there == input, "{} was changed", self.files[kind].display());
            is_aside
        })
    }
}

/// 2026-11-24 12:00 in China.
fn noon() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
        monotonic: Instant::now(),
    }
}

/// Whatever a crash, a full disk or another program left in the place of both files.
pub fn check(input: &[u8]) {
    PLACE.with(|place| {
        let now = noon();
        for (file, aside) in place.files.iter().zip(&place.asides) {
            let _ = fs::remove_file(aside);
            fs::write(file, input).unwrap();
        }
        let saved = place.store.load(APPID, now).unwrap();

        let [no_limiter, no_snapshot] = place.set_aside(input);
        assert_eq!(saved.snapshot.is_none(), no_snapshot);
        if no_limiter {
            assert_eq!(saved.limiter, SavedLimiter::default());
            assert_eq!(saved.last_fetch, None);
        }
        for budget in BUDGETS {
            keeps_to_the_rules(&saved.limiter, budget, now);
        }
        if !(no_limiter && no_snapshot) {
            let again = is_written_as_it_was_read(&place.store, saved, now);
            place.runtime.block_on(again);
        }
    });
}

/// What was saved binds, but no more than the rules could have asked for.
fn keeps_to_the_rules(saved: &SavedLimiter, budget: Budget, now: Moment) {
    let restored = || RateLimiter::restore(saved.clone(), budget, now);
    let today = ChinaDay::at(now.wall);
    let breaker = saved.breaker;

    // No fetch before the saved time.
    if let Ok(wait) = restored().try_acquire(budget, now) {
        let interval_ends = now.wall + budget.min_interval;
        if let Some(next) = saved.next_fetch {
            assert!(now.wall + wait >= next.min(interval_ends), "too early");
        }
        if let Some(until) = breaker.and_then(|breaker| breaker.until) {
            assert!(until <= now.wall, "the open breaker is forgotten");
        }
    }

    // No wait beyond the interval or the longest back-off; a used-up quota holds the day.
    let later = now.after(budget.min_interval.max(LONGEST_BACKOFF));
    let granted = restored().try_acquire(budget, later);
    assert_ne!(granted, Err(Cause::Interval), "longer than the interval");
    if granted == Err(Cause::Breaker) {
        let breaker = breaker.expect("no breaker was saved");
        assert_eq!(
            (breaker.reason, breaker.day),
            (Reason::DailyQuota, Some(today))
        );
    }

    // No more calls than the day has left.
    let limiter = restored();
    let used = saved.used.get(&today).copied().unwrap_or(0);
    let spent = (0..10)
        .filter(|_| limiter.spend(budget, now).is_ok())
        .count() as u64;
    if let Some(limit) = budget.daily_limit {
        assert!(
            spent <= limit.saturating_sub(used),
            "{spent} calls after {used}"
        );
    }
    assert_eq!(
        limiter.used(now),
        used.saturating_add(spent),
        "calls that don't count"
    );
    let reserved = limiter.save(3, now).used.get(&today).copied();
    assert!(reserved.is_some_and(|reserved| reserved >= limiter.used(now)));

    // The next failure backs off as long as any.
    let limiter = restored();
    limiter.failed(Reason::Config, None, budget, now);
    let shortest = budget.min_interval.max(Duration::from_secs(1));
    let until = limiter.open_until(now).expect("the breaker is open");
    assert!(until >= now.wall + shortest, "no back-off");
    assert!(until <= now.wall + shortest.max(LONGEST_BACKOFF));

    // A second restart changes nothing.
    let once = restored().save(0, now);
    let twice = RateLimiter::restore(once.clone(), budget, now).save(0, now);
    assert_eq!(twice, once);
}

/// What is written is read as it was.
async fn is_written_as_it_was_read(store: &Store, saved: Saved, now: Moment) {
    let progress = SavedProgress {
        limiter: saved.limiter,
        last_fetch: saved.last_fetch,
    };
    let written = progress.clone();
    store.save_progress(APPID, move || written).await;
    let snapshot = saved.snapshot.map(Arc::new);
    if let Some(snapshot) = &snapshot {
        assert!(snapshot.accounts().len() <= LIMITS.accounts);
        store.save_snapshot(APPID, snapshot).await;
    }
    assert_eq!(store.write_failures(), 0);
    let again = store.load(APPID, now).unwrap();
    assert_eq!(again.limiter, progress.limiter);
    assert_eq!(again.last_fetch, progress.last_fetch);
    if let Some(snapshot) = snapshot {
        let again = again.snapshot.expect("our own file is readable");
        assert_eq!(again.accounts(), snapshot.accounts());
        assert_eq!(again.fetched(), snapshot.fetched());
        assert_eq!(again.age(now), snapshot.age(now));
    }
}
