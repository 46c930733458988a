//! Floods of HTTP/2 frames over TLS, written by hand because no client library would send them.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificates::Authority;
use crate::process::*;
use crate::support::*;

/// As in `clients`. Unit: KiB.
const MORE_MEMORY: u64 = 96 << 10;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /metrics` in HPACK: three indexed fields, and a path and an authority as they are.
fn get_metrics() -> Vec<u8> {
    let mut head = vec![0x82, 0x87];
    for (index, value) in [(0x04, "/metrics"), (0x01, "localhost")] {
        head.push(index);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.bytes());
    }
    head
}

/// What one connection sends, again and again until it is cut or has sent enough.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    /// The `n`th piece.
    piece: fn(u32) -> Vec<u8>,
    pieces: u32,
}

fn floods() -> Vec<Flood> {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let flood = |name, first: Vec<u8>, piece, pieces| Flood {
        name,
        first,
        piece,
        pieces,
    };
    // SETTINGS_INITIAL_WINDOW_SIZE = 0: answers can be made, but not sent.
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    vec![
        flood(
            "rapid reset",
            settings.clone(),
            |n| {
                let stream = 2 * n + 1;
                let mut bytes = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get_metrics());
                bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                bytes
            },
            20_000,
        ),
        flood(
            "streams that the server has to reset",
            settings.clone(),
            |n| {
                let stream = 2 * n + 1;
                let mut bytes = frame(HEADERS, END_HEADERS, stream, &get_metrics());
                bytes.extend(frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()));
                bytes
            },
            20_000,
        ),
        flood(
            "settings",
            settings.clone(),
            |_| frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]),
            50_000,
        ),
        flood(
            "pings",
            settings.clone(),
            |n| frame(PING, 0, 0, &u64::from(n).to_be_bytes()),
            50_000,
        ),
        flood(
            "priorities",
            settings.clone(),
            |n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 1]),
            50_000,
        ),
        flood(
            "empty data",
            [
                settings.clone(),
                frame(HEADERS, END_HEADERS, 1, &get_metrics()),
            ]
            .concat(),
            |_| frame(DATA, 0, 1, &[]),
            50_000,
        ),
        flood(
            "a head without end",
            [settings.clone(), frame(HEADERS, 0, 1, &get_metrics())].concat(),
            |n| {
                let mut header = vec![0, 127, 0xf1, 0x07];
                header.extend(vec![b'a' + u8::try_from(n % 26).unwrap(); 1136]);
                header.extend([1, b'v']);
                frame(CONTINUATION, 0, 1, &header)
            },
            5_000,
        ),
        flood(
            "empty continuations",
            [settings, frame(HEADERS, 0, 1, &get_metrics())].concat(),
            |_| frame(CONTINUATION, 0, 1, &[]),
            50_000,
        ),
        flood(
            "answers without a window",
            no_window,
            |n| frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &get_metrics()),
            // Fewer than --web.max-requests, with the connections below: others need theirs.
            6,
        ),
    ]
}

impl Authority {
    /// A client that trusts this authority alone.
    fn client(&self, alpn: &[&[u8]]) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

async fn connect(
    authority: &Authority,
    exporter: &Exporter,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = Arc::new(authority.client(&[b"h2"]));
    let stream = TcpStream::connect(exporter.address).await?;
    let name = "localhost".try_into().unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    Ok(stream)
}

/// Sends a flood; the server may cut it off at any point.
async fn send(stream: TlsStream<TcpStream>, flood: &Flood) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        writer.write_all(PREFACE).await?;
        writer.write_all(&flood.first).await?;
        let mut bytes = Vec::new();
        for n in 0..flood.pieces {
            bytes.extend((flood.piece)(n));
            if bytes.len() > 16 << 10 || n + 1 == flood.pieces {
                writer.write_all(&bytes).await?;
                bytes.clear();
            }
        }
        writer.flush().await
    };
    let reading = async {
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    // The reader goes on as long as the writer; nothing is said about what the server answers to this.
    tokio::select! {
        _ = sending => {}
        () = async { tokio::join!(reading, std::future::pending::<()>()); } => {}
        () = tokio::time::sleep(Duration::from_secs(5)) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_are_bounded_and_others_are_served() {
    let (scratch, wechat, authority) = (Scratch::new(), Wechat::healthy().await, Authority::new());
    authority.issue("server", "localhost");
    authority.write(
        "web.yml",
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n",
    );
    let web_config = format!("--web.config.file={}", authority.path("web.yml").display());
    let exporter = Exporter::for_one_app(&scratch, &wechat, &[&web_config]);
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_backend_preconfigured(authority.client(&[b"http/1.1"]))
        .resolve("localhost", exporter.address)
        .build()
        .unwrap();
    let url = format!("https://localhost:{}/metrics", exporter.address.port());
    let scraping = Scraping::with(client.clone(), url.clone());
    for _ in 0..10 {
        client.get(&url).send().await.unwrap();
    }
    let at_rest = memory(exporter.process()).resident;

    for flood in floods() {
        let mut connections = JoinSet::new();
        let flood = Arc::new(flood);
        for _ in 0..rounds(4) {
            let stream = connect(&authority, &exporter).await.unwrap();
            let flood = Arc::clone(&flood);
            connections.spawn(async move { send(stream, &flood).await });
        }
        while connections.join_next().await.is_some() {}
        let peak = memory(exporter.process()).peak;
        assert!(
            peak < at_rest + MORE_MEMORY,
            "{}: {at_rest} KiB at rest, {peak} KiB after",
            flood.name
        );
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{}", flood.name);
    }
    scraping.all_were_answered().await;
    descriptors_fall_to(exporter.process(), 80).await;
    assert!(!exporter.log().contains("panic"), "{}", exporter.log());
}
