//! One entry of the sending half: where it stands, what of it is to be sent, what of it is known.

use crate::disk::Reread;
use crate::entries::{Tallied, Tally};
use crate::frame::EntryBody;
use crate::io::{Extent, Io};
use crate::plan::ChunkPlan;
use crate::send::fill::Fill;
use alloc::collections::VecDeque;
use floe_types::{
    ByteCount, EntryIndex, Freshness, Metadata, ObjectPath, RangeSet, Root, SourceVersion, Subtree,
    Subtrees,
};

/// Where an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// Its open is under way, or its announcement waits for its turn.
    Opening,
    /// ENTRY is queued or said; WANT (a file) or COMMITTED is awaited.
    Announced,
    /// Chunks go.
    Sending,
    /// All chunks went; the source's version is asked once more.
    Checking,
    /// DONE is queued or said; COMMITTED is awaited. Chunks may still come back.
    Done,
    /// It ended; its operations are awaited, then its handle is released.
    Ending,
}

/// Whether this is the first try of a source that changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Restart {
    Possible,
    Used,
}

/// Whether an entry's chunks wait for its WANT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum WantOf {
    /// They do, or it came.
    First,
    /// They go before it comes, on the lead stream.
    Behind,
    /// They went before it and were not taken: they go again once it came.
    Awaited,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct SendEntry<P> {
    pub(super) path: ObjectPath,
    pub(super) stage: Stage,
    pub(super) body: Option<EntryBody>,
    pub(super) metadata: Option<Metadata>,
    pub(super) size: Option<ByteCount>,
    pub(super) version: Option<SourceVersion>,
    pub(super) freshness: Freshness,
    pub(super) want: WantOf,
    pub(super) replaces: Option<EntryIndex>,
    /// What of the one that it replaces counts in the window until the receiver hears of this.
    pub(super) dropped: ByteCount,
    /// What a lost stream had under way of it, and that was not begun again.
    pub(super) lost: ByteCount,
    pub(super) restart: Restart,
    /// What the source was before it changed; `None` once a change under way was passed over.
    pub(super) before: Option<SourceVersion>,
    /// Whether this is that once.
    pub(super) amid: bool,
    handle: Handle,
    /// Operations under way.
    pub(super) ops: u32,
    pub(super) plan: ChunkPlan,
    /// What of the source holds nothing, as far as it is known.
    pub(super) holes: RangeSet,
    /// What the receiver says it holds, collected over WANT frames, then to be read and compared.
    pub(super) checks: VecDeque<Subtree>,
    /// What it counts of what the session has announced, until this ends.
    pub(super) announced_bytes: usize,
    /// Checks and chunks that streams have under way.
    pub(super) tasks: u32,
    /// The receiver's whole object has this root: everything is hashed before anything is sent.
    pub(super) whole: Option<Root>,
    /// Everything whose digest is known.
    pub(super) known: Subtrees,
    /// Set for a source that cannot be read twice.
    pub(super) fill: Option<Fill<P>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Handle {
    None,
    Open,
}

impl<P> Tallied for SendEntry<P> {
    fn tally(&self) -> Tally {
        let small = self.body.is_some() && Extent::of(self.size) == Extent::Small;
        Tally {
            ahead: usize::from(self.is_ahead()),
            open: usize::from(self.is_open() && !small),
            open_small: usize::from(self.is_open() && small),
            ranges: self.checks.len() + self.known.count(),
            ..Tally::default()
        }
    }
}

impl<P> SendEntry<P> {
    pub(super) fn opening(path: ObjectPath) -> Self {
        Self {
            path,
            stage: Stage::Opening,
            body: None,
            metadata: None,
            size: None,
            version: None,
            freshness: Freshness::Fresh,
            want: WantOf::First,
            replaces: None,
            dropped: ByteCount::ZERO,
            lost: ByteCount::ZERO,
            restart: Restart::Possible,
            before: None,
            amid: false,
            handle: Handle::None,
            ops: 0,
            plan: ChunkPlan::new(ByteCount::ZERO, &RangeSet::new(), &RangeSet::new()),
            holes: RangeSet::new(),
            checks: VecDeque::new(),
            announced_bytes: 0,
            tasks: 0,
            whole: None,
            known: Subtrees::new(),
            fill: None,
        }
    }

    /// The end of a directory: nothing to open, COMMITTED is awaited.
    pub(super) fn announced_end(path: ObjectPath, body: EntryBody) -> Self {
        Self { stage: Stage::Announced, body: Some(body), ..Self::opening(path) }
    }

    /// The same path again, after its source changed.
    pub(super) fn replacing(
        path: ObjectPath,
        old: EntryIndex,
        before: Option<SourceVersion>,
        dropped: ByteCount,
    ) -> Self {
        Self { replaces: Some(old), restart: Restart::Used, before, dropped, ..Self::opening(path) }
    }

    pub(super) fn opened(&mut self, body: EntryBody, metadata: Metadata, reread: Reread) {
        if let EntryBody::File { size, version, freshness, .. } = &body {
            self.size = *size;
            self.version = *version;
            if let (Some(before), Some(now)) = (self.before, *version)
                && now.is_amid_change_from(&before)
            {
                (self.restart, self.amid) = (Restart::Possible, true);
            }
            self.freshness = *freshness;
            self.handle = Handle::Open;
            if let Reread::No { spent } = reread {
                self.fill = Some(Fill::new(spent));
            }
        }
        self.metadata = Some(metadata);
        self.body = Some(body);
    }

    /// Whether it is announced and has not ended, or is to take the place of one that is.
    const fn is_ahead(&self) -> bool {
        match self.stage {
            Stage::Opening => self.replaces.is_some(),
            Stage::Ending => false,
            _ => true,
        }
    }

    /// Whether it holds an object open, or is about to.
    fn is_open(&self) -> bool {
        self.handle == Handle::Open || (self.stage == Stage::Opening && self.body.is_none())
    }

    /// Takes the handle, if there is one to release.
    pub(super) fn take_handle(&mut self) -> bool {
        core::mem::replace(&mut self.handle, Handle::None) == Handle::Open
    }

    /// Whether streams have something to pull.
    pub(super) fn has_work(&self) -> bool {
        match self.stage {
            _ if self.want == WantOf::Awaited => false,
            Stage::Sending | Stage::Checking | Stage::Done => {
                !self.checks.is_empty()
                    || !self.plan.is_empty()
                    || self.fill.as_ref().is_some_and(Fill::has_chunk)
            }
            Stage::Opening | Stage::Announced | Stage::Ending => false,
        }
    }

    /// Whether a chunk of a source that cannot be read twice is being read.
    pub(super) fn is_filling(&self) -> bool {
        self.fill.as_ref().is_some_and(Fill::is_within_chunk)
    }

    /// Gives up the payloads that are held for a source that cannot be read twice.
    pub(super) fn drop_payloads(&mut self, io: &mut Io<P>) {
        if let Some(fill) = &mut self.fill {
            let freed = fill.clear();
            io.buffered = io.buffered.minus(freed);
        }
    }
}
