//! The journal of a stage as bytes: a head that says whose it is, then one slot a record. No files
//! here.
//!
//! ```text
//! head  magic 8 | format 4 | length of all 4 | fields | zeros | CRC-32C of all before 4  = n * 128
//! slot  CRC-32C 4 | kind 1 | zero 3 | start 8 | end 8 | value 32 | root 32 | zero 40        = 128
//! ```
//! A slot's CRC begins with its head's CRC and the slot's own index, so a slot of another journal,
//! or from another place in this one, is not taken for a record. Slots are aligned, so none is torn
//! by a sector. What a sequence of slots means is decided in `replay`.

use crate::api::OwnerId;
use crate::disk::BootId;
use crate::fields::{Fields, PutFields};
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, Freshness, ObjectPath, Offset, Range, Root,
    SourceVersion, Subtree, Timestamp,
};

/// The length of a slot, and what a head's length is a multiple of.
pub const SLOT_BYTES: usize = 128;

/// The longest head: the longest path and all other fields.
pub const HEAD_BYTES_MAX: usize = 4608;

const MAGIC: &[u8; 8] = b"floe-jnl";
const FORMAT: u32 = 2;
const PREFIX_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// Under which conditions records were written: while they hold, a file shows all that was written
/// to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Epoch {
    /// The boot of the machine.
    pub boot: BootId,
    /// The mount of the file system.
    pub mount_id: u64,
    /// The type of the file system.
    pub magic: u64,
}

/// Whose chunks a stage began with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lineage {
    /// Its own: every record is of the version in the head.
    Own,
    /// It took over the stage of another version: records only say what the bytes hash to.
    Adopted,
}

/// What a head says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Random: no two journals share it.
    pub id: [u8; 16],
    /// When it was written; `None` where bytes may be lost without a reboot, or nothing is known.
    pub epoch: Option<Epoch>,
    /// The final path.
    pub path: ObjectPath,
    /// Who stages.
    pub owner: OwnerId,
    /// The object's size, if known.
    pub size: Option<ByteCount>,
    /// The source's version, if it has one.
    pub version: Option<SourceVersion>,
    /// Whether that version could be trusted.
    pub freshness: Freshness,
    /// Whose chunks it began with.
    pub lineage: Lineage,
    /// When its staged file was made, where the file system tells.
    pub birth: Option<Timestamp>,
}

/// A slot's place, counted from 0 behind the head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SlotIndex(pub u64);

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// All bytes of a chunk are written and have this digest. It takes back every earlier record it
    /// touches.
    Chunk(Range, ChunkDigest),
    /// Earlier records that touch this range count no more.
    Forget(Range),
    /// The bytes of every record in a slot below this one are durable.
    Checkpoint(SlotIndex),
    /// A sync of the bytes begins. While no checkpoint follows it may have failed, and memory may
    /// show bytes that are not on the disk and would not be written by another sync.
    Syncing,
}

/// What 128 bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// A record.
    Record(Record),
    /// Zeros: never written.
    Blank,
    /// Neither.
    Bad,
}

/// What binds slots to their head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Binding {
    crc: u32,
    head_bytes: u32,
}

impl Head {
    /// The head as bytes, and what its slots are bound with.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Binding) {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        self.encode_fields(&mut bytes);
        let head_bytes = (bytes.len() + CRC_BYTES).next_multiple_of(SLOT_BYTES);
        assert!(head_bytes <= HEAD_BYTES_MAX, "a path has at most 4096 bytes");
        bytes.resize(head_bytes - CRC_BYTES, 0);
        #[allow(clippy::cast_possible_truncation, reason = "at most HEAD_BYTES_MAX")]
        let head_bytes = head_bytes as u32;
        bytes[12..PREFIX_BYTES].copy_from_slice(&head_bytes.to_be_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_be_bytes());
        (bytes, Binding { crc, head_bytes })
    }

    fn encode_fields(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.id);
        bytes.put_optional(self.epoch, |bytes, epoch| {
            bytes.extend_from_slice(&epoch.boot.0);
            bytes.put_long(epoch.mount_id);
            bytes.put_long(epoch.magic);
        });
        bytes.extend_from_slice(&self.owner.0);
        bytes.put_optional(self.size, |bytes, size| bytes.put_long(size.0));
        bytes.put_optional(self.version, PutFields::put_version);
        bytes.put_freshness(self.freshness);
        bytes.push(match self.lineage {
            Lineage::Own => 0,
            Lineage::Adopted => 1,
        });
        bytes.put_optional(self.birth, PutFields::put_timestamp);
        let path = self.path.to_bytes();
        bytes.put_long(path.len() as u64);
        bytes.extend_from_slice(&path);
    }

    /// The head at the start of these bytes, if it stands there whole. Give `HEAD_BYTES_MAX` bytes,
    /// or all.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<(Self, Binding)> {
        let mut prefix = Fields::new(bytes);
        if prefix.array()? != *MAGIC || prefix.word()? != FORMAT {
            return None;
        }
        let head_bytes = prefix.word()?;
        let whole = bytes.get(..usize::try_from(head_bytes).ok()?)?;
        let (plain, crc) = whole.split_last_chunk::<CRC_BYTES>()?;
        if whole.len() % SLOT_BYTES != 0 || crc32c::crc32c(plain) != u32::from_be_bytes(*crc) {
            return None;
        }
        let head = Self::decode_fields(Fields::new(plain.get(PREFIX_BYTES..)?))?;
        Some((head, Binding { crc: u32::from_be_bytes(*crc), head_bytes }))
    }

    fn decode_fields(mut fields: Fields<'_>) -> Option<Self> {
        let id = fields.array()?;
        let epoch = fields.optional(|fields| {
            let boot = BootId(fields.array()?);
            Some(Epoch { boot, mount_id: fields.long()?, magic: fields.long()? })
        })?;
        let owner = OwnerId(fields.array()?);
        let size = fields.optional(|fields| fields.long().map(ByteCount))?;
        let version = fields.optional(Fields::version)?;
        let freshness = fields.freshness()?;
        let lineage = match fields.byte()? {
            0 => Lineage::Own,
            1 => Lineage::Adopted,
            _ => return None,
        };
        let birth = fields.optional(Fields::timestamp)?;
        let path_len = usize::try_from(fields.long()?).ok()?;
        let path = ObjectPath::parse(fields.bytes(path_len)?).ok()?;
        Some(Self { id, epoch, path, owner, size, version, freshness, lineage, birth })
    }
}

impl Binding {
    /// Where a slot begins in its file.
    #[must_use]
    pub const fn offset(self, slot: SlotIndex) -> Offset {
        Offset(self.head_bytes as u64 + slot.0 * SLOT_BYTES as u64)
    }

    /// How many slots a journal of this length has, whole or begun.
    #[must_use]
    pub const fn slots_in(self, file: ByteCount) -> SlotIndex {
        SlotIndex(file.0.saturating_sub(self.head_bytes as u64).div_ceil(SLOT_BYTES as u64))
    }

    /// A record as the slot at `index`.
    #[must_use]
    pub fn encode(self, index: SlotIndex, record: &Record) -> [u8; SLOT_BYTES] {
        let (kind, start, end, value, root) = match *record {
            Record::Chunk(range, digest) => {
                let root = digest.root.map_or([0; 32], |root| root.0);
                let kind = if digest.root.is_some() { 2 } else { 1 };
                (kind, range.start().0, range.end().0, digest.value.0, root)
            }
            Record::Forget(range) => (3, range.start().0, range.end().0, [0; 32], [0; 32]),
            Record::Checkpoint(covered) => (4, covered.0, 0, [0; 32], [0; 32]),
            Record::Syncing => (5, 0, 0, [0; 32], [0; 32]),
        };
        let mut slot = [0; SLOT_BYTES];
        slot[4] = kind;
        slot[8..16].copy_from_slice(&start.to_be_bytes());
        slot[16..24].copy_from_slice(&end.to_be_bytes());
        slot[24..56].copy_from_slice(&value);
        slot[56..88].copy_from_slice(&root);
        let crc = self.crc_of(index, &slot);
        slot[..CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
        slot
    }

    /// What the slot at `index` is.
    #[must_use]
    pub fn decode(self, index: SlotIndex, slot: &[u8; SLOT_BYTES]) -> Slot {
        if slot.iter().all(|byte| *byte == 0) {
            return Slot::Blank;
        }
        if slot[..CRC_BYTES] != self.crc_of(index, slot).to_be_bytes() {
            return Slot::Bad;
        }
        decode_record(index, slot).map_or(Slot::Bad, Slot::Record)
    }

    fn crc_of(self, index: SlotIndex, slot: &[u8; SLOT_BYTES]) -> u32 {
        let crc = crc32c::crc32c_append(self.crc, &index.0.to_be_bytes());
        crc32c::crc32c_append(crc, &slot[CRC_BYTES..])
    }
}

fn decode_record(index: SlotIndex, slot: &[u8; SLOT_BYTES]) -> Option<Record> {
    let mut fields = Fields::new(slot.get(CRC_BYTES..)?);
    let kind = fields.byte()?;
    fields.bytes(3)?;
    let (start, end) = (Offset(fields.long()?), Offset(fields.long()?));
    let (value, root) = (ChainingValue(fields.array()?), Root(fields.array()?));
    let range = Range::new(start, end);
    let chunk = |root| {
        let sound = Subtree::is_aligned(range) && (start == Offset::ZERO) == Option::is_some(&root);
        sound.then_some(Record::Chunk(range, ChunkDigest { value, root }))
    };
    match kind {
        1 => chunk(None),
        2 => chunk(Some(root)),
        3 => Some(Record::Forget(range)),
        4 => (start.0 <= index.0).then_some(Record::Checkpoint(SlotIndex(start.0))),
        5 => Some(Record::Syncing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> Head {
        let at = Timestamp::new(1, 2).unwrap();
        Head {
            id: [9; 16],
            epoch: Some(Epoch { boot: BootId([1; 16]), mount_id: 2, magic: 3 }),
            path: ObjectPath::parse(b"a/caf\xe9").unwrap(),
            owner: OwnerId([4; 32]),
            size: Some(ByteCount(5)),
            version: Some(SourceVersion { inode: 6, size: ByteCount(5), mtime: at, ctime: at }),
            freshness: Freshness::Fresh,
            lineage: Lineage::Adopted,
            birth: Some(at),
        }
    }

    #[test]
    fn a_head_reads_back_and_every_changed_or_missing_byte_is_noticed() {
        let (bytes, binding) = head().encode();
        assert_eq!(bytes.len() % SLOT_BYTES, 0);
        assert_eq!(Head::decode(&bytes), Some((head(), binding)));
        for nth in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[nth] ^= 0x10;
            assert_eq!(Head::decode(&changed), None, "byte {nth}");
            assert_eq!(Head::decode(&bytes[..nth]), None, "prefix {nth}");
        }
    }

    #[test]
    fn the_longest_path_fits() {
        let name = floe_types::Component::new(&[b'x'; 255]).unwrap();
        let path = ObjectPath::from_components(vec![name; 16]).unwrap();
        let (bytes, _) = Head { path, ..head() }.encode();
        assert!(bytes.len() <= HEAD_BYTES_MAX);
        assert!(Head::decode(&bytes).is_some());
    }

    proptest! {
        #[test]
        fn a_slot_reads_back_only_at_its_index_and_under_its_head(
            index in 0u64..1 << 40, start in 0u64..64, len in 1u64..=262_144,
            nth in 0usize..128, bit in 0u8..8,
        ) {
            let (_, binding) = head().encode();
            let (_, other) = Head { id: [8; 16], ..head() }.encode();
            let index = SlotIndex(index);
            let range = Range::at(Offset(start * 262_144), ByteCount(len)).unwrap();
            let root = (start == 0).then_some(Root([2; 32]));
            let digest = ChunkDigest { value: ChainingValue([1; 32]), root };
            for record in [
                Record::Chunk(range, digest), Record::Forget(range), Record::Checkpoint(index),
                Record::Syncing,
            ] {
                let mut slot = binding.encode(index, &record);
                prop_assert_eq!(binding.decode(index, &slot), Slot::Record(record));
                prop_assert_eq!(binding.decode(SlotIndex(index.0 + 1), &slot), Slot::Bad);
                prop_assert_eq!(other.decode(index, &slot), Slot::Bad);
                slot[nth] ^= 1 << bit;
                prop_assert_eq!(binding.decode(index, &slot), Slot::Bad);
            }
        }
    }
}
