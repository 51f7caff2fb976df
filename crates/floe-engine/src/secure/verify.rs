//! The client's only question to a certificate: is its key the pinned one?
//!
//! Names, dates, issuers and key usage are ignored on purpose: the pin says more than all of them.
//! The handshake signature is checked for real, so the server proves that it holds the key.

use crate::identity::KeyPin;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// The server's key is not the pinned one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyMismatch {
    /// The key it showed.
    pub found: KeyPin,
}

impl fmt::Display for KeyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server's key is {}", self.found)
    }
}

impl std::error::Error for KeyMismatch {}

#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: KeyPin,
    provider: Arc<CryptoProvider>,
}

impl PinVerifier {
    pub(super) fn new(pin: KeyPin, provider: Arc<CryptoProvider>) -> Self {
        Self { pin, provider }
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = KeyPin::of_certificate(end_entity)?;
        if found == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let mismatch = OtherError(Arc::new(KeyMismatch { found }));
        Err(Error::InvalidCertificate(CertificateError::Other(mismatch)))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
