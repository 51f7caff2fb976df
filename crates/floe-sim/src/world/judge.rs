//! What a command came to, held against the promises.

use super::World;
use super::person::{Client, Origin, Pair};
use crate::machine::{Look, look};
use crate::peer::{Peer, PeerId};
use floe_proto::frame::{RecogniseWish, ResumeWish};
use floe_store::faulty::Offer;
use floe_types::{ByteCount, Code, Fault, Metadata, Mode, Precondition, Time};

/// Whether a directory may be lent to a session that was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lent {
    No,
    Maybe,
}

impl World {
    /// Promise 6: a fault is one that can be explained, and so is that of each entry that failed.
    pub(super) fn judge_fault(
        &mut self,
        nth: usize,
        (fault, failed): (&Fault, &[Code]),
        began: Time,
    ) {
        let calm = self.calm.is_some_and(|calm| calm < began);
        // Another may set mode and mtime of what stood there whole, or remove it, between open and
        // commit.
        let rival = fault.code == Code::Conflict && self.has_others();
        // A stuck operation of before keeps a stage, in a tree that of one entry; patience is the
        // bound of that.
        let kept = matches!(fault.code, Code::AlreadyRunning | Code::TakenOver | Code::Partial);
        let waits = kept || rival;
        if calm && !waits && !fault.code.is_lost() {
            self.oracle.break_promise(|| format!("nothing goes wrong, and it failed: {fault}"));
        }
        let odd = |code: &&Code| !self.is_explained(nth, **code);
        let odd = std::iter::once(&fault.code).chain(failed).find(odd).copied();
        if let Some(code) = odd
            && !self.has_flipped_frames()
        {
            let what = || format!("a fault that nothing explains: {code:?} in {fault:?}");
            self.oracle.break_promise(what);
        }
    }

    /// Whether the command that a client runs gives a reason for a code, or this world does.
    fn is_explained(&self, nth: usize, code: Code) -> bool {
        let client = &self.clients[nth];
        let Some(errand) = client.errand() else { return false };
        let lacks = client.lacks(errand);
        match code {
            Code::Partial => !errand.directories.is_empty(),
            Code::Exists => lacks || errand.options.precondition == Precondition::Absent,
            Code::NotAllowed | Code::NotFound => lacks,
            // Of nothing nothing can be lost.
            Code::SourceGone if errand.pairs.iter().all(|pair| self.size_of(pair) == 0) => false,
            code => self.has_reason(code),
        }
    }

    /// Whether anything of this world gives a reason for a code. What a disk, a network or a person
    /// never does here has none.
    pub(super) fn has_reason(&self, code: Code) -> bool {
        let (disk, people) = (&self.options.disk, &self.options.people);
        match code {
            Code::Violation | Code::Integrity => self.has_flips(),
            Code::SourceChanged => people.changes > 0,
            Code::Interrupted => people.cancels > 0,
            Code::Conflict => self.has_others(),
            // What was recorded of standard input outlives every process, where all is told of it.
            Code::SourceGone => {
                !(self.options.loses_only_connections() && self.options.tells_all())
            }
            Code::ShuttingDown => self.options.machines.drains > 0,
            Code::Io => disk.spells > 0,
            Code::NoSpace => disk.full > 0,
            // Every world has links that may go, and sessions of before that still hold a stage.
            Code::Unreachable | Code::ConnectionLost | Code::TimedOut => true,
            Code::AlreadyRunning | Code::TakenOver => true,
            _ => false,
        }
    }

    /// No more is under way than the window, or one chunk.
    pub(super) fn judge_window(&mut self, nth: usize, held: ByteCount) {
        let client = &self.clients[nth];
        let Some(errand) = client.errands.get(client.at) else { return };
        let most = errand.options.window.max(errand.options.chunk.bytes());
        if held > most && !self.has_flipped_frames() {
            self.oracle.break_promise(|| format!("{held} bytes under way, the window is {most}"));
        }
    }

    /// Promise 3: where nothing but processes and connections were lost, each loss costs a window.
    pub(super) fn judge_effort(&mut self, nth: usize) {
        let effort = std::mem::take(&mut self.clients[nth].effort);
        let client = &self.clients[nth];
        let Some(errand) = client.errands.get(client.at - 1) else { return };
        let again = errand.options.resume == ResumeWish::Discard || errand.origin == Origin::Stdin;
        if !self.options.loses_only_connections() || !self.options.tells_all() || again {
            return;
        }
        // Without marks no version of what was committed is known: it goes again.
        let is_blind = |pair: &Pair| self.machines[pair.target.0].lacks.xattr == Offer::Refused;
        let by_version = errand.options.recognise == RecogniseWish::ByVersion;
        if by_version && errand.pairs.iter().any(is_blind) {
            return;
        }
        let size: u64 = errand.pairs.iter().map(|pair| self.size_of(pair)).sum();
        // One chunk goes also where it is larger than the window.
        let once = errand.options.window.max(errand.options.chunk.bytes());
        if let Some(what) = effort.excess(size, once.0) {
            self.oracle.break_promise(|| what);
        }
    }

    fn size_of(&self, pair: &Pair) -> u64 {
        self.sources.get(&pair.source).map_or(0, |(content, _)| content.bytes.len() as u64)
    }

    /// Promise 2: all of a tree stands.
    pub(super) fn look_at_errand(&mut self, nth: usize, session: PeerId) {
        let client = &self.clients[nth];
        let errand = &client.errands[client.at];
        let Some(process) = client.process.as_ref() else { return };
        for pair in &errand.pairs {
            if !process.finished.contains_key(&pair.path) && process.session_began == process.began
            {
                let path = &pair.path;
                self.oracle.break_promise(|| format!("it ended well without \"{path}\""));
            }
        }
        let Some(machine) = errand.pairs.first().map(|pair| pair.target.0) else { return };
        let survivors = self.options.machines.survivors;
        let cut = (self.dice.number(), survivors);
        let fork = self.oracle.look_after_cut(machine, &self.machines[machine].disk, cut);
        let now = (&self.machines[machine].disk, "is");
        // A session that was lost, and is not over, may have begun a directory anew: until it is
        // over its owner can write.
        let ends = [Some(session), self.peers.get(&session).and_then(|peer| peer.other)];
        let is_lost = |(id, peer): (&PeerId, &Peer)| {
            peer.client == nth && peer.machine == machine && !ends.contains(&Some(*id))
        };
        let lent = if self.peers.iter().any(is_lost) { Lent::Maybe } else { Lent::No };
        for pair in &errand.directories {
            for (disk, how) in [now, (&fork, "would be")] {
                let (path, there) = (&pair.target.1, look(disk, &pair.target.1));
                if !self.is_right((client, lent), pair, &there) {
                    self.oracle.break_promise(|| format!("directory {path} {how} {there:?}"));
                }
            }
        }
        for ((_, path), text) in &errand.links {
            if look(&fork, path) != Look::Link(text.clone()) {
                self.oracle.break_promise(|| format!("link {path} would be gone"));
            }
        }
    }

    /// Whether a directory that was told to be committed stands as it was sent.
    fn is_right(&self, (client, lent): (&Client, Lent), pair: &Pair, there: &Look) -> bool {
        let Look::Directory(metadata) = there else { return false };
        // Where nothing may be replaced, one that stands stays as it is.
        let keeps = client.errand().is_some_and(|errand| client.replaces_nothing(errand));
        if keeps || self.has_flipped_frames() {
            return true;
        }
        let Some(had) = self.directories.get(&pair.source) else { return false };
        let writable = |mode: Mode| Mode::from_bits(u32::from(mode.bits()) | 0o700);
        let as_lent = |had: &Metadata| Metadata { mode: writable(had.mode), ..*had } == *metadata;
        had.contains(metadata) || lent == Lent::Maybe && had.iter().any(as_lent)
    }
}
