//! People and their commands: given, carried over as many sessions as it takes, stopped, given
//! again after a failure.
//!
//! A command is a process, as the client of the engine carries it: it comes back after what the
//! network did, gives up after five minutes without getting further, and ends with any other fault.

use super::dial::{Place, Purpose};
use super::effort::Effort;
use super::{Happening, World};
use crate::link::Side;
use crate::oracle::{Name, Replaces, Told};
use crate::peer::{LinkId, PeerId};
use crate::pipe::Stdin;
use floe_engine::buffer::Pool;
use floe_engine::files::{Files, LocalEnd};
use floe_proto::command::{Accepted, Command, Event, Role, TransferOptions};
use floe_proto::frame::{Direction, RecogniseWish, ResumeWish, Verbs};
use floe_store::{OwnerId, Store};
use floe_types::{
    ByteCount, Code, Fault, Micros, ObjectPath, Precondition, Root, Time, TransferId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A client machine's person, and the command that runs.
pub(super) struct Client {
    pub(super) machine: usize,
    pub(super) owner: OwnerId,
    /// What its ticket allows.
    pub(super) verbs: Verbs,
    /// Counts processes.
    pub(super) life: u64,
    pub(super) errands: Vec<Errand>,
    /// The errand that is being done.
    pub(super) at: usize,
    pub(super) process: Option<Process>,
    pub(super) effort: Effort,
    /// Errands that ended because something stood there: who is told so is told nothing durable.
    pub(super) found: BTreeSet<usize>,
    /// How many sessions it began: one for each errand, unless something was lost.
    pub(super) sessions: usize,
    /// How often another run took over from its commands.
    taken_over: u32,
}

/// What a person wants.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) direction: Direction,
    pub(super) local: ObjectPath,
    pub(super) remote: ObjectPath,
    pub(super) options: TransferOptions,
    /// Whether a file is sent or standard input.
    pub(super) origin: Origin,
    /// Each file: where it is, and where it goes.
    pub(super) pairs: Vec<Pair>,
    /// Directories that must stand at the end.
    pub(super) directories: Vec<Pair>,
    /// Links that must stand at the end.
    pub(super) links: Vec<(Name, Vec<u8>)>,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// Files.
    Files,
    /// Standard input.
    Stdin,
}

/// A file or directory on its way.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) source: Name,
    pub(super) target: Name,
    /// Beneath the transfer's own path.
    pub(super) path: ObjectPath,
}

/// A command that runs.
pub(super) struct Process {
    store: Arc<dyn Store>,
    pool: Pool,
    stdin: Option<Stdin>,
    session: Option<(PeerId, TransferId)>,
    /// Whether a session of it had its transfer.
    offered: bool,
    /// When it, and its present session, began.
    pub(super) began: Time,
    pub(super) session_began: Time,
    /// When it got further for the last time.
    advanced: Time,
    backoff: Micros,
    stopping: bool,
    pub(super) finished: BTreeMap<ObjectPath, Root>,
    /// Why entries failed.
    failed: Vec<Code>,
}

const BACKOFF_MIN: Micros = Micros::from_millis(200);
const BACKOFF_MAX: Micros = Micros::from_secs(10);
const GIVE_UP: Micros = Micros::from_secs(300);

impl Client {
    pub(super) fn new(machine: usize, errands: Vec<Errand>) -> Self {
        let mut owner = [7; 32];
        owner[0] = u8::try_from(machine).unwrap_or(u8::MAX);
        Self {
            machine,
            owner: OwnerId(owner),
            verbs: Verbs::ALL,
            life: 0,
            errands,
            at: 0,
            process: None,
            effort: Effort::default(),
            found: BTreeSet::new(),
            sessions: 0,
            taken_over: 0,
        }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.at >= self.errands.len()
    }

    /// What it does now.
    pub(super) fn errand(&self) -> Option<&Errand> {
        self.errands.get(self.at)
    }

    pub(super) fn errands(&self) -> &[Errand] {
        &self.errands
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// The process is gone.
    pub(super) fn end_process(&mut self) {
        self.process = None;
        self.life += 1;
    }

    /// Whether what stands where an errand goes stays as it is.
    pub(super) fn replaces_nothing(&self, errand: &Errand) -> bool {
        let barred = errand.direction == Direction::Put && !self.verbs.allow(Verbs::OVERWRITE);
        barred || errand.options.precondition == Precondition::Absent
    }

    /// The session that carries its transfer.
    pub(super) fn session(&self) -> Option<(PeerId, TransferId)> {
        self.process.as_ref().and_then(|process| process.session)
    }

    /// What an errand cost so far, while it is done.
    pub(super) fn effort_of(&mut self, errand: usize) -> Option<&mut Effort> {
        (errand == self.at).then_some(&mut self.effort)
    }
}

impl World {
    /// The person gives the next command.
    pub(super) fn begin_command(&mut self, nth: usize, life: u64) {
        if self.clients[nth].life != life || self.clients[nth].is_finished() {
            return;
        }
        // Whatever is left of the process before goes with it.
        self.kill_client(nth);
        let machine = &self.machines[self.clients[nth].machine];
        machine.tick(self.now);
        let store = machine.store();
        if let Some(doom) = machine.is_doomed() {
            return self.fall(self.clients[nth].machine, doom);
        }
        let store = match store {
            Ok(store) => Arc::new(store),
            Err(fault) => return self.command_over(nth, Err(fault), self.now),
        };
        let client = &mut self.clients[nth];
        let (machine, errand) = (client.machine, &client.errands[client.at]);
        let source = errand.pairs.first().and_then(|pair| self.sources.get(&pair.source));
        let stdin = source.filter(|_| errand.origin == Origin::Stdin);
        let stdin = stdin.map(|(content, metadata)| Stdin::new(content.clone(), *metadata));
        self.trace.say(self.now, || {
            format!("client {machine} begins: {:?} {}", errand.direction, errand.local)
        });
        client.process = Some(Process {
            store,
            pool: Pool::new(ByteCount(1 << 20)),
            stdin,
            session: None,
            offered: false,
            began: self.now,
            session_began: self.now,
            failed: Vec::new(),
            advanced: self.now,
            backoff: BACKOFF_MIN,
            stopping: false,
            finished: BTreeMap::new(),
        });
        self.dial(nth, Purpose::Begin);
    }

    pub(super) fn redial(&mut self, nth: usize, life: u64) {
        if self.clients[nth].life == life && self.clients[nth].process.is_some() {
            self.dial(nth, Purpose::Begin);
        }
    }

    /// The server let a new session in.
    pub(super) fn session_begins(&mut self, nth: usize, link: LinkId, host: PeerId) {
        let client = &mut self.clients[nth];
        let Some(process) = client.process.as_mut() else {
            return self.leave_link(link, Side::Client);
        };
        client.sessions += 1;
        let limits = self.options.common_limits();
        let pages = limits.page_entries_max;
        let files = Files::local(client.owner, process.pool.clone(), pages);
        let (pool, store) = (process.pool.clone(), Arc::clone(&process.store));
        let stdin = process.stdin.clone();
        let finds = stdin.clone();
        // It knows what its ticket allows, or asks all the same.
        let verbs = if self.dice.one_in(2) { client.verbs } else { Verbs::ALL };
        let place =
            Place { machine: client.machine, process: 0, client: nth, role: Role::Client, verbs };
        let id = self.add_peer(place, files, pool, limits);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.other = Some(host);
            peer.stdin = stdin;
        }
        self.seat(id, link, Side::Client);
        self.offer_again(nth);
        let client = &self.clients[nth];
        let errand = &client.errands[client.at];
        let mut options = errand.options.clone();
        if client.process.as_ref().is_some_and(|process| process.offered) {
            // As the client of the engine asks: what this command staged is not discarded again.
            options.resume = ResumeWish::Continue;
        }
        if let Some(stdin) = finds {
            // As the client of the engine asks: the object may stand there, without a version.
            options.recognise = match stdin.may_be_finished() {
                true => RecogniseWish::ByContent,
                false => RecogniseWish::ByVersion,
            };
        }
        let command = Command::Transfer {
            direction: errand.direction,
            local: errand.local.clone(),
            remote: errand.remote.clone(),
            options,
        };
        self.ask_something(nth, id);
        match self.ask(id, |core, now| core.handle_command(command, now)) {
            Some(Ok(Accepted::Transfer(transfer))) => {
                if let Some(peer) = self.peers.get(&id) {
                    peer.files.add_end(transfer, LocalEnd::Store(store));
                }
                if let Some(process) = self.clients[nth].process.as_mut() {
                    process.offered = true;
                    process.session = Some((id, transfer));
                    process.session_began = self.now;
                }
            }
            Some(Err(fault)) if fault.code == Code::NotAllowed && self.is_refused(nth, &fault) => {
                self.command(id, Command::Close(None));
                self.command_over(nth, Err(fault), self.now);
            }
            other => {
                self.oracle.break_promise(|| format!("a transfer was refused: {other:?}"));
            }
        }
    }

    /// What an earlier run was told to be committed may be committed once more.
    fn offer_again(&mut self, nth: usize) {
        let client = &self.clients[nth];
        let errand = &client.errands[client.at];
        let may = |pair: &&Pair| self.may_bring(client, errand, pair);
        let pairs: Vec<_> = errand.pairs.iter().filter(may).cloned().collect();
        for pair in pairs {
            if let Some((content, metadata)) = self.sources.get(&pair.source) {
                self.oracle.offer(&pair.target, content.root, *metadata);
            }
        }
    }

    /// A session of a client or the server tells something.
    pub(super) fn hear(&mut self, nth: usize, id: PeerId, event: Event) {
        let own = self.clients[nth].process.as_ref().and_then(|process| process.session);
        let is_own = own.is_some_and(|(peer, _)| peer == id);
        match event {
            Event::Stalled if !self.has_flipped_frames() => {
                self.oracle.break_promise(|| format!("{id:?}: neither end has anything to do"));
            }
            Event::Replied(request, answer) => self.answered(nth, (id, request), answer),
            Event::Dial => self.dial(nth, Purpose::Join(id)),
            Event::EntryFinished { path, object: Some((_, root)), .. } if is_own => {
                self.object_finished(nth, &path, root);
            }
            Event::EntryFailed { path, fault, .. } => {
                self.trace.say(self.now, || format!("{id:?} says \"{path}\" failed: {fault}"));
                let process = self.clients[nth].process.as_mut().filter(|_| is_own);
                process.into_iter().for_each(|process| process.failed.push(fault.code));
            }
            Event::TransferFinished { result, summary, .. } if is_own => {
                let sent = summary.bytes_sent;
                self.judge_window(nth, summary.window_bytes_max);
                self.trace.say(self.now, || format!("{id:?} is done: {result:?}, sent {sent}"));
                self.transfer_over(nth, id, result);
            }
            _ => {}
        }
    }

    /// Promises 2 and 4: what is told to be committed is there, whole, even after a cut.
    fn object_finished(&mut self, nth: usize, path: &ObjectPath, root: Root) {
        let client = &mut self.clients[nth];
        let Some(process) = client.process.as_mut() else { return };
        process.advanced = self.now;
        process.finished.insert(path.clone(), root);
        let began = process.session_began;
        let errand = &client.errands[client.at];
        let kept = client.replaces_nothing(errand);
        // A flipped byte tells of a commit that was none.
        let replaces = match kept && !self.options.flips.may_change_frames() {
            true => Replaces::Nothing,
            false => Replaces::Anything,
        };
        let Some(pair) = errand.pairs.iter().find(|pair| pair.path == *path) else {
            return self.odd_path(path);
        };
        self.trace.say(self.now, || format!("client {nth} hears {} committed", pair.target.1));
        let told = self.oracle.committed(&pair.target, root, replaces, (began, self.now));
        if told == Told::Unknown && !self.options.flips.may_change_frames() {
            let path = &pair.target.1;
            self.oracle.break_promise(|| format!("{path} is committed as {root}: not offered"));
        }
        let (machine, target) = (pair.target.0, pair.target.clone());
        let disk = &self.machines[machine].disk;
        let cut = (self.dice.number(), self.options.machines.survivors);
        self.oracle.look(machine, disk, "when it is told to be committed");
        if !self.has_rivals() {
            self.oracle.look_at_metadata(&target, disk);
        }
        self.oracle.look_after_cut(machine, disk, cut);
    }

    fn odd_path(&mut self, path: &ObjectPath) {
        if !self.has_flipped_frames() {
            self.oracle.break_promise(|| format!("\"{path}\" is committed, and nobody sent it"));
        }
    }

    fn transfer_over(&mut self, nth: usize, id: PeerId, result: Result<(), Fault>) {
        let Some(process) = self.clients[nth].process.as_mut() else { return };
        process.session = None;
        let (stopping, began) = (process.stopping, process.began);
        if result.is_err() {
            self.clients[nth].effort.lose_session();
        }
        match result {
            Err(fault) if fault.code.is_lost() && !stopping => self.lost(nth, fault.code),
            result => {
                self.command(id, Command::Close(None));
                if result.is_ok() {
                    self.look_at_errand(nth, id);
                }
                self.command_over(nth, result, began);
            }
        }
    }

    /// A session that ended without the end of its transfer.
    pub(super) fn session_over(&mut self, nth: usize, id: PeerId) {
        let own = self.clients[nth].process.as_ref().and_then(|process| process.session);
        if own.is_some_and(|(peer, _)| peer == id) {
            self.oracle.break_promise(|| "a session ended, and its transfer did not".to_owned());
        }
    }

    /// The network was at fault: the command comes back, unless it has tried for too long.
    pub(super) fn lost(&mut self, nth: usize, code: Code) {
        let jitter = self.dice.number();
        let client = &mut self.clients[nth];
        let Some(process) = client.process.as_mut() else { return };
        process.session = None;
        if self.now.since(process.advanced) >= GIVE_UP {
            let began = process.began;
            return self.command_over(nth, Err(Fault::new(code, "")), began);
        }
        let pause = Micros(process.backoff.0 / 2 + jitter % (process.backoff.0 / 2));
        process.backoff = Micros((process.backoff.0 * 2).min(BACKOFF_MAX.0));
        let life = client.life;
        self.at(self.now.plus(pause), Happening::Redial(nth, life));
    }

    /// What a command came to; the person goes on, or gives it again.
    fn command_over(&mut self, nth: usize, result: Result<(), Fault>, began: Time) {
        let client = &mut self.clients[nth];
        let machine = client.machine;
        self.trace.say(self.now, || format!("client {machine}'s command is over: {result:?}"));
        let failed = client.process.take().map(|process| process.failed).unwrap_or_default();
        let mut pause_max = Micros::from_secs(8);
        match result {
            Ok(()) => {
                self.tally.succeeded += 1;
                client.at += 1;
                self.judge_effort(nth);
            }
            Err(fault) => {
                self.tally.failed += 1;
                if fault.code == Code::TakenOver {
                    // Whoever took over gets on first; two who would each have the other's bytes
                    // dropped let each other finish in the end.
                    pause_max = Micros::from_secs(60 << client.taken_over.min(3));
                    client.taken_over += 1;
                }
                let absent = |errand: &Errand| errand.options.precondition == Precondition::Absent;
                // Of a tree some entries may stand there, and others not.
                let part = fault.code == Code::Partial && !failed.is_empty();
                let stands = part && failed.iter().all(|code| *code == Code::Exists);
                let stands = stands || fault.code == Code::Exists;
                let asked = stands && client.errands.get(client.at).is_some_and(absent);
                if asked || self.is_refused(nth, &fault) {
                    // What stands there is not replaced, or the ticket does not allow it.
                    let client = &mut self.clients[nth];
                    if asked {
                        client.found.insert(client.at);
                    }
                    client.at += 1;
                    client.effort = Effort::default();
                } else {
                    self.judge_fault(nth, (&fault, &failed), began);
                }
            }
        }
        let life = self.clients[nth].life;
        let pause = self.dice.span(pause_max);
        self.at(self.now.plus(pause), Happening::Person(nth, life));
    }

    /// A person stops the command that runs.
    pub(super) fn interrupt(&mut self, nth: usize) {
        let client = &mut self.clients[nth];
        let (life, Some(process)) = (client.life, client.process.as_mut()) else { return };
        process.stopping = true;
        if let Some((id, transfer)) = process.session {
            let fault = Fault::new(Code::Interrupted, "");
            self.command(id, Command::Cancel(transfer, fault));
        }
        self.at(self.now.plus(Micros::from_secs(5)), Happening::Stopped(nth, life));
    }

    /// What was stopped ends at the latest now.
    pub(super) fn stop_command(&mut self, nth: usize, life: u64) {
        let client = &self.clients[nth];
        let Some(process) = client.process.as_ref() else { return };
        let began = process.began;
        if client.life == life && process.stopping {
            self.kill_client(nth);
            self.command_over(nth, Err(Fault::new(Code::Interrupted, "")), began);
        }
    }
}
