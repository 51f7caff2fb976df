//! Disk operations: when each meets its disk, and when its end is told.
//!
//! The operations of one strand run one after the other, all others beside each other. An operation
//! has its effect at one instant between its start and its end, so a kill can come on either side
//! of it; a kill within it comes by the disk's own count of operations.

use super::{Happening, TOOK, TakeOver, World};
use crate::machine::look;
use crate::peer::{Peer, PeerId, Port, StageKey, Turn, Work};
use crate::pipe::Stdin;
use floe_engine::customer::Customer;
use floe_engine::descriptors::OpenFiles;
use floe_engine::files::{Done, Files, Handle, Op};
use floe_proto::command::{Command, Role};
use floe_proto::disk::{DiskDone, DiskOp, Lane, OpenHow};
use floe_proto::frame::{Reply, Request};
use floe_store::Source;
use floe_types::{ByteCount, Code, EntryId, Fault, Micros, ObjectPath, OpId};
use std::sync::Arc;

impl World {
    /// Gives an operation to the disk.
    pub(super) fn submit(
        &mut self,
        id: PeerId,
        (port, files): (&mut Port, &Files),
        lane: Lane,
        (op, what): (OpId, Op),
    ) {
        match port.submit(op, what) {
            Turn::Over => {
                self.ready.insert((id, lane));
            }
            Turn::Alone => self.start_work(id, lane, op),
            Turn::Strand if port.strand.len() == 1 => {
                port.start(op, files);
                self.start_work(id, lane, op);
            }
            Turn::Strand => {}
        }
    }

    fn start_work(&mut self, id: PeerId, lane: Lane, op: OpId) {
        let disk = self.options.disk;
        let mut busy = self.dice.span(disk.busy_max);
        if self.dice.hits(disk.stuck) {
            busy = busy.plus(Micros(self.dice.below(disk.stuck_max.0)));
        }
        let at = self.now.plus(Micros(1)).plus(busy);
        self.at(at, Happening::WorkRuns(id, lane, op));
    }

    pub(super) fn run_work(&mut self, id: PeerId, lane: Lane, op: OpId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some((port, _)) = port_of(peer, lane) else { return };
        let Some(work) = port.works.remove(&op) else { return };
        if port.strand.front() == Some(&op) {
            port.strand.pop_front();
        }
        let following = port.strand.front().copied().filter(|_| is_of_strand(&work));
        let machine = peer.machine;
        let what = if self.trace.is_told() { describe(&work) } else { briefly(&work).to_owned() };
        self.machines[machine].tick(self.now);
        let given_up = match &work {
            Work::Other(DiskOp::Release { entry } | DiskOp::Discard { entry }) => Some(*entry),
            _ => None,
        };
        let stated = stated_path(&work);
        let done = perform(peer, work);
        if let Some(entry) = given_up {
            self.give_up_claim(id, entry);
        }
        let failed = match &done {
            DiskDone::Failed(fault) => Some(fault.clone()),
            _ => None,
        };
        let name = &self.machines[machine].name;
        match &failed {
            None => self.trace.say(self.now, || format!("{name} {id:?} does {what}")),
            Some(fault) => {
                self.trace.say(self.now, || format!("{name} {id:?} fails {what}: {fault}"));
            }
        }
        if let Some(doom) = self.machines[machine].is_doomed() {
            return self.fall(machine, doom);
        }
        self.look(machine, &what);
        if let (Some(path), DiskDone::Applied(Reply::Stat(stat))) = (stated, &done) {
            self.look_at_stat(machine, &path, stat);
        }
        let told = self.now.plus(self.dice.span(Micros(2_000)));
        self.at(told, Happening::WorkEnds(id, lane, op, done));
        if let Some(next) = following {
            if let Some((port, files)) =
                self.peers.get_mut(&id).and_then(|peer| port_of(peer, lane))
            {
                port.start(next, files);
            }
            self.start_work(id, lane, next);
        }
    }

    /// The promises, as they stand on a machine now.
    pub(super) fn look(&mut self, machine: usize, when: &str) {
        let disk = &self.machines[machine].disk;
        self.oracle.look(machine, disk, when);
        let often = if when.starts_with("commit") { 2 } else { 48 };
        if self.dice.one_in(often) {
            let cut = (self.dice.number(), self.options.machines.survivors);
            self.oracle.look_after_cut(machine, disk, cut);
        }
    }

    pub(super) fn end_work(&mut self, id: PeerId, lane: Lane, op: OpId, done: Done) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let Some((port, _)) = port_of(peer, lane) {
            port.end(op, done);
            self.ready.insert((id, lane));
        }
    }

    /// An operation of a server's session, before it is submitted: keeps stages to one owner.
    pub(super) fn admit(&mut self, id: PeerId, peer: &mut Peer, op: OpId, what: Op) -> Option<Op> {
        if peer.role == Role::Client {
            return Some(what);
        }
        match &what {
            DiskOp::Open { entry, path, how: OpenHow::Sink(wish) } => {
                let owner = peer.files.owner();
                let key: StageKey = (path.clone(), owner, wish.version, peer.process);
                peer.claims.insert(*entry, key.clone());
                let held = self.claims.get(&key).copied().filter(|owner| *owner != id);
                let live = |owner: &PeerId| {
                    self.peers.get(owner).is_some_and(|peer| peer.ending.is_none())
                };
                let Some(old) = held.filter(live) else {
                    self.claims.insert(key, id);
                    return Some(what);
                };
                let taken_over = Fault::new(Code::TakenOver, "");
                if old > id {
                    // What a killed command left on its way.
                    self.trace.say(self.now, || format!("{old:?} has {} from {id:?}", key.0));
                    let failed = DiskDone::Failed(taken_over);
                    self.round(id, peer, |core, now| core.handle_disk(op, failed, TOOK, now));
                    return None;
                }
                self.trace.say(self.now, || format!("{id:?} takes {} from {old:?}", key.0));
                self.waiting.push(TakeOver { old, by: id, key, op, what });
                self.command(old, Command::Close(Some(taken_over)));
                if let Some(peer) = self.peers.get(&old) {
                    peer.files.cut_off();
                }
                None
            }
            _ => Some(what),
        }
    }

    /// An entry is closed: whoever waits for its stage finds it free.
    fn give_up_claim(&mut self, id: PeerId, entry: EntryId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        // An entry that was replaced and the one that follows it claim the same stage.
        if let Some(key) = peer.claims.remove(&entry)
            && self.claims.get(&key) == Some(&id)
            && !peer.claims.values().any(|other| *other == key)
        {
            self.claims.remove(&key);
        }
    }

    /// Opens whose earlier owner let go go on. It may have been about to commit: where it does not
    /// let go in time, the engine has the client come again, which is to wait.
    pub(super) fn settle_waiting(&mut self) {
        let mut still = Vec::new();
        for wait in std::mem::take(&mut self.waiting) {
            let released = self.peers.get(&wait.old).is_none_or(|peer| peer.ending.is_some());
            if !released {
                still.push(wait);
                continue;
            }
            let TakeOver { by, key, op, what, .. } = wait;
            let Some(peer) = self.peers.get_mut(&by) else { continue };
            peer.late.push((op, what));
            self.claims.insert(key, by);
            self.ready.insert((by, Lane::Session));
        }
        self.waiting = still;
    }

    /// The last looks: what was committed is there, and stays there.
    pub(super) fn look_at_the_end(&mut self) {
        for machine in 0..self.machines.len() {
            let survivors = self.options.machines.survivors;
            let cut = (self.dice.number(), survivors);
            let disk = &self.machines[machine].disk;
            self.oracle.look(machine, disk, "at the end");
            self.oracle.look_after_cut(machine, disk, cut);
        }
        self.look_at_forbidden();
        for client in &self.clients {
            let done = client.errands().iter().enumerate();
            let done =
                done.filter(|(nth, errand)| !client.found.contains(nth) && !client.lacks(errand));
            for pair in done.flat_map(|(_, errand)| &errand.pairs) {
                let (machine, path) = &pair.target;
                let there = look(&self.machines[*machine].disk, path);
                if there == crate::machine::Look::Absent {
                    self.oracle.break_promise(|| format!("at the end {path} is not there"));
                }
            }
        }
    }
}

fn port_of(peer: &mut Peer, lane: Lane) -> Option<(&mut Port, &Files)> {
    match lane {
        Lane::Session => Some((&mut peer.port, &peer.files)),
        Lane::Stream(stream) => {
            peer.streams.get_mut(&stream).map(|stream| (&mut stream.port, &peer.files))
        }
    }
}

/// What a request asks the state of.
fn stated_path(work: &Work) -> Option<ObjectPath> {
    match work {
        Work::Other(DiskOp::Apply { request: Request::Stat { path, .. } }) => Some(path.clone()),
        _ => None,
    }
}

fn is_of_strand(work: &Work) -> bool {
    match work {
        Work::Read(..) | Work::Write(..) => true,
        Work::Other(op) => !matches!(
            op,
            DiskOp::Open { .. }
                | DiskOp::List { .. }
                | DiskOp::Apply { .. }
                | DiskOp::Discard { .. }
                | DiskOp::Checkpoint { .. }
                | DiskOp::Commit { .. }
        ),
    }
}

/// Where nobody reads it.
const fn briefly(work: &Work) -> &'static str {
    match work {
        Work::Other(DiskOp::Commit { .. }) => "commit",
        _ => "",
    }
}

fn describe(work: &Work) -> String {
    match work {
        Work::Read(entry, piece, _) => format!("read {piece:?} of entry {}", entry.index),
        Work::Write(entry, at, bytes, ..) => {
            format!("write {} at {at} of entry {}", bytes.bytes().len(), entry.index)
        }
        Work::Other(op) => match op {
            DiskOp::Open { entry, path, how } => {
                let how = match how {
                    OpenHow::Source(_) => "source",
                    OpenHow::Sink(_) => "sink",
                    OpenHow::Directory(_) => "directory",
                    OpenHow::ProbeSource(_) | OpenHow::ProbeSink => "probe",
                };
                format!("open {how} {path} as entry {}", entry.index)
            }
            DiskOp::Commit { batch, .. } => {
                let entries: Vec<_> = batch.iter().map(|one| one.entry.index.0).collect();
                format!("commit of entries {entries:?}")
            }
            DiskOp::Record { entry, chunk, .. } => {
                format!("record {chunk:?} of entry {}", entry.index)
            }
            DiskOp::ReadHole { entry, chunk } => {
                format!("look for a hole at {chunk:?} of entry {}", entry.index)
            }
            DiskOp::WriteHole { entry, chunk } => {
                format!("make a hole of {chunk:?} of entry {}", entry.index)
            }
            DiskOp::Forget { entry, range } => format!("forget {range:?} of {}", entry.index),
            DiskOp::Checkpoint { entry } => format!("checkpoint of entry {}", entry.index),
            DiskOp::Discard { entry } => format!("discard of entry {}", entry.index),
            DiskOp::Release { entry } => format!("release of entry {}", entry.index),
            DiskOp::Check { entry } => format!("check of entry {}", entry.index),
            DiskOp::List { path, .. } => format!("list {path}"),
            DiskOp::Apply { request } => format!("{request:?}"),
            _ => "something else".to_owned(),
        },
    }
}

fn perform(peer: &Peer, work: Work) -> Done {
    let files = &peer.files;
    let own = |stdin: &Stdin| match &work {
        Work::Read(_, piece, _) => Some(stdin.read(*piece, files.pool())),
        Work::Other(op) => stdin.perform(op),
        Work::Write(..) => None,
    };
    if let Some(done) = peer.stdin.as_ref().and_then(own) {
        return done;
    }
    let done = match work {
        Work::Other(DiskOp::Open { entry, path, how }) => return open(files, entry, &path, &how),
        Work::Other(op) => return files.perform(op, &|_, _| {}),
        Work::Read(entry, piece, held) => {
            held.map_or_else(|| files.handle(entry), Ok).and_then(|handle| {
                let source: Arc<dyn Source> = match handle {
                    Handle::Source(source) => source,
                    Handle::Short(short) => short,
                    _ => return Err(floe_engine::files::wrong_kind(entry)),
                };
                let mut into = files.pool().blank(piece.len().to_len().unwrap_or(0));
                // As the engine does: from memory where all of it is there.
                let count = match source.read_cached(piece.start(), into.bytes_mut())? {
                    Some(count) => count,
                    None => source.read_at(piece.start(), into.bytes_mut())?,
                };
                let bytes = into.seal(count);
                let len = ByteCount::of_len(bytes.bytes().len());
                Ok(Done::Read { bytes: Some(bytes), len, digest: None })
            })
        }
        Work::Write(entry, at, bytes, digest, held) => {
            held.map_or_else(|| files.handle(entry), Ok).and_then(|handle| {
                let (sink, bytes) = match handle {
                    Handle::Sink(sink) => (sink, Some(bytes)),
                    Handle::ShortSink(short) => (short.stage(), short.hold(at, bytes)),
                    _ => return Err(floe_engine::files::wrong_kind(entry)),
                };
                bytes.map_or(Ok(()), |bytes| sink.write_at(at, bytes.bytes()))?;
                Ok(Done::Wrote { digest })
            })
        }
    };
    done.unwrap_or_else(Done::Failed)
}

/// Descriptors are not scarce here.
fn open(files: &Files, entry: EntryId, path: &ObjectPath, how: &OpenHow) -> Done {
    let Some(slot) = OpenFiles::new(DESCRIPTORS).slot(Customer::ANYBODY) else {
        return Done::Failed(Fault::new(Code::LimitExceeded, "a slot of a million"));
    };
    let done = files.try_open(entry, path, how, slot, &|_, _| {});
    if matches!(done, DiskDone::Failed(_)) {
        files.not_opened(entry);
    }
    done
}

const DESCRIPTORS: u64 = 1 << 20;
