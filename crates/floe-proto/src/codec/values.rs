//! Values that several cold frames share: numbers, paths, faults, metadata, subtrees.
//!
//! Each is range-checked where it is read, so that a frame that exists is within every bound.

use super::bounds::{
    AGENT_BYTES_MAX, CHUNK_BYTES_MAX, DETAIL_BYTES_MAX, LINK_BYTES_MAX, OBJECT_BYTES_MAX, bad,
};
use super::cbor::{Field, Key, Reader, Writer};
use crate::command::Violation;
use alloc::string::String;
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, Code, Component, EntryIndex, EntryKind, Fault, Metadata,
    Micros, Mode, ObjectPath, Offset, Range, Root, SourceVersion, Subtree, Timestamp, TransferId,
    escape,
};

/// The most names of a path.
const NAMES_MAX: u32 = 255;
/// The longest name.
const NAME_BYTES_MAX: usize = 255;

impl Reader<'_> {
    pub(super) fn transfer(&mut self) -> Result<TransferId, Violation> {
        self.u32().map(TransferId)
    }

    pub(super) fn index(&mut self) -> Result<EntryIndex, Violation> {
        self.uint().map(EntryIndex)
    }

    pub(super) fn micros(&mut self) -> Result<Micros, Violation> {
        self.uint().map(Micros)
    }

    /// A size or an offset in an object.
    pub(super) fn size(&mut self) -> Result<ByteCount, Violation> {
        self.at_most(OBJECT_BYTES_MAX).map(ByteCount)
    }

    pub(super) fn root(&mut self) -> Result<Root, Violation> {
        self.fixed().map(Root)
    }

    /// One of a few values, by its number.
    pub(super) fn choice<T: Copy>(&mut self, choices: &[T]) -> Result<T, Violation> {
        let nth = usize::try_from(self.uint()?).or(bad("a choice that is not one"))?;
        choices.get(nth).copied().ok_or(Violation { what: "a choice that is not one" })
    }

    pub(super) fn component(&mut self) -> Result<Component, Violation> {
        Component::new(self.bytes(NAME_BYTES_MAX)?).or(bad("a name that no path may have"))
    }

    pub(super) fn path(&mut self) -> Result<ObjectPath, Violation> {
        let names = self.list(NAMES_MAX, Self::component)?;
        ObjectPath::from_components(names).or(bad("a path above its bounds"))
    }

    pub(super) fn link(&mut self) -> Result<Vec<u8>, Violation> {
        match self.bytes(LINK_BYTES_MAX)? {
            [] => bad("a link without text"),
            text if text.contains(&0) => bad("a NUL in a link"),
            text => Ok(text.to_vec()),
        }
    }

    pub(super) fn agent(&mut self) -> Result<String, Violation> {
        self.text(AGENT_BYTES_MAX).map(shown)
    }

    pub(super) fn fault(&mut self) -> Result<Fault, Violation> {
        let (mut code, mut detail) = (Field::new(), Field::new());
        self.map(|r, key| match key {
            0 => code.set(r.at_most(u16::MAX.into())),
            1 => detail.set(r.text(DETAIL_BYTES_MAX).map(shown)),
            _ => Ok(Key::Unknown),
        })?;
        let number = u16::try_from(code.need()?).or(bad("an error code above 16 bits"))?;
        Ok(Fault { code: Code::from_wire(number), detail: detail.need()? })
    }

    pub(super) fn tuple(&mut self, len: u64) -> Result<(), Violation> {
        if self.array()? == len { Ok(()) } else { bad("an array of the wrong length") }
    }

    fn timestamp(&mut self) -> Result<Timestamp, Violation> {
        let (secs, nanos) = (self.int()?, self.u32()?);
        Timestamp::new(secs, nanos).ok_or(Violation { what: "nanoseconds above a second" })
    }

    pub(super) fn metadata(&mut self) -> Result<Metadata, Violation> {
        self.tuple(3)?;
        let mode = u32::try_from(self.at_most(0o777)?).or(bad("a mode above its bits"))?;
        Ok(Metadata { mode: Mode::from_bits(mode), mtime: self.timestamp()? })
    }

    pub(super) fn version(&mut self) -> Result<SourceVersion, Violation> {
        self.tuple(6)?;
        Ok(SourceVersion {
            inode: self.uint()?,
            size: self.size()?,
            mtime: self.timestamp()?,
            ctime: self.timestamp()?,
        })
    }

    pub(super) fn kind(&mut self) -> Result<EntryKind, Violation> {
        self.choice(&ENTRY_KINDS)
    }

    /// Two numbers: where a range starts, and its length, which is not zero.
    fn start_and_len(&mut self) -> Result<Range, Violation> {
        let (start, len) = (self.size()?, self.size()?);
        let range = Range::at(Offset(start.0), len);
        match range {
            Some(range) if !range.is_empty() && range.end().0 <= OBJECT_BYTES_MAX => Ok(range),
            _ => bad("a range that is empty or too long"),
        }
    }

    pub(super) fn range(&mut self) -> Result<Range, Violation> {
        self.tuple(2)?;
        self.start_and_len()
    }

    pub(super) fn subtree(&mut self) -> Result<Subtree, Violation> {
        let fields = self.array()?;
        if !(3..=4).contains(&fields) {
            return bad("an array of the wrong length");
        }
        let range = self.start_and_len()?;
        let value = ChainingValue(self.fixed()?);
        let root = if fields == 4 { Some(self.root()?) } else { None };
        if !Subtree::is_aligned(range) {
            return bad("a range that is not aligned");
        }
        if root.is_some() && (range.start() != Offset::ZERO || range.len().0 > CHUNK_BYTES_MAX) {
            return bad("a root value away from the first chunk");
        }
        Ok(Subtree { range, digest: ChunkDigest { value, root } })
    }
}

/// Ranges of one frame must ascend and may not overlap.
pub(super) fn ascend(ranges: impl Iterator<Item = Range>) -> Result<(), Violation> {
    let mut end = Offset::ZERO;
    for range in ranges {
        if range.start() < end {
            return bad("ranges that do not ascend");
        }
        end = range.end();
    }
    Ok(())
}

/// Kinds of a STAT, by number.
pub(super) const ENTRY_KINDS: [EntryKind; 3] =
    [EntryKind::File, EntryKind::Directory, EntryKind::Link];

/// Puts a `?` for every character that a terminal may obey. The text never grows.
fn shown(text: &str) -> String {
    text.chars().map(|c| if escape::is_hidden(c) { '?' } else { c }).collect()
}

impl Writer<'_> {
    /// The number of one of a few values.
    pub(super) fn choice<T: PartialEq>(&mut self, choices: &[T], value: &T) -> &mut Self {
        let nth = choices.iter().position(|choice| choice == value);
        debug_assert!(nth.is_some(), "every value is in its table");
        self.uint(nth.unwrap_or(0) as u64)
    }

    pub(super) fn path(&mut self, path: &ObjectPath) -> &mut Self {
        self.array(path.components().len());
        for name in path.components() {
            self.bytes(name.as_bytes());
        }
        self
    }

    pub(super) fn agent(&mut self, text: &str) -> &mut Self {
        self.text(text, AGENT_BYTES_MAX)
    }

    pub(super) fn fault(&mut self, fault: &Fault) -> &mut Self {
        self.map(2, &[]).uint(0).uint(fault.code.wire().into());
        self.uint(1).text(&fault.detail, DETAIL_BYTES_MAX)
    }

    fn timestamp(&mut self, stamp: Timestamp) -> &mut Self {
        self.int(stamp.secs()).uint(stamp.nanos().into())
    }

    pub(super) fn metadata(&mut self, metadata: &Metadata) -> &mut Self {
        self.array(3).uint(metadata.mode.bits().into()).timestamp(metadata.mtime)
    }

    pub(super) fn version(&mut self, version: &SourceVersion) -> &mut Self {
        self.array(6).uint(version.inode).uint(version.size.0);
        self.timestamp(version.mtime).timestamp(version.ctime)
    }

    pub(super) fn kind(&mut self, kind: EntryKind) -> &mut Self {
        self.choice(&ENTRY_KINDS, &kind)
    }

    /// A range; what lies beyond the largest object is left out.
    pub(super) fn range(&mut self, range: Range) -> &mut Self {
        let end = range.end().0.min(OBJECT_BYTES_MAX);
        self.array(2).uint(range.start().0).uint(end.saturating_sub(range.start().0))
    }

    pub(super) fn subtree(&mut self, subtree: &Subtree) -> &mut Self {
        let digest = &subtree.digest;
        self.array(3 + usize::from(digest.root.is_some()));
        self.uint(subtree.range.start().0).uint(subtree.range.len().0).bytes(&digest.value.0);
        if let Some(root) = digest.root {
            self.bytes(&root.0);
        }
        self
    }
}
