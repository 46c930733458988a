//! Clients' certificates: who is asked for one, and which are good.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Decides over a client's certificate as Go's `tls.ClientAuthType` and exporter-toolkit's `client_allowed_sans` do.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    pub(super) is_needed: bool,
    /// Verifies the chain; `None`: any certificate will do whose key the client holds.
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    /// `None`: any name.
    pub(super) allowed_sans: Option<Vec<String>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertificates {
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
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
