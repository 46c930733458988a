use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Instant, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const BUDGET: Budget = Budget {
    min_interval: MINUTE,
    daily_limit: Some(3),
};
const UNLIMITED: Budget = Budget {
    min_interval: MINUTE,
    daily_limit: None,
};

/// Returns 2026-11-24 12:00 in China.
fn noon() -> Moment {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_492_800),
        monotonic: *STARTED + DAY,
    }
}

/// Returns a limiter without a history.
fn fresh(budget: Budget) -> RateLimiter {
    RateLimiter::restore(SavedLimiter::default(), budget, noon()).0
}

/// Returns the limiter of the next run.
fn restored(limiter: &RateLimiter, saved: Moment, now: Moment) -> RateLimiter {
    RateLimiter::restore(limiter.save(0, saved), UNLIMITED, now).0
}

fn until(limiter: &RateLimiter, now: Moment) -> Option<SystemTime> {
    let until = limiter.open_breaker(now).map(|(_, until)| until);
    assert!(until.is_none() || limiter.held_until(now) >= until);
    until
}

/// Returns `now` with the wall clock set by so many hours.
fn set(now: Moment, hours: i64) -> Moment {
    let by = Duration::from_secs(3600 * hours.unsigned_abs());
    let wall = match hours {
        0.. => now.wall + by,
        _ => now.wall - by,
    };
    Moment { wall, ..now }
}

#[test]
fn scrape_that_comes_a_little_early_is_granted_the_fetch_at_the_intervals_end() {
    let limiter = fresh(BUDGET);
    let start = noon();
    assert_eq!(limiter.try_acquire(start), Ok(Duration::ZERO));
    let early = start.after(MINUTE - Duration::from_millis(20));
    assert_eq!(limiter.try_acquire(early), Ok(Duration::from_millis(20)));
    let next = start.after(2 * MINUTE - Duration::from_secs(1));
    assert_eq!(limiter.try_acquire(next), Err(Cause::Interval));
}

#[test]
fn interval_counts_from_the_fetch_that_had_to_wait_for_its_place() {
    let limiter = fresh(UNLIMITED);
    let start = noon();
    limiter.try_acquire(start).unwrap();
    let began = start.after(Duration::from_secs(50));
    limiter.begins(began);
    let next = start.after(MINUTE);
    assert_eq!(limiter.try_acquire(next), Err(Cause::Interval));
    let next = began.after(MINUTE);
    assert_eq!(limiter.try_acquire(next), Ok(Duration::ZERO));
}

#[test]
fn fetch_that_hardly_waited_leaves_the_rhythm_of_scrapes_alone() {
    let limiter = fresh(UNLIMITED);
    let mut scrape = noon();
    for _ in 0..100 {
        assert_eq!(limiter.try_acquire(scrape), Ok(Duration::ZERO));
        limiter.begins(scrape.after(Duration::from_millis(100)));
        scrape = scrape.after(MINUTE);
    }
}

proptest! {
    #[test]
    fn no_sequence_of_scrapes_gets_two_fetches_within_an_interval(steps in prop::collection::vec(0_u64..90_000, 1..200)) {
        let limiter = fresh(UNLIMITED);
        let mut now = noon();
        let mut last: Option<Instant> = None;
        for step in steps {
            now = now.after(Duration::from_millis(step));
            let is_held = limiter.held_until(now).is_some_and(|until| until > now.wall);
            let granted = limiter.try_acquire(now);
            prop_assert_eq!(is_held, granted.is_err());
            if let Ok(wait) = granted {
                let begins = now.monotonic + wait;
                prop_assert!(last.is_none_or(|last| begins >= last + MINUTE));
                last = Some(begins);
            }
        }
    }
}

#[test]
fn daily_limit_ends_at_midnight_in_china() {
    let limiter = fresh(BUDGET);
    let start = noon();
    for _ in 0..3 {
        limiter.spend(start).unwrap();
    }
    assert_eq!(limiter.spend(start), Err(DailyLimitReached));
    let before_midnight = start.after(12 * 60 * MINUTE - Duration::from_secs(1));
    assert_eq!(limiter.try_acquire(before_midnight), Err(Cause::DailyLimit));
    let midnight = start.after(12 * 60 * MINUTE);
    assert_eq!(limiter.held_until(before_midnight), Some(midnight.wall));
    assert_eq!(limiter.remaining(midnight), Some(3));
    assert_eq!(limiter.try_acquire(midnight), Ok(Duration::ZERO));
}

#[test]
fn days_count_survives_a_clock_that_is_set_and_boots_in_1970() {
    let limiter = fresh(BUDGET);
    let now = noon();
    let in_1970 = Moment {
        wall: UNIX_EPOCH,
        ..now
    };
    for day in -9..0 {
        limiter.spend(set(now, 24 * day)).unwrap();
    }
    for _ in 0..3 {
        limiter.spend(now).unwrap();
        limiter.spend(in_1970).unwrap();
        limiter.spend(set(now, 24)).unwrap();
    }
    assert_eq!(limiter.spend(now), Err(DailyLimitReached));
    assert!(limiter.save(0, now).calls.len() <= DAYS_KEPT);
}

#[test]
fn what_only_the_operator_can_fix_backs_off_from_the_interval_to_ten_minutes() {
    let limiter = fresh(UNLIMITED);
    let mut now = noon();
    for minutes in [1, 2, 4, 8, 10, 10] {
        assert_eq!(limiter.try_acquire(now), Ok(Duration::ZERO));
        limiter.failed(Reason::Config, Some(40125), now.monotonic, now);
        let before = now.after(minutes * MINUTE - Duration::from_millis(1));
        let refused = limiter.try_acquire(before);
        assert_eq!(refused, Err(Cause::Breaker), "{minutes}");
        // Also across a restart.
        assert!(
            restored(&limiter, now, before)
                .open_breaker(before)
                .is_some()
        );
        now = now.after(minutes * MINUTE);
    }
    limiter.failed(Reason::IpWhitelist, None, now.monotonic, now);
    assert_eq!(until(&limiter, now), Some(now.wall + 10 * MINUTE));
    limiter.succeeded();
    assert_eq!(limiter.open_breaker(now), None);
}

#[test]
fn wechats_holds_last_as_long_as_it_said() {
    let midnight = noon().after(12 * 60 * MINUTE);
    for (at, reason, errcode, minutes) in [
        (noon(), Reason::Rate, 45011, 1),
        // The message of 45009 names a minute.
        (noon(), Reason::Rate, 45009, 10),
        (noon(), Reason::DailyQuota, 45009, 12 * 60),
        // Just after midnight it can still be yesterday's quota.
        (midnight, Reason::DailyQuota, 45009, 10),
        (midnight.after(10 * MINUTE), Reason::DailyQuota, 45009, 1430),
    ] {
        let limiter = fresh(UNLIMITED);
        limiter.failed(reason, Some(errcode), at.monotonic, at);
        // Neither a reload nor a person lifts it.
        limiter.reloaded(UNLIMITED, at);
        limiter.lift_waits();
        let end = at.after(minutes * MINUTE);
        assert_eq!(until(&limiter, at), Some(end.wall), "{reason} {minutes}");
        let before = at.after(minutes * MINUTE - Duration::from_secs(1));
        let refused = restored(&limiter, at, before).try_acquire(before);
        assert_eq!(refused, Err(Cause::Breaker), "{reason} {minutes}");
        assert_eq!(limiter.try_acquire(end), Ok(Duration::ZERO));
    }
}

#[test]
fn passing_failure_opens_no_breaker() {
    for reason in [
        Reason::Transient,
        Reason::Network,
        Reason::Timeout,
        Reason::Decode,
        Reason::Token,
    ] {
        let limiter = fresh(UNLIMITED);
        let now = noon();
        limiter.failed(reason, None, now.monotonic, now);
        assert!(limiter.try_acquire(now).is_ok(), "{reason}");
    }
}

#[test]
fn reload_lets_the_next_scrape_try_what_may_be_fixed_and_cuts_the_wait_to_a_shorter_interval() {
    let limiter = fresh(UNLIMITED);
    let now = noon();
    limiter.try_acquire(now).unwrap();
    limiter.failed(Reason::IpWhitelist, Some(40164), now.monotonic, now);
    limiter.reloaded(UNLIMITED, now);
    assert_eq!(limiter.try_acquire(now), Ok(Duration::ZERO));

    let limiter = fresh(Budget {
        min_interval: DAY,
        ..UNLIMITED
    });
    limiter.try_acquire(now).unwrap();
    limiter.reloaded(UNLIMITED, now);
    assert_eq!(limiter.try_acquire(now), Err(Cause::Interval));
    assert!(limiter.try_acquire(now.after(MINUTE)).is_ok());
}

#[test]
fn failure_of_a_fetch_from_before_a_reload_keeps_nothing_back() {
    let limiter = fresh(UNLIMITED);
    let began = noon();
    limiter.try_acquire(began).unwrap();
    let now = began.after(MINUTE / 2);
    limiter.reloaded(UNLIMITED, now);
    limiter.failed(Reason::Config, None, began.monotonic, now);
    assert_eq!(limiter.try_acquire(now), Ok(Duration::ZERO));
    limiter.failed(Reason::Config, None, now.monotonic, now);
    assert_eq!(limiter.try_acquire(now), Err(Cause::Breaker));
}

#[test]
fn token_that_is_rejected_again_and_again_is_renewed_ever_more_rarely() {
    for min_interval in [Duration::from_millis(20), MINUTE] {
        let limiter = fresh(Budget {
            min_interval,
            daily_limit: None,
        });
        let mut now = noon();
        let mut renewals = Vec::new();
        for fetch in 1..=60 {
            if limiter.token_rejected(now) {
                renewals.push(fetch);
            }
            assert_eq!(limiter.rejections_in_a_row(), fetch);
            now = now.after(MINUTE);
        }
        assert_eq!(renewals[..3], [1, 3, 11]);
        assert!(renewals.len() < 10, "{renewals:?}");
        limiter.token_accepted();
        assert!(limiter.token_rejected(now));
        assert!(!limiter.token_rejected(now));
        assert!(!restored(&limiter, now, now).token_rejected(now));
    }
}

#[test]
fn waits_are_as_long_as_ever_when_the_wall_clock_is_set() {
    let limiter = fresh(UNLIMITED);
    let start = noon();
    limiter.try_acquire(start).unwrap();
    limiter.failed(Reason::Config, None, start.monotonic, start);
    for (seconds, hours, refused) in [
        (10, 24, Some(Cause::Breaker)),
        (20, -24, Some(Cause::Breaker)),
        (59, 0, Some(Cause::Breaker)),
        (60, -24 * 365, None),
    ] {
        let now = set(start.after(Duration::from_secs(seconds)), hours);
        assert_eq!(limiter.try_acquire(now).err(), refused, "{seconds} s");
    }
}

#[test]
fn next_run_goes_on_where_the_last_one_ended() {
    let limiter = fresh(BUDGET);
    let now = noon();
    limiter.try_acquire(now).unwrap();
    limiter.spend(now).unwrap();
    let next = |reserved| RateLimiter::restore(limiter.save(reserved, now), BUDGET, now);
    let (same, clock_was_ahead) = next(0);
    assert!(!clock_was_ahead);
    assert_eq!(same.try_acquire(now), Err(Cause::Interval));
    assert_eq!(same.remaining(now), Some(2));
    assert!(same.try_acquire(now.after(MINUTE)).is_ok());
    // A crash during a fetch.
    assert_eq!(next(2).0.remaining(now), Some(0));
}

#[test]
fn wait_that_only_a_clock_that_was_ahead_can_have_asked_for_keeps_nothing_back() {
    let now = noon();
    for hours in [8, 24 * 365] {
        let limiter = fresh(UNLIMITED);
        let ahead = set(now, hours);
        limiter.try_acquire(ahead).unwrap();
        limiter.failed(Reason::Config, None, ahead.monotonic, ahead);
        let saved = limiter.save(0, ahead);
        let (restored, clock_was_ahead) = RateLimiter::restore(saved, UNLIMITED, now);
        assert!(clock_was_ahead);
        assert_eq!(restored.try_acquire(now), Ok(Duration::ZERO));
        // The failure count survives: the next failure backs off as the second one.
        restored.failed(Reason::Config, None, now.monotonic, now);
        assert_eq!(until(&restored, now), Some(now.wall + 2 * MINUTE));
    }
}

#[test]
fn wait_from_a_clock_that_is_a_little_ahead_is_cut_to_the_interval() {
    let now = noon();
    let limiter = fresh(UNLIMITED);
    let ahead = now.after(Duration::from_secs(30));
    limiter.try_acquire(ahead).unwrap();
    let restored = restored(&limiter, ahead, now);
    let end = now.after(MINUTE);
    let before = now.after(MINUTE - Duration::from_secs(1));
    assert_eq!(restored.try_acquire(before), Err(Cause::Interval));
    assert!(restored.try_acquire(end).is_ok());
}

#[test]
fn calls_sent_alone_are_added_to_those_of_the_others_once() {
    let limiter = fresh(UNLIMITED);
    let now = noon();
    let others = |calls| SavedLimiter {
        calls: BTreeMap::from([(ChinaDay::at(now.wall), calls)]),
        ..SavedLimiter::default()
    };
    for _ in 0..2 {
        limiter.spend(now).unwrap();
    }
    for _ in 0..2 {
        // Until the calls have been shared.
        limiter.adopt(&others(10), true, now);
        assert_eq!(limiter.used(now), 12);
    }
    // A fetch sends one of its four reserved calls, and can't share that.
    limiter.is_shared(4, now);
    limiter.spend(now).unwrap();
    let mut state = others(12);
    state.reserved = 4;
    for (is_locked, used) in [(true, 13), (false, 13)] {
        limiter.adopt(&state, is_locked, now);
        assert_eq!(limiter.used(now), used);
    }
    // Another replica has counted the reserved calls as sent.
    limiter.adopt(&others(12 + 4), true, now);
    assert_eq!(limiter.used(now), 13);
    // The state may have been shared after all, so that the others count rightly.
    limiter.may_be_shared();
    limiter.adopt(&others(13 + 2), true, now);
    assert_eq!(limiter.used(now), 13 + 2);
    // Calls that the shared state has lost still count here.
    limiter.is_shared(0, now);
    limiter.adopt(&others(0), true, now);
    assert_eq!(limiter.used(now), 13 + 2);
}

#[test]
fn reload_while_the_state_is_being_shared_still_lifts_the_breaker_of_the_others() {
    let limiter = fresh(UNLIMITED);
    let now = noon();
    limiter.failed(Reason::Config, None, now.monotonic, now);
    for is_during_the_write in [true, false] {
        let later = now.after(Duration::from_millis(1));
        if !is_during_the_write {
            limiter.reloaded(UNLIMITED, later);
        }
        let state = fresh(UNLIMITED);
        state.failed(Reason::Config, None, now.monotonic, now);
        let others = state.save(0, now);
        limiter.save(0, later);
        if is_during_the_write {
            limiter.reloaded(UNLIMITED, later);
        }
        limiter.is_shared(0, later);
        limiter.adopt(&others, true, later);
        let is_lifted = limiter.open_breaker(later).is_none();
        assert_eq!(is_lifted, is_during_the_write);
    }
}

#[test]
fn reload_of_one_replica_allows_it_to_renew_a_token_at_once() {
    let limiter = fresh(UNLIMITED);
    let now = noon();
    assert!(limiter.token_rejected(now));
    let shared = limiter.save(0, now);
    limiter.is_shared(0, now);
    limiter.adopt(&shared, true, now);
    assert!(!limiter.token_rejected(now));
    limiter.reloaded(UNLIMITED, now.after(MINUTE / 2));
    let now = now.after(MINUTE);
    limiter.adopt(&shared, true, now);
    assert!(limiter.token_rejected(now));
    assert!(!limiter.token_rejected(now));
}

#[test]
fn calls_that_others_may_send_count_as_sent_only_where_they_have_died() {
    let limiter = fresh(UNLIMITED);
    let now = noon();
    let state = SavedLimiter {
        reserved: 4,
        ..SavedLimiter::default()
    };
    for (is_locked, used) in [(false, 0), (true, 4)] {
        limiter.adopt(&state, is_locked, now);
        assert_eq!(limiter.used(now), used);
    }
}

#[test]
fn hold_for_the_rest_of_the_day_ends_with_the_day_when_the_clock_is_set() {
    let now = noon();
    let limiter = fresh(UNLIMITED);
    limiter.failed(Reason::DailyQuota, Some(45009), now.monotonic, now);
    let set_forward = |hours: u64| Moment {
        wall: now.wall + Duration::from_secs(hours * 3600),
        ..now.after(MINUTE)
    };
    let evening = set_forward(10);
    let (_, until) = limiter.open_breaker(evening).unwrap();
    assert!(until <= evening.wall + ChinaDay::left(evening.wall));
    assert_eq!(limiter.open_breaker(set_forward(20)), None);
}

#[test]
fn fetch_is_newly_due_for_a_while_after_nothing_keeps_it_back() {
    let now = noon();
    let limiter = fresh(UNLIMITED);
    limiter.try_acquire(now).unwrap();
    limiter.failed(Reason::IpWhitelist, Some(40164), now.monotonic, now);
    let due = now.after(MINUTE);
    for (at, is_newly_due) in [
        (now.after(MINUTE / 2), false),
        (due, true),
        (due.after(MINUTE / 3), true),
        (due.after(MINUTE / 2), false),
    ] {
        // The shared state is adopted in between.
        limiter.adopt(&limiter.save(0, at), true, at);
        assert_eq!(limiter.is_newly_due(MINUTE / 2, at), is_newly_due);
    }
}
