//! What is done to a sound journal: bytes changed, slots copied, cut, put in, and signed again, so
//! that not every change ends at a checksum.

use floe_store::journal::{Head, Record, SLOT_BYTES, SlotIndex};
use floe_types::{ByteCount, ChainingValue, ChunkDigest, Offset, Range, Root};

const EDITS_MAX: usize = 24;
const JOURNAL_BYTES_MAX: usize = 16 << 10;
const EDIT_BYTES: usize = 7;

/// Applies edits, seven bytes each.
pub fn apply(journal: &mut Vec<u8>, edits: &[u8]) {
    for edit in edits.chunks_exact(EDIT_BYTES).take(EDITS_MAX) {
        let &[what, w0, w1, a, b, c, d] = edit else { return };
        let place = usize::from(u16::from_be_bytes([w0, w1]));
        let head = Head::decode(journal).map(|(_, binding)| binding.offset(SlotIndex(0)).0);
        let head = head.and_then(|len| usize::try_from(len).ok());
        match (what % 9, head) {
            (0, _) => flip(journal, place, a),
            (1, _) => journal.truncate(place),
            (2, _) => {
                let longer = journal.len() + place % 1024;
                journal.resize(longer.min(JOURNAL_BYTES_MAX), 0);
            }
            (3, Some(head)) => copy_slot(journal, head, (w1, a)),
            (4, Some(head)) => put(journal, head, w1, record([a, b, c, d])),
            (5, Some(head)) => {
                flip(journal, head + usize::from(w1 % 32) * SLOT_BYTES + usize::from(a % 128), b);
                sign(journal, head, w1 % 32);
            }
            (6, Some(head)) => sign(journal, head, w1 % 32),
            (7, Some(head)) => {
                flip(journal, place % head.max(1), a);
                sign_head(journal, head);
            }
            (8, Some(head)) => {
                let end = journal.len().saturating_sub(head) / SLOT_BYTES;
                put(journal, head, end.to_le_bytes()[0], record([a, b, c, d]));
            }
            _ => {}
        }
    }
}

fn flip(journal: &mut [u8], place: usize, bits: u8) {
    if let Some(byte) = journal.get_mut(place) {
        *byte ^= bits;
    }
}

fn slot(journal: &mut Vec<u8>, head: usize, nth: u8) -> Option<&mut [u8]> {
    let start = head + usize::from(nth % 64) * SLOT_BYTES;
    if journal.len() < start + SLOT_BYTES && start + SLOT_BYTES <= JOURNAL_BYTES_MAX {
        journal.resize(start + SLOT_BYTES, 0);
    }
    journal.get_mut(start..start + SLOT_BYTES)
}

fn copy_slot(journal: &mut Vec<u8>, head: usize, (from, to): (u8, u8)) {
    let Some(bytes) = slot(journal, head, from % 16).map(|slot| slot.to_vec()) else { return };
    if let Some(slot) = slot(journal, head, to % 16) {
        slot.copy_from_slice(&bytes);
    }
}

fn put(journal: &mut Vec<u8>, head: usize, nth: u8, record: Record) {
    let Some((_, binding)) = Head::decode(journal) else { return };
    if let Some(slot) = slot(journal, head, nth) {
        slot.copy_from_slice(&binding.encode(SlotIndex(u64::from(nth % 64)), &record));
    }
}

/// Gives a slot the checksum that its bytes ask for.
fn sign(journal: &mut Vec<u8>, head: usize, nth: u8) {
    let Some(crc) = journal.get(head - 4..head).and_then(<[u8]>::first_chunk).copied() else {
        return;
    };
    if let Some(slot) = slot(journal, head, nth) {
        let place = u64::from(nth % 64).to_be_bytes();
        let crc = crc32c::crc32c_append(u32::from_be_bytes(crc), &place);
        let crc = crc32c::crc32c_append(crc, &slot[4..]);
        slot[..4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// Gives the head the checksum that its bytes ask for; its slots are of another journal then.
fn sign_head(journal: &mut [u8], head: usize) {
    if let Some(bytes) = journal.get_mut(..head) {
        let crc = crc32c::crc32c(&bytes[..head - 4]);
        bytes[head - 4..].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A record of the chunks of the stage: true of its bytes, or not.
fn record([kind, start, len, digest]: [u8; 4]) -> Record {
    const GRAIN: u64 = 256 << 10;
    let start = u64::from(start % 8) * GRAIN;
    let len = match len % 4 {
        0 | 1 => GRAIN,
        2 => 2 * GRAIN,
        _ => 1 + u64::from(len),
    };
    let Some(range) = Range::at(Offset(start), ByteCount(len)) else { return Record::Syncing };
    let root = |byte| (start == 0).then_some(Root([byte; 32]));
    match kind % 6 {
        0 | 1 => {
            let lie = ChunkDigest { value: ChainingValue([digest; 32]), root: root(digest) };
            let truth = super::stage::digest(range);
            let digest = if digest % 2 == 0 { truth.unwrap_or(lie) } else { lie };
            Record::Chunk(range, digest)
        }
        2 => Record::Forget(range),
        3 | 4 => Record::Checkpoint(SlotIndex(u64::from(digest % 16))),
        _ => Record::Syncing,
    }
}
