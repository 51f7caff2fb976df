//! One session of a client: dialled, greeted, driven; more streams join it when the core asks.

use super::ear::{Desk, Ear};
use super::ends::End;
use super::{Credential, ServerTerms, Shared, buffers_for};
use crate::clock::duration;
use crate::files::Files;
use crate::greeting::{Caller, NotIn, hello, join};
use crate::running::{Running, Terms, drive};
use crate::secure::{Secured, Security, client_handshake_as, plaintext};
use crate::server::owner_id;
use crate::socket;
use crate::stream::{Place, Stream};
use floe_proto::command::{
    Accepted, Command, Config, Event, Holes, Role, StreamCount, TransferOptions,
};
use floe_proto::frame::{Direction, PackLevel, Priority, Receipt, Reply, Request, Welcome};
use floe_proto::session::Session;
use floe_types::{ByteCount, Code, Escaped, Fault, Limits, ObjectPath, TransferId};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::Instant;
use tracing::Instrument;

/// A session that was let in. It may be over: `running.ending()` says.
pub(super) struct Live {
    pub(super) running: Arc<Running>,
    desk: Arc<Desk>,
    session: [u8; 16],
    secret: [u8; 32],
    /// What the server said of it.
    pub(super) terms: ServerTerms,
    /// Where its first stream leads: a name may have several servers, and one has the session.
    peer: SocketAddr,
    this: OnceLock<Weak<Self>>,
}

impl Live {
    /// Connects and is let in.
    pub(super) async fn begin(shared: &Arc<Shared>) -> Result<Arc<Self>, Fault> {
        let (told, heard) = oneshot::channel();
        let lane = shared.lanes.least_loaded();
        let load = shared.lanes.load(lane);
        let shared = Arc::clone(shared);
        let lanes = shared.lanes.clone();
        lanes.spawn(lane, move || async move {
            let greeted = greet(&shared).await;
            let (link, welcome, peer) = match greeted {
                Ok(greeted) => greeted,
                Err(fault) => return drop(told.send(Err(fault))),
            };
            let live = Self::new(&shared, welcome, peer);
            let ear = Ear {
                shared: Arc::downgrade(&shared),
                live: Arc::downgrade(&live),
                desk: Arc::clone(&live.desk),
            };
            let stream = Stream::new(Place::take(&live.running), link);
            // From here on the session lives as long as it has work, not as its client does.
            drop(shared);
            let running = Arc::clone(&live.running);
            let id = data_encoding::HEXLOWER.encode(&live.session[..4]);
            let span = tracing::info_span!("session", id);
            let stream = async move { (stream.run().await, drop(load)) };
            spawn_local(stream.instrument(span.clone()));
            // A client that does not wait any more drops it, and so ends it.
            let _ = told.send(Ok(live));
            drive(running, ear).instrument(span).await;
        });
        heard.await.unwrap_or_else(|_| Err(Fault::new(Code::Other, "the lane ended")))
    }

    fn new(shared: &Shared, welcome: Welcome, peer: SocketAddr) -> Arc<Self> {
        let connect = &shared.connect;
        let piece = welcome.piece_bytes_max.min(Limits::PIECE_BYTES);
        let streams = match connect.streams {
            StreamCount::Fixed(count) => StreamCount::Fixed(count.clamp(1, welcome.streams_max)),
            StreamCount::Auto => StreamCount::Auto,
        };
        let entries = connect.limits.entries_ahead_max.min(welcome.entries_ahead_max);
        let streams_max = connect.limits.streams_max.min(welcome.streams_max);
        let limits = Limits {
            entries_ahead_max: entries,
            batch_entries_max: connect.limits.batch_entries_max.min(entries),
            streams_max,
            ..connect.limits.clone()
        };
        let config = Config {
            limits: limits.clone(),
            verbs: welcome.verbs,
            piece_bytes: ByteCount(u64::from(piece)),
            streams,
            buffers: buffers_for(connect.streams),
            holes: Holes::with(welcome.abilities),
        };
        let core = Session::new(Role::Client, config, shared.clock.now());
        let ticket = match &connect.credential {
            Credential::Ticket(ticket) => Some(ticket.id().0),
            Credential::Anonymous => None,
        };
        let owner = owner_id(ticket, connect.client_id, Direction::Get);
        let files = Files::local(owner, shared.pool.clone(), limits.page_entries_max);
        let threads = shared.threads.clone();
        let most = Some(PackLevel::MAX);
        let terms = Terms::new(welcome.piece_bytes_max, most, welcome.abilities);
        let live = Arc::new(Self {
            running: Running::new(
                core,
                shared.clock,
                limits,
                terms,
                Arc::new(files),
                threads,
                None,
            ),
            desk: Arc::default(),
            session: welcome.session,
            secret: welcome.secret,
            terms: ServerTerms { abilities: welcome.abilities, verbs: welcome.verbs },
            peer,
            this: OnceLock::new(),
        });
        let _ = live.this.set(Arc::downgrade(&live));
        live
    }

    /// Whether the server signs for what it commits.
    pub(super) const fn signs_receipts(&self) -> bool {
        self.terms.abilities & Receipt::ABILITY != 0
    }

    /// Whether pieces may travel packed.
    pub(super) fn packs(&self) -> bool {
        self.running.terms.packing.is_some()
    }

    /// One more stream, for the core that asked for it.
    pub(super) fn dial(&self, shared: &Arc<Shared>) {
        let Some(live) = self.this.get().and_then(Weak::upgrade) else {
            return self.running.dial_failed();
        };
        let lane = shared.lanes.least_loaded();
        let load = shared.lanes.load(lane);
        let lanes = shared.lanes.clone();
        let shared = Arc::clone(shared);
        lanes.spawn(lane, move || async move {
            let joined = join_session(&shared, &live).await;
            drop(shared);
            let running = Arc::clone(&live.running);
            drop(live);
            match joined {
                Ok(link) if running.ending().is_none() => {
                    Stream::new(Place::take(&running), link).run().await
                }
                Ok(_) => {}
                Err(fault) => {
                    tracing::debug!(%fault, "a further stream did not come up");
                    running.dial_failed();
                }
            }
            drop(load);
        });
    }

    /// Begins a transfer; its events come through the receiver, the last is `TransferFinished`.
    /// A receiver that ends without it: the session failed.
    pub(super) fn begin_transfer(
        &self,
        direction: Direction,
        end: &End,
        remote: &ObjectPath,
        options: &TransferOptions,
    ) -> Result<(TransferId, mpsc::UnboundedReceiver<Event>), Fault> {
        let yields = options.priority == Priority::Background;
        if direction == Direction::Get && yields && !self.terms.gives_way() {
            // It would take the whole path, and only it could do otherwise.
            return Err(Fault::new(Code::Unsupported, "ask this server to give way"));
        }
        let (to, events) = mpsc::unbounded_channel();
        let command = Command::Transfer {
            direction,
            local: end.path.clone(),
            remote: remote.clone(),
            options: options.clone(),
        };
        let accepted = self.running.begin(command, |accepted| {
            if let Accepted::Transfer(transfer) = accepted {
                self.running.files.add_end(transfer, end.at.clone());
                self.desk.expect_transfer(transfer, to);
            }
        })?;
        match accepted {
            Accepted::Transfer(transfer) => Ok((transfer, events)),
            _ => Err(Fault::new(Code::Other, "the session took a transfer for something else")),
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Fault> {
        let (to, reply) = oneshot::channel();
        self.running.begin(Command::Request(request), |accepted| {
            if let Accepted::Request(request) = accepted {
                self.desk.expect_reply(request, to);
            }
        })?;
        match reply.await {
            Ok(reply) => reply,
            Err(_) => match self.running.ended().await {
                Err(fault) => Err(fault),
                Ok(()) => Err(Fault::new(Code::ConnectionLost, "the session ended")),
            },
        }
    }
}

impl Drop for Live {
    /// Whoever drops the last handle wants nothing more of the session.
    fn drop(&mut self) {
        let _ = self.running.command(Command::Close(None));
    }
}

async fn greet(shared: &Shared) -> Result<(Secured, Welcome, SocketAddr), Fault> {
    let connect = &shared.connect;
    let socket = socket::dial(&connect.host, connect.port, patience(shared)).await?;
    let peer = socket.peer_addr().map_err(|error| {
        let (why, shown) = (socket::reason(&error), Escaped(connect.host.as_bytes()));
        Fault::new(Code::ConnectionLost, format!("connect to \"{shown}\": {why}"))
    })?;
    let (mut link, deadline) = secured(shared, socket).await?;
    let known = shared.trust.security();
    let ticket = match &connect.credential {
        Credential::Ticket(ticket) => Some(ticket),
        Credential::Anonymous => None,
    };
    let caller = Caller { client: connect.client_id, ticket, agent: crate::AGENT };
    match hello(&mut link, caller, &connect.limits, deadline).await {
        Ok(welcome) => {
            shared.trust.learn(known, welcome.successor.as_ref());
            Ok((link, welcome, peer))
        }
        Err(not_in) => {
            if let NotIn::Busy(after) = not_in {
                shared.patience.ask(after);
            }
            Err(not_in.into())
        }
    }
}

async fn join_session(shared: &Shared, live: &Live) -> Result<Secured, Fault> {
    let socket = socket::dial_address(live.peer, patience(shared)).await?;
    let (mut link, deadline) = secured(shared, socket).await?;
    let limits = &shared.connect.limits;
    join(&mut link, live.session, &live.secret, limits, deadline).await?;
    Ok(link)
}

fn patience(shared: &Shared) -> Duration {
    duration(shared.connect.limits.greeting)
}

async fn secured(shared: &Shared, socket: TcpStream) -> Result<(Secured, Instant), Fault> {
    let deadline = Instant::now() + patience(shared);
    let link = match shared.trust.security() {
        Security::Tls { pin } => {
            let own = shared.connect.own_key.as_deref();
            client_handshake_as(socket, pin, own, deadline).await?
        }
        Security::Plaintext => plaintext(socket),
    };
    Ok((link, deadline))
}
