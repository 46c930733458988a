//! A state directory that is full, read-only, or holds something else than was written there.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::*;

/// Between two fetches.
const INTERVAL: Duration = Duration::from_millis(50);

/// The exporter with a state directory, started by another program.
fn started_by(wrapper: &[&str], scratch: &Scratch, wechat: &Wechat) -> Exporter {
    let mut command = wrapped(wrapper);
    command
        .args(one_app(scratch, &wechat.url()))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--wechat.min-interval=50ms",
        ])
        .arg(scratch.state_flag());
    Exporter::spawn(command)
}

/// The limiter's file and the snapshot's.
fn files(scratch: &Scratch) -> [PathBuf; 2] {
    ["limiter", "snapshot"].map(|kind| scratch.path(&format!("state/{APPID}.{kind}.json")))
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_costs_the_state_alone_and_is_written_again_when_it_has_room() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    // A file may not grow, but for the log's; the signal that comes with that is ignored, as none comes with a full disk.
    let limit = "exec 2> >(cat >&2); trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\"";
    let exporter = started_by(&["bash", "-c", limit], &scratch, &wechat);
    for _ in 0..5 {
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
        assert_eq!(page.series("account_quota").len(), 1);
        tokio::time::sleep(INTERVAL).await;
    }
    exporter.log_with("goes on from memory").await;
    let failures = "exporter_state_write_failures_total";
    assert!(exporter.scrape().await.value(failures) > Some(0.0));
    let left: Vec<_> = std::fs::read_dir(scratch.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        // Empty, and made before there is anything to write.
        .filter(|name| name != "in-use.lock")
        .collect();
    assert!(left.is_empty(), "half-written files stay: {left:?}");

    let process = exporter.process().to_string();
    let room = ["--pid", &process, "--fsize=unlimited:unlimited"];
    assert!(
        Command::new("prlimit")
            .args(room)
            .status()
            .unwrap()
            .success()
    );
    for file in files(&scratch) {
        until("it is written once there is room", async || {
            exporter.scrape().await;
            file.exists()
        })
        .await;
    }
    let log = exporter.log_with("state is written again").await;
    assert_eq!(log.matches("state can't be written").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_that_can_only_be_read_is_read_and_nothing_else() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    {
        let exporter = started_by(&["env"], &scratch, &wechat);
        exporter.scrape().await;
        let [_, snapshot] = files(&scratch);
        until("the reading is kept", async || snapshot.exists()).await;
    }
    let set_mode = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(scratch.path("state"), mode).unwrap();
    };
    set_mode(0o555);
    // Root may write everywhere, unless it gives that up.
    let without_root = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        "--inh-caps=-dac_override,-dac_read_search",
    ];
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let wrapper = if is_root { &without_root[..] } else { &["env"] };
    // The outage shows that the reading was read.
    wechat.reset().await;
    wechat
        .answers_token_call(wiremock::ResponseTemplate::new(503))
        .await;
    // The interval of the first exporter's fetch holds over the restart.
    tokio::time::sleep(2 * INTERVAL).await;
    let exporter = started_by(wrapper, &scratch, &wechat);
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1, "{}", exporter.log());
    exporter.log_with("goes on from memory").await;
    drop(exporter);
    set_mode(0o755);
}

/// What can be wrong with a state file.
fn damaged(content: &str) -> Vec<(&'static str, String)> {
    let mut absurd = String::new();
    for character in content.chars() {
        absurd.push(character);
        if character.is_ascii_digit() {
            absurd.push_str("9999999999");
        }
    }
    vec![
        ("empty", String::new()),
        ("not JSON", "not json".to_owned()),
        ("a list", "[]".to_owned()),
        ("cut short", content[..content.len() / 3].to_owned()),
        ("bent", content.replacen('"', "'", 5)),
        (
            "a later version",
            content.replace("\"version\":1", "\"version\":999"),
        ),
        ("another app's", content.replace(APPID, OTHER_APPID)),
        (
            "numbers beyond all bounds",
            absurd.replace("\"version\":19999999999", "\"version\":1"),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_state_is_set_aside_whole_and_never_fatal() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let files = files(&scratch);
    {
        let exporter = started_by(&["env"], &scratch, &wechat);
        exporter.scrape().await;
        for file in &files {
            until("the exporter keeps its state", async || file.exists()).await;
        }
    }
    let good = files
        .each_ref()
        .map(|file| std::fs::read_to_string(file).unwrap());
    for (file, content) in files.iter().zip(&good) {
        for (what, damaged) in damaged(content) {
            let context = format!("{}, {what}", file.display());
            for (file, content) in files.iter().zip(&good) {
                std::fs::write(file, content).unwrap();
            }
            std::fs::write(file, &damaged).unwrap();
            let exporter = started_by(&["env"], &scratch, &wechat);
            let page = exporter.scrape().await;
            let log = exporter.log_with("unreadable state file").await;
            assert!(!log.contains("panic"), "{context}: {log}");
            let aside = std::fs::read_to_string(format!("{}.unreadable", file.display()));
            assert_eq!(aside.unwrap(), damaged, "{context}: nothing is lost");
            let kept_back = ["interval", "breaker", "daily_limit"].map(|cause| page.refused(cause));
            assert!(
                page.up(APPID) == Some(1.0) || kept_back.iter().sum::<f64>() > 0.0,
                "{context}: {log}"
            );
        }
    }
}
