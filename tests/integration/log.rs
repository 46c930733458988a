//! The log on standard error, and stalled readers of it.

use std::io::{PipeReader, Write as _};
use std::process::{Command, Stdio};

use crate::support::*;

/// Starts a program whose standard error is a full pipe that nobody reads.
fn unread(command: &mut Command) -> (Killed, PipeReader) {
    let (reader, mut stderr) = std::io::pipe().unwrap();
    // The capacity of a pipe.
    stderr.write_all(&[b'\n'; 64 << 10]).unwrap();
    let child = command.stdout(Stdio::null()).stderr(stderr).spawn();
    (Killed(child.unwrap()), reader)
}

#[tokio::test]
async fn log_that_nobody_reads_holds_up_neither_scrapes_nor_the_end() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.answers_token_call(errcode(-1, "system error")).await;
    let address = free_address();
    let mut command = program();
    command.args(one_app(&scratch, &wechat.url()));
    command.arg(format!("--web.listen-address={address}"));
    let (mut exporter, _reader) = unread(command.arg("--log.level=trace"));
    let client = client();
    let url = format!("http://{address}/metrics");
    let get = || client.get(&url);
    until("it listens", async || get().send().await.is_ok()).await;
    for _ in 0..10 {
        let page = Page(Answer::of(get()).await.body);
        assert_eq!(page.up(APPID), Some(0.0));
    }
    signal(exporter.0.id(), Signal::TERM);
    assert_eq!(exporter.ended().code(), Some(0));
    // Nor does it hold up the end of a program that can't start.
    let (mut exporter, _reader) = unread(program().arg("--config.file=/nowhere"));
    assert_eq!(exporter.ended().code(), Some(2));
}

#[tokio::test]
async fn apps_that_all_fail_have_some_lines_and_not_one_each() {
    const APPS: usize = 100;
    let scratch = Scratch::new();
    let app = |number| {
        format!("- appid: wx{number}\n  api_url: http://127.0.0.1:9\n  access_token: {STABLE}\n")
    };
    let apps: String = (0..APPS).map(app).collect();
    let file = scratch.write("exporter.yml", &format!("apps:\n{apps}"));
    let mut exporter = Exporter::from_file(&file, &[]);
    exporter.scrape().await;
    assert!(exporter.stop(Signal::TERM).success());
    let log = exporter.log();
    let failed = log.matches("msg=\"fetch failed\"").count();
    assert!(0 < failed && failed < APPS, "{log}");
}
