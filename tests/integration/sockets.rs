//! Where it listens: Unix sockets, IPv6, sockets that systemd opened; and what happens when descriptors run out.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::*;

/// Ended when dropped.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(mut stream: impl std::io::Read + std::io::Write) {
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("wechat_logistics_up"), "{answer}");
}

/// Tries until somebody listens.
fn reach<S>(mut connect: impl FnMut() -> std::io::Result<S>) -> S {
    for _ in 0..1000 {
        if let Ok(stream) = connect() {
            return stream;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens");
}

fn demo(wrapper: &[&str], listens: &str, log: Stdio) -> Ends {
    let mut command = wrapped(wrapper);
    command
        .args(["demo", listens])
        .stdout(Stdio::null())
        .stderr(log);
    Ends(
        command
            .spawn()
            .unwrap_or_else(|error| panic!("{wrapper:?}: {error}")),
    )
}

#[test]
fn unix_socket_is_served_and_its_file_goes_with_the_process() {
    let scratch = Scratch::new();
    let path = scratch.path("exporter.sock");
    let flag = format!("--web.listen-address=unix:{}", path.display());
    let start = || {
        let exporter = demo(&["env"], &flag, Stdio::null());
        ask(reach(|| UnixStream::connect(&path)));
        exporter
    };
    let mut stopped = start();
    signal(stopped.0.id(), "TERM");
    assert!(stopped.0.wait().unwrap().success());
    assert!(!path.exists());

    // What a kill leaves behind does not hinder the next start.
    drop(start());
    assert!(path.exists());
    start();
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_served_and_shown_in_service_discovery() {
    let mut command = program();
    command.args(["demo", "--web.listen-address=[::1]:0"]);
    let exporter = Exporter::spawn(command);
    assert!(exporter.address.is_ipv6());
    assert_eq!(exporter.scrape().await.up("wx0000000000000001"), Some(1.0));
    let targets = exporter.get("/sd").await.body;
    assert!(targets.contains("[::1]:"), "{targets}");
}

#[test]
fn sockets_of_systemd_are_served_and_named_in_the_log() {
    let scratch = Scratch::new();
    let address = free_address();
    let path = scratch.path("activated.sock");
    for (listens, name) in [
        (address.to_string(), address.to_string()),
        (
            path.display().to_string(),
            format!("unix:{}", path.display()),
        ),
    ] {
        let wrapper = ["systemd-socket-activate", "-E", "PATH", "-l", &listens];
        let log = scratch.path("log");
        let written = std::fs::File::create(&log).unwrap();
        let _exporter = demo(&wrapper, "--web.systemd-socket", written.into());
        if listens.starts_with('/') {
            ask(reach(|| UnixStream::connect(&path)));
        } else {
            ask(reach(|| TcpStream::connect(address)));
        }
        let log = std::fs::read_to_string(log).unwrap();
        let line = format!("msg=\"Listening on\" address={name} tls=false\n");
        assert!(log.contains(&line), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exporter_without_descriptors_recovers_and_reads_on() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let mut command = wrapped(&["bash", "-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
    command
        .args(one_app(&scratch, &wechat.url()))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--wechat.min-interval=20ms",
        ])
        .arg(scratch.state_flag());
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    let connect = || TcpStream::connect(exporter.address).unwrap();
    let held: Vec<_> = (0..300).map(|_| connect()).collect();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // New readings too: descriptors are left for WeChat and for the state.
        let (_, lists) = wechat.token_and_list_calls().await;
        assert_eq!(
            exporter.scrape().await.up(APPID),
            Some(1.0),
            "{}",
            exporter.log()
        );
        assert!(wechat.token_and_list_calls().await.1 > lists);
    }
    assert!(descriptors(exporter.process()) <= 64);
    drop(held);
    until("descriptors are free again", async || {
        descriptors(exporter.process()) <= 40
    })
    .await;
    let log = exporter.log();
    assert!(
        !log.contains("panic") && !log.contains("goes on from memory"),
        "{log}"
    );
}
