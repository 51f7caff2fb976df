//! What the core says against what was done: nothing is acknowledged that it was not given, and
//! nothing is sent under another digest than its own.

use super::{Driver, LEAD};
use crate::session::content::{Stretch, digest_of, zeros};
use crate::session::peer::Said;
use crate::wire::session_decoder;
use floe_proto::codec::{Decoded, HEAD_LEN, encode};
use floe_proto::frame::{Content, Frame, Header, Verdict};
use floe_types::{ByteCount, EntryId, Offset, Range, Root, Seq, StreamId};

/// A chunk that a stream sends.
#[derive(Debug)]
pub(super) struct Sending {
    header: Header,
    came: Vec<Stretch>,
}

impl Driver {
    /// Checks one frame that is said.
    pub(super) fn check_said(&mut self, stream: StreamId, frame: &Said) {
        self.check_form(stream, frame);
        match frame {
            Frame::Stored(ranges, _) => {
                for range in ranges {
                    let seqs = range.first.0..=range.last.0;
                    seqs.for_each(|seq| self.check_held(Seq(seq), frame));
                }
            }
            Frame::Verdict(seqs, Verdict::Have) => {
                (seqs.first.0..=seqs.last.0).for_each(|seq| self.check_held(Seq(seq), frame));
            }
            Frame::Committed(transfer, list) => {
                for one in list {
                    let entry = EntryId { transfer: *transfer, index: one.index };
                    let done = self.disk.committed.contains(&(entry, one.root));
                    assert!(done, "{one:?} of {transfer:?} was not committed");
                }
            }
            Frame::Header(header) if header.content == Content::Hole => {
                self.sending.remove(&stream);
                let range = header.len.and_then(|len| Range::at(header.offset, len));
                let digest = range.and_then(|range| digest_of(range.start(), &[zeros(range)]));
                assert_eq!(header.digest, digest, "{header:?} is no hole");
            }
            Frame::Header(header) => {
                let came = Vec::new();
                self.sending.insert(stream, Sending { header: *header, came });
            }
            Frame::Data(data) => {
                let Some(sending) = self.sending.get_mut(&stream) else {
                    panic!("DATA without a header: {data:?}")
                };
                let so_far: u64 = sending.came.iter().map(|stretch| stretch.len).sum();
                let at = sending.header.offset.0 + data.at.0;
                assert_eq!((data.seq, data.at), (sending.header.seq, ByteCount(so_far)));
                assert_eq!((data.bytes.from, data.bytes.len), (at, data.len.0));
                assert!(data.len <= self.piece_bytes, "a piece of {} bytes", data.len);
                sending.came.push(data.bytes);
            }
            Frame::Seal(seal) => {
                let Some(Sending { header, came }) = self.sending.remove(&stream) else {
                    panic!("SEAL without a header: {seal:?}")
                };
                let len: u64 = came.iter().map(|stretch| stretch.len).sum();
                assert_eq!((seal.seq, seal.len.0), (header.seq, len));
                assert!(header.len.is_none_or(|said| said.0 == len), "{seal:?} of {header:?}");
                assert_eq!(Some(seal.digest), digest_of(header.offset, &came));
                assert!(header.digest.is_none_or(|said| said == seal.digest));
            }
            _ => {}
        }
    }

    /// An entry is reported as done: it was committed here, or there.
    pub(super) fn check_finished(&self, entry: EntryId, root: Option<Root>) {
        let here = self.disk.committed.contains(&(entry, root));
        let there = match root {
            Some(root) => self.known.committed.contains(&(entry, root)),
            None => self.known.placed.contains(&entry),
        };
        assert!(here || there, "{entry:?} is not committed, with {root:?}");
    }

    /// It can be said, is heard as it is meant, and stands where it may.
    fn check_form(&self, stream: StreamId, frame: &Said) {
        let mut bytes = Vec::new();
        assert_eq!(encode(frame, &mut bytes), Ok(()), "{frame:?}");
        let fed = session_decoder().feed::<Stretch>(&bytes);
        let heard = fed.map(|fed| fed.decoded);
        match (heard, frame) {
            (Ok(Some(Decoded::Data(head))), Frame::Data(data)) => {
                assert_eq!((head.seq, head.at, head.len), (data.seq, data.at, data.len));
            }
            (Ok(Some(Decoded::Frame(heard))), said) => assert_eq!(heard, *said),
            (heard, said) => panic!("{said:?} is heard as {heard:?}"),
        }
        let hot = matches!(bytes[4], 0x08 | 0x09 | 0x15..=0x1a);
        assert!(hot || stream == LEAD, "{frame:?} on {stream:?}");
        assert!(bytes[4] >= 0x07 && bytes.len() >= HEAD_LEN, "{frame:?} after the greeting");
    }

    /// A chunk is said to be held: one that had its number is.
    fn check_held(&self, seq: Seq, frame: &Said) {
        let headers = self.known.headers.get(&seq);
        let held = headers.is_some_and(|headers| headers.iter().any(|header| self.holds(header)));
        assert!(held, "{frame:?}: chunk {seq} was not given: {headers:?}");
    }

    fn holds(&self, header: &Header) -> bool {
        let len = header.len.unwrap_or(ByteCount(1));
        let Some(range) = Range::at(Offset(header.offset.0), len) else { return false };
        let held = self.disk.held.get(&header.entry);
        held.is_some_and(|held| held.covers(range)) || self.disk.finished.contains(&header.entry)
    }
}
