//! An API whose certificate is wrong gets no token, and its app a counted reason.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::certificates::{Authority, Issued};
use crate::raw_api::*;
use crate::support::*;

fn acceptor(issued: Issued) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate], issued.key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Scrapes an exporter that trusts `authority` alone.
async fn page_of(authority: &Authority, api_url: &str) -> (Page, String) {
    let scratch = Scratch::new();
    let mut command = program();
    command
        .args(one_app(&scratch, api_url))
        .args([
            "--web.listen-address=127.0.0.1:0",
            "--log.level=trace",
            "--wechat.timeout=3s",
        ])
        .env("SSL_CERT_FILE", authority.path("ca.pem"))
        .env_remove("SSL_CERT_DIR");
    let mut exporter = Exporter::spawn(command);
    let page = exporter.scrape().await;
    signal(exporter.process(), "TERM");
    exporter.ended();
    (page, exporter.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_certificate_is_a_failure_of_the_network_and_the_secret_stays_here() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let long_ago = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    for (name, issued) in [
        ("from a stranger", stranger.issue("api", "localhost")),
        (
            "of another host",
            authority.issue("api", "elsewhere.example"),
        ),
        (
            "expired",
            authority.issue_with("api", "localhost", long_ago),
        ),
    ] {
        let api = RawApi::behind(acceptor(issued)).await;
        let url = format!("https://localhost:{}", api.address.port());
        let (page, log) = page_of(&authority, &url).await;
        assert_eq!(page.up(APPID), Some(0.0), "{name}");
        assert_eq!(
            page.failures("stable_token", "network"),
            1.0,
            "{name}: {log}"
        );
        let lines = log.lines().filter(|line| line.contains("fetch failed"));
        assert_eq!(lines.count(), 1, "{name}: {log}");
        assert!(log.contains("ertificate"), "{name}: {log}");
        assert!(!log.contains("canary"), "{name}: {log}");
    }

    let api = RawApi::behind(acceptor(authority.issue("api", "localhost"))).await;
    let url = format!("https://localhost:{}", api.address.port());
    let (page, log) = page_of(&authority, &url).await;
    assert_eq!(page.up(APPID), Some(1.0), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_to_a_port_that_speaks_no_tls_fails_and_so_does_http_to_one_that_does() {
    let authority = Authority::new();
    let plain = RawApi::start().await;
    let encrypted = RawApi::behind(acceptor(authority.issue("api", "localhost"))).await;
    for url in [
        format!("https://localhost:{}", plain.address.port()),
        format!("http://localhost:{}", encrypted.address.port()),
    ] {
        let (page, log) = page_of(&authority, &url).await;
        assert_eq!(page.up(APPID), Some(0.0), "{url}");
        // One that waits for an HTTP request to end never answers a handshake.
        let counted =
            page.failures("stable_token", "network") + page.failures("stable_token", "timeout");
        assert_eq!(counted, 1.0, "{url}: {log}");
        assert!(!log.contains("canary"), "{url}: {log}");
    }
}
