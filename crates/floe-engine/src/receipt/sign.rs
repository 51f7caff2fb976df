//! Objects signed for with the server's identity key, and such signatures checked.

use super::statement::Statement;
use super::tree::{Hash, Tree};
use crate::identity::{KeyPin, Signer, is_signed as is_message_signed};
use floe_proto::frame::{RECEIPT_LEAVES_MAX, Receipt};
use floe_types::{Code, Fault};

/// Signs for objects of a batch, at most `RECEIPT_LEAVES_MAX`; nothing without any. All have the
/// time and the ticket of the first.
///
/// # Errors
/// `LimitExceeded` for too many; `Other`: the key cannot be used.
pub fn sign(signer: &Signer, statements: &[Statement]) -> Result<Option<Receipt>, Fault> {
    let leaves: Vec<Hash> = statements.iter().map(Statement::leaf).collect();
    if leaves.len() > RECEIPT_LEAVES_MAX as usize {
        return Err(Fault::new(Code::LimitExceeded, "sign too many objects at once"));
    }
    let (Some(tree), Some(first)) = (Tree::of(leaves), statements.first()) else {
        return Ok(None);
    };
    Ok(Some(Receipt {
        time: first.time,
        ticket: first.ticket.clone(),
        key: signer.key().to_vec(),
        scheme: signer.scheme(),
        signature: signer.sign_message(&message(signer.pin(), tree.root()))?,
        leaves: tree.leaves().to_vec(),
    }))
}

/// Whether a key signed for a tree.
pub fn is_signed(key: &[u8], scheme: u16, signature: &[u8], root: Hash) -> bool {
    is_message_signed(key, scheme, signature, &message(KeyPin::of_public_key(key), root))
}

/// What is signed.
fn message(pin: KeyPin, root: Hash) -> Vec<u8> {
    [&b"floe/1 receipt\0"[..], &pin.0, &root].concat()
}
