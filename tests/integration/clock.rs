//! A wall clock that jumps by a day in either direction, during a run and between two runs (Debian's libfaketime).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::*;

const DAY: f64 = 86_400.0;

/// A wall clock that the test sets, with the folder and the WeChat of its exporters. The monotonic clock is real.
struct World {
    scratch: Scratch,
    wechat: Wechat,
    preloaded: PathBuf,
}

impl World {
    async fn new() -> Self {
        let folders = fs::read_dir("/usr/lib").unwrap();
        let preloaded = folders
            .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
            .find(|path| path.exists())
            .expect("libfaketime is installed (Debian package faketime)");
        let world = Self {
            scratch: Scratch::new(),
            wechat: Wechat::healthy().await,
            preloaded,
        };
        world.set("+0");
        world
    }

    fn set(&self, offset: &str) {
        let new = self.scratch.write("offset.new", offset);
        fs::rename(new, self.scratch.path("offset")).unwrap();
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = program();
        command
            .args(more)
            .args(one_app(&self.scratch, &self.wechat.url()))
            .env("LD_PRELOAD", &self.preloaded)
            .env("FAKETIME_TIMESTAMP_FILE", self.scratch.path("offset"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }

    fn exporter(&self, more: &[&str]) -> Exporter {
        Exporter::spawn(self.command(more))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jump_of_a_day_grants_no_call_and_loses_no_reading() {
    let world = World::new().await;
    let exporter = world.exporter(&["--wechat.min-interval=1h"]);
    for offset in ["+0", "+1d", "-1d", "+0"] {
        world.set(offset);
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{offset}");
        assert_eq!(page.series("account_quota").len(), 1, "{offset}");
        // The interval is measured on the monotonic clock, which doesn't jump.
        let calls = world.wechat.token_and_list_calls().await;
        assert_eq!(calls, (1, 1), "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_have_the_clocks_time_and_days_that_come_twice_have_their_calls_once() {
    let world = World::new().await;
    let exporter = world.exporter(&["--wechat.min-interval=20ms", "--wechat.daily-limit=4"]);
    let before = exporter.scrape().await.snapshot_time();
    let days = [("+0", 0.0), ("+1d", 1.0), ("-1d", -1.0)];
    for (round, (offset, days)) in days.repeat(2).into_iter().enumerate() {
        world.set(offset);
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let page = exporter.scrape().await;
            let moved = page.snapshot_time() - before - days * DAY;
            let is_of_the_clock = round >= 3 || (0.0..600.0).contains(&moved);
            assert!(is_of_the_clock, "{offset}: {moved} s");
        }
    }
    let (tokens, lists) = world.wechat.token_and_list_calls().await;
    assert_eq!(tokens + lists, 3 * 4, "each of three days has its calls");
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_after_the_clock_was_set_asks_again_within_an_interval() {
    for offset in ["-1d", "+1d"] {
        let world = World::new().await;
        let more = [&*world.scratch.state_flag(), "--wechat.min-interval=1s"];
        let mut exporter = world.exporter(&more);
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
        exporter.stop(Signal::TERM);
        world.set(offset);
        let exporter = world.exporter(&more);
        until("the list is asked for again", async || {
            exporter.scrape().await;
            world.wechat.token_and_list_calls().await.1 > 1
        })
        .await;
        assert_eq!(exporter.scrape().await.up(APPID), Some(1.0), "{offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_makes_its_call_though_the_state_is_from_a_clock_that_was_hours_ahead() {
    let world = World::new().await;
    let state = world.scratch.state_flag();
    for (offset, lists, lines) in [("+8h", 1, 0), ("+0", 2, 1), ("+0", 2, 0)] {
        world.set(offset);
        let output = world.command(&["collect", &state]).output().unwrap();
        let log = text(&output.stderr);
        assert!(output.status.success(), "{offset}: {log}");
        let ahead = log.matches("a clock that was ahead").count();
        assert_eq!(ahead, lines, "{log}");
        assert_eq!(world.wechat.token_and_list_calls().await.1, lists, "{log}");
    }
}
