//! One connection from accept to a stream: TLS, greeting, HELLO or JOIN, each within the deadline,
//! which begins with its turn; the wait for that has one as long.
//!
//! That is done on the porch, a lane of its own: a greeting waits for no stream's turn, however
//! many there are. Whoever does not speak floe costs one debug line; who is let in moves to the
//! lane with the least to do, once.

mod tenure; // what holds while a session runs

use super::ear::{Ear, Whose};
use super::gate::{Exit, block_of};
use super::keys::{Choice, Shown, no_tls};
use super::tally::Card;
use super::{Hall, Public};
use crate::audit::{Scribe, Who};
use crate::clock::{duration, timestamp};
use crate::files::{Files, Notary};
use crate::grant::{Fence, Throttle};
use crate::greeting::{Greeted, check_hello, check_join, receive, refuse, send, successor};
use crate::identity::KeyPin;
use crate::lane::Load;
use crate::registry::{Arrival, Member, Party, Pass, SessionId};
use crate::rules::Rules;
use crate::running::{Running, Terms, drive};
use crate::secure::{Secured, first_record, hear_client, plaintext};
use crate::state::random;
use crate::stream::{Place, Stream};
use crate::ticket::{Admission, Grant};
use floe_proto::command::{Config, Holes, PROBES, Role, StreamCount};
use floe_proto::frame::{
    Direction, PackLevel, Packing, Priority, Receipt, Successor, Verbs, Welcome,
};
use floe_proto::greeting::{HelloClaim, JoinClaim, Refusal};
use floe_proto::session::Session;
use floe_store::{OwnerId, Store};
use floe_types::escape::Escaped;
use floe_types::{ByteCount, Code, Fault, Limits, Micros, ObjectPath};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;
use tenure::{Attendance, Listed, lead};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

const BUSY: Micros = Micros::from_secs(5);

/// Takes a connection that was accepted to the porch and greets it there.
pub(super) fn let_in(hall: &Arc<Hall>, socket: TcpStream, peer: SocketAddr, exit: Exit) {
    let Some(place) = hall.gate.place(peer.ip(), exit) else {
        tracing::debug!(%peer, "too many connections wait to be greeted: closed");
        return;
    };
    let Ok(socket) = socket.into_std() else { return };
    let own = Arc::clone(hall);
    let rules = hall.rules();
    let patience = duration(rules.limits.greeting);
    let turn_by = Instant::now() + patience;
    // Here, where they come one after the other.
    let arrival = Arrival::next();
    hall.porch.spawn(hall.porch.least_loaded(), move || async move {
        let hall = own;
        let served = async {
            let socket = TcpStream::from_std(socket)
                .map_err(|error| Fault::new(Code::Other, error.to_string()))?;
            // In plaintext a server speaks first.
            let said = async {
                if hall.keys.is_tls() {
                    first_record(&socket).await;
                }
            };
            let permit = match timeout_at(turn_by, place.pass(said)).await {
                Ok(Ok(permit)) => permit,
                Err(_) => return Err(Fault::new(Code::TimedOut, "wait for a turn")),
                Ok(Err(exit)) => {
                    drop((socket, exit));
                    return Err(Fault::new(Code::Busy, "another took its place"));
                }
            };
            // What others took of the wait is not taken from it.
            let deadline = Instant::now() + patience;
            let visit = Visit { hall: &hall, rules, peer, arrival, deadline };
            // What a greeting needs, those that wait do not.
            tokio::select! {
                greeted = Box::pin(visit.greet(socket)) => greeted,
                () = permit.is_pressed() => {
                    Err(Fault::new(Code::TimedOut, "greet a client while others wait"))
                }
            }
        };
        if let Err(fault) = served.instrument(tracing::debug_span!("greeting", %peer)).await {
            tracing::debug!(%peer, %fault, "not let in");
        }
    });
}

struct Visit<'a> {
    hall: &'a Arc<Hall>,
    /// Those that hold for this connection.
    rules: Arc<Rules>,
    peer: SocketAddr,
    arrival: Arrival,
    deadline: Instant,
}

impl Visit<'_> {
    async fn greet(&self, socket: TcpStream) -> Result<(), Fault> {
        let (mut link, shown) = self.secure(socket).await?;
        match receive(&mut link, &self.rules.limits, self.deadline).await? {
            Greeted::Hello(claim) => self.hello(link, claim, &shown).await,
            Greeted::Join(claim) => self.join(link, claim).await,
            Greeted::Left => Ok(()),
        }
    }

    /// With the key that the client expects, if the server has it.
    async fn secure(&self, socket: TcpStream) -> Result<(Secured, Shown), Fault> {
        let keys = &self.hall.keys;
        if let Choice::Plaintext(shown) = keys.choose(None, timestamp()) {
            return Ok((plaintext(socket), shown));
        }
        let heard = hear_client(socket, self.deadline).await?;
        let name = heard.server_name();
        let choose = || keys.choose(name.as_deref(), timestamp());
        let mut choice = choose();
        if let Choice::Unknown(_) = choice {
            // A ticket that names a key is good from the moment on that it was made.
            let _ = self.hall.roster.now(self.deadline).await?;
            choice = choose();
        }
        let (Choice::Key(shown) | Choice::Unknown(shown) | Choice::Plaintext(shown)) = choice;
        let tls = shown.tls().ok_or_else(no_tls)?;
        Ok((heard.secure(tls, self.deadline).await?, shown))
    }

    async fn turn_away<T>(&self, mut link: Secured, why: Refusal) -> Result<T, Fault> {
        let fault = fault_of(&why);
        refuse(&mut link, why, &self.rules.limits, self.deadline).await;
        Err(fault)
    }

    /// Has a line in the log for whom nobody lets in, and turns him away.
    async fn refuse<T>(
        &self,
        link: Secured,
        ticket: Option<[u8; 16]>,
        why: Refusal,
    ) -> Result<T, Fault> {
        self.hall.tally.refused();
        if let Some(audit) = &self.hall.audit {
            audit.refused(self.peer, ticket, &fault_of(&why));
        }
        self.turn_away(link, why).await
    }

    async fn hello(&self, mut link: Secured, claim: HelloClaim, key: &Shown) -> Result<(), Fault> {
        let hall = self.hall;
        let claimed = claim.hello().proof.as_ref().map(|proof| proof.ticket);
        if hall.is_draining() {
            return self.refuse(link, claimed, ends()).await;
        }
        let Ok(socket) = Arc::clone(&hall.sockets).try_acquire_owned() else {
            return self.refuse(link, claimed, Refusal::Busy(BUSY)).await;
        };
        let admitted = match self.check(&claim, link.peer_key()).await {
            Ok(admission) => self.admit(&claim, admission).await,
            Err(fault) => Err(fault),
        };
        let Admitted { name, verbs, owner, party, store, pass } = match admitted {
            Ok(admitted) => admitted,
            Err(fault) => return self.refuse(link, claimed, Refusal::Close(fault)).await,
        };
        let Some(guest) = hall.registry.admit(party, &self.rules.caps) else {
            return self.refuse(link, claimed, Refusal::Busy(BUSY)).await;
        };
        let (id, secret): (SessionId, [u8; 32]) = (random()?, random()?);
        let (channel, client) = (claim.binding().channel, claim.hello().client);
        let agent = Escaped(claim.hello().agent.as_bytes()).to_string();
        let session = data_encoding::HEXLOWER.encode(&id[..4]);
        let span = tracing::info_span!("session", id = session, peer = %self.peer);
        let theirs = claim.hello().abilities;
        // Before its line begins in the log: they may fail, and it must end.
        let key = hall.keys.standing(key, timestamp())?;
        let told = key.successor.map(|(by, until)| successor(&claim, &by, until)).transpose()?;
        let scribe = self.scribe(id, &name, pass.as_ref(), &agent);
        let streams_max = self.streams_max(pass.as_ref());
        let packs = self.rules.packing.most();
        let may = (verbs, streams_max, abilities(pass.as_ref(), packs));
        let (frame, _) = claim.admit(welcome(&self.rules.limits, (id, secret), may, told));
        let notary = Notary { signer: key.signer, ticket: name.clone() };
        let files = self.files((store, owner), scribe.clone(), notary);
        let files = files.of_party(guest.customer());
        let terms = Terms::new(self.rules.limits.piece_bytes_max, packs, theirs);
        let running = self.running(
            (verbs, Holes::with(theirs), streams_max),
            (party, terms),
            files,
            pass.as_ref().map(|pass| self.rate_of(pass)),
        );
        let attendance = Attendance { scribe: scribe.clone(), running: Arc::clone(&running) };
        let words = (session, name.clone(), self.peer.to_string(), agent.clone());
        let present = hall.tally.enter(Card::new(words, pass.as_ref(), Arc::clone(&running)));
        let whose = Whose { owner, client, pass: pass.clone(), arrival: self.arrival };
        let at = Arc::clone(&running);
        let member = Member { running: at, secret, channel, pass, streams_max, party };
        // Before anybody can join: the lead stream is the first to have a place.
        let place = Place::take(&running);
        let listed = Listed::new(hall, id, member);
        if hall.is_draining() {
            // Begun meanwhile, it may not have seen this one, and would end without it.
            return self.turn_away(link, ends()).await;
        }
        send(&mut link, &frame, &self.rules.limits, self.deadline).await?;
        let ear = Ear::new(hall, id, whose, scribe, &present.card);
        self.move_in(link, move |link, load| {
            let serving = async move {
                tracing::info!(ticket = name, agent, "session begins");
                lead(link, place, &running, (load, socket));
                drive(Arc::clone(&running), ear).await;
                drop((listed, guest, attendance, present));
                tell_end(&running);
            };
            serving.instrument(span)
        })
    }

    fn rate_of(&self, pass: &Pass) -> Arc<Throttle> {
        self.hall.rates.set(pass.id, pass.bounds.rate, self.hall.clock.now())
    }

    /// Goes on with a connection on the lane with the least to do.
    fn move_in<F: Future<Output = ()> + 'static>(
        &self,
        link: Secured,
        go_on: impl FnOnce(Result<Secured, Fault>, Load) -> F + Send + 'static,
    ) -> Result<(), Fault> {
        let lanes = &self.hall.lanes;
        let lane = lanes.least_loaded();
        // Counted from here on, or a burst of clients would all go to one lane.
        let load = lanes.load(lane);
        let link = link.detach()?;
        lanes.spawn(lane, move || go_on(link.attach(), load));
        Ok(())
    }

    async fn check(&self, claim: &HelloClaim, shown: Option<KeyPin>) -> Result<Admission, Fault> {
        if claim.hello().proof.is_none() {
            return Ok(Admission::Anonymous);
        }
        let tickets = self.hall.roster.now(self.deadline).await?;
        check_hello(claim, tickets, self.hall.root, shown, SystemTime::now())
    }

    async fn admit(&self, claim: &HelloClaim, admission: Admission) -> Result<Admitted, Fault> {
        let client = claim.hello().client;
        let access = self.hall.access;
        match admission {
            Admission::Ticket(grant) => {
                let Grant { id, name, bounds } = grant;
                if let Some(most) = bounds.uses {
                    self.hall.ledger.admit(id, most, client, self.deadline).await?;
                }
                let verbs = access.leaves(bounds.verbs);
                let beneath = self.hall.store_beneath(bounds.prefix.clone());
                let changes = verbs.only(Verbs::CHANGES) != Verbs::default();
                let meter = if changes && bounds.quota.is_some() {
                    let store = Arc::clone(&beneath);
                    Some(self.hall.meters.of(id, bounds.quota, store, self.deadline).await?)
                } else {
                    None
                };
                Ok(Admitted {
                    owner: owner_id(Some(id.0), client, Direction::Put),
                    party: Party::Ticket(id.0),
                    name,
                    verbs,
                    store: Arc::new(
                        Fence::new(beneath, verbs, meter.clone()).masking(access.umask),
                    ),
                    pass: Some(Pass { id, bounds, meter }),
                })
            }
            Admission::Anonymous if access.public == Public::Yes => Ok(Admitted {
                owner: owner_id(None, client, Direction::Put),
                party: Party::Address(block_of(self.peer.ip())),
                name: "(public)".to_owned(),
                verbs: access.leaves(Verbs::READ.and(Verbs::LIST)),
                store: self.hall.store_beneath(ObjectPath::root()),
                pass: None,
            }),
            Admission::Anonymous => {
                Err(Fault::new(Code::NotAllowed, "log in without a ticket: it is not public"))
            }
        }
    }

    /// Somebody who writes the session down, if a log is kept.
    fn scribe(
        &self,
        session: SessionId,
        name: &str,
        pass: Option<&Pass>,
        agent: &str,
    ) -> Option<Arc<Scribe>> {
        let who = Who {
            session,
            ticket: pass.map(|pass| (name.to_owned(), pass.id)),
            client: self.peer,
            prefix: pass.map_or_else(ObjectPath::root, |pass| pass.bounds.prefix.clone()),
        };
        let audit = self.hall.audit.as_ref();
        audit.map(|audit| Arc::new(Scribe::begin(audit, who, agent)))
    }

    /// What it has open, in what its ticket is for.
    fn files(
        &self,
        (store, owner): (Arc<dyn Store>, OwnerId),
        scribe: Option<Arc<Scribe>>,
        notary: Notary,
    ) -> Files {
        let pages = self.rules.limits.page_entries_max;
        let files = Files::served(store, owner, self.hall.pool.clone(), pages);
        files.audited(scribe).signing(Some(notary)).bounded(self.rules.trees)
    }

    fn running(
        &self,
        (verbs, holes, streams_max): (Verbs, Holes, u32),
        (party, terms): (Party, Terms),
        files: Files,
        throttle: Option<Arc<Throttle>>,
    ) -> Arc<Running> {
        let hall = self.hall;
        let config = Config {
            limits: self.rules.limits.clone(),
            verbs,
            piece_bytes: ByteCount(u64::from(Limits::PIECE_BYTES)),
            streams: StreamCount::Fixed(streams_max),
            buffers: hall.registry.share(&party),
            holes,
        };
        let core = Session::new(Role::Server, config, hall.clock.now());
        let limits = self.rules.limits.clone();
        let threads = hall.threads.clone();
        Running::new(core, hall.clock, limits, terms, Arc::new(files), threads, throttle)
    }

    /// The connections that a session may have.
    fn streams_max(&self, pass: Option<&Pass>) -> u32 {
        let own = pass.and_then(|pass| pass.bounds.streams).map_or(u32::MAX, NonZeroU32::get);
        self.rules.limits.streams_max.min(own)
    }

    async fn join(&self, mut link: Secured, claim: JoinClaim) -> Result<(), Fault> {
        let hall = self.hall;
        let found = hall.registry.find(&claim.join().session);
        let Some(member) = found.filter(|member| member.running.ending().is_none()) else {
            let fault = Fault::new(Code::Elsewhere, "");
            return self.refuse(link, None, Refusal::Close(fault)).await;
        };
        let bounds = member.pass.as_ref().map(|pass| &pass.bounds);
        let checked = check_join(&claim, &member.secret, member.channel).and_then(|()| {
            bounds.map_or(Ok(()), |bounds| bounds.check_client(link.peer_key(), "join a session"))
        });
        if let Err(fault) = checked {
            return self.refuse(link, None, Refusal::Close(fault)).await;
        }
        // Counted before anything is awaited: many may join at once.
        let Some(expected) = member.running.expect_stream(member.streams_max) else {
            let fault = Fault::new(Code::LimitExceeded, "too many streams in one session");
            return self.turn_away(link, Refusal::Close(fault)).await;
        };
        let Ok(socket) = Arc::clone(&hall.sockets).try_acquire_owned() else {
            let fault = Fault::new(Code::LimitExceeded, "no room for more streams");
            return self.turn_away(link, Refusal::Close(fault)).await;
        };
        let Some(seat) = hall.registry.seat(member.party, hall.sockets_max) else {
            let fault = Fault::new(Code::LimitExceeded, "too many streams of one ticket");
            return self.turn_away(link, Refusal::Close(fault)).await;
        };
        let streams = member.running.streams() as u64 + 1;
        if hall.registry.share(&member.party).0
            < streams * u64::from(self.rules.limits.piece_bytes_min)
        {
            let fault = Fault::new(Code::LimitExceeded, "no memory for more streams");
            return self.turn_away(link, Refusal::Close(fault)).await;
        }
        send(&mut link, &claim.admit(), &self.rules.limits, self.deadline).await?;
        let place = Place::take(&member.running);
        drop(expected);
        self.move_in(link, move |link, load| async move {
            match link {
                Ok(link) => Stream::new(place, link).run().await,
                Err(fault) => tracing::warn!(%fault, "a stream could not change its lane"),
            }
            drop((load, socket, seat));
        })
    }
}

struct Admitted {
    name: String,
    verbs: Verbs,
    owner: OwnerId,
    party: Party,
    store: Arc<dyn Store>,
    pass: Option<Pass>,
}

/// To who comes while the server ends.
fn ends() -> Refusal {
    Refusal::Close(Fault::new(Code::ShuttingDown, ""))
}

fn fault_of(why: &Refusal) -> Fault {
    match why {
        Refusal::Busy(_) => Fault::new(Code::Busy, "too many sessions"),
        Refusal::Close(fault) => fault.clone(),
    }
}

fn tell_end(running: &Running) {
    match running.ending() {
        Some(Err(fault)) => tracing::info!(%fault, "session ends"),
        _ => tracing::info!("session ends"),
    }
}

/// What a session is offered beyond what every server does.
fn abilities(pass: Option<&Pass>, packs: Option<PackLevel>) -> u64 {
    let probes = if pass.is_some_and(Pass::takes_probes) { PROBES } else { 0 };
    probes | packs.map_or(0, |_| Packing::ABILITIES) | Priority::ABILITY
}

fn welcome(
    limits: &Limits,
    (session, secret): (SessionId, [u8; 32]),
    (verbs, streams_max, some): (Verbs, u32, u64),
    successor: Option<Successor>,
) -> Welcome {
    Welcome {
        abilities: Holes::ABILITY | Receipt::ABILITY | some,
        session,
        secret,
        verbs,
        piece_bytes_max: limits.piece_bytes_max,
        streams_max,
        entries_ahead_max: limits.entries_ahead_max,
        agent: crate::AGENT.to_owned(),
        successor,
    }
}

/// Who stages: nobody else's stages are found, whatever they are called.
pub(crate) fn owner_id(ticket: Option<[u8; 16]>, client: [u8; 16], way: Direction) -> OwnerId {
    let mut words = [0; 34];
    words[0] = u8::from(ticket.is_some());
    words[1..17].copy_from_slice(&ticket.unwrap_or_default());
    words[17..33].copy_from_slice(&client);
    words[33] = match way {
        Direction::Put => 0,
        Direction::Get => 1,
    };
    OwnerId(blake3::derive_key("floe/1 stage owner", &words))
}
