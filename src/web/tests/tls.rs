use std::fs;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A self-signed certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    fn new(sans: &[SanType]) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.subject_alt_names = sans.to_vec();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, key }
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// A server's web configuration, its certificate, and those of the clients that it knows.
struct World {
    folder: TempDir,
    server: Identity,
}

impl World {
    /// Starts a server that knows these clients, with these TLS settings.
    async fn serving(known: &[&Identity], more_tls: &str) -> (Self, Running) {
        let (world, setup) = Self::setup(known, more_tls);
        (world, setup.start().await)
    }

    fn setup(known: &[&Identity], more_tls: &str) -> (Self, Setup) {
        let mut world = Self {
            folder: tempfile::tempdir().unwrap(),
            server: Identity::new(&[]),
        };
        world.replace_certificate();
        let known = known.iter().map(|client| client.certificate.pem());
        world.write("ca.pem", &known.collect::<String>());
        world.web_config(more_tls);
        let setup = Setup::with_web_config(world.folder.path().join("web.yml"));
        (world, setup)
    }

    /// Replaces a file atomically, as careful administrators do.
    fn write(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    fn web_config(&self, more_tls: &str) {
        let files = "  cert_file: server.pem\n  key_file: server.key\n";
        self.write("web.yml", &format!("tls_server_config:\n{files}{more_tls}"));
    }

    /// Gives the server a new certificate.
    fn replace_certificate(&mut self) {
        self.server = Identity::new(&[dns("localhost")]);
        self.write("server.key", &self.server.key.serialize_pem());
        self.write("server.pem", &self.server.certificate.pem());
    }

    async fn connect(
        &self,
        server: &Running,
        client: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.server.certificate.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match client {
            Some(Identity { certificate, key }) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                let certificate = vec![certificate.der().clone()];
                builder.with_client_auth_cert(certificate, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, server.connect().await)
            .await
    }

    /// Reports whether the client gets an answer. With TLS 1.3 a client doesn't learn of a refusal before that.
    async fn gets_in(&self, server: &Running, client: Option<&Identity>) -> bool {
        let mut outcomes = Vec::new();
        for version in BOTH {
            let answer = match self.connect(server, client, &[version]).await {
                Ok(stream) => try_exchange(stream).await,
                Err(_) => String::new(),
            };
            outcomes.push(answer.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(outcomes[0], outcomes[1], "both versions of TLS agree");
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
    let (world, server) = World::serving(&[], "").await;
    assert!(world.gets_in(&server, None).await);
    let answer = server.ask("GET /-/ready").await;
    assert_eq!(status(&answer), 400);
    let sentence = "Client sent an HTTP request to an HTTPS server.\n";
    assert_eq!(body(&answer), sentence);
}

#[tokio::test]
async fn client_auth_types_mean_what_they_mean_in_go() {
    let (known, unknown) = (Identity::new(&[]), Identity::new(&[]));
    for (auth_type, admitted) in [
        ("NoClientCert", [true, true, true]),
        ("RequestClientCert", [true, true, true]),
        ("RequireAnyClientCert", [true, true, false]),
        ("VerifyClientCertIfGiven", [true, false, true]),
        ("RequireAndVerifyClientCert", [true, false, false]),
    ] {
        let ca = match auth_type {
            "NoClientCert" => "",
            _ => "  client_ca_file: ca.pem\n",
        };
        let more_tls = format!("  client_auth_type: {auth_type}\n{ca}");
        let (world, server) = World::serving(&[&known], &more_tls).await;
        let clients = [Some(&known), Some(&unknown), None];
        for (client, is_admitted) in clients.into_iter().zip(admitted) {
            let gets_in = world.gets_in(&server, client).await;
            assert_eq!(gets_in, is_admitted, "{auth_type}");
        }
    }
}

#[tokio::test]
async fn only_clients_with_a_listed_name_get_in() {
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let mail = |address: &str| SanType::Rfc822Name(address.try_into().unwrap());
    let ip = |address: &str| SanType::IpAddress(address.parse().unwrap());
    let clients = [
        (dns("prometheus.example"), true),
        (ip("10.0.0.1"), true),
        (ip("2001:db8::1"), true),
        // Go formats an IPv4-mapped IPv6 address as IPv4.
        (ip("::ffff:10.0.0.1"), true),
        (uri("spiffe://example/prometheus"), true),
        (mail("ops@example"), true),
        (dns("Prometheus.example"), false),
        (dns("grafana.example"), false),
        (ip("10.0.0.2"), false),
    ];
    let with = |name: &SanType| Identity::new(&[dns("other.example"), name.clone()]);
    let clients = clients.map(|(name, is_allowed)| (with(&name), is_allowed, name));
    let known: Vec<_> = clients.iter().map(|(client, ..)| client).collect();
    let listed = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  \
                  client_allowed_sans: [prometheus.example, 10.0.0.1, \"2001:db8::1\", \
                  spiffe://example/prometheus, ops@example]\n";
    let (world, server) = World::serving(&known, listed).await;
    for (client, is_allowed, name) in &clients {
        let gets_in = world.gets_in(&server, Some(client)).await;
        assert_eq!(gets_in, *is_allowed, "{name:?}");
    }
}

#[tokio::test]
async fn listed_version_cipher_and_curve_are_the_ones_used() {
    let (world, server) = World::serving(&[], "  min_version: TLS13\n").await;
    let tls12 = world.connect(&server, None, &[&version::TLS12]).await;
    assert!(tls12.is_err());
    assert!(world.connect(&server, None, &BOTH).await.is_ok());

    let more_tls = "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n  \
                    curve_preferences: [CurveP384]\n";
    let (world, server) = World::serving(&[], more_tls).await;
    let stream = world.connect(&server, None, &[&version::TLS12]).await;
    let stream = stream.unwrap();
    let connection = stream.get_ref().1;
    let cipher = connection.negotiated_cipher_suite().unwrap().suite();
    let chacha = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(cipher, chacha);
    let curve = connection.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(curve, rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn handshake_fails_while_the_configuration_is_bad() {
    let (mut world, server) = World::serving(&[], "").await;
    let open = world.connect(&server, None, &BOTH).await.unwrap();
    world.web_config("  min_version: TLS99\n");
    assert!(!world.gets_in(&server, None).await);
    // A connection that is already open is affected too.
    assert_eq!(status(&try_exchange(open).await), 500);

    world.web_config("");
    assert!(world.gets_in(&server, None).await);
    fs::remove_file(world.folder.path().join("server.key")).unwrap();
    assert!(!world.gets_in(&server, None).await);
    world.replace_certificate();
    assert!(world.gets_in(&server, None).await);
    // A server that served TLS never falls back to plain HTTP.
    world.write("web.yml", "");
    assert!(!world.gets_in(&server, None).await);
}

#[tokio::test]
async fn handshake_that_does_not_go_on_is_cut_off() {
    let (_world, mut setup) = World::setup(&[], "");
    setup.limits.handshake = Duration::from_millis(50);
    let server = setup.start().await;
    assert_eq!(rest(&mut server.connect().await).await, "");
}
