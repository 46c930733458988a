//! A state directory that is full, read-only, or contains something other than what was written there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use crate::support::*;

/// The interval between two fetches.
const INTERVAL: Duration = Duration::from_millis(50);

/// Starts an exporter with a state directory through another program.
fn started_by(wrapper: &[&str], scratch: &Scratch, wechat: &Wechat) -> Exporter {
    let mut command = wrapped(wrapper);
    command.args(one_app(scratch, &wechat.url()));
    command.args(["--wechat.min-interval=50ms", &scratch.state_flag()]);
    Exporter::spawn(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_costs_the_state_alone_and_is_written_again_when_it_has_room() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    // No file may grow, except the log. The signal for that is ignored, because a full disk sends none.
    let limit = "exec 2> >(cat >&2); trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\"";
    let exporter = started_by(&["bash", "-c", limit], &scratch, &wechat);
    for _ in 0..3 {
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
        assert_eq!(page.series("account_quota").len(), 1);
        tokio::time::sleep(INTERVAL).await;
    }
    exporter.log_with("goes on from memory").await;
    let failures = "exporter_state_write_failures_total";
    assert!(exporter.scrape().await.value(failures) > Some(0.0));
    until("half-written files are gone", async || {
        let left = fs::read_dir(scratch.path("state")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        // Empty, and created before there is anything to write.
        left == ["in-use.lock"]
    })
    .await;

    let process = exporter.process().to_string();
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process, "--fsize=unlimited:unlimited"]);
    assert!(prlimit.status().unwrap().success());
    for kind in ["limiter", "snapshot"] {
        until("it is written once there is room", async || {
            exporter.scrape().await;
            scratch.state_file(kind).exists()
        })
        .await;
    }
    let log = exporter.log_with("state is written again").await;
    assert_eq!(log.matches("state can't be written").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_that_can_only_be_read_is_read_and_nothing_else() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    {
        let exporter = started_by(&["env"], &scratch, &wechat);
        exporter.scrape().await;
        scratch.fetch_is_kept().await;
    }
    let set_mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(scratch.path("state"), mode).unwrap();
    };
    set_mode(0o555);
    // Root may write everywhere, unless it drops that capability.
    let without_root = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ];
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let wrapper = if is_root { &without_root[..] } else { &["env"] };
    // During the outage, the accounts can only come from the stored snapshot.
    wechat.reset().await;
    wechat.answers_token_call(ResponseTemplate::new(503)).await;
    // The interval after the first exporter's fetch still holds after the restart.
    tokio::time::sleep(2 * INTERVAL).await;
    let exporter = started_by(wrapper, &scratch, &wechat);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1, "{}", exporter.log());
    exporter.log_with("goes on from memory").await;
    drop(exporter);
    set_mode(0o755);
}

/// Returns a state file that is damaged in different ways.
fn damaged(content: &str) -> [(&'static str, String); 6] {
    let absurd = content.replace(|c: char| c.is_ascii_digit(), "9999999999");
    let is_version = "\"version\":1";
    [
        ("empty", String::new()),
        ("not an object", "[]".to_owned()),
        ("cut short", content[..content.len() / 3].to_owned()),
        ("later", content.replace(is_version, "\"version\":999")),
        ("another app's", content.replace(APPID, OTHER_APPID)),
        (
            "absurd",
            absurd.replace("\"version\":9999999999", is_version),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_state_is_set_aside_whole_and_never_fatal() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let files = ["limiter", "snapshot"].map(|kind| scratch.state_file(kind));
    {
        let exporter = started_by(&["env"], &scratch, &wechat);
        exporter.scrape().await;
        scratch.fetch_is_kept().await;
    }
    let good = files
        .each_ref()
        .map(|file| fs::read_to_string(file).unwrap());
    for (file, content) in files.iter().zip(&good) {
        for (what, damaged) in damaged(content) {
            let context = format!("{}, {what}", file.display());
            for (file, content) in files.iter().zip(&good) {
                fs::write(file, content).unwrap();
            }
            fs::write(file, &damaged).unwrap();
            let exporter = started_by(&["env"], &scratch, &wechat);
            let page = exporter.scrape().await;
            let log = exporter.log_with("unreadable state file").await;
            assert!(!log.contains("panic"), "{context}: {log}");
            let aside = fs::read_to_string(format!("{}.unreadable", file.display()));
            assert_eq!(aside.unwrap(), damaged, "{context}: nothing is lost");
            let kept_back = ["interval", "breaker", "daily_limit"].map(|cause| page.refused(cause));
            let goes_on = page.up(APPID) == Some(1.0) || kept_back.iter().sum::<f64>() > 0.0;
            assert!(goes_on, "{context}: {log}");
        }
    }
}
