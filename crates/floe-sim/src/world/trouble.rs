//! What goes wrong, and when: each trouble waits for a count of events, and then for somebody to
//! meet it.

use super::{Happening, SERVER, START, Serving, World};
use crate::content::Content;
use crate::link::{Break, Side};
use crate::machine::{Change, Doom, Look, look};
use crate::options::{CALM_FAULTS, Tries};
use crate::oracle::Name;
use crate::peer::Peer;
use floe_engine::buffer::Pool;
use floe_proto::command::{Command, Role};
use floe_store::disk::{Access, Disk, Name as FileName};
use floe_store::faulty::Faults;
use floe_store::simulated::SimulatedDisk;
use floe_types::{ByteCount, Fault, Metadata, Micros, Mode, Offset};
use std::sync::Arc;

/// A trouble that finds nobody to meet it comes again after so many events.
const WAIT_EVENTS: u64 = 40;

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// The process of a machine ends.
    Fall(usize, Doom),
    /// A connection of a client that is not the first of its session is reset.
    Loss(usize),
    /// A client is cut off.
    Partition(usize),
    /// A disk fails for a while.
    Spell(usize),
    /// A disk is full for a while.
    Full(usize),
    /// The server drains, and the next one takes its place.
    Drain,
    /// A source changes.
    Change,
    /// A command is stopped.
    Interrupt(usize),
    /// A civil clock jumps.
    Jump(usize),
}

impl World {
    /// Draws when each trouble comes.
    pub(super) fn plan_trouble(&mut self) {
        let (machines, people) = (self.options.machines, self.options.people);
        let (disk, network) = (self.options.disk, self.options.network);
        let clients = self.clients.len();
        let mut planned = Vec::new();
        let mut plan = |count: u32, trouble: &mut dyn FnMut(usize) -> Trouble| {
            (0..count as usize).for_each(|nth| planned.push(trouble(nth)));
        };
        let all = clients + 1;
        plan(machines.server_kills, &mut |_| Trouble::Fall(SERVER, Doom::Kill));
        plan(machines.server_cuts, &mut |_| Trouble::Fall(SERVER, Doom::Cut));
        plan(machines.client_kills, &mut |nth| Trouble::Fall(1 + nth % clients, Doom::Kill));
        plan(machines.client_cuts, &mut |nth| Trouble::Fall(1 + nth % clients, Doom::Cut));
        plan(machines.drains, &mut |_| Trouble::Drain);
        plan(network.partitions, &mut |nth| Trouble::Partition(nth % clients));
        plan(network.losses, &mut |nth| Trouble::Loss(nth % clients));
        plan(disk.spells, &mut |nth| Trouble::Spell(nth % all));
        plan(disk.full, &mut |nth| Trouble::Full(nth % all));
        plan(people.changes, &mut |_| Trouble::Change);
        plan(people.cancels, &mut |nth| Trouble::Interrupt(nth % clients));
        plan(people.jumps, &mut |nth| Trouble::Jump(nth % all));
        for trouble in planned {
            let at = self.dice.below(self.options.calm_after_events);
            self.plan_at(at, trouble);
        }
    }

    fn plan_at(&mut self, mut at: u64, trouble: Trouble) {
        while self.troubles.contains_key(&at) {
            at += 1;
        }
        self.troubles.insert(at, trouble);
    }

    /// Brings what is due; ends all trouble once its time is over.
    pub(super) fn bring_trouble(&mut self) {
        if self.calm.is_some() {
            return;
        }
        while let Some(first) = self.troubles.first_entry() {
            if *first.key() > self.trace.events {
                break;
            }
            let trouble = first.remove();
            self.bring(trouble);
        }
        let done = self.clients.iter().all(super::Client::is_finished);
        let late = self.now.since(START) > self.options.calm_after;
        if self.trace.events > self.options.calm_after_events || done || late {
            self.calm_down();
        }
    }

    fn calm_down(&mut self) {
        self.trace.say(self.now, || "from now on nothing goes wrong".to_owned());
        self.troubles.clear();
        self.calm = Some(self.now);
        self.options.calm();
        for machine in &mut self.machines {
            machine.doom = None;
            machine.set_faults(CALM_FAULTS);
        }
        for client in 0..self.cut_off.len() {
            self.cut_off(client, self.now);
        }
        let links: Vec<_> = self.links.keys().copied().collect();
        for link in links {
            self.at(self.now, Happening::Arrive(link, Side::Client));
            self.at(self.now, Happening::Arrive(link, Side::Server));
        }
    }

    fn bring(&mut self, trouble: Trouble) {
        if let Trouble::Loss(client) = trouble {
            return self.bring_loss(client);
        }
        self.trace.say(self.now, || format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Loss(_) => {}
            Trouble::Fall(machine, doom) => {
                if self.dice.one_in(4) {
                    self.fall(machine, doom);
                } else {
                    let after = 1 + self.dice.span(Micros(40)).0;
                    self.machines[machine].arm(after, doom);
                }
            }
            Trouble::Partition(client) => {
                let span = self.dice.span(self.options.network.partition_max);
                self.cut_off(client, self.now.plus(span));
            }
            Trouble::Spell(machine) => {
                let faults = self.options.disk.faults;
                self.machines[machine].set_faults(faults);
                let until = self.now.plus(self.dice.span(self.options.disk.spell_max));
                self.at(until, Happening::SpellEnds(machine));
            }
            Trouble::Full(machine) => {
                let room = self.dice.below(1 << 20);
                let max = self.machines[machine].seen.written().plus(ByteCount(room));
                let faults = Faults { space_bytes_max: Some(max), ..CALM_FAULTS };
                self.machines[machine].set_faults(faults);
                let until = self.now.plus(self.dice.span(Micros::from_secs(5)));
                self.at(until, Happening::SpellEnds(machine));
            }
            Trouble::Drain => self.drain(),
            Trouble::Change => self.change_source(),
            Trouble::Interrupt(client) => self.interrupt(client),
            Trouble::Jump(machine) => {
                let most = self.options.people.jump_max;
                let span = i64::try_from(self.dice.span(most).0).unwrap_or(0);
                let way = if self.dice.one_in(2) { -1 } else { 1 };
                self.machines[machine].skew += way * span;
            }
        }
    }

    /// Resets a connection, or waits until there is one.
    fn bring_loss(&mut self, client: usize) {
        let others: Vec<_> = self
            .holders
            .iter()
            .filter(|((_, side), (peer, stream))| {
                let of = |peer: &Peer| peer.client == client;
                *side == Side::Client && stream.0 > 0 && self.peers.get(peer).is_some_and(of)
            })
            .map(|((link, _), _)| *link)
            .collect();
        let Some(id) = self.dice.pick(&others).copied() else {
            return self.plan_at(self.trace.events + WAIT_EVENTS, Trouble::Loss(client));
        };
        self.trace.say(self.now, || format!("trouble: {id:?} is reset"));
        if let Some(link) = self.links.get_mut(&id) {
            link.break_it(Break::Reset, Side::Client);
        }
        for side in [Side::Client, Side::Server] {
            self.at(self.now, Happening::Arrive(id, side));
        }
    }

    pub(super) fn end_spell(&mut self, machine: usize) {
        self.machines[machine].set_faults(CALM_FAULTS);
    }

    /// The process of a machine ends; with a cut, all that its disk did not sync may go.
    pub(super) fn fall(&mut self, machine: usize, doom: Doom) {
        let name = self.machines[machine].name.clone();
        self.trace.say(self.now, || format!("{name}: {doom:?}"));
        self.machines[machine].freeze();
        let again = self.now.plus(Micros(1)).plus(self.dice.span(self.options.machines.down_max));
        if machine == SERVER {
            // One that drains may be there still.
            let drains = self.peers.values().any(|peer| peer.machine == SERVER);
            if self.server.is_none() && doom == Doom::Kill && !drains {
                self.machines[machine].doom = None;
                return self.thaw(machine);
            }
            let was_down = self.server.take().is_none();
            self.drop_peers(machine, doom);
            self.claims.clear();
            self.waiting.clear();
            if !was_down {
                self.at(again, Happening::ServerStarts);
            }
        } else {
            let nth = machine - 1;
            self.drop_peers(machine, doom);
            self.clients[nth].end_process();
            let life = self.clients[nth].life;
            self.at(again, Happening::Person(nth, life));
        }
        match doom {
            Doom::Kill => self.tally.kills += 1,
            Doom::Cut => {
                self.tally.cuts += 1;
                let (seed, survivors) = (self.dice.number(), self.options.machines.survivors);
                self.machines[machine].disk.cut_keeping(seed, survivors);
                self.note_directories();
                self.rot(machine);
            }
        }
        self.machines[machine].doom = None;
        self.thaw(machine);
        let disk = &self.machines[machine].disk;
        self.oracle.look(machine, disk, "after a fall");
    }

    fn thaw(&mut self, machine: usize) {
        let faults = self.machines[machine].faults;
        self.machines[machine].set_faults(faults);
    }

    /// All sessions of a machine are gone, without a word.
    fn drop_peers(&mut self, machine: usize, doom: Doom) {
        let ids: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.machine == machine)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let Some(peer) = self.peers.remove(&id) else { continue };
            let client = &mut self.clients[peer.client];
            if client.session().is_some_and(|(own, _)| own == id) {
                client.effort.lose_session();
            }
            for stream in peer.streams.values().filter(|stream| stream.is_up()) {
                if let (Doom::Cut, Some(link)) = (doom, self.links.get_mut(&stream.link)) {
                    link.break_it(Break::BlackHole, stream.side);
                }
                self.leave_link(stream.link, stream.side);
            }
        }
    }

    /// The process of a client is gone, if there is one.
    pub(super) fn kill_client(&mut self, nth: usize) {
        let machine = self.clients[nth].machine;
        let has_peers = self.peers.values().any(|peer| peer.machine == machine);
        if has_peers || self.clients[nth].is_running() {
            self.machines[machine].freeze();
            self.drop_peers(machine, Doom::Kill);
            self.clients[nth].end_process();
            self.thaw(machine);
        }
    }

    /// Bytes of journals are others when the machine comes back.
    fn rot(&mut self, machine: usize) {
        let chance = self.options.machines.rot;
        if !self.dice.hits(chance) {
            return;
        }
        let disk = self.machines[machine].disk.clone();
        for name in journals(&disk) {
            let (Ok(root), Some(file_name)) = (disk.root(), FileName::new(&name)) else { continue };
            let Ok(area) = disk.open_child(&root, FileName::RESERVED) else { continue };
            let Ok(file) = disk.open_file(&area, file_name, Access::ReadWrite) else { continue };
            let size = disk.stat(&file).map_or(0, |stat| stat.size.0);
            let at = Offset(self.dice.below(size));
            let mut byte = [0];
            if matches!(disk.read_at(&file, at, &mut byte), Ok(1)) {
                byte[0] ^= 1 << self.dice.below(8);
                let _ = disk.write_at(&file, at, &byte).and_then(|()| disk.sync_file(&file));
                self.trace.say(self.now, || format!("a journal rots at {at}"));
            }
        }
    }

    pub(super) fn start_server(&mut self) {
        if self.server.is_some() {
            return;
        }
        let machine = &self.machines[SERVER];
        machine.tick(self.now);
        let other =
            if self.processes == 0 { Tries::No } else { self.options.machines.other_limits };
        let limits = self.options.limits(&mut self.dice, other);
        let processes = if self.options.machines.two_servers == Tries::Yes { 2 } else { 1 };
        let start = || {
            let store = machine.store()?;
            // What cannot be swept now is swept later.
            let _ = store.sweep(machine.civil(self.now));
            Ok::<_, Fault>(Arc::new(store))
        };
        match (0..processes).map(|_| start()).collect() {
            Ok(stores) => {
                let pool = Pool::new(ByteCount(1 << 20));
                self.server = Some(Serving { first: self.processes, stores, pool, limits });
                self.processes += processes;
                self.trace.say(self.now, || format!("{processes} processes serve"));
            }
            Err(_) => self.at(self.now.plus(Micros::from_secs(1)), Happening::ServerStarts),
        }
        if let Some(doom) = self.machines[SERVER].is_doomed() {
            self.fall(SERVER, doom);
        }
    }

    /// The server finishes what it has, and takes nothing new: what comes next is for the next one,
    /// which may come at once.
    fn drain(&mut self) {
        if self.server.take().is_none() {
            return;
        }
        let next = self.now.plus(self.dice.span(self.options.machines.down_max));
        self.at(next, Happening::ServerStarts);
        let hosts: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.role == Role::Server)
            .map(|(id, _)| *id)
            .collect();
        for id in hosts {
            self.command(id, Command::Drain);
        }
    }

    /// Another program changes a source, at once or in two steps.
    fn change_source(&mut self) {
        let files = self.sources.keys().filter(|name| !self.piped.contains(name));
        let names: Vec<_> = files.cloned().collect();
        let Some(name) = self.dice.pick(&names).cloned() else { return };
        let Some((old, _)) = self.sources.get(&name).cloned() else { return };
        if self.dice.one_in(4) {
            return self.touch_source(&name, &old);
        }
        let new = old.edited(&mut self.dice);
        if self.dice.one_in(2) {
            let half = old.edited(&mut self.dice);
            self.write_source(&name, &half, Change::InPlace);
            let later = self.now.plus(self.dice.span(Micros::from_secs(4)));
            return self.at(later, Happening::SourceSettles(name, new));
        }
        let change = if self.dice.one_in(2) { Change::InPlace } else { Change::Replace };
        self.write_source(&name, &new, change);
    }

    /// Its bytes stay, its mode and mtime do not: what stands at the other end may be kept.
    fn touch_source(&mut self, name: &Name, content: &Content) {
        let (machine, path) = name;
        self.machines[*machine].tick(self.now);
        let mode = self.dice.pick(&[0o600, 0o644, 0o755]).copied().unwrap_or(0o644);
        let touched = self.machines[*machine].touch(path, Mode::from_bits(mode));
        let Ok(metadata) = touched else { return };
        self.trace.say(self.now, || format!("source {path} is touched: {metadata:?}"));
        self.sources.insert(name.clone(), (content.clone(), metadata));
        self.offer_everywhere(name, content, metadata);
    }

    pub(super) fn settle_source(&mut self, name: &Name, content: &Content) {
        self.write_source(name, content, Change::InPlace);
    }

    /// Writes a source; whoever may send it may send this from now on.
    pub(super) fn write_source(&mut self, name: &Name, content: &Content, change: Change) {
        let (machine, path) = name;
        self.machines[*machine].tick(self.now);
        let Ok(metadata) = self.machines[*machine].write(path, content, change) else { return };
        self.trace.say(self.now, || format!("source {path} changes, {change:?}: {}", content.root));
        self.sources.insert(name.clone(), (content.clone(), metadata));
        self.note_directories();
        self.offer_everywhere(name, content, metadata);
    }

    /// Whoever sends a directory may send it as it stands now.
    pub(super) fn note_directories(&mut self) {
        for ((machine, path), had) in &mut self.directories {
            if let Look::Directory(metadata) = look(&self.machines[*machine].disk, path) {
                had.insert(metadata);
            }
        }
    }

    /// Whoever may send a source may send this from now on.
    pub(super) fn offer_everywhere(&mut self, name: &Name, content: &Content, metadata: Metadata) {
        let targets: Vec<_> = self
            .clients
            .iter()
            .flat_map(|client| client.errands().iter().map(move |errand| (client, errand)))
            .flat_map(|(client, errand)| {
                errand.pairs.iter().map(move |pair| (client, errand, pair))
            })
            .filter(|(client, errand, pair)| {
                pair.source == *name && self.may_bring(client, errand, pair)
            })
            .map(|(.., pair)| pair.target.clone())
            .collect();
        for target in targets {
            self.oracle.offer(&target, content.root, metadata);
        }
    }

    pub(super) fn has_flipped_frames(&self) -> bool {
        self.options.flips.may_change_frames()
    }

    pub(super) fn has_rivals(&self) -> bool {
        self.options.work.rivals == Tries::Yes
    }

    /// Whether anybody else may be about the same object: a rival, or a lost session of another
    /// version of its source, which does not hold that one's stage.
    pub(super) fn has_others(&self) -> bool {
        self.has_rivals() || self.options.people.changes > 0
    }

    pub(super) fn has_flips(&self) -> bool {
        self.options.flips.pieces == Tries::Yes || self.has_flipped_frames()
    }
}

fn journals(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    let names = || {
        let area = disk.open_child(&disk.root()?, FileName::RESERVED)?;
        disk.list(&area, None, 1_000)
    };
    let names = names().map(|page| page.names).unwrap_or_default();
    names.into_iter().filter(|name| name.ends_with(b".journal")).collect()
}
