//! How the exporter's own calls verify servers: by the root certificates that the system trusts.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// No root certificate was found to verify a server's certificate with.
#[derive(Debug, thiserror::Error)]
#[error(
    "no root certificate was found, which https needs; install the system's ca-certificates or let SSL_CERT_FILE name \
     a file of them"
)]
pub struct NoRoots(#[source] Option<rustls_native_certs::Error>);

/// Returns the root certificates that the system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
///
/// # Errors
/// Fails if there are none.
pub(crate) fn system_roots() -> Result<RootCertStore, NoRoots> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(NoRoots(found.errors.pop()));
    }
    Ok(roots)
}

/// Returns a client configuration that trusts only `roots`.
pub(crate) fn trusting(roots: RootCertStore) -> ClientConfig {
    // Passed explicitly, because the process has no default provider in tests.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth()
}
