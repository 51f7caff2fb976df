//! The server's identity key, used for receipts and checked.
//!
//! It is the key that signs TLS handshakes. What is signed here begins with `floe/1 receipt`; what
//! TLS 1.3 signs begins with 64 spaces: neither can be taken for the other.

use super::statement::Statement;
use super::tree::{Hash, Tree};
use crate::identity::{Identity, KeyPin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use floe_proto::frame::{RECEIPT_LEAVES_MAX, Receipt};
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

    /// Signs for objects of a batch, at most `RECEIPT_LEAVES_MAX`; nothing without any. All have
    /// the time and the ticket of the first.
    ///
    /// # Errors
    /// `LimitExceeded` for too many; `Other`: the key cannot be used.
    pub fn sign(&self, statements: &[Statement]) -> Result<Option<Receipt>, Fault> {
        let leaves: Vec<Hash> = statements.iter().map(Statement::leaf).collect();
        if leaves.len() > RECEIPT_LEAVES_MAX as usize {
            return Err(Fault::new(Code::LimitExceeded, "sign too many objects at once"));
        }
        let (Some(tree), Some(first)) = (Tree::of(leaves), statements.first()) else {
            return Ok(None);
        };
        let signature = self.signer.sign(&message(self.pin, tree.root()));
        let signature =
            signature.map_err(|error| Fault::new(Code::Other, format!("sign: {error}")))?;
        Ok(Some(Receipt {
            time: first.time,
            ticket: first.ticket.clone(),
            key: self.key.clone(),
            scheme: self.scheme,
            signature,
            leaves: tree.leaves().to_vec(),
        }))
    }
}

/// Whether a key signed for a tree.
pub fn is_signed(key: &[u8], scheme: u16, signature: &[u8], root: Hash) -> bool {
    let Some((_, algorithm)) = SCHEMES.iter().find(|(number, _)| *number == scheme) else {
        return false;
    };
    let message = message(KeyPin::of_public_key(key), root);
    UnparsedPublicKey::new(*algorithm, key).verify(&message, signature).is_ok()
}

/// What is signed.
fn message(pin: KeyPin, root: Hash) -> Vec<u8> {
    [&b"floe/1 receipt\0"[..], &pin.0, &root].concat()
}

/// The schemes of TLS 1.3 that keys of servers have, by their numbers there.
const SCHEMES: [(u16, &dyn VerificationAlgorithm); 5] = [
    (0x0403, &ECDSA_P256_SHA256_ASN1),
    (0x0503, &ECDSA_P384_SHA384_ASN1),
    (0x0603, &ECDSA_P521_SHA512_ASN1),
    (0x0807, &ED25519),
    (0x0804, &RSA_PSS_2048_8192_SHA256),
];
