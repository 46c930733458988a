//! Listening on Unix sockets, IPv6 and sockets that systemd opened, and running out of descriptors.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::support::*;

trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// Scrapes that address as soon as somebody listens.
fn scrape_at(address: &str) {
    let connect = || -> std::io::Result<Box<dyn Stream>> {
        if address.starts_with('/') {
            return Ok(Box::new(UnixStream::connect(address)?));
        }
        Ok(Box::new(TcpStream::connect(address)?))
    };
    let tries = (0..1000).filter_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        connect().ok()
    });
    let mut stream = tries.take(1).next().expect("somebody listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("wechat_logistics_up"), "{answer}");
}

fn demo(wrapper: &[&str], listens: &str, log: Stdio) -> Killed {
    let mut command = wrapped(wrapper);
    command.args(["demo", listens]).stdout(Stdio::null());
    Killed(command.stderr(log).spawn().unwrap())
}

#[test]
fn unix_socket_is_served_and_its_file_goes_with_the_process() {
    let scratch = Scratch::new();
    let path = scratch.path("exporter.sock");
    let socket = path.to_str().unwrap();
    let flag = format!("--web.listen-address=unix:{socket}");
    let start = || {
        let exporter = demo(&["env"], &flag, Stdio::null());
        scrape_at(socket);
        exporter
    };
    let mut stopped = start();
    signal(stopped.0.id(), Signal::TERM);
    assert!(stopped.ended().success());
    assert!(!path.exists());

    // The file that a kill leaves behind doesn't hinder the next start.
    drop(start());
    assert!(path.exists());
    start();
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_is_served_and_shown_in_service_discovery() {
    let mut command = program();
    command.args(["demo", "--web.listen-address=[::1]:0"]);
    let exporter = Exporter::spawn_as_it_is(command);
    assert!(exporter.address.is_ipv6());
    assert_eq!(exporter.scrape().await.up("wx0000000000000001"), Some(1.0));
    let targets = exporter.get("/sd").await.body;
    assert!(targets.contains("[::1]:"), "{targets}");
}

#[test]
fn sockets_of_systemd_are_served_and_named_in_the_log() {
    let scratch = Scratch::new();
    let address = free_address().to_string();
    let path = scratch.path("activated.sock").display().to_string();
    for (listens, kind) in [(&address, ""), (&path, "unix:")] {
        let wrapper = ["systemd-socket-activate", "-E", "PATH", "-l", listens];
        let log = scratch.path("log");
        let written = fs::File::create(&log).unwrap();
        let _exporter = demo(&wrapper, "--web.systemd-socket", written.into());
        scrape_at(listens);
        let log = fs::read_to_string(log).unwrap();
        let line = format!("msg=\"Listening on\" address={kind}{listens} tls=false\n");
        assert!(log.contains(&line), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exporter_without_descriptors_recovers_and_reads_on() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let mut command = wrapped(&["bash", "-c", "ulimit -n 64; exec \"$0\" \"$@\""]);
    command.args(one_app(&scratch, &wechat.url()));
    command.args(["--wechat.min-interval=20ms", &scratch.state_flag()]);
    let exporter = Exporter::spawn(command);
    assert_eq!(exporter.scrape().await.up(APPID), Some(1.0));
    let connect = |_| TcpStream::connect(exporter.address).unwrap();
    let held: Vec<_> = (0..300).map(connect).collect();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Fetches work too, because descriptors are reserved for WeChat and for the state.
        let (_, lists) = wechat.token_and_list_calls().await;
        let page = exporter.scrape().await;
        assert_eq!(page.up(APPID), Some(1.0), "{}", exporter.log());
        assert!(wechat.token_and_list_calls().await.1 > lists);
    }
    assert!(exporter.descriptors() <= 64);
    drop(held);
    until("descriptors are free again", async || {
        exporter.descriptors() <= 40
    })
    .await;
    let log = exporter.log();
    for word in ["panic", "goes on from memory"] {
        assert!(!log.contains(word), "{log}");
    }
}
