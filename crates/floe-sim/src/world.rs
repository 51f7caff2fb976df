//! One world: machines, processes, connections and people, and what happens to them in order.
//!
//! Whoever has something to do stands in `ready` and gets its turn by the dice; when nobody has,
//! time goes on to the next of the agenda. Trouble comes by the count of events, so that it meets
//! work under way. After `calm` nothing goes wrong any more, and all must end well in time.

mod work; // disk operations
mod flip; // bytes that change on the way
mod turn; // rounds of the core
mod dial; // connections come and go
mod asking; // requests beside transfers
mod effort; // what an errand costs
mod person; // commands, and what becomes of them
mod ticket; // what a client's ticket does not allow
mod judge; // what they came to, held against the promises
mod setup; // machines, sources and errands of a seed
mod trouble; // what goes wrong, and when

use crate::content::Content;
use crate::dice::Dice;
use crate::link::{Link, Side};
use crate::machine::{Local, Machine};
use crate::options::Options;
use crate::oracle::{Name, Oracle};
use crate::peer::{LinkId, Peer, PeerId, StageKey};
use crate::trace::{Telling, Trace};
use dial::Greeting;
use floe_engine::buffer::Pool;
use floe_engine::files::{Done, Op};
use floe_proto::disk::{Lane, Took, Waited};
use floe_proto::frame::Request;
use floe_types::{Code, Limits, Metadata, Micros, ObjectPath, OpId, RequestId, StreamId, Time};
use person::Client;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use trouble::Trouble;

/// What an operation takes, as the core is told.
const TOOK: Took = Took { queued: Micros(1), busy: Micros(1), waited: Waited::Yes };

/// One world.
pub struct World {
    options: Options,
    dice: Dice,
    now: Time,
    trace: Trace,
    oracle: Oracle,
    machines: Vec<Machine>,
    /// The server's process or processes, while there are any.
    server: Option<Serving>,
    /// How many processes of the server there have been.
    processes: usize,
    clients: Vec<Client>,
    sources: BTreeMap<Name, (Content, Metadata)>,
    /// What the directories of sources have had: a name that comes or goes sets their mtime.
    directories: BTreeMap<Name, HashSet<Metadata>>,
    /// Those that are standard input, and no file.
    piped: BTreeSet<Name>,
    /// Files that a request may remove or rename, by client.
    toys: Vec<(usize, ObjectPath)>,
    /// What no ticket lets anybody make.
    forbidden: Vec<ObjectPath>,
    /// Requests that were not answered.
    asked: BTreeMap<(PeerId, RequestId), Request>,
    peers: BTreeMap<PeerId, Peer>,
    links: BTreeMap<LinkId, Link>,
    holders: BTreeMap<(LinkId, Side), (PeerId, StreamId)>,
    /// Who owns which stage on the server.
    claims: BTreeMap<StageKey, PeerId>,
    /// Opens that wait for an earlier session to let go.
    waiting: Vec<TakeOver>,
    /// Until when each client is cut off from the server.
    cut_off: Vec<Time>,
    agenda: BTreeMap<(Time, u64), Happening>,
    ready: BTreeSet<(PeerId, Lane)>,
    troubles: BTreeMap<u64, Trouble>,
    next: u64,
    /// When trouble ended.
    calm: Option<Time>,
    tally: Tally,
}

/// What a world came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Events.
    pub events: u64,
    /// Virtual time that went by.
    pub elapsed: Time,
    /// Commands that ended well.
    pub succeeded: u64,
    /// Commands that ended with a fault.
    pub failed: u64,
    /// Sessions that began.
    pub sessions: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Machines that lost power.
    pub cuts: u64,
    /// Looks at final names.
    pub looks: u64,
    /// Requests that were answered well.
    pub answers: u64,
    /// A number that equal worlds share.
    pub number: u64,
}

impl Tally {
    /// The sum of two; the numbers of equal worlds stay comparable.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            elapsed: Time(self.elapsed.0 + other.elapsed.0),
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            sessions: self.sessions + other.sessions,
            kills: self.kills + other.kills,
            cuts: self.cuts + other.cuts,
            looks: self.looks + other.looks,
            answers: self.answers + other.answers,
            number: self.number ^ other.number,
        }
    }
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which, and how.
    pub what: String,
    /// What happened last.
    pub trace: Vec<String>,
}

/// The server's processes that take new sessions: what is of their machine, and what each has.
struct Serving {
    /// The number of the first of them.
    first: usize,
    stores: Vec<Arc<Local>>,
    pool: Pool,
    limits: Limits,
}

struct TakeOver {
    old: PeerId,
    by: PeerId,
    key: StageKey,
    op: OpId,
    what: Op,
}

/// What happens at a time.
enum Happening {
    /// Bytes arrive at a side.
    Arrive(LinkId, Side),
    /// An operation meets the disk.
    WorkRuns(PeerId, Lane, OpId),
    /// Its end is told.
    WorkEnds(PeerId, Lane, OpId, Done),
    /// A session's timer.
    Timer(PeerId),
    /// A lane has waited long enough.
    Wake(PeerId, Lane),
    /// A client's first bytes reach the server.
    Knock(Greeting),
    /// The server's answer reaches the client.
    LetIn(Greeting, PeerId),
    /// A connection does not come about.
    NotLetIn(Greeting, Code),
    /// A person gives the next command.
    Person(usize, u64),
    /// A command dials again.
    Redial(usize, u64),
    /// A command that was stopped ends at the latest.
    Stopped(usize, u64),
    /// The server's process starts.
    ServerStarts,
    /// A disk fails no more.
    SpellEnds(usize),
    /// A source is changed for the second half of a change.
    SourceSettles(Name, Content),
}

const SERVER: usize = 0;
/// Virtual time begins here, so that nothing meets its zero.
const START: Time = Time(3_600_000_000);
const EVENTS_MAX: u64 = 150_000;

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64, telling: Telling) -> Self {
        let mut dice = Dice::new(seed);
        let options = Options::draw(&mut dice);
        Self::with(options, dice, telling)
    }

    /// A world with these options.
    #[must_use]
    pub fn with(options: Options, dice: Dice, telling: Telling) -> Self {
        let mut world = Self {
            options,
            dice,
            now: START,
            trace: Trace::new(telling),
            oracle: Oracle::default(),
            machines: Vec::new(),
            server: None,
            processes: 0,
            clients: Vec::new(),
            sources: BTreeMap::new(),
            directories: BTreeMap::new(),
            piped: BTreeSet::new(),
            toys: Vec::new(),
            forbidden: Vec::new(),
            asked: BTreeMap::new(),
            peers: BTreeMap::new(),
            links: BTreeMap::new(),
            holders: BTreeMap::new(),
            claims: BTreeMap::new(),
            waiting: Vec::new(),
            cut_off: Vec::new(),
            agenda: BTreeMap::new(),
            ready: BTreeSet::new(),
            troubles: BTreeMap::new(),
            next: 0,
            calm: None,
            tally: Tally::default(),
        };
        world.set_up();
        world
    }

    /// What this world can meet.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run(mut self) -> Result<Tally, Broken> {
        while self.oracle.broken().is_none() && self.step() == Over::NotYet {}
        let mut tally = self.tally;
        tally.events = self.trace.events;
        tally.elapsed = Time(self.now.since(START).0);
        tally.looks = self.oracle.looks;
        tally.number = self.trace.number() ^ self.dice.number();
        match self.oracle.broken() {
            None => Ok(tally),
            Some(what) => {
                let trace = self.trace.last().cloned().collect();
                Err(Broken { what: what.to_owned(), trace })
            }
        }
    }

    fn step(&mut self) -> Over {
        self.bring_trouble();
        if self.trace.events > EVENTS_MAX {
            self.oracle.break_promise(|| "it goes round in circles".to_owned());
        }
        let nth = self.dice.index(self.ready.len());
        if let Some(who) = self.ready.iter().nth(nth).copied() {
            self.ready.remove(&who);
            self.turn(who.0, who.1);
            return Over::NotYet;
        }
        if self.calm.is_some() && self.has_ended() {
            self.look_at_the_end();
            return Over::Yes;
        }
        let Some(((at, _), what)) = self.agenda.pop_first() else {
            let left = self.left();
            self.oracle.break_promise(|| format!("nothing will ever happen again: {left}"));
            return Over::Yes;
        };
        if self.calm.is_some_and(|calm| at > calm.plus(self.options.patience)) {
            let left = self.left();
            let secs = self.options.patience.0 / 1_000_000;
            self.oracle.break_promise(|| format!("{secs} s after the last trouble: {left}"));
            return Over::Yes;
        }
        self.now = self.now.max(at);
        self.happen(what);
        Over::NotYet
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Arrive(link, side) => self.arrive(link, side),
            Happening::WorkRuns(peer, lane, op) => self.run_work(peer, lane, op),
            Happening::WorkEnds(peer, lane, op, done) => self.end_work(peer, lane, op, done),
            Happening::Timer(peer) => self.ring(peer),
            Happening::Wake(peer, lane) => {
                self.ready.insert((peer, lane));
            }
            Happening::Knock(greeting) => self.knock(greeting),
            Happening::LetIn(greeting, peer) => self.let_in(greeting, peer),
            Happening::NotLetIn(greeting, code) => self.not_let_in(greeting, code),
            Happening::Person(client, life) => self.begin_command(client, life),
            Happening::Redial(client, life) => self.redial(client, life),
            Happening::Stopped(client, life) => self.stop_command(client, life),
            Happening::ServerStarts => self.start_server(),
            Happening::SpellEnds(machine) => self.end_spell(machine),
            Happening::SourceSettles(name, content) => self.settle_source(&name, &content),
        }
    }

    fn at(&mut self, at: Time, what: Happening) {
        self.next += 1;
        self.agenda.insert((at, self.next), what);
    }

    fn ring(&mut self, id: PeerId) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.armed.is_some_and(|armed| armed <= now) {
            peer.armed = None;
            self.ready.insert((id, Lane::Session));
        }
    }

    fn has_ended(&self) -> bool {
        self.peers.is_empty() && self.clients.iter().all(Client::is_finished)
    }

    /// What is still under way, for a person.
    fn left(&self) -> String {
        let clients = self.clients.iter().filter(|client| !client.is_finished()).count();
        let sessions: Vec<_> = self
            .peers
            .iter()
            .map(|(id, peer)| {
                let streams: Vec<_> = peer.streams.values().map(|stream| stream.phase).collect();
                let works = peer.port.works.len();
                format!(
                    "{:?} {id:?}: ended {:?}, {streams:?}, {works} operations",
                    peer.role, peer.ending
                )
            })
            .collect();
        format!("{clients} clients are not done, sessions are there: {sessions:?}")
    }
}

/// A path of this crate's own, which is one.
fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Yes,
    NotYet,
}
