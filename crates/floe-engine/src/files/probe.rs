//! What a probe reads, bytes that are made where they are read, as fast as memory has them; and
//! what it writes, which is gone.

use super::{Files, Handle};
use floe_proto::disk::{Opened, Reread};
use floe_proto::frame::{Basis, EntryBody};
use floe_store::Source;
use floe_store::measure::block;
use floe_types::{ByteCount, EntryId, Freshness, Metadata, Mode, Offset, SourceVersion, Timestamp};
use std::sync::Arc;

impl Files {
    /// Opens so many bytes that are nobody's.
    pub(super) fn open_probe_source(&self, entry: EntryId, size: ByteCount) -> Opened {
        let probe = Probe { size };
        let version = Some(probe.version());
        self.open.add(entry, Handle::Source(Arc::new(probe)), None);
        let metadata = Metadata { mode: Mode::from_bits(0o600), mtime: Timestamp::default() };
        let (size, holes, freshness) = (Some(size), ByteCount::ZERO, Freshness::Settled);
        let body = EntryBody::File { size, holes, version, freshness, metadata };
        Opened::Source { body, metadata, reread: Reread::Yes, holes: Vec::new() }
    }

    /// Opens what keeps nothing.
    pub(super) fn open_probe_sink(&self, entry: EntryId) -> Opened {
        self.open.add(entry, Handle::Nowhere, None);
        Opened::Sink { have: Vec::new(), basis: Basis::Content, finished: None }
    }
}

/// A block that repeats, one for all; it does not compress.
struct Probe {
    size: ByteCount,
}

impl Probe {
    fn version(&self) -> SourceVersion {
        let never = Timestamp::default();
        SourceVersion { inode: 0, size: self.size, mtime: never, ctime: never }
    }

    fn fill(&self, at: Offset, into: &mut [u8]) -> usize {
        let block = block();
        let left = self.size.minus(ByteCount(at.0)).to_len().unwrap_or(usize::MAX);
        let count = into.len().min(left);
        let mut from = usize::try_from(at.0 % ByteCount::of_len(block.len()).0).unwrap_or(0);
        let mut rest = &mut into[..count];
        while !rest.is_empty() {
            let len = rest.len().min(block.len() - from);
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&block[from..from + len]);
            (rest, from) = (later, 0);
        }
        count
    }
}

impl Source for Probe {
    fn version(&self) -> floe_store::Result<Option<SourceVersion>> {
        Ok(Some(Self::version(self)))
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> floe_store::Result<usize> {
        Ok(self.fill(at, into))
    }

    fn read_cached(&self, at: Offset, into: &mut [u8]) -> floe_store::Result<Option<usize>> {
        Ok(Some(self.fill(at, into)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_at_each_reading_and_end_where_they_should() {
        let probe = Probe { size: ByteCount(3 << 20) };
        let (mut whole, mut part) = (vec![0; 3 << 20], vec![0; 5000]);
        assert_eq!(probe.fill(Offset::ZERO, &mut whole), 3 << 20);
        let at = (1 << 20) - 2000;
        assert_eq!(probe.fill(Offset(at as u64), &mut part), 5000);
        assert_eq!(part, whole[at..][..5000]);
        assert_ne!(whole[..4096], whole[4096..8192]);
        assert_eq!(probe.fill(Offset((3 << 20) - 10), &mut part), 10);
        assert_eq!(probe.fill(Offset(4 << 20), &mut part), 0);
    }
}
