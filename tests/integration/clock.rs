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
        let mut command = program();
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

#[tokio::test(flavor = "multi_thread")]
async fn jump_of_a_day_grants_no_call_and_loses_no_reading() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let exporter = clock.exporter(&scratch, &wechat, &["--wechat.min-interval=1h"]);
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    for offset in ["+1d", "-1d", "+0"] {
        clock.set(offset);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{offset}");
        assert_eq!(page.series("account_quota").len(), 1, "{offset}");
        // The interval is measured on the clock that does not jump.
        assert_eq!(wechat.token_and_list_calls().await, (1, 1), "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_have_the_clocks_time_and_days_that_come_twice_have_their_calls_once() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let limits = ["--wechat.min-interval=20ms", "--wechat.daily-limit=4"];
    let exporter = clock.exporter(&scratch, &wechat, &limits);
    let before = exporter.scrape().await.snapshot_time();
    for (round, (offset, days)) in [("+0", 0.0), ("+1d", 1.0), ("-1d", -1.0)]
        .repeat(2)
        .into_iter()
        .enumerate()
    {
        clock.set(offset);
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let page = exporter.scrape().await;
            let moved = page.snapshot_time() - before - days * DAY;
            assert!(
                round >= 3 || (0.0..600.0).contains(&moved),
                "{offset}: {moved} s"
            );
        }
    }
    let (tokens, lists) = wechat.token_and_list_calls().await;
    let calls = tokens + lists;
    assert!(calls <= 3 * 4, "{calls} calls on three days");
    assert!(calls > 4, "another day has calls of its own");
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_after_the_clock_was_set_asks_again_within_an_interval() {
    for offset in ["-1d", "+1d"] {
        let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
        let clock = Clock::new(&scratch);
        let more = [&*scratch.state_flag(), "--wechat.min-interval=1s"];
        {
            let mut exporter = clock.exporter(&scratch, &wechat, &more);
            assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
            signal(exporter.process(), "TERM");
            exporter.ended();
        }
        clock.set(offset);
        let exporter = clock.exporter(&scratch, &wechat, &more);
        until("the list is asked for again", async || {
            exporter.scrape().await;
            wechat.token_and_list_calls().await.1 > 1
        })
        .await;
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0), "{offset}");
    }
}

/// As where the hardware clock is in local time, and is taken for UTC at first.
#[tokio::test(flavor = "multi_thread")]
async fn collect_makes_its_call_though_the_state_is_from_a_clock_that_was_hours_ahead() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let clock = Clock::new(&scratch);
    let state = scratch.state_flag();
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
