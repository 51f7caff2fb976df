//! A server's key, put to use beside TLS, and what it signed, checked.
//!
//! It is the key that signs TLS handshakes. What is signed here begins with `floe/1`; what TLS 1.3
//! signs begins with 64 spaces: neither can be taken for the other.

use super::{Identity, KeyPin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use floe_types::{Code, Fault};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::Signer as KeySigner;

/// Signs for a server.
#[derive(Debug)]
pub struct Signer {
    signer: Box<dyn KeySigner>,
    scheme: u16,
    key: Vec<u8>,
    pin: KeyPin,
}

impl Signer {
    /// With the key of an identity.
    ///
    /// # Errors
    /// `Tls`: the key is of a kind that is not supported.
    pub fn new(identity: &Identity) -> Result<Self, Fault> {
        let fail = |why: &str| Fault::new(Code::Tls, format!("use the server's key: {why}"));
        let key = any_supported_type(identity.key()).map_err(|_| fail("it is of no known kind"))?;
        let offered = SCHEMES.map(|(number, _)| SignatureScheme::from(number));
        let signer = key.choose_scheme(&offered).ok_or_else(|| fail("it signs in no known way"))?;
        let scheme = u16::from(signer.scheme());
        Ok(Self { signer, scheme, key: identity.public_key()?, pin: identity.pin() })
    }

    /// By which clients know the key.
    #[must_use]
    pub const fn pin(&self) -> KeyPin {
        self.pin
    }

    /// The public key: SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// How it signs: a SignatureScheme of TLS 1.3.
    #[must_use]
    pub const fn scheme(&self) -> u16 {
        self.scheme
    }

    /// Signs a message, which says what it is for.
    ///
    /// # Errors
    /// `Other`: the key cannot be used.
    pub(crate) fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let signature = self.signer.sign(message);
        signature.map_err(|error| Fault::new(Code::Other, format!("sign: {error}")))
    }
}

/// Whether a key signed a message in this way.
pub(crate) fn is_signed(key: &[u8], scheme: u16, signature: &[u8], message: &[u8]) -> bool {
    let Some((_, algorithm)) = SCHEMES.iter().find(|(number, _)| *number == scheme) else {
        return false;
    };
    UnparsedPublicKey::new(*algorithm, key).verify(message, signature).is_ok()
}

/// The schemes of TLS 1.3 that keys of servers have, by their numbers there.
const SCHEMES: [(u16, &dyn VerificationAlgorithm); 5] = [
    (0x0403, &ECDSA_P256_SHA256_ASN1),
    (0x0503, &ECDSA_P384_SHA384_ASN1),
    (0x0603, &ECDSA_P521_SHA512_ASN1),
    (0x0807, &ED25519),
    (0x0804, &RSA_PSS_2048_8192_SHA256),
];
