//! What of a stream's pieces is packed, and with what effort; and the packing of them.
//!
//! A short piece is packed where it is, a long one by a thread of the packers: a lane is never held
//! for long, and hears of the end by its bell. Packing is never waited for with a buffer that
//! others need: where none is to spare a piece goes as it is.

use super::thrift::{Nearness, Seen, Taste, Thrift};
use crate::buffer::{Bell, Blank, Piece, Pool};
use crate::clock::micros;
use crate::customer::Customer;
use crate::disk_threads::Crew;
use crate::pack::{PACKED_FROM, pack};
use crate::running::{Paying, Traffic};
use floe_proto::command::PathSample;
use floe_proto::frame::{Causes, PackLevel, Packing};
use floe_types::{ByteCount, EntryId, Micros};
use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

thread_local! {
    static SHORT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The packing of one stream.
pub(super) struct Packer {
    /// The most effort that both ends allow; nothing where one of them takes no packed pieces.
    most: Option<PackLevel>,
    /// What is wished for the chunk under way.
    wish: Packing,
    taste: Taste,
    thrift: Thrift,
    /// Told to other streams of the session.
    paying: Option<Paying>,
    crew: Crew,
    /// Whose turn it is with the packers: the session's.
    customer: Customer,
    pool: Pool,
    bell: Arc<dyn Bell>,
    traffic: Arc<Traffic>,
    begun: Instant,
    seen: Seen,
    /// Since when the connection takes nothing more.
    full_since: Option<Instant>,
}

/// What a packer is given.
pub(super) struct Means {
    pub(super) most: Option<PackLevel>,
    pub(super) nearness: Nearness,
    pub(super) crew: Crew,
    pub(super) customer: Customer,
    pub(super) pool: Pool,
    pub(super) bell: Arc<dyn Bell>,
    pub(super) traffic: Arc<Traffic>,
}

/// A long piece that is with the packers.
pub(super) struct UnderWay {
    piece: Piece,
    begun: Instant,
    end: Arc<End>,
}

/// How packing it ended.
pub(super) enum Outcome {
    /// This goes in its place.
    Packed(Piece),
    /// It goes as it is.
    Loose(Piece),
}

/// Where the end of one arrives.
struct End {
    end: Mutex<Option<Option<Piece>>>,
    bell: Arc<dyn Bell>,
}

/// The promise of an end, kept also where the packing of it panics.
struct Promise(Arc<End>, Option<Piece>);

impl Drop for Promise {
    fn drop(&mut self) {
        *self.0.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.1.take());
        self.0.bell.ring();
    }
}

/// Effort for a piece that is packed on a lane: more would hold it up.
const SHORT_LEVEL_MAX: PackLevel = PackLevel::AUTO_MAX;

impl Packer {
    pub(super) fn new(means: Means) -> Self {
        let Means { most, nearness, crew, customer, pool, bell, traffic } = means;
        Self {
            most,
            wish: Packing::Never,
            taste: Taste::default(),
            thrift: Thrift::new(nearness),
            paying: None,
            crew,
            customer,
            pool,
            bell,
            traffic,
            begun: Instant::now(),
            seen: Seen::default(),
            full_since: None,
        }
    }

    /// A chunk begins, and how its pieces are to be packed.
    pub(super) fn begin(&mut self, object: EntryId, wish: Packing) {
        self.wish = if self.most.is_none() { Packing::Never } else { wish };
        self.taste.begin(object);
        if self.traffic.is_paying() {
            self.thrift.follow();
        }
    }

    /// The effort for the next piece; nothing where it goes as it is.
    pub(super) fn level_for(&mut self, len: ByteCount) -> Option<PackLevel> {
        let most = self.most?;
        if len < ByteCount::of_len(PACKED_FROM) {
            return None;
        }
        match self.wish {
            Packing::Never => None,
            Packing::Level(level) => Some(level.min(most)),
            Packing::Auto => {
                let level = self.thrift.level()?.min(most);
                self.taste.wants(len).then_some(level)
            }
        }
    }

    /// Packs a short piece behind what stands in `into` already, by `head` and its packed bytes;
    /// false where it goes as it is.
    pub(super) fn pack_short(
        &mut self,
        piece: &Piece,
        level: PackLevel,
        put: impl FnOnce(&[u8]) -> Option<()>,
    ) -> bool {
        let bytes = piece.bytes();
        let (begun, level) = (Instant::now(), level.min(SHORT_LEVEL_MAX));
        let put = SHORT.with_borrow_mut(|into| {
            into.resize(into.len().max(bytes.len()), 0);
            let len = pack(bytes, level, into)?;
            put(&into[..len]).map(|()| len)
        });
        self.note(begun, bytes.len(), put);
        put.is_some()
    }

    /// Hands a long piece to the packers; back where there is no buffer to spare.
    pub(super) fn pack_long(&mut self, piece: Piece, level: PackLevel) -> Result<UnderWay, Piece> {
        let Some(into) = self.pool.spare(piece.bytes().len()) else { return Err(piece) };
        let end = Arc::new(End { end: Mutex::default(), bell: Arc::clone(&self.bell) });
        let promise = Promise(Arc::clone(&end), None);
        let given = piece.clone();
        self.crew.submit_for(self.customer, Box::new(move || work(promise, given, into, level)));
        Ok(UnderWay { piece, begun: Instant::now(), end })
    }

    /// The end of one that is with the packers, if it has come.
    pub(super) fn take(&mut self, under_way: UnderWay) -> Result<Outcome, UnderWay> {
        let end = under_way.end.end.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(packed) = end else { return Err(under_way) };
        let UnderWay { piece, begun, .. } = under_way;
        let len = packed.as_ref().map(|packed| packed.bytes().len());
        self.note(begun, piece.bytes().len(), len);
        Ok(packed.map_or(Outcome::Loose(piece), Outcome::Packed))
    }

    fn note(&mut self, begun: Instant, len: usize, packed: Option<usize>) {
        self.seen.packing = self.seen.packing.plus(micros(begun.elapsed()));
        match packed {
            Some(packed) => {
                self.taste.shrank();
                let saved = ByteCount::of_len(len.saturating_sub(packed));
                self.traffic.packed(ByteCount::of_len(len), saved);
                self.seen.wire = self.seen.wire.minus(saved);
            }
            None => {
                self.taste.did_not();
                self.traffic.unshrunk(ByteCount::of_len(len));
            }
        }
    }

    /// A piece was taken to be sent.
    pub(super) fn carried(&mut self, len: ByteCount) {
        self.seen.raw = self.seen.raw.plus(len);
        self.seen.wire = self.seen.wire.plus(len);
    }

    /// Whether the connection takes more now.
    pub(super) fn note_full(&mut self, full: bool) {
        match (self.full_since, full) {
            (None, true) => self.full_since = Some(Instant::now()),
            (Some(since), false) => {
                self.full_since = None;
                self.seen.full = self.seen.full.plus(micros(since.elapsed()));
            }
            _ => {}
        }
    }

    /// Judges, a few times a second, whether packing pays.
    pub(super) fn look(&mut self, path: PathSample, theirs: Causes) {
        if self.most.is_none() {
            return;
        }
        let full = self.full_since.map_or(Duration::ZERO, |since| since.elapsed());
        let full = self.seen.full.plus(micros(full));
        let at: Micros = micros(self.begun.elapsed());
        self.thrift.look(Seen { at, full, path, theirs, ..self.seen });
        self.paying = match (self.thrift.level(), self.paying.take()) {
            (Some(_), told) => Some(told.unwrap_or_else(|| self.traffic.pays())),
            (None, _) => None,
        };
    }
}

fn work(mut promise: Promise, piece: Piece, mut into: Blank, level: PackLevel) {
    if Arc::strong_count(&promise.0) == 1 {
        return; // its stream is gone
    }
    let packed = pack(piece.bytes(), level, into.bytes_mut());
    // Once the end is told nothing here may keep the memory.
    drop(piece);
    promise.1 = packed.map(|len| into.seal(len));
}
