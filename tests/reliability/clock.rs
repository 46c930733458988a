//! A wall clock that jumps by a day, both ways, under a running exporter and between two runs (Debian's libfaketime).

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::*;

const DAY: f64 = 86_400.0;

/// A clock that the test sets; the monotonic clock goes on as it does in reality.
struct Clock {
    offset: PathBuf,
    preloaded: PathBuf,
}

impl Clock {
    fn new(scratch: &Scratch) -> Self {
        let library = std::fs::read_dir("/usr/lib")
            .unwrap()
            .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is installed (Debian package faketime)");
        let clock = Self {
            offset: scratch.path("offset"),
            preloaded: library,
        };
        clock.set("+0");
        clock
    }

    fn set(&self, offset: &str) {
        let new = self.offset.with_extension("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, &self.offset).unwrap();
    }

    fn exporter(&self, scratch: &Scratch, wechat: &Wechat, more: &[&str]) -> Exporter {
        let mut command = self.command(scratch, wechat, more);
        command.arg("--web.listen-address=127.0.0.1:0");
        Exporter::spawn(command)
    }

    fn command(&self, scratch: &Scratch, wechat: &Wechat, more: &[&str]) -> Command {
        let mut command: Command = program();
        command
            .args(more)
            .args(one_app(scratch, &wechat.url()))
            .env("LD_PRELOAD", &self.preloaded)
            .env("FAKETIME_TIMESTAMP_FILE", &self.offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }
}

fn snapshot_time(page: &Page) -> f64 {
    page.value(&format!("snapshot_timestamp_seconds{{appid=\"{APPID}\"}}"))
        .expect("there is a snapshot")
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_of_a_day_grants_no_call_and_loses_no_reading() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let exporter = clock.exporter(&scratch, &wechat, &["--wechat.min-interval=1h"]);
    let first = exporter.scrape().await;
    assert_eq!(first.up(APPID), Some(1.0));
    for offset in ["+1d", "-1d", "+0"] {
        clock.set(offset);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{offset}");
        assert_eq!(page.series("account_quota").len(), 1, "{offset}");
        // The interval is measured on the clock that does not jump.
        assert_eq!(wechat.token_and_list_calls().await, (1, 1), "{offset}");
    }
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_are_dated_by_the_clock_as_it_is_and_scrapes_go_on() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let exporter = clock.exporter(&scratch, &wechat, &["--wechat.min-interval=20ms"]);
    let before = snapshot_time(&exporter.scrape().await);
    for (offset, days) in [("+1d", 1.0), ("-1d", -1.0), ("+0", 0.0)] {
        clock.set(offset);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{offset}");
        let moved = snapshot_time(&page) - before - days * DAY;
        assert!((0.0..600.0).contains(&moved), "{offset}: {moved} s");
    }
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_set_back_and_forth_wins_no_calls_of_a_day_already_spent() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let limits = ["--wechat.min-interval=20ms", "--wechat.daily-limit=4"];
    let exporter = clock.exporter(&scratch, &wechat, &limits);
    // Three days, and each of them twice.
    for offset in ["+0", "+1d", "-1d", "+0", "+1d", "-1d"] {
        clock.set(offset);
        for _ in 0..8 {
            exporter.scrape().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    assert!(
        tokens + lists <= 3 * 4,
        "{tokens} + {lists} calls on three days"
    );
    assert!(tokens + lists > 4, "another day has calls of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_under_a_clock_set_back_waits_no_day_and_under_one_set_forward_no_reading_is_lost()
{
    for offset in ["-1d", "+1d"] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let clock = Clock::new(&scratch);
        let state = format!("--state.dir={}", scratch.path("state").display());
        let more = [state.as_str(), "--wechat.min-interval=1s"];
        {
            let mut exporter = clock.exporter(&scratch, &wechat, &more);
            assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
            signal(exporter.process(), "TERM");
            exporter.ended();
        }
        clock.set(offset);
        let exporter = clock.exporter(&scratch, &wechat, &more);
        // At most an interval later it asks again.
        let mut lists = 0;
        for _ in 0..100 {
            let page = exporter.scrape().await;
            assert!(page.up(APPID).is_some(), "{offset}");
            lists = wechat.token_and_list_calls().await.1;
            if lists > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(lists, 2, "{offset}: {}", exporter.log());
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0), "{offset}");
    }
}

/// As where the hardware clock is in local time, and is taken for UTC at first.
#[tokio::test(flavor = "multi_thread")]
async fn collect_makes_its_call_though_the_state_is_from_a_clock_that_was_hours_ahead() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let state = format!("--state.dir={}", scratch.path("state").display());
    for (offset, lists, lines) in [("+8h", 1, 0), ("+0", 2, 1), ("+0", 2, 0)] {
        clock.set(offset);
        let mut collect = clock.command(&scratch, &wechat, &["collect", &state]);
        let output = tokio::task::spawn_blocking(move || collect.output());
        let output = output.await.unwrap().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{offset}: {log}");
        assert_eq!(
            log.matches("a clock that was ahead").count(),
            lines,
            "{log}"
        );
        assert_eq!(wechat.token_and_list_calls().await.1, lists, "{log}");
    }
}
