//! Clients whose ticket allows less than all: what they must not bring about, whatever they ask.
//!
//! What a ticket does not allow is never offered to the oracle: where it shows under a final name,
//! or is told to be committed, a promise is broken.

use super::person::{Client, Errand, Pair};
use super::{SERVER, World};
use crate::machine::{Look, look};
use crate::options::Tries;
use floe_proto::frame::{Direction, Request, RootWish, Verbs};
use floe_types::{Code, Fault};

impl World {
    /// What a client's ticket allows.
    pub(super) fn draw_verbs(&mut self) -> Verbs {
        if self.options.people.narrow == Tries::No || self.dice.one_in(3) {
            return Verbs::ALL;
        }
        // Mostly one or two are missing.
        let missing = (0..=self.dice.below(2)).map(|_| 1u8 << self.dice.below(7));
        let verbs = Verbs(missing.fold(Verbs::ALL.0, |verbs, bit| verbs & !bit));
        // As tickets are: to overwrite is more than to write.
        if verbs.allow(Verbs::WRITE_NEW) { verbs } else { Verbs(verbs.0 & !Verbs::OVERWRITE.0) }
    }

    /// Whether a client's ticket lets it bring a version there.
    pub(super) fn may_bring(&self, client: &Client, errand: &Errand, pair: &Pair) -> bool {
        match errand.direction {
            Direction::Get => client.verbs.allow(Verbs::READ),
            Direction::Put if client.verbs.allow(Verbs::OVERWRITE) => {
                client.verbs.allow(Verbs::WRITE_NEW)
            }
            Direction::Put => {
                client.verbs.allow(Verbs::WRITE_NEW) && !self.oracle.is_taken(&pair.target)
            }
        }
    }

    /// Whether a command failed as its ticket would have it, and is not given again.
    pub(super) fn is_refused(&self, nth: usize, fault: &Fault) -> bool {
        let client = &self.clients[nth];
        if !client.errand().is_some_and(|errand| client.lacks(errand)) {
            return false;
        }
        match fault.code {
            Code::NotAllowed | Code::Exists => true,
            // Of a tree some entries may be refused, others fail for another reason.
            Code::Partial | Code::NotFound | Code::SourceChanged => self.calm.is_some(),
            _ => false,
        }
    }

    /// Whether a request was refused as the ticket would have it.
    pub(super) fn lacks_for(&self, client: usize, request: &Request, fault: &Fault) -> bool {
        let lacks = !self.clients[client].verbs.allow(needed_by(request));
        lacks && matches!(fault.code, Code::NotAllowed | Code::NotFound)
    }

    /// Directories that no ticket lets anybody make.
    pub(super) fn forbid_directories(&mut self) {
        let disk = &self.machines[SERVER].disk;
        let barred = self
            .clients
            .iter()
            .filter(|client| !client.verbs.allow(Verbs::MAKE_DIRECTORY.and(Verbs::WRITE_NEW)));
        let errands = barred.flat_map(|client| client.errands());
        let wished = errands
            .filter(|errand| errand.direction == Direction::Put)
            .flat_map(|errand| errand.directories.iter().map(|pair| &pair.target.1));
        let missing = wished.filter(|path| look(disk, path) == Look::Absent);
        self.forbidden = missing.cloned().collect();
    }

    pub(super) fn look_at_forbidden(&mut self) {
        let disk = &self.machines[SERVER].disk;
        let made = self.forbidden.iter().find(|path| look(disk, path) != Look::Absent);
        if let Some(path) = made.cloned() {
            self.oracle.break_promise(|| format!("{path} was made, and no ticket allows it"));
        }
    }

    /// A request was answered well: its ticket must allow that.
    pub(super) fn judge_leave(&mut self, client: usize, request: &Request) {
        let held = self.clients[client].verbs;
        if !held.allow(needed_by(request)) {
            self.oracle.break_promise(|| format!("{request:?} was answered, {held:?} are held"));
        }
    }
}

const fn needed_by(request: &Request) -> Verbs {
    match request {
        Request::Remove { .. } => Verbs::REMOVE,
        Request::Rename { .. } => Verbs::REMOVE.and(Verbs::WRITE_NEW),
        Request::MakeDirectory { .. } => Verbs::MAKE_DIRECTORY,
        Request::Stat { root: RootWish::Computed, .. } => Verbs::SHOWS,
        _ => Verbs::LIST,
    }
}

impl Client {
    /// Whether its ticket lacks something that an errand may need.
    pub(super) fn lacks(&self, errand: &Errand) -> bool {
        let needed = match errand.direction {
            Direction::Put => Verbs::WRITE_NEW.and(Verbs::OVERWRITE).and(Verbs::MAKE_DIRECTORY),
            Direction::Get if errand.directories.is_empty() => Verbs::READ,
            Direction::Get => Verbs::SHOWS,
        };
        !self.verbs.allow(needed)
    }
}
