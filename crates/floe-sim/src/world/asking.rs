//! Requests beside transfers, and whether what was answered holds: `done` means durable, a root
//! that is told is that of the bytes.

use super::{SERVER, World, path};
use crate::content::Content;
use crate::machine::{Change, Look, look};
use crate::peer::PeerId;
use floe_proto::command::{Accepted, Command};
use floe_proto::frame::{Recursive, Replace, Reply, Request, RootWish, Stat};
use floe_types::{Code, EntryCount, EntryKind, Fault, ObjectPath, RequestId};

/// Files of each client that a request may take away.
const TOYS: usize = 8;

impl World {
    pub(super) fn make_toys(&mut self, client: usize) {
        if self.options.people.requests == 0 {
            return;
        }
        // Where they are moved to; the first file that is written makes it durable.
        let _ = self.machines[SERVER].directory(&path("moved/toys"));
        for nth in 0..TOYS {
            let toy = path(&format!("toys/{client}-{nth}"));
            let content = Content::of(self.dice.number(), 1 + self.dice.index(9_000));
            if self.machines[SERVER].write(&toy, &content, Change::InPlace).is_ok() {
                self.toys.push((client, toy));
            }
        }
    }

    /// A session begins: some requests go ahead of its transfer.
    pub(super) fn ask_something(&mut self, client: usize, id: PeerId) {
        for _ in 0..self.dice.below(self.options.people.requests + 1) {
            let request = self.request(client);
            let command = Command::Request(request.clone());
            if let Some(Ok(Accepted::Request(number))) =
                self.ask(id, |core, now| core.handle_command(command, now))
            {
                self.asked.insert((id, number), request);
            }
        }
    }

    fn request(&mut self, client: usize) -> Request {
        let toy = |(_, (owner, _)): &(usize, &(usize, ObjectPath))| *owner == client;
        let toy = self.toys.iter().enumerate().find(toy).map(|(nth, _)| nth);
        match (self.dice.below(5), toy) {
            (0, Some(nth)) => {
                let (path, recursive) = (self.toys.remove(nth).1, Recursive::No);
                Request::Remove { path, recursive }
            }
            (1, Some(nth)) => {
                let from = self.toys.remove(nth).1;
                let to = path(&format!("moved/{from}"));
                Request::Rename { from, to, replace: Replace::Refused }
            }
            (2, _) => {
                let number = self.dice.below(1 << 20);
                Request::MakeDirectory { path: path(&format!("made/{client}/{number}/deep")) }
            }
            (3, _) => Request::List { path: ObjectPath::root(), after: None, max: EntryCount(9) },
            _ => {
                let errand = self.clients[client].errand();
                let path = errand.map(|errand| errand.remote.clone()).unwrap_or_default();
                let root = if self.dice.one_in(2) { RootWish::IfKnown } else { RootWish::Computed };
                Request::Stat { path, root }
            }
        }
    }

    /// An answer came, or the session ended without one.
    pub(super) fn answered(
        &mut self,
        client: usize,
        (id, number): (PeerId, RequestId),
        answer: Result<Reply, Fault>,
    ) {
        let Some(request) = self.asked.remove(&(id, number)) else { return };
        self.trace.say(self.now, || format!("{id:?} hears of {request:?}: {answer:?}"));
        match answer {
            Ok(reply) => {
                self.tally.answers += 1;
                self.judge_leave(client, &request);
                if !self.has_flipped_frames() {
                    self.judge_answer(&request, &reply);
                }
            }
            Err(fault) if self.lacks_for(client, &request, &fault) => {}
            Err(fault) => self.judge_refusal(&request, &fault),
        }
    }

    /// Promise 2, for what a request changed.
    fn judge_answer(&mut self, request: &Request, reply: &Reply) {
        let cut = (self.dice.number(), self.options.machines.survivors);
        let fork = self.oracle.look_after_cut(SERVER, &self.machines[SERVER].disk, cut);
        let there = |path: &ObjectPath| look(&fork, path);
        let right = match (request, reply) {
            (Request::Remove { path, .. }, Reply::Done) => there(path) == Look::Absent,
            (Request::Rename { from, to, .. }, Reply::Done) => {
                there(from) == Look::Absent && matches!(there(to), Look::File { .. })
            }
            (Request::MakeDirectory { path }, Reply::Done) => {
                matches!(there(path), Look::Directory(_))
            }
            (Request::List { .. }, Reply::Page { names, .. }) => {
                let sorted = names.is_sorted_by(|(one, _), (next, _)| one < next);
                sorted && names.iter().all(|(name, _)| name.as_bytes() != b".floe")
            }
            // It was looked at when it was taken.
            (Request::Stat { .. }, Reply::Stat(_)) => true,
            _ => false,
        };
        if !right {
            self.oracle.break_promise(|| format!("{request:?} was answered {reply:?}"));
        }
    }

    /// Promise 6: each is asked once, of what is there.
    fn judge_refusal(&mut self, request: &Request, fault: &Fault) {
        let changes = matches!(request, Request::Remove { .. } | Request::Rename { .. });
        let odd = match fault.code {
            Code::NotFound | Code::Exists => changes,
            code => !self.has_reason(code),
        };
        if odd && !self.has_flipped_frames() {
            self.oracle.break_promise(|| format!("{request:?} was refused: {fault:?}"));
        }
    }

    /// A root that a request is told is that of the bytes.
    pub(super) fn look_at_stat(&mut self, machine: usize, path: &ObjectPath, stat: &Stat) {
        let (EntryKind::File, Some(told)) = (stat.kind, stat.root) else { return };
        let there = look(&self.machines[machine].disk, path);
        if !matches!(there, Look::File { root, .. } if root == told) {
            self.oracle.break_promise(|| format!("{path} is told to be {told}: {there:?}"));
        }
    }
}
