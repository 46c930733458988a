//! A state directory that is full, read-only, or holds something else than was written there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::process::rounds;
use crate::support::*;

/// Between two fetches.
const INTERVAL: Duration = Duration::from_millis(50);

fn state(scratch: &Scratch) -> String {
    format!("--state.dir={}", scratch.path("state").display())
}

fn command(wrapper: &[&str], scratch: &Scratch, wechat: &Wechat) -> Command {
    let inner = program();
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(inner.get_program());
    for (name, value) in inner.get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    command.args(one_app(scratch, &wechat.url())).args([
        "--web.listen-address=127.0.0.1:0",
        &format!("--wechat.min-interval={}ms", INTERVAL.as_millis()),
        &state(scratch),
    ]);
    command
}

async fn write_fails(exporter: &Exporter) {
    until("a write fails", async || {
        exporter.log().contains("goes on from memory")
    })
    .await;
}

/// Scrapes go on from memory, and each keeps the interval.
async fn goes_on(exporter: &Exporter) {
    for _ in 0..5 {
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
        assert_eq!(page.series("account_quota").len(), 1);
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    write_fails(exporter).await;
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_costs_the_state_and_nothing_else() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    // A file may not grow at all; the signal that comes with it is ignored, as no signal comes with a full disk.
    let limit = [
        "bash",
        "-c",
        "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"",
    ];
    let exporter = Exporter::spawn(command(&limit, &scratch, &wechat));
    goes_on(&exporter).await;
    let left: Vec<_> = std::fs::read_dir(scratch.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        // Empty, and made before there is anything to write.
        .filter(|name| name != "in-use.lock")
        .collect();
    assert!(left.is_empty(), "half-written files stay: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_that_has_room_again_is_written_again() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    // As above, but with room to be had.
    let limit = [
        "bash",
        "-c",
        "trap '' XFSZ; ulimit -S -f 0; exec \"$0\" \"$@\"",
    ];
    let exporter = Exporter::spawn(command(&limit, &scratch, &wechat));
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    write_fails(&exporter).await;
    let process = exporter.process().to_string();
    let room = ["--pid", &process, "--fsize=unlimited:unlimited"];
    let given = Command::new("prlimit").args(room).status();
    assert!(given.unwrap().success());
    for name in [
        format!("{APPID}.limiter.json"),
        format!("{APPID}.snapshot.json"),
    ] {
        let file = scratch.path(&format!("state/{name}"));
        until("it is written once there is room", async || {
            exporter.scrape().await;
            file.exists()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directory_that_can_only_be_read_is_read_and_nothing_else() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    {
        let exporter = Exporter::spawn(command(&["env"], &scratch, &wechat));
        exporter.scrape().await;
        let file = scratch.path(&format!("state/{APPID}.snapshot.json"));
        until("the reading is kept", async || file.exists()).await;
    }
    let read_only = std::fs::Permissions::from_mode(0o555);
    std::fs::set_permissions(scratch.path("state"), read_only).unwrap();
    // Root may write everywhere, unless it gives that up.
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let wrapper: &[&str] = if is_root {
        &[
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search",
            "--inh-caps=-dac_override,-dac_read_search",
        ]
    } else {
        &["env"]
    };
    // The outage shows that the reading was read.
    wechat.reset().await;
    wechat
        .answers_token_call(wiremock::ResponseTemplate::new(503))
        .await;
    // The interval of the first exporter's fetch holds over the restart, and a fast machine restarts within it.
    tokio::time::sleep(2 * INTERVAL).await;
    let exporter = Exporter::spawn(command(wrapper, &scratch, &wechat));
    let page = exporter.scrape().await;
    assert_eq!(page.up(APPID), Some(0.0));
    assert_eq!(page.series("account_quota").len(), 1, "{}", exporter.log());
    write_fails(&exporter).await;
    drop(exporter);
    std::fs::set_permissions(
        scratch.path("state"),
        std::fs::Permissions::from_mode(0o755),
    )
    .unwrap();
}

/// Makes something else of a file.
type Damage = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What the exporter itself writes there.
async fn real_state(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for name in [
        format!("{APPID}.limiter.json"),
        format!("{APPID}.snapshot.json"),
    ] {
        let file = folder.join(&name);
        until("the exporter keeps its state", async || file.exists()).await;
        let content = std::fs::read(file).unwrap();
        files.push((name, content));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn state_cut_short_or_bent_or_of_a_later_version_is_never_fatal() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let files = {
        let exporter = Exporter::spawn(command(&["env"], &scratch, &wechat));
        exporter.scrape().await;
        real_state(&scratch.path("state")).await
    };
    let mut damages: Vec<(String, Damage)> = Vec::new();
    for eighth in 0..8 {
        damages.push((
            format!("{eighth}/8 of it"),
            Box::new(move |content| content[..content.len() * eighth / 8].to_vec()),
        ));
    }
    for place in 0..rounds(6) {
        damages.push((
            format!("a byte bent, {place}"),
            Box::new(move |content| {
                let mut content = content.to_vec();
                let at = (place * 37 + 11) % content.len();
                content[at] ^= 0x15;
                content
            }),
        ));
    }
    damages.push((
        "a later version".to_owned(),
        Box::new(|content| {
            let text = String::from_utf8(content.to_vec()).unwrap();
            assert!(text.contains("\"version\":1"));
            text.replace("\"version\":1", "\"version\":2").into_bytes()
        }),
    ));
    damages.push((
        "another app's".to_owned(),
        Box::new(|content| {
            String::from_utf8(content.to_vec())
                .unwrap()
                .replace(APPID, OTHER_APPID)
                .into_bytes()
        }),
    ));
    damages.push((
        "numbers beyond all bounds".to_owned(),
        Box::new(|content| {
            let text = String::from_utf8(content.to_vec()).unwrap();
            let mut digits = String::new();
            for character in text.chars() {
                digits.push(character);
                if character.is_ascii_digit() {
                    digits.push_str("9999999999");
                }
            }
            digits
                .replace("\"version\":19999999999", "\"version\":1")
                .into_bytes()
        }),
    ));
    for (what, damage) in &damages {
        for (name, content) in &files {
            let folder = scratch.path("state");
            std::fs::remove_dir_all(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            for (other, content) in &files {
                std::fs::write(folder.join(other), content).unwrap();
            }
            let damaged = damage(content);
            std::fs::write(folder.join(name), &damaged).unwrap();
            let exporter = Exporter::spawn(command(&["env"], &scratch, &wechat));
            let page = exporter.scrape().await;
            let log = exporter.log();
            assert!(!log.contains("panic"), "{name}, {what}: {log}");
            if log.contains("unreadable state file") {
                // Nothing is lost: what could not be read is still there.
                let aside = std::fs::read(folder.join(format!("{name}.unreadable"))).unwrap();
                assert_eq!(aside, damaged, "{name}, {what}");
            } else {
                assert!(what.starts_with("a byte"), "{name}, {what}: taken as good");
            }
            let up = page.up(APPID).unwrap();
            assert!(
                up == 1.0
                    || page.refused("interval")
                        + page.refused("breaker")
                        + page.refused("daily_limit")
                        > 0.0,
                "{name}, {what}: {log}"
            );
        }
    }
}
