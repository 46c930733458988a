//! `tls_server_config` → what rustls serves with.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version,
};
use secrecy::{ExposeSecret, SecretString};
use serde_saphyr::{Location, Spanned};

use crate::config::{ConfigError, read_regular};
use crate::tls::system_roots;

use super::client_certificates::ClientCertificates;
use super::errors::FileErrors;
use super::file::{ClientAuth, Curve, FILE_MAX, Pem, PemSource, Tls, TlsVersion};

/// Reads certificates and key.
pub(super) fn server_config(
    tls: &Tls,
    errors: FileErrors<'_>,
) -> Result<ServerConfig, ConfigError> {
    let provider = Arc::new(provider(tls, errors)?);
    let versions: Vec<&'static SupportedProtocolVersion> = [
        (TlsVersion::Tls13, &version::TLS13),
        (TlsVersion::Tls12, &version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| (tls.min_version..=tls.max_version).contains(version))
    .map(|(_, version)| version)
    .collect();

    let certificates = certificates(&tls.certificate, "cert", errors)?;
    let key = private_key(&tls.key, errors)?;
    let verifier = client_certificates(tls, &provider, errors)?;

    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| {
            let text = format!(
                "cipher_suites and the TLS versions don't fit, {error}; remove cipher_suites"
            );
            errors.at(tls.certificate.location, &text)
        })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| {
            let what = format!(
                "can't be used with this key, {error}; give the two of one pair, with P-256, P-384, Ed25519 or RSA of \
                 2048 bits or more"
            );
            fault(&tls.certificate, "cert", errors, &what)
        })?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    // The next handshake has a configuration of its own, which could make nothing of a ticket of this one.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(config)
}

/// The cipher suites and curves asked for.
fn provider(tls: &Tls, errors: FileErrors<'_>) -> Result<CryptoProvider, ConfigError> {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        // As in Go: the list is one for TLS 1.2, and TLS 1.3 always has all of its own.
        provider
            .cipher_suites
            .retain(|suite| suite.tls13().is_some());
        for name in &tls.cipher_suites {
            let suite = cipher_suite(name, errors)?;
            if !provider.cipher_suites.contains(&suite) {
                provider.cipher_suites.push(suite);
            }
        }
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups = tls.curve_preferences.iter().map(curve).collect();
    }
    Ok(provider)
}

/// By its name in Go, which rustls has too, but for the prefix of TLS 1.3.
fn cipher_suite(
    name: &Spanned<String>,
    errors: FileErrors<'_>,
) -> Result<SupportedCipherSuite, ConfigError> {
    let served = ring::default_provider().cipher_suites;
    let names = served.iter().map(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.replacen("TLS13_", "TLS_", 1)
    });
    let names: Vec<String> = names.collect();
    match names.iter().position(|served| *served == name.value) {
        Some(index) => Ok(served[index]),
        None => {
            let text = format!(
                "the cipher suite {:?} is unknown or too weak to be served; remove it or use one of {}",
                name.value,
                names.join(", ")
            );
            Err(errors.at(name.referenced, &text))
        }
    }
}

fn curve(curve: &Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::X25519 => ring::kx_group::X25519,
        Curve::CurveP256 => ring::kx_group::SECP256R1,
        Curve::CurveP384 => ring::kx_group::SECP384R1,
    }
}

/// `None`: no certificate is asked for.
fn client_certificates(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    errors: FileErrors<'_>,
) -> Result<Option<ClientCertificates>, ConfigError> {
    let (is_needed, is_verified) = match tls.client_auth {
        ClientAuth::Unset | ClientAuth::NoClientCert | ClientAuth::RequestClientCert => {
            return Ok(None);
        }
        ClientAuth::RequireAnyClientCert => (true, false),
        ClientAuth::VerifyClientCertIfGiven => (false, true),
        ClientAuth::RequireAndVerifyClientCert => (true, true),
    };
    let chain = is_verified.then(|| client_chain(tls, provider, errors));
    Ok(Some(ClientCertificates {
        is_needed,
        chain: chain.transpose()?,
        allowed_sans: tls.client_allowed_sans.clone(),
        provider: Arc::clone(provider),
    }))
}

fn client_chain(
    tls: &Tls,
    provider: &Arc<CryptoProvider>,
    errors: FileErrors<'_>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let roots = match &tls.client_ca {
        Some(pem) => authorities(pem, errors)?,
        // As in Go: without authorities of one's own the system's are trusted. Where it has none, the verifier says so.
        None => system_roots().unwrap_or_else(|_| RootCertStore::empty()),
    };
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| {
            let text =
                format!("clients' certificates can't be verified, {error}; give client_ca_file");
            errors.at(Location::UNKNOWN, &text)
        })
}

fn authorities(pem: &Pem, errors: FileErrors<'_>) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, "client_ca", errors)? {
        roots.add(certificate).map_err(|error| {
            let what = format!("holds a certificate that can't be an authority, {error}");
            fault(pem, "client_ca", errors, &what)
        })?;
    }
    Ok(roots)
}

fn certificates(
    pem: &Pem,
    key: &str,
    errors: FileErrors<'_>,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read(pem, key, errors)?;
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.expose_secret().as_bytes()).collect();
    match found {
        Ok(certificates) if certificates.is_empty() => {
            let what =
                "holds no certificate; it must be PEM, beginning with -----BEGIN CERTIFICATE-----";
            Err(fault(pem, key, errors, what))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => {
            let what = format!("is damaged, {error}; copy it anew");
            Err(fault(pem, key, errors, &what))
        }
    }
}

fn private_key(pem: &Pem, errors: FileErrors<'_>) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let text = read(pem, "key", errors)?;
    // The reason isn't told: it could quote the key.
    PrivateKeyDer::from_pem_slice(text.expose_secret().as_bytes()).map_err(|_| {
        let what = "holds no private key; it must be PEM without a passphrase";
        fault(pem, "key", errors, what)
    })
}

fn fault(pem: &Pem, key: &str, errors: FileErrors<'_>, what: &str) -> ConfigError {
    let text = match &pem.source {
        PemSource::File(path) => format!("{key}_file {} {what}", path.display()),
        PemSource::Inline(_) => format!("{key} {what}"),
    };
    errors.at(pem.location, &text)
}

fn read(pem: &Pem, key: &str, errors: FileErrors<'_>) -> Result<SecretString, ConfigError> {
    match &pem.source {
        PemSource::Inline(text) => Ok(text.clone()),
        PemSource::File(path) => match read_regular(path, FILE_MAX) {
            // PEM is ASCII; whatever else stands there is outside of the blocks.
            Ok((bytes, _)) => Ok(String::from_utf8_lossy(&bytes).into_owned().into()),
            Err(error) => {
                let what = format!("can't be read, {error}; correct the path or its permissions");
                Err(fault(pem, key, errors, &what))
            }
        },
    }
}
