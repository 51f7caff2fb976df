//! Connections: dialled, greeted, joined, and left.
//!
//! The greeting is a round trip without bytes: what it proves is not the simulation's matter. The
//! server's end is up one way earlier than the client's, as in the engine.

use super::{Happening, SERVER, World};
use crate::link::{Link, Side};
use crate::peer::{Core, LinkId, Peer, PeerId, Port, Stream};
use floe_engine::buffer::Pool;
use floe_engine::files::Files;
use floe_engine::grant::Fence;
use floe_proto::command::{Config, Holes, Role, StreamCount};
use floe_proto::disk::Lane;
use floe_proto::frame::Verbs;
use floe_store::Store;
use floe_types::{ByteCount, Code, Limits, Micros, StreamId, Time};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A connection on its way to a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Greeting {
    pub(super) client: usize,
    /// The process that dialled.
    pub(super) life: u64,
    pub(super) purpose: Purpose,
    pub(super) link: LinkId,
}

/// What it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A new session.
    Begin,
    /// One more stream of this one.
    Join(PeerId),
}

const GREETING: Micros = Micros::from_secs(10);

impl World {
    /// A client dials.
    pub(super) fn dial(&mut self, client: usize, purpose: Purpose) {
        self.next += 1;
        let link = LinkId(u32::try_from(self.next).unwrap_or(u32::MAX));
        let life = self.clients[client].life;
        let greeting = Greeting { client, life, purpose, link };
        let network = self.options.network;
        let way = network.delay.plus(self.dice.span(network.jitter));
        let cut_off_for = self.cut_off[client].since(self.now);
        if self.dice.hits(network.refuse) || cut_off_for >= GREETING {
            let late = if self.dice.one_in(2) { GREETING } else { way };
            let code = if late == GREETING { Code::TimedOut } else { Code::Unreachable };
            let at = self.now.plus(if cut_off_for >= GREETING { GREETING } else { late });
            return self.at(at, Happening::NotLetIn(greeting, code));
        }
        let slow = self.dice.hits(network.slow);
        let lag = if slow { self.dice.span(network.slow_max) } else { Micros::ZERO };
        self.links.insert(link, Link::new(client, lag));
        let at = self.now.plus(way).plus(way).plus(cut_off_for);
        self.at(at, Happening::Knock(greeting));
    }

    pub(super) fn knock(&mut self, greeting: Greeting) {
        let network = self.options.network;
        let back = self.now.plus(network.delay).plus(self.dice.span(network.jitter));
        let Greeting { client, life, purpose, link } = greeting;
        if self.clients[client].life != life || !self.links.contains_key(&link) {
            return;
        }
        let joined = match (&self.server, purpose) {
            (None, _) => Err(Code::Unreachable),
            (Some(_), Purpose::Begin) => Ok(self.host(client)),
            (Some(serving), Purpose::Join(peer)) => {
                let streams_max = serving.limits.streams_max as usize;
                let other = self.peers.get(&peer).and_then(|peer| peer.other);
                let live = other.filter(|other| {
                    let here = |peer: &&Peer| peer.process >= serving.first;
                    self.peers.get(other).filter(here).is_some_and(|peer| {
                        let up = peer.streams.values().filter(|stream| stream.is_up()).count();
                        peer.ending.is_none() && up < streams_max
                    })
                });
                live.ok_or(Code::Elsewhere)
            }
        };
        match joined {
            Err(code) => {
                self.links.remove(&link);
                self.at(back, Happening::NotLetIn(greeting, code));
            }
            Ok(host) => {
                self.seat(host, link, Side::Server);
                self.at(back, Happening::LetIn(greeting, host));
            }
        }
    }

    /// The server's end of a new session.
    fn host(&mut self, client: usize) -> PeerId {
        self.tally.sessions += 1;
        let (owner, verbs) = (self.clients[client].owner, self.clients[client].verbs);
        let process = match &self.server {
            Some(serving) if serving.stores.len() > 1 => self.dice.index(serving.stores.len()),
            _ => 0,
        };
        let first = self.server.as_ref().map_or(0, |serving| serving.first);
        let (pool, limits, store) = match &self.server {
            Some(serving) => {
                let store = serving.stores.get(process).map(|store| {
                    let store = Arc::clone(store) as Arc<dyn Store>;
                    Arc::new(Fence::new(store, verbs, None)) as Arc<dyn Store>
                });
                (serving.pool.clone(), serving.limits.clone(), store)
            }
            None => (Pool::new(ByteCount::ZERO), Limits::default(), None),
        };
        let pages = limits.page_entries_max;
        let files = match store {
            Some(store) => Files::served(store, owner, pool.clone(), pages),
            None => Files::local(owner, pool.clone(), pages),
        };
        let process = first + process;
        let place = Place { machine: SERVER, process, client, role: Role::Server, verbs };
        self.add_peer(place, files, pool, limits)
    }

    pub(super) fn add_peer(
        &mut self,
        place: Place,
        files: Files,
        pool: Pool,
        limits: Limits,
    ) -> PeerId {
        self.next += 1;
        let id = PeerId(u32::try_from(self.next).unwrap_or(u32::MAX));
        let work = &self.options.work;
        let streams = match (place.role, work.streams) {
            (Role::Server, _) => StreamCount::Fixed(limits.streams_max),
            (Role::Client, Some(count)) => StreamCount::Fixed(count),
            (Role::Client, None) => StreamCount::Auto,
        };
        let config = Config {
            limits: limits.clone(),
            verbs: place.verbs,
            piece_bytes: work.piece_bytes,
            streams,
            buffers: work.buffers,
            holes: Holes::AsHoles,
        };
        let peer = Peer {
            machine: place.machine,
            process: place.process,
            client: place.client,
            errand: self.clients[place.client].at,
            role: place.role,
            core: Core::new(place.role, config, self.now),
            limits,
            files,
            stdin: None,
            pool,
            streams: BTreeMap::new(),
            streams_next: 0,
            port: Port::default(),
            other: None,
            events: VecDeque::new(),
            late: Vec::new(),
            claims: BTreeMap::new(),
            armed: None,
            ending: None,
        };
        self.peers.insert(id, peer);
        id
    }

    /// A connection joins an end of a session.
    pub(super) fn seat(&mut self, id: PeerId, link: LinkId, side: Side) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let stream = StreamId(peer.streams_next);
        peer.streams_next += 1;
        peer.streams.insert(stream, Stream::new(link, side, &peer.limits));
        self.holders.insert((link, side), (id, stream));
        self.ask(id, |core, now| core.handle_stream_up(stream, now));
        self.ready.insert((id, Lane::Stream(stream)));
    }

    pub(super) fn let_in(&mut self, greeting: Greeting, host: PeerId) {
        let Greeting { client, life, purpose, link } = greeting;
        if self.clients[client].life != life {
            return self.leave_link(link, Side::Client);
        }
        match purpose {
            Purpose::Begin => self.session_begins(client, link, host),
            Purpose::Join(peer) => {
                let live = self.peers.get(&peer).is_some_and(|peer| peer.ending.is_none());
                if live {
                    self.seat(peer, link, Side::Client);
                } else {
                    self.leave_link(link, Side::Client);
                }
            }
        }
    }

    pub(super) fn not_let_in(&mut self, greeting: Greeting, code: Code) {
        let Greeting { client, life, purpose, .. } = greeting;
        if self.clients[client].life != life {
            return;
        }
        match purpose {
            Purpose::Begin => self.lost(client, code),
            Purpose::Join(peer) => {
                self.ask(peer, |core, now| core.handle_dial_failed(now));
            }
        }
    }

    /// A side is gone from a connection, in order or not.
    pub(super) fn leave_link(&mut self, id: LinkId, side: Side) {
        self.holders.remove(&(id, side));
        let Some(link) = self.links.get_mut(&id) else { return };
        link.leave(side);
        if self.holders.contains_key(&(id, side.other())) {
            self.at(self.now, Happening::Arrive(id, side.other()));
        } else {
            self.links.remove(&id);
        }
    }

    pub(super) fn arrive(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.to(side).arrive(self.now);
        let again = link.to(side).next_alarm();
        self.trace.count(self.now, u64::from(id.0));
        if let Some((peer, stream)) = self.holders.get(&(id, side)).copied() {
            self.ready.insert((peer, Lane::Stream(stream)));
        }
        if let Some(at) = again {
            self.at(at, Happening::Arrive(id, side));
        }
        // Bytes that nobody keeps any more make room.
        self.wake_writer(id, side.other());
    }

    /// A client's connections carry nothing until then.
    pub(super) fn cut_off(&mut self, client: usize, until: Time) {
        self.cut_off[client] = until;
        for link in self.links.values_mut().filter(|link| link.client == client) {
            link.to(Side::Client).held_until = until;
            link.to(Side::Server).held_until = until;
        }
    }
}

/// Where an end of a session is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) machine: usize,
    /// Which of a server's processes.
    pub(super) process: usize,
    pub(super) client: usize,
    pub(super) role: Role,
    /// What the session's ticket allows, as this end has it.
    pub(super) verbs: Verbs,
}
