//! The log on standard error, and readers of it that stall.

use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::*;

/// A program whose standard error is full from the beginning and read by nobody; killed when dropped.
struct Unread {
    child: Child,
    _reader: UnixStream,
}

impl Unread {
    fn spawn(command: &mut Command) -> Self {
        let (reader, mut stderr) = UnixStream::pair().unwrap();
        stderr.set_nonblocking(true).unwrap();
        while stderr
            .write(&[b'\n'; 1024])
            .map_err(|error| assert_eq!(error.kind(), ErrorKind::WouldBlock))
            .is_ok()
        {}
        stderr.set_nonblocking(false).unwrap();
        let stderr = Stdio::from(OwnedFd::from(stderr));
        let child = command.stdout(Stdio::null()).stderr(stderr).spawn();
        Self {
            child: child.unwrap(),
            _reader: reader,
        }
    }

    fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn log_that_nobody_reads_holds_up_neither_scrapes_nor_the_end() {
    let (scratch, wechat) = (Scratch::new(), Wechat::silent().await);
    wechat.answers_token_call(errcode(-1, "system error")).await;
    let address = free_address();
    let mut exporter = Unread::spawn(
        program()
            .args(one_app(&scratch, &wechat.url()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=trace"),
    );
    let client = client();
    let get = |path| client.get(format!("http://{address}{path}"));
    let began = Instant::now();
    while get("/-/ready").send().await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it does not listen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for _ in 0..10 {
        let page = Answer::of(get("/metrics")).await;
        assert_eq!(page.status, 200);
        assert_eq!(Page(page.body).up(APPID), Some(0.0));
    }
    signal(exporter.child.id(), "TERM");
    assert_eq!(exporter.exit_code(), Some(0));
    // Nor the end of a program that can't start.
    let mut exporter = Unread::spawn(program().arg("--config.file=/nowhere"));
    assert_eq!(exporter.exit_code(), Some(2));
}

#[tokio::test]
async fn apps_that_all_fail_have_some_lines_and_one_that_counts_the_others() {
    const APPS: usize = 100;
    let scratch = Scratch::new();
    let apps: String = (0..APPS)
        .map(|number| {
            let token = "access_token: { stable_token: { secret_file: secret } }";
            format!("- appid: wx{number}\n  api_url: http://127.0.0.1:9\n  {token}\n")
        })
        .collect();
    let file = scratch.write("exporter.yml", &format!("apps:\n{apps}"));
    let mut exporter = Exporter::from_file(&file, &[]);
    exporter.scrape().await;
    signal(exporter.process(), "TERM");
    assert!(exporter.ended().success());
    let log = exporter.log();
    let failed = log.matches("msg=\"fetch failed\"").count();
    assert!(0 < failed && failed < APPS, "{log}");
    assert!(
        log.contains(&format!("reason=network lines={}\n", APPS - failed)),
        "{log}"
    );
}
