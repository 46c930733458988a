//! Client certificates: which clients must show one, and which certificates are accepted.

use std::net::IpAddr;
use std::sync::Arc;

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber, Tagged};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// The tag of a certificate's extensions.
const EXTENSIONS: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(3),
};

/// The identifier of the extension with subject alternative names, 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// A verifier that follows Go's `tls.ClientAuthType` and exporter-toolkit's `client_allowed_sans`.
#[derive(Debug)]
pub(super) struct ClientCertificates {
    pub(super) is_needed: bool,
    /// The verifier of the chain; `None` to accept any certificate whose key the client holds.
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    /// `None` to accept any name.
    pub(super) allowed_sans: Option<Vec<String>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
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
        let is_allowed = |allowed: &Vec<String>| {
            let names = subject_alt_names(end_entity).unwrap_or_default();
            names.iter().any(|name| allowed.contains(name))
        };
        if self.allowed_sans.as_ref().is_none_or(is_allowed) {
            Ok(ClientCertVerified::assertion())
        } else {
            let refused = CertificateError::ApplicationVerificationFailure;
            Err(Error::InvalidCertificate(refused))
        }
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

/// Returns the DNS names, e-mail addresses, URIs and IP addresses of a certificate, which exporter-toolkit compares
/// literally, or `None` if it has no such extension. Source: RFC 5280, appendix A.
fn subject_alt_names(certificate: &[u8]) -> Option<Vec<String>> {
    let certificate = AnyRef::from_der(certificate).ok()?;
    let to_be_signed = parts(certificate).next()?;
    let extensions = parts(to_be_signed).find(|part| part.tag() == EXTENSIONS)?;
    let is_of_names = |extension: &AnyRef<'_>| {
        let id = parts(*extension).next();
        id.is_some_and(|id| id.value() == SUBJECT_ALT_NAME)
    };
    let extension = parts(parts(extensions).next()?).find(is_of_names)?;
    // An octet string that contains the list of names.
    let content = parts(extension).last()?;
    let names = parts(content).next()?;
    Some(parts(names).filter_map(text).collect())
}

/// Returns the parts of a constructed value, up to the first that can't be read.
fn parts(constructed: AnyRef<'_>) -> impl Iterator<Item = AnyRef<'_>> {
    let mut reader = SliceReader::new(constructed.value()).ok();
    std::iter::from_fn(move || reader.as_mut()?.decode().ok())
}

fn text(name: AnyRef<'_>) -> Option<String> {
    let Tag::ContextSpecific { number, .. } = name.tag() else {
        return None;
    };
    let value = name.value();
    match number.0 {
        // An e-mail address, a DNS name or a URI.
        1 | 2 | 6 => str::from_utf8(value).ok().map(str::to_owned),
        7 => {
            let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from));
            Some(address.ok()?.to_canonical().to_string())
        }
        _ => None,
    }
}
