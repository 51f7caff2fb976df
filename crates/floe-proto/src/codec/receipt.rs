//! RECEIPT: what a server signs of objects.

use super::bounds::{KEY_BYTES_MAX, SIGNATURE_BYTES_MAX, TICKET_NAME_BYTES_MAX, bad};
use super::cbor::{Field, Key, Reader, Writer};
use crate::command::Violation;
use crate::frame::{RECEIPT_LEAVES_MAX, Receipt};
use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use floe_types::TransferId;

pub(super) fn read(r: &mut Reader<'_>) -> Result<(TransferId, Receipt), Violation> {
    let (mut transfer, mut time, mut ticket) = (Field::new(), Field::new(), Field::new());
    let (mut key, mut scheme, mut signature) = (Field::new(), Field::new(), Field::new());
    let mut leaves = Field::new();
    r.map(|r, at| match at {
        0 => transfer.set(r.transfer()),
        1 => time.set(r.at_most(i64::MAX as u64)),
        2 => ticket.set(r.text(TICKET_NAME_BYTES_MAX).map(str::to_owned)),
        3 => key.set(r.bytes(KEY_BYTES_MAX).map(<[u8]>::to_vec)),
        4 => scheme.set(r.at_most(u16::MAX.into())),
        5 => signature.set(r.bytes(SIGNATURE_BYTES_MAX).map(<[u8]>::to_vec)),
        6 => leaves.set(r.list(RECEIPT_LEAVES_MAX, Reader::fixed)),
        _ => Ok(Key::Unknown),
    })?;
    let leaves: Vec<[u8; 32]> = leaves.need()?;
    if leaves.is_empty() {
        return bad("a list of nothing");
    }
    let receipt = Receipt {
        time: time.need()?,
        ticket: ticket.need()?,
        key: key.need()?,
        scheme: u16::try_from(scheme.need()?).or(bad("a scheme above 16 bits"))?,
        signature: signature.need()?,
        leaves,
    };
    Ok((transfer.need()?, receipt))
}

pub(super) fn write(w: &mut Writer<'_>, transfer: TransferId, receipt: &Receipt) {
    w.map(7, &[]).uint(0).uint(transfer.0.into()).uint(1).uint(receipt.time);
    w.uint(2).text(&receipt.ticket, TICKET_NAME_BYTES_MAX).uint(3).bytes(&receipt.key);
    w.uint(4).uint(receipt.scheme.into()).uint(5).bytes(&receipt.signature);
    w.uint(6).array(receipt.leaves.len());
    for leaf in &receipt.leaves {
        w.bytes(leaf);
    }
}
