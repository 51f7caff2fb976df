//! What a command came to, held against the promises.

use super::World;
use super::person::{Origin, Pair};
use crate::machine::{Look, look};
use floe_proto::frame::ResumeWish;
use floe_types::{ByteCount, Code, Fault, Precondition, Time};

impl World {
    /// Promise 6: a fault is one that can be explained, and so is that of each entry that failed.
    pub(super) fn judge_fault(
        &mut self,
        nth: usize,
        (fault, failed): (&Fault, &[Code]),
        began: Time,
    ) {
        let calm = self.calm.is_some_and(|calm| calm < began);
        // A rival may set mode and mtime of what stood there whole, or remove it, between open and
        // commit.
        let rival = fault.code == Code::Conflict && self.has_rivals();
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
            Code::Conflict => self.has_rivals(),
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
        let size = |pair: &Pair| {
            self.sources.get(&pair.source).map_or(0, |(content, _)| content.bytes.len() as u64)
        };
        let size: u64 = errand.pairs.iter().map(size).sum();
        // One chunk goes also where it is larger than the window.
        let once = errand.options.window.max(errand.options.chunk.bytes());
        if let Some(what) = effort.excess(size, once.0) {
            self.oracle.break_promise(|| what);
        }
    }

    /// Promise 2: all of a tree stands.
    pub(super) fn look_at_errand(&mut self, nth: usize) {
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
        for (_, path) in &errand.directories {
            if look(&fork, path) != Look::Directory {
                self.oracle.break_promise(|| format!("directory {path} would be gone"));
            }
        }
        for ((_, path), text) in &errand.links {
            if look(&fork, path) != Look::Link(text.clone()) {
                self.oracle.break_promise(|| format!("link {path} would be gone"));
            }
        }
    }
}
