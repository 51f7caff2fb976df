//! What a server signs of objects (PROTOCOL.md, receipts). Nothing here is checked: the engine
//! signs and verifies.

use alloc::string::String;
use alloc::vec::Vec;

/// One signature over objects of a batch; their COMMITTED follows.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Receipt {
    /// When it was signed: seconds since 1970.
    pub time: u64,
    /// The name of the ticket, as the server has it.
    pub ticket: String,
    /// The server's public key: SubjectPublicKeyInfo, DER.
    pub key: Vec<u8>,
    /// How it signs: a SignatureScheme of TLS.
    pub scheme: u16,
    /// The signature.
    pub signature: Vec<u8>,
    /// The leaves of the tree whose root is signed: one for each object, 1 to
    /// `RECEIPT_LEAVES_MAX`.
    pub leaves: Vec<[u8; 32]>,
}

/// The most objects of one receipt.
pub const RECEIPT_LEAVES_MAX: u32 = 1024;

impl Receipt {
    /// The ability bit of a server that signs receipts.
    pub const ABILITY: u64 = 2;
}

/// Whether the server signs for what it commits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ReceiptWish {
    /// It does not.
    #[default]
    None,
    /// It does, before it says COMMITTED of an object.
    Signed,
}
