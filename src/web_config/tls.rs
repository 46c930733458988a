//! Converts `tls_server_config` to the configuration of rustls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use secrecy::{ExposeSecret, SecretSlice};

use crate::config::yaml::YamlFile;
use crate::config::{ConfigError, read_regular};
use crate::tls::system_roots;

use super::client_certificates::ClientCertificates;
use super::file::{ClientAuth, Curve, FILE_MAX, Pem, PemSource, Tls, TlsVersion};

/// Reads the certificates and the key and returns the configuration. `yaml`: the web configuration.
pub(super) fn server_config(tls: &Tls, yaml: &YamlFile) -> Result<ServerConfig, ConfigError> {
    let provider = Arc::new(provider(tls, yaml)?);
    let versions: Vec<&'static SupportedProtocolVersion> = [
        (TlsVersion::Tls13, &version::TLS13),
        (TlsVersion::Tls12, &version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| tls.versions().contains(version))
    .map(|(_, version)| version)
    .collect();

    let [certificate, key] = [tls.certificate(), tls.private_key()]
        .map(|pem| pem.expect("a section without both is not taken"));
    let certificates = certificates(&certificate, yaml)?;
    let key = private_key(&key, yaml)?;
    let verifier = client_certificates(tls, &provider, yaml)?;

    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| {
            let problem = format!(
                "has cipher_suites that don't fit the TLS versions, {error}; remove cipher_suites"
            );
            yaml.mistake("tls_server_config", problem)
        })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| {
            let problem = format!(
                "can't be used with this key, {error}; give the two of one pair, with P-256, P-384, Ed25519 or RSA of \
                 2048 bits or more"
            );
            fault(&certificate, yaml, &problem)
        })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites.unwrap_or(true);
    // The next handshake has a configuration of its own, which couldn't use a ticket of this one.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// Returns a provider with the configured cipher suites and curves.
fn provider(tls: &Tls, yaml: &YamlFile) -> Result<CryptoProvider, ConfigError> {
    let mut provider = ring::default_provider();
    let names = tls.cipher_suites.as_deref().unwrap_or_default();
    if !names.is_empty() {
        // As in Go, the list applies to TLS 1.2, and TLS 1.3 always has all of its suites.
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
    }
    for (index, name) in names.iter().enumerate() {
        let suite = cipher_suite(name).map_err(|problem| {
            let key = "tls_server_config.cipher_suites";
            yaml.mistake_at(&format!("{key}[{index}]"), key, problem)
        })?;
        if !provider.cipher_suites.contains(&suite) {
            provider.cipher_suites.push(suite);
        }
    }
    let curves = tls.curve_preferences.as_deref().unwrap_or_default();
    if !curves.is_empty() {
        provider.kx_groups = curves.iter().map(curve).collect();
    }
    Ok(provider)
}

/// Looks up a cipher suite by its name in Go, which is also its name in rustls, except for the prefix of TLS 1.3.
fn cipher_suite(name: &str) -> Result<SupportedCipherSuite, String> {
    let served = ring::default_provider().cipher_suites;
    let names = served.iter().map(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.replacen("TLS13_", "TLS_", 1)
    });
    let names: Vec<String> = names.collect();
    let place = names.iter().position(|served| *served == name);
    place.map(|place| served[place]).ok_or_else(|| {
        format!(
            "has the unknown or too weak {name:?}; remove it or use one of {}",
            names.join(", ")
        )
    })
}

fn curve(curve: &Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::X25519 => ring::kx_group::X25519,
        Curve::CurveP256 => ring::kx_group::SECP256R1,
        Curve::CurveP384 => ring::kx_group::SECP384R1,
    }
}

/// Returns the verifier of client certificates, or `None` if no certificate is requested.
fn client_certificates(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    yaml: &YamlFile,
) -> Result<Option<ClientCertificates>, ConfigError> {
    let (is_needed, is_verified) = match tls.client_auth() {
        ClientAuth::Unset | ClientAuth::NoClientCert | ClientAuth::RequestClientCert => {
            return Ok(None);
        }
        ClientAuth::RequireAnyClientCert => (true, false),
        ClientAuth::VerifyClientCertIfGiven => (false, true),
        ClientAuth::RequireAndVerifyClientCert => (true, true),
    };
    let chain = is_verified.then(|| client_chain(tls, provider, yaml));
    Ok(Some(ClientCertificates {
        is_needed,
        chain: chain.transpose()?,
        allowed_sans: tls.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    }))
}

fn client_chain(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    yaml: &YamlFile,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let roots = match tls.client_ca() {
        Some(pem) => authorities(&pem, yaml)?,
        // As in Go, the default is the system's authorities. If the system has none, the verifier says so.
        None => system_roots().unwrap_or_else(|_| RootCertStore::empty()),
    };
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| {
            let problem =
                format!("can't verify clients' certificates, {error}; give client_ca_file");
            yaml.mistake("tls_server_config", problem)
        })
}

fn authorities(pem: &Pem<'_>, yaml: &YamlFile) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, yaml)? {
        roots.add(certificate).map_err(|error| {
            let problem = format!("holds a certificate that can't be an authority, {error}");
            fault(pem, yaml, &problem)
        })?;
    }
    Ok(roots)
}

fn certificates(
    pem: &Pem<'_>,
    yaml: &YamlFile,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let content = read(pem, yaml)?;
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(content.expose_secret()).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            let problem =
                "holds no certificate; it must be PEM, beginning with -----BEGIN CERTIFICATE-----";
            Err(fault(pem, yaml, problem))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => {
            let problem = format!("is damaged, {error}; copy it anew");
            Err(fault(pem, yaml, &problem))
        }
    }
}

fn private_key(pem: &Pem<'_>, yaml: &YamlFile) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let content = read(pem, yaml)?;
    // The error is left out, because it could quote the key.
    PrivateKeyDer::from_pem_slice(content.expose_secret()).map_err(|_| {
        let problem = "holds no private key; it must be PEM without a passphrase";
        fault(pem, yaml, problem)
    })
}

fn fault(pem: &Pem<'_>, yaml: &YamlFile, problem: &str) -> ConfigError {
    let problem = match pem.source {
        PemSource::File(file) => format!("{} {problem}", from_folder(&yaml.path, file).display()),
        PemSource::Inline(_) => problem.to_owned(),
    };
    yaml.mistake(&pem.key, problem)
}

fn read(pem: &Pem<'_>, yaml: &YamlFile) -> Result<SecretSlice<u8>, ConfigError> {
    match pem.source {
        PemSource::Inline(pem) => Ok(pem.expose_secret().as_bytes().to_vec().into()),
        PemSource::File(file) => match read_regular(&from_folder(&yaml.path, file), FILE_MAX) {
            Ok((content, _)) => Ok(content.into()),
            Err(error) => {
                let problem =
                    format!("can't be read, {error}; correct the path or its permissions");
                Err(fault(pem, yaml, &problem))
            }
        },
    }
}

/// Resolves a relative path against the folder of the web configuration.
fn from_folder(path: &Path, file: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).join(file)
}
