//! Clients' certificates: who is asked for one, and which are good.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};
use serde_saphyr::Location;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::ConfigError;

use super::errors::FileErrors;
use super::file::ClientAuth;

/// Decides over a client's certificate as Go's `tls.ClientAuthType` and exporter-toolkit's `client_allowed_sans` do.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    is_needed: bool,
    /// Verifies the chain; `None`: any certificate will do whose key the client holds.
    chain: Option<Arc<dyn ClientCertVerifier>>,
    /// `None`: any name.
    allowed_sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertificates {
    /// `None`: no certificate is asked for. `roots` is only called where a chain must be verified.
    pub(super) fn new(
        auth: ClientAuth,
        roots: impl FnOnce() -> Result<RootCertStore, ConfigError>,
        allowed_sans: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
        errors: FileErrors<'_>,
    ) -> Result<Option<Self>, ConfigError> {
        let (is_needed, is_verified) = match auth {
            ClientAuth::Unset | ClientAuth::NoClientCert | ClientAuth::RequestClientCert => {
                return Ok(None);
            }
            ClientAuth::RequireAnyClientCert => (true, false),
            ClientAuth::VerifyClientCertIfGiven => (false, true),
            ClientAuth::RequireAndVerifyClientCert => (true, true),
        };
        let chain = if is_verified {
            let roots = Arc::new(roots()?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let chain = builder.build().map_err(|error| {
                let text = format!(
                    "clients' certificates can't be verified, {error}; give client_ca_file"
                );
                errors.at(Location::UNKNOWN, &text)
            })?;
            Some(chain)
        } else {
            None
        };
        Ok(Some(Self {
            is_needed,
            chain,
            allowed_sans,
            provider: Arc::clone(provider),
        }))
    }

    fn is_allowed(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_sans else {
            return Ok(());
        };
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let is_listed = names.is_some_and(|names| {
            names
                .value
                .general_names
                .iter()
                .any(|name| is_in(name, allowed))
        });
        if is_listed {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }
}

/// Whether the name is one of these, letter by letter, as exporter-toolkit compares DNS names, e-mail addresses, IP
/// addresses and URIs.
fn is_in(name: &GeneralName<'_>, allowed: &[String]) -> bool {
    let has = |name: &str| allowed.iter().any(|allowed| allowed == name);
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            has(name)
        }
        GeneralName::IPAddress(octets) => {
            if let Ok(v4) = <[u8; 4]>::try_from(*octets) {
                has(&Ipv4Addr::from(v4).to_string())
            } else if let Ok(v6) = <[u8; 16]>::try_from(*octets) {
                has(&Ipv6Addr::from(v6).to_string())
            } else {
                false
            }
        }
        _ => false,
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain
            .as_ref()
            .map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.is_allowed(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
