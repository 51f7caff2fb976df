//! The client: connects, puts, gets, asks; comes back when the network lets it down.
//!
//! A `Client` is one relation with one server. A command is carried over as many sessions as it
//! takes: when one is lost to the network, the next repeats the same command, which continues from
//! what is staged. Standard input cannot be read twice: what the receiver has not recorded of it is
//! kept until then. Nothing here is a choice of the protocol's; what is shown is what the core
//! says, added up.

mod ear;
mod ends;
mod live;
mod totals;
mod trust; // which key the server is known by
mod watch;
mod proof; // receipts of what is put
mod carry;

pub use ends::{LocalSink, LocalSource};
pub use proof::Receipts;
pub use watch::{Notices, Watch, watch};

use crate::buffer::Pool;
use crate::clock::{Clock, duration};
use crate::disk_threads::DiskThreads;
use crate::identity::{Identity, NewKey};
use crate::lane::Lanes;
use crate::secure::Security;
use crate::ticket::Ticket;
use floe_proto::command::{Command, PROBES, StreamCount, Summary, TransferOptions};
use floe_proto::frame::{Direction, Packing, Priority, Reply, Request, Verbs};
use floe_types::{ByteCount, ChunkSize, Code, Fault, Limits, Micros, ObjectPath, Root};
use live::Live;
use proof::Proof;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use trust::Trust;

/// Where a server is, how it is trusted, as whom, and how hard to try.
#[derive(Clone)]
pub struct Connect {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How connections are secured.
    pub security: Security,
    /// As whom.
    pub credential: Credential,
    /// The key of its own that the client shows to the server, on each connection; none in
    /// plaintext.
    pub own_key: Option<Arc<Identity>>,
    /// Connections to use.
    pub streams: StreamCount,
    /// Random, kept by the client's state: part of every stage's key.
    pub client_id: [u8; 16],
    /// Every bound.
    pub limits: Limits,
    /// How hard to try.
    pub retry: Retry,
}

/// As whom a client comes.
#[derive(Clone, Debug)]
pub enum Credential {
    /// With a ticket.
    Ticket(Ticket),
    /// As anybody; only public servers take that.
    Anonymous,
}

/// How hard a client tries. First contact with a server that takes the connection and loses it,
/// does not answer or is busy is made again within half a minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// Give up when so long nothing got any further. Zero: at the first loss.
    pub give_up_after: Duration,
}

impl Default for Retry {
    /// Five minutes.
    fn default() -> Self {
        Self { give_up_after: Duration::from_secs(300) }
    }
}

/// What happens in a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// How far it is: about five times a second.
    Progress(Summary),
    /// An entry is committed (again, if a reconnect came between).
    EntryFinished {
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// A file's size and root.
        object: Option<(ByteCount, Root)>,
    },
    /// An entry failed; the others go on.
    EntryFailed {
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// Why.
        fault: Fault,
    },
    /// A device, socket or FIFO was passed over.
    EntrySkipped {
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// What it is.
        fault: Fault,
    },
    /// The session was lost; another is tried for.
    Reconnecting {
        /// Why it was lost.
        why: Fault,
        /// How long until the next attempt.
        after: Duration,
    },
    /// There is another session; the command goes on.
    Reconnected,
    /// A person stopped it; what has arrived is being made safe.
    Stopping,
    /// Entries that were not told one by one: whoever reads was too far behind.
    Untold {
        /// So many were committed,
        finished: u64,
        /// so many failed,
        failed: u64,
        /// so many were passed over.
        skipped: u64,
    },
}

/// What a transfer came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// `Partial` where some entries failed, an only entry's own fault, or why the whole ended.
    pub result: Result<(), Fault>,
    /// In numbers, over all sessions it took.
    pub summary: Summary,
    /// How what was sent could be packed: never, where the server takes no packed pieces.
    pub packing: Packing,
    /// Size and root of a transfer that is one file.
    pub root: Option<(ByteCount, Root)>,
    /// From beginning to end.
    pub elapsed: Duration,
    /// Sessions that were lost on the way.
    pub reconnects: u32,
    /// The most bytes that the buffers of this client held at once.
    pub buffers_bytes_max: ByteCount,
}

/// A client of one server.
pub struct Client {
    shared: Arc<Shared>,
}

/// What a server said when it let a client in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerTerms {
    abilities: u64,
    /// What the client may do there.
    pub verbs: Verbs,
}

impl ServerTerms {
    /// Whether it takes probes from this client, and measures itself for it.
    #[must_use]
    pub const fn takes_probes(self) -> bool {
        self.abilities & PROBES != 0
    }

    /// Whether what it sends gives way to other traffic where it is asked to.
    #[must_use]
    pub const fn gives_way(self) -> bool {
        self.abilities & Priority::ABILITY != 0
    }
}

/// What all sessions of a client share.
struct Shared {
    connect: Connect,
    lanes: Lanes,
    threads: DiskThreads,
    pool: Pool,
    clock: Clock,
    live: Mutex<Option<Arc<Live>>>,
    patience: Patience,
    interrupted: tokio::sync::watch::Sender<bool>,
    trust: Trust,
}

/// Idle buffers that are kept for reuse.
const IDLE_BYTES: ByteCount = ByteCount(16 << 20);
/// Streams of `StreamCount::Auto`, at most.
const AUTO_STREAMS: u32 = 8;
/// How long a busy server may put a client off at a time.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// How long a close may take to be said,
const CLOSE: Duration = Duration::from_secs(3);
/// and where a person waits for the end: with `carry::INTERRUPT`, less than five seconds.
const CLOSE_INTERRUPTED: Duration = Duration::from_millis(500);

impl Client {
    /// Connects and is let in. One that cannot be reached fails at once.
    ///
    /// # Errors
    /// `Unreachable`, `ServerKeyMismatch`, `TicketUnknown`, `TicketExpired`, `NotAllowed`,
    /// `ProtocolMismatch`, `Tls`, `Busy`, `ShuttingDown`, `TimedOut`, `ConnectionLost`,
    /// `Violation`; `LimitExceeded` without threads.
    pub async fn connect(connect: Connect) -> Result<Self, Fault> {
        let streams = streams_max(connect.streams);
        let shared = Arc::new(Shared {
            lanes: Lanes::start("floe-lane", Lanes::count_for_client(streams as usize))?,
            threads: DiskThreads::new(),
            pool: Pool::new(IDLE_BYTES),
            clock: Clock::start(),
            live: Mutex::default(),
            patience: Patience::default(),
            interrupted: tokio::sync::watch::Sender::new(false),
            trust: Trust::new(connect.security),
            connect,
        });
        let live = carry::first_contact(&shared).await?;
        *shared.live.lock().await = Some(live);
        Ok(Self { shared })
    }

    /// Sends a file, a tree or standard input; `to` is the final name.
    ///
    /// An `Outcome` says what became of it; stages are kept for a later run of the same command.
    ///
    /// # Errors
    /// What keeps it from beginning: `NotFound`, `PermissionDenied`, `BadPath` of the source.
    pub async fn put(
        &self,
        from: LocalSource,
        to: ObjectPath,
        options: TransferOptions,
        watch: Watch,
    ) -> Result<Outcome, Fault> {
        self.send((from, to), options, watch, Proof::none()).await
    }

    /// As `put`, and keeps a receipt of each object, signed by the server: durable before this
    /// ends, also of those that stood there already. An object that is committed without one ends
    /// the transfer (`Integrity`).
    ///
    /// # Errors
    /// As `put`; `Unsupported` in the outcome where the server signs none, before anything is sent.
    pub async fn put_signed(
        &self,
        from: LocalSource,
        to: ObjectPath,
        options: TransferOptions,
        watch: Watch,
        receipts: Receipts,
    ) -> Result<Outcome, Fault> {
        let proof = Proof::kept(receipts, &self.shared.connect)?;
        self.send((from, to), options, watch, proof).await
    }

    async fn send(
        &self,
        (from, to): (LocalSource, ObjectPath),
        options: TransferOptions,
        watch: Watch,
        proof: Proof,
    ) -> Result<Outcome, Fault> {
        let end = ends::of_source(from).await?;
        let errand = carry::Errand { direction: Direction::Put, end, remote: to, options, watch };
        Ok(carry::carry(&self.shared, errand, proof).await)
    }

    /// Receives a file or a tree; `to` is the final name.
    ///
    /// # Errors
    /// What keeps it from beginning: `NotDirectory`, `PermissionDenied`, `BadPath` of the sink.
    pub async fn get(
        &self,
        from: ObjectPath,
        to: LocalSink,
        options: TransferOptions,
        watch: Watch,
    ) -> Result<Outcome, Fault> {
        let end = ends::of_sink(to).await?;
        let errand = carry::Errand { direction: Direction::Get, end, remote: from, options, watch };
        Ok(carry::carry(&self.shared, errand, Proof::none()).await)
    }

    /// Moves bytes that are nobody's to the server or from it until `interrupt`, to measure what
    /// lies between; for at most `Limits::PROBE_BYTES_MAX` bytes.
    ///
    /// # Errors
    /// `Unsupported` where the server takes no probes from this client; those of `connect` where
    /// the session was lost before.
    pub async fn probe(&self, direction: Direction, watch: Watch) -> Result<Outcome, Fault> {
        if !self.terms().await?.takes_probes() {
            return Err(Fault::new(Code::Unsupported, "probe this server"));
        }
        let probe = Some(Limits::PROBE_BYTES_MAX);
        // Small chunks: a slow path soon tells what came.
        let options = TransferOptions {
            probe,
            chunk: ChunkSize::MIN,
            packing: Packing::Never,
            ..<_>::default()
        };
        let (end, remote) = (ends::nothing(), ObjectPath::root());
        let errand = carry::Errand { direction, end, remote, options, watch };
        Ok(carry::carry(&self.shared, errand, Proof::none()).await)
    }

    /// What the server lets this client do.
    ///
    /// # Errors
    /// Those of `connect` where the session was lost before.
    pub async fn terms(&self) -> Result<ServerTerms, Fault> {
        Ok(self.shared.session().await?.terms)
    }

    /// The keys that the server said take the place of the one that was pinned, and of each other;
    /// none but where it is being replaced. A client that keeps pins keeps the last of them.
    #[must_use]
    pub fn new_keys(&self) -> Vec<NewKey> {
        self.shared.trust.new_keys()
    }

    /// Asks LIST (one page), STAT, REMOVE, RENAME, MKDIR, or, of one that takes probes, MEASURE.
    ///
    /// # Errors
    /// The server's answer; those of `connect` where the session was lost before.
    pub async fn request(&self, request: Request) -> Result<Reply, Fault> {
        let live = self.shared.session().await?;
        live.ask(request).await
    }

    /// Stops what runs: reads nothing more, takes a checkpoint, keeps the stage. Running transfers
    /// end as `Interrupted` within 4 s; new ones do so at once.
    pub fn interrupt(&self) {
        self.shared.interrupted.send_replace(true);
    }

    /// Ends the session in good order; waits briefly for it.
    pub async fn close(self) {
        let live = self.shared.live.lock().await.take();
        if let Some(live) = live {
            // One that is over needs no command.
            let _ = live.running.command(Command::Close(None));
            let patience = if self.shared.is_interrupted() { CLOSE_INTERRUPTED } else { CLOSE };
            let _ = timeout(patience, live.running.gone()).await;
        }
    }

    /// The most bytes that the buffers of this client held at once.
    #[must_use]
    pub fn buffers_bytes_max(&self) -> ByteCount {
        self.shared.pool.held_max()
    }
}

impl Shared {
    /// The session that is up, or another one.
    async fn session(self: &Arc<Self>) -> Result<Arc<Live>, Fault> {
        let mut live = self.live.lock().await;
        if let Some(live) = live.as_ref()
            && live.running.ending().is_none()
        {
            return Ok(Arc::clone(live));
        }
        if let Some(until) = self.patience.until() {
            sleep_until(until).await;
        }
        let next = Live::begin(self).await?;
        *live = Some(Arc::clone(&next));
        Ok(next)
    }

    fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }
}

/// When a server that was busy wants to be asked again.
#[derive(Default)]
struct Patience(std::sync::Mutex<Option<Instant>>);

impl Patience {
    /// BUSY came: not before so long, but never longer than is sensible.
    fn ask(&self, after: Micros) {
        let until = Instant::now() + duration(after).min(BUSY_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Until when to wait, if that is not over.
    fn until(&self) -> Option<Instant> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.filter(|until| *until > Instant::now())
    }
}

/// Why a transfer that a person stopped ends.
fn interrupted() -> Fault {
    Fault::new(Code::Interrupted, "")
}

fn streams_max(count: StreamCount) -> u32 {
    match count {
        StreamCount::Fixed(count) => count.max(1),
        StreamCount::Auto => AUTO_STREAMS,
    }
}

/// What buffers a client's session may hold: at one stream the process stays within 64 MiB, at
/// eight within 128.
fn buffers_for(count: StreamCount) -> ByteCount {
    let streams = u64::from(streams_max(count).min(AUTO_STREAMS));
    ByteCount((20 << 20) + streams * (6 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_is_asked_when_it_said_but_not_never() {
        let patience = Patience::default();
        assert_eq!(patience.until(), None);
        patience.ask(Micros(0));
        assert_eq!(patience.until(), None, "at once");
        patience.ask(Micros::from_secs(30));
        assert!(patience.until().is_some());
        patience.ask(Micros(u64::MAX));
        assert!(patience.until().is_some_and(|until| until <= Instant::now() + BUSY_MAX));
    }
}
