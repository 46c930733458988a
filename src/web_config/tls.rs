//! `tls_server_config` → what rustls serves with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use secrecy::{ExposeSecret, SecretString};
use serde_saphyr::Spanned;

use crate::config::{ConfigError, read_regular};
use crate::tls::system_roots;

use super::FILE_MAX;
use super::client::ClientCertificates;
use super::file::{Pem, PemSource, Tls, TlsVersion};
use super::place::Place;

/// exporter-toolkit's names of the cipher suites (Go's), and the suites; `None`: Go has it, rustls has not.
///
/// What rustls leaves out has no forward secrecy or uses CBC.
const CIPHER_SUITES: [(&str, Option<SupportedCipherSuite>); 22] = {
    use ring::cipher_suite as suite;
    [
        (
            "TLS_AES_128_GCM_SHA256",
            Some(suite::TLS13_AES_128_GCM_SHA256),
        ),
        (
            "TLS_AES_256_GCM_SHA384",
            Some(suite::TLS13_AES_256_GCM_SHA384),
        ),
        (
            "TLS_CHACHA20_POLY1305_SHA256",
            Some(suite::TLS13_CHACHA20_POLY1305_SHA256),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            Some(suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            Some(suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
        ),
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            Some(suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            Some(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
        ),
        (
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            Some(suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
        ),
        (
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            Some(suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
        ),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", None),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", None),
        ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_128_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_256_CBC_SHA", None),
        ("TLS_RSA_WITH_AES_128_CBC_SHA256", None),
        ("TLS_RSA_WITH_AES_128_GCM_SHA256", None),
        ("TLS_RSA_WITH_AES_256_GCM_SHA384", None),
        ("TLS_RSA_WITH_3DES_EDE_CBC_SHA", None),
    ]
};

/// The files a TLS configuration is made of.
pub(super) fn files(tls: &Tls) -> Vec<PathBuf> {
    [
        Some(&tls.certificate),
        Some(&tls.key),
        tls.client_ca.as_ref(),
    ]
    .into_iter()
    .flatten()
    .filter_map(|pem| match &pem.source {
        PemSource::File(path) => Some(path.clone()),
        PemSource::Inline(_) => None,
    })
    .collect()
}

/// Reads certificates and key. `path` is the web configuration's, for errors.
pub(super) fn server_config(tls: &Tls, path: &Path) -> Result<ServerConfig, ConfigError> {
    let place = Place(path);
    let provider = Arc::new(provider(tls, place)?);
    let versions: Vec<&'static SupportedProtocolVersion> = [
        (TlsVersion::Tls13, &version::TLS13),
        (TlsVersion::Tls12, &version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
    .map(|(_, version)| version)
    .collect();

    let certificates = certificates(&tls.certificate, "cert", place)?;
    let key = private_key(&tls.key, place)?;
    let verifier = client_certificates(tls, &provider, place)?;

    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| {
            let text = format!(
                "cipher_suites and the TLS versions don't fit, {error}; remove cipher_suites"
            );
            place.error(tls.certificate.location, &text)
        })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| {
            let what = format!("can't be used with this key, {error}; give the two of one pair");
            fault(&tls.certificate, "cert", place, &what)
        })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// The cipher suites and curves asked for.
fn provider(tls: &Tls, place: Place<'_>) -> Result<CryptoProvider, ConfigError> {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        // As in Go: the list is one for TLS 1.2, and TLS 1.3 always has all of its own.
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        for name in &tls.cipher_suites {
            let suite = cipher_suite(name, place)?;
            if !provider.cipher_suites.contains(&suite) {
                provider.cipher_suites.push(suite);
            }
        }
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups = tls
            .curve_preferences
            .iter()
            .map(|name| curve(name, place))
            .collect::<Result<_, _>>()?;
    }
    Ok(provider)
}

fn cipher_suite(
    name: &Spanned<String>,
    place: Place<'_>,
) -> Result<SupportedCipherSuite, ConfigError> {
    let found = CIPHER_SUITES.iter().find(|(known, _)| *known == name.value);
    let problem = match found {
        Some((_, Some(suite))) => return Ok(*suite),
        Some((_, None)) => "is not served, it is too weak",
        None => "is unknown",
    };
    let served: Vec<&str> = CIPHER_SUITES
        .iter()
        .filter(|(_, suite)| suite.is_some())
        .map(|(name, _)| *name)
        .collect();
    let text = format!(
        "the cipher suite {:?} {problem}; remove it or use one of {}",
        name.value,
        served.join(", ")
    );
    Err(place.error(name.referenced, &text))
}

fn curve(
    name: &Spanned<String>,
    place: Place<'_>,
) -> Result<&'static dyn SupportedKxGroup, ConfigError> {
    let problem = match name.value.as_str() {
        "X25519" => return Ok(ring::kx_group::X25519),
        "CurveP256" => return Ok(ring::kx_group::SECP256R1),
        "CurveP384" => return Ok(ring::kx_group::SECP384R1),
        "CurveP521" => "is not served",
        _ => "is unknown",
    };
    let text = format!(
        "the curve {:?} {problem}; remove it or use X25519, CurveP256 or CurveP384",
        name.value
    );
    Err(place.error(name.referenced, &text))
}

fn client_certificates(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    place: Place<'_>,
) -> Result<Option<ClientCertificates>, ConfigError> {
    let roots = || match &tls.client_ca {
        Some(pem) => authorities(pem, place),
        // As in Go: without authorities of one's own the system's are trusted.
        // Where it has none, the verifier says so.
        None => Ok(system_roots().unwrap_or_else(|_| RootCertStore::empty())),
    };
    let allowed_sans = tls.client_allowed_sans.clone();
    ClientCertificates::new(tls.client_auth, roots, allowed_sans, provider, place)
}

fn authorities(pem: &Pem, place: Place<'_>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "client_ca", place)? {
        roots.add(certificate).map_err(|error| {
            let what = format!("holds a certificate that can't be an authority, {error}");
            fault(pem, "client_ca", place, &what)
        })?;
    }
    Ok(roots)
}

fn certificates(
    pem: &Pem,
    key: &str,
    place: Place<'_>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read(pem, key, place)?;
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            let what =
                "holds no certificate; it must be PEM, beginning with -----BEGIN CERTIFICATE-----";
            Err(fault(pem, key, place, what))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => {
            let what = format!("is damaged, {error}; copy it anew");
            Err(fault(pem, key, place, &what))
        }
    }
}

fn private_key(pem: &Pem, place: Place<'_>) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let text = read(pem, "key", place)?;
    // The reason isn't told: it could quote the key.
    PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes()).map_err(|_| {
        let what = "holds no private key; it must be PEM without a passphrase";
        fault(pem, "key", place, what)
    })
}

fn fault(pem: &Pem, key: &str, place: Place<'_>, what: &str) -> ConfigError {
    let text = match &pem.source {
        PemSource::File(path) => format!("{key}_file {} {what}", path.display()),
        PemSource::Inline(_) => format!("{key} {what}"),
    };
    place.error(pem.location, &text)
}

fn read(pem: &Pem, key: &str, place: Place<'_>) -> Result<SecretString, ConfigError> {
    match &pem.source {
        PemSource::Inline(text) => Ok(text.clone()),
        PemSource::File(path) => match read_regular(path, FILE_MAX) {
            // PEM is ASCII; whatever else stands there is outside of the blocks.
            Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned().into()),
            Err(error) => {
                let what = format!("can't be read, {error}; correct the path or its permissions");
                Err(fault(pem, key, place, &what))
            }
        },
    }
}
