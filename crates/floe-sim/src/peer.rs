//! One end of one session: the core, what it has open, its streams, and the operations it gave out.

use crate::link::Side;
use crate::pipe::Stdin;
use crate::wire::{Inlet, Outlet};
use floe_engine::buffer::{Piece, Pool};
use floe_engine::files::{Done, Files, Handle, Op};
use floe_engine::line::{Line, Reading, Writing};
use floe_proto::command::{Event, Role};
use floe_proto::disk::{DiskOp, Took};
use floe_proto::session::Session;
use floe_store::OwnerId;
use floe_types::{
    ByteCount, ChunkDigest, EntryId, Fault, Limits, ObjectPath, Offset, OpId, Range, SourceVersion,
    StreamId, Time,
};
use std::collections::{BTreeMap, VecDeque};

/// The core on the engine's pieces.
pub type Core = Session<Piece>;

/// Names an end of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerId(pub u32);

/// Names a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkId(pub u32);

/// What makes a stage, and which process of the server has it.
pub type StageKey = (ObjectPath, OwnerId, Option<SourceVersion>, usize);

/// One end of a session.
pub struct Peer {
    /// Where it runs.
    pub machine: usize,
    /// In which process of a server.
    pub process: usize,
    /// Whose it is, as a client.
    pub client: usize,
    /// Which errand of that client it is for.
    pub errand: usize,
    /// Which end.
    pub role: Role,
    /// The protocol.
    pub core: Core,
    /// Its bounds.
    pub limits: Limits,
    /// What it has open.
    pub files: Files,
    /// What it sends in place of a file.
    pub stdin: Option<Stdin>,
    /// Its process's buffers.
    pub pool: Pool,
    /// Connections that joined.
    pub streams: BTreeMap<StreamId, Stream>,
    /// The next of them.
    pub streams_next: u32,
    /// Operations of the session.
    pub port: Port,
    /// The other end.
    pub other: Option<PeerId>,
    /// What the driver must act on.
    pub events: VecDeque<Event>,
    /// Operations that were kept back and may go now.
    pub late: Vec<(OpId, Op)>,
    /// Stages that its entries claimed.
    pub claims: BTreeMap<EntryId, StageKey>,
    /// When its timer is set to.
    pub armed: Option<Time>,
    /// How it ended.
    pub ending: Option<Option<Fault>>,
}

/// One connection of a session, seen from one end.
pub struct Stream {
    /// The connection.
    pub link: LinkId,
    /// This end of it.
    pub side: Side,
    /// Bytes to frames.
    pub inlet: Inlet,
    /// Frames to bytes.
    pub outlet: Outlet,
    /// Its operations.
    pub port: Port,
    /// What the core takes of pieces now.
    pub room: ByteCount,
    /// How far it is.
    pub phase: Phase,
}

/// How far a stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It speaks and hears.
    Open,
    /// The peer broke the protocol: it only speaks.
    Deaf,
    /// The core hung it up.
    HungUp,
    /// It says what is queued, until then.
    Farewell(Time),
    /// Its connection is gone; operations are awaited.
    Gone,
}

/// Operations of a stream or session.
#[derive(Default)]
pub struct Port {
    line: Line,
    /// What has ended and was not told.
    inbox: Vec<(OpId, Done)>,
    /// What runs one after the other.
    pub strand: VecDeque<OpId>,
    /// What waits or runs.
    pub works: BTreeMap<OpId, Work>,
    under_way: usize,
}

/// An operation on its way to the store.
pub enum Work {
    /// Read a piece.
    Read(EntryId, Range, Held),
    /// Write a piece.
    Write(EntryId, Offset, Piece, Option<ChunkDigest>, Held),
    /// Anything else.
    Other(Op),
}

/// What an operation holds open from its start on, whatever becomes of its session: one that is
/// stuck keeps its stage, and ends late.
pub type Held = Option<Handle>;

/// How an operation runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// After those before it.
    Strand,
    /// By itself.
    Alone,
    /// It has ended already.
    Over,
}

impl Port {
    /// Begins an operation.
    pub fn submit(&mut self, op: OpId, what: Op) -> Turn {
        self.under_way += 1;
        match what {
            DiskOp::Read { entry, chunk, piece, ends, keep } => {
                self.line.read(op, Reading { chunk, piece, ends, keep });
                self.works.insert(op, Work::Read(entry, piece, None));
            }
            DiskOp::Write { entry, chunk, piece, ends, bytes } => {
                let at = piece.start();
                match self.line.write(op, Writing { chunk, at, ends, bytes: bytes.bytes() }) {
                    Ok(digest) => {
                        self.works.insert(op, Work::Write(entry, at, bytes, digest, None));
                    }
                    Err(fault) => {
                        self.end(op, Done::Failed(fault));
                        return Turn::Over;
                    }
                }
            }
            DiskOp::Finish { chunk, .. } => {
                self.line.finish(op, chunk);
                return Turn::Over;
            }
            other => {
                let alone = matches!(
                    other,
                    DiskOp::Open { .. }
                        | DiskOp::List { .. }
                        | DiskOp::Apply { .. }
                        | DiskOp::Discard { .. }
                        | DiskOp::Checkpoint { .. }
                        | DiskOp::Commit { .. }
                );
                self.works.insert(op, Work::Other(other));
                if alone {
                    return Turn::Alone;
                }
            }
        }
        self.strand.push_back(op);
        Turn::Strand
    }

    /// An operation starts: it takes hold of what it works on.
    pub fn start(&mut self, op: OpId, files: &Files) {
        if let Some(Work::Read(entry, .., held) | Work::Write(entry, .., held)) =
            self.works.get_mut(&op)
        {
            *held = files.handle(*entry).ok();
        }
    }

    /// An operation ended; it is told at the next turn.
    pub fn end(&mut self, op: OpId, done: Done) {
        if let Some((done, _)) = self.line.settle(op, done, Took::default()) {
            self.inbox.push((op, done));
        }
    }

    /// Takes what has ended.
    pub fn take_ended(&mut self) -> Vec<(OpId, Done)> {
        let mut ended = std::mem::take(&mut self.inbox);
        while let Some((op, done, _)) = self.line.next_ended() {
            ended.push((op, done));
        }
        self.under_way -= ended.len();
        ended
    }

    /// Whether nothing is under way.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.under_way == 0
    }
}

impl Stream {
    /// A stream over a new connection.
    #[must_use]
    pub fn new(link: LinkId, side: Side, limits: &Limits) -> Self {
        Self {
            link,
            side,
            inlet: Inlet::new(limits),
            outlet: Outlet::default(),
            port: Port::default(),
            room: ByteCount::ZERO,
            phase: Phase::Open,
        }
    }

    /// Whether its connection is still there.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.phase != Phase::Gone
    }
}

impl Peer {
    /// Whether it has ended and nothing of it is left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.ending.is_some()
            && self.streams.values().all(|stream| !stream.is_up() && stream.port.is_idle())
    }
}
