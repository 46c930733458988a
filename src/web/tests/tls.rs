use std::fs;

use rcgen::SanType;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{Authority, Issued};
use super::*;

impl Authority {
    /// Puts a fresh certificate for the server in place.
    fn issue_server(&self) -> CertificateDer<'static> {
        self.issue("server", "localhost").certificate
    }

    /// What a client with those names shows of itself.
    fn identity(&self, sans: &[SanType]) -> Issued {
        self.issue_with("client", "client.example", |params| {
            params.subject_alt_names = sans.to_vec();
        })
    }

    fn web_config(&self, more_tls: &str) {
        self.write(
            "web.yml",
            &format!(
                "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n{more_tls}"
            ),
        );
    }

    fn setup(&self, more_tls: &str) -> Setup {
        self.issue_server();
        self.web_config(more_tls);
        Setup::with_web_config(self.path("web.yml"))
    }

    async fn connect(
        &self,
        server: &Running,
        identity: Option<&Issued>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(Issued { certificate, key }) => builder
                .with_client_auth_cert(vec![certificate.clone()], key.clone_key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, server.connect().await)
            .await
    }

    /// Whether a client with this identity gets an answer. With TLS 1.3 a client learns only then that it is refused.
    async fn gets_in(&self, server: &Running, identity: Option<&Issued>) -> bool {
        let mut outcomes = Vec::new();
        for version in [&version::TLS13, &version::TLS12] {
            let answer = match self.connect(server, identity, &[version]).await {
                Ok(stream) => try_exchange(stream).await,
                Err(_) => String::new(),
            };
            outcomes.push(answer.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(
            outcomes[0], outcomes[1],
            "both versions of TLS have the same opinion"
        );
        outcomes[0]
    }
}

async fn try_exchange(mut stream: TlsStream<TcpStream>) -> String {
    let request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    match stream.write_all(request).await {
        Ok(()) => rest(&mut stream).await,
        Err(_) => String::new(),
    }
}

const BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];

#[tokio::test]
async fn https_is_served_and_plain_http_is_told_so() {
    let authority = Authority::new();
    let server = authority.setup("").start().await;
    assert!(authority.gets_in(&server, None).await);
    let answer = server.ask("GET /-/ready").await;
    assert_eq!(status(&answer), 400);
    assert_eq!(
        body(&answer),
        "Client sent an HTTP request to an HTTPS server.\n"
    );
}

#[tokio::test]
async fn client_auth_types_mean_what_they_mean_in_go() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (known, unknown) = (ours.identity(&[]), theirs.identity(&[]));
    let nobody: Option<&Issued> = None;
    for (auth_type, [known_in, unknown_in, nobody_in]) in [
        ("NoClientCert", [true, true, true]),
        ("RequestClientCert", [true, true, true]),
        ("RequireAnyClientCert", [true, true, false]),
        ("VerifyClientCertIfGiven", [true, false, true]),
        ("RequireAndVerifyClientCert", [true, false, false]),
    ] {
        let ca = if auth_type == "NoClientCert" {
            ""
        } else {
            "  client_ca_file: ca.pem\n"
        };
        let setup = ours.setup(&format!("  client_auth_type: {auth_type}\n{ca}"));
        let server = setup.start().await;
        assert_eq!(
            ours.gets_in(&server, Some(&known)).await,
            known_in,
            "{auth_type}"
        );
        // A client whose authority isn't on the server's list may keep its certificate to itself.
        let shown = ours.gets_in(&server, Some(&unknown)).await;
        assert_eq!(shown, unknown_in, "{auth_type}");
        assert_eq!(
            ours.gets_in(&server, nobody).await,
            nobody_in,
            "{auth_type}"
        );
    }
}

#[tokio::test]
async fn only_clients_with_a_listed_name_get_in() {
    let authority = Authority::new();
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let setup = authority.setup(
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
         client_allowed_sans: [prometheus.example, 10.0.0.1, \"2001:db8::1\", \
         spiffe://example/prometheus, ops@example]\n",
    );
    let server = setup.start().await;
    for (name, is_allowed) in [
        (dns("prometheus.example"), true),
        (SanType::IpAddress([10, 0, 0, 1].into()), true),
        (SanType::IpAddress("2001:db8::1".parse().unwrap()), true),
        (
            SanType::URI("spiffe://example/prometheus".try_into().unwrap()),
            true,
        ),
        (SanType::Rfc822Name("ops@example".try_into().unwrap()), true),
        (dns("Prometheus.example"), false),
        (dns("grafana.example"), false),
        (SanType::IpAddress([10, 0, 0, 2].into()), false),
    ] {
        let identity = authority.identity(&[dns("other.example"), name.clone()]);
        let gets_in = authority.gets_in(&server, Some(&identity)).await;
        assert_eq!(gets_in, is_allowed, "{name:?}");
    }
    let nameless = authority.identity(&[]);
    assert!(!authority.gets_in(&server, Some(&nameless)).await);
}

#[tokio::test]
async fn old_versions_are_refused_where_the_file_says_so() {
    let authority = Authority::new();
    let server = authority.setup("  min_version: TLS13\n").start().await;
    let tls12 = authority.connect(&server, None, &[&version::TLS12]).await;
    assert!(tls12.is_err());
    let tls13 = authority.connect(&server, None, &BOTH).await.unwrap();
    let version = tls13.get_ref().1.protocol_version();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn listed_cipher_and_curve_are_the_ones_used() {
    let authority = Authority::new();
    let setup = authority.setup(
        "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n  \
         curve_preferences: [CurveP384]\n",
    );
    let server = setup.start().await;
    let stream = authority
        .connect(&server, None, &[&version::TLS12])
        .await
        .unwrap();
    let connection = stream.get_ref().1;
    assert_eq!(
        connection.negotiated_cipher_suite().unwrap().suite(),
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
    );
    assert_eq!(
        connection.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::secp384r1
    );
}

#[tokio::test]
async fn certificate_that_is_replaced_on_disk_is_served_next() {
    let authority = Authority::new();
    let server = authority.setup("").start().await;
    for _ in 0..2 {
        let fresh = authority.issue_server();
        let stream = authority.connect(&server, None, &BOTH).await.unwrap();
        let served = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(*served, fresh);
    }
}

#[tokio::test]
async fn handshake_fails_while_the_configuration_is_bad() {
    let authority = Authority::new();
    let server = authority.setup("").start().await;
    let mut open = authority.connect(&server, None, &BOTH).await.unwrap();
    authority.web_config("  min_version: TLS99\n");
    assert!(!authority.gets_in(&server, None).await);
    // A connection that is open already learns of it too.
    open.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(status(&rest(&mut open).await), 500);

    authority.web_config("");
    assert!(authority.gets_in(&server, None).await);
    fs::remove_file(authority.path("server.key")).unwrap();
    assert!(!authority.gets_in(&server, None).await);
    authority.issue_server();
    assert!(authority.gets_in(&server, None).await);
    // Never plain HTTP where there was TLS.
    authority.write("web.yml", "");
    assert!(!authority.gets_in(&server, None).await);
}

#[tokio::test]
async fn handshake_that_does_not_go_on_is_cut_off() {
    let authority = Authority::new();
    let mut setup = authority.setup("");
    setup.limits.handshake = Duration::from_millis(50);
    let server = setup.start().await;
    assert_eq!(rest(&mut server.connect().await).await, "");
}

#[tokio::test]
async fn service_discovery_over_tls_names_the_scheme() {
    let authority = Authority::new();
    let mut setup = authority.setup("");
    setup.apps.push(app("wx1", "shop"));
    let server = setup.start().await;
    let mut stream = authority.connect(&server, None, &BOTH).await.unwrap();
    let request = b"GET /sd HTTP/1.1\r\nHost: localhost\r\n\r\n";
    within(stream.write_all(request)).await.unwrap();
    let answer = read_until(&mut stream, "]").await;
    assert!(answer.contains("\"__scheme__\":\"https\""), "{answer}");
}
