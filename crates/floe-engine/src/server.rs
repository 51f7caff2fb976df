//! The server: listens, lets clients in, serves one root, drains when it is told to stop.
//!
//! One store, one set of lanes, disk threads and buffers for all sessions. Before a client is let
//! in it costs a connection, a deadline and a few KiB, never a file. What each may do is decided at
//! HELLO: the ticket's verbs, cut down by what the server allows.

mod access; // what it allows, whatever a ticket says
mod tally; // what runs, and what ran
mod ledger; // how often tickets were used
mod rates; // how fast their transfers may go
mod ear;
mod gate;
mod meters; // what tickets with quotas have used
mod sweep; // old stages
mod keys; // the keys that it shows
mod roster; // the tickets as they are now
mod attend;
mod root; // the id of what is served
mod confine; // what the process may touch
mod syscalls; // what it never asks of the kernel
mod operator; // what its operator asks
mod metrics; // numbers, and whether it is well

pub use access::{Access, Public, ReadOnly};
pub(crate) use attend::owner_id;
pub use confine::{Confine, Confinement};
pub use root::{find_prefix, root_id_of};
pub use syscalls::CallFilter;

use crate::audit::{Audit, Auditing};
use crate::buffer::Pool;
use crate::clock::{Clock, timestamp};
use crate::control::Door;
use crate::descriptors;
use crate::disk_threads::DiskThreads;
use crate::identity::{Identity, KeyPin};
use crate::lane::Lanes;
use crate::registry::{Member, Registry};
use crate::rules::{Board, Rules};
use crate::socket;
use crate::state::{State, show};
use crate::ticket::{OwnerTicket, RootId, TicketStore};
use floe_proto::command::Command;
use floe_store::Store;
use floe_store::confined::Confined;
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_types::{ByteCount, Code, Fault, Limits, ObjectPath, Timestamp};
use gate::Gate;
use keys::Keys;
use ledger::Ledger;
use meters::Meters;
use rates::Rates;
use roster::Roster;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tally::Tally;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// What is served, where, to whom.
pub struct Serve {
    /// The directory.
    pub root: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Listeners of some of those, or of `metrics`, that there are already (`socket::bind`).
    pub bound: Vec<std::net::TcpListener>,
    /// Tickets, and the owner ticket.
    pub state: State,
    /// How connections are secured.
    pub security: ServeSecurity,
    /// What is allowed at most.
    pub access: Access,
    /// Bounds that can be changed later, by `Control::reload`.
    pub rules: Rules,
    /// The budget of resident memory: buffers take at most half of it.
    pub memory: ByteCount,
    /// Whether its process is confined to the directory and the state.
    pub confine: Confine,
    /// Whether it keeps an audit log in the state.
    pub audit: Auditing,
    /// Where numbers and health are told, if anywhere: plain HTTP, for whoever can connect.
    pub metrics: Option<SocketAddr>,
}

/// How a server's connections are secured.
pub enum ServeSecurity {
    /// By TLS, with this key, the operator's own.
    Tls(Identity),
    /// By TLS, with the keys of the state directory, made if there are none, and as they are
    /// rotated there.
    TlsOfState,
    /// Not at all: only the clients' proofs are checked.
    Plaintext,
}

/// The default budget of resident memory.
pub const MEMORY_BYTES: ByteCount = ByteCount(256 << 20);
/// How long a drain may take before what still runs is stopped (and keeps its stages).
const DRAIN: Duration = Duration::from_secs(30);
/// How long stopped sessions may take to say so.
const CLOSE: Duration = Duration::from_secs(10);
/// How long the audit log's last lines may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// After a failure of accept (no descriptors left): a rest, so that it does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// How often a failure of accept is told.
const ACCEPT_WARNING: Duration = Duration::from_secs(60);
/// Connections in sessions, however many descriptors there are.
const SOCKETS_MAX: usize = 1 << 16;
/// What an idle session costs: TLS, its core, its tasks. It was measured to be 49 KiB without TLS
/// and 57 with; a further connection of one is about 25 without, and counts as much.
const SESSION_BYTES: u64 = 60 << 10;
/// What TLS adds to a piece, and the frames before it, generously.
const COPY_BYTES: u64 = 16 << 10;
/// Idle buffers that are kept for reuse, at most.
const IDLE_BYTES_MAX: u64 = 32 << 20;

/// A server that listens.
pub struct Server {
    hall: Arc<Hall>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    metrics: Option<TcpListener>,
    /// Where its operator asks; nothing where that cannot be.
    door: Option<Door>,
    owner: OwnerTicket,
    confinement: (Confinement, CallFilter),
}

/// What all connections of a server share.
struct Hall {
    lanes: Lanes,
    /// Where connections are greeted.
    porch: Lanes,
    threads: DiskThreads,
    pool: Pool,
    clock: Clock,
    board: Board,
    access: Access,
    keys: Arc<Keys>,
    roster: Roster,
    meters: Meters,
    ledger: Arc<Ledger>,
    rates: Rates,
    root: RootId,
    store: Arc<LocalStore<KernelDisk>>,
    registry: Arc<Registry>,
    /// Connections that have joined a session.
    sockets: Arc<Semaphore>,
    /// How many those were.
    sockets_max: usize,
    gate: Arc<Gate>,
    draining: AtomicBool,
    audit: Option<Arc<Audit>>,
    tally: Arc<Tally>,
    /// What is served, safe to show,
    dir: String,
    /// and since when: seconds since 1970.
    since: i64,
    /// Held while old stages are looked for.
    sweeping: Arc<Semaphore>,
}

impl Server {
    /// Opens the root, makes its id and owner ticket at the first start, and listens.
    ///
    /// # Errors
    /// The root's (`NotFound`, `NotDirectory`, `PermissionDenied`), `State`, `Tls` for an identity
    /// that does not fit, `AddressInUse` and the like; `Usage` without an address.
    pub async fn bind(serve: Serve) -> Result<Self, Fault> {
        let Serve { root, listen, mut bound, state, security, access, rules, memory, .. } = serve;
        let dir = root;
        let store = Arc::new(LocalStore::open(&dir)?);
        let root = root::id(&store, &dir, &state, access.read_only)?;
        let tickets = TicketStore::open(&state)?;
        let (keys, pin) = Keys::open(security, &state)?;
        let keys = Arc::new(keys);
        let owner = tickets.owner(root, pin, SystemTime::now())?;
        let listeners = listen.into_iter().map(|at| socket::take_or_listen(at, &mut bound));
        let listeners = listeners.collect::<Result<Vec<_>, _>>()?;
        if listeners.is_empty() {
            return Err(Fault::new(Code::Usage, "listen: no address"));
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>();
        let addresses = addresses
            .map_err(|error| Fault::new(Code::Other, format!("ask for an address: {error}")))?;
        let metrics = serve.metrics.map(|at| socket::take_or_listen(at, &mut bound)).transpose()?;
        let (lanes, threads) = (Lanes::count_for_server(), DiskThreads::new());
        let door = open_door(&state);
        // Before there are threads of its own, and behind all that is read elsewhere.
        let confinement = fence(serve.confine, &dir, &state, access);
        let audit = open_audit(serve.audit, &state, &dir)?;
        let buffers = ByteCount(memory.0 / 2);
        let descriptors = descriptors::raise();
        let sockets = sockets_max(descriptors, memory);
        let waiting_max = usize::try_from(descriptors / 8).unwrap_or(usize::MAX).max(8);
        let listed = if access.read_only == ReadOnly::No { tickets.list(root)? } else { vec![] };
        let ledger = Arc::new(Ledger::new(state.clone()));
        let meters = Meters::new(state, listed, {
            let store = Arc::clone(&store);
            move |prefix| store_beneath(&store, prefix)
        });
        let hall = Hall {
            lanes: Lanes::start("floe-lane", lanes)?,
            porch: Lanes::start_yielding("floe-porch")?,
            threads,
            pool: Pool::bounded(
                ByteCount((buffers.0 / 2).min(IDLE_BYTES_MAX)),
                lent_bytes_max(buffers, lanes),
            ),
            clock: Clock::start(),
            board: Board::new(rules.clone()),
            access,
            roster: Roster::new(tickets, Arc::clone(&keys)),
            keys,
            meters,
            ledger,
            rates: Rates::default(),
            root,
            store,
            registry: Arc::new(Registry::new(buffers, sockets)),
            sockets: Arc::new(Semaphore::new(sockets)),
            sockets_max: sockets,
            gate: Gate::new(waiting_max, rules.caps),
            draining: AtomicBool::new(false),
            audit,
            tally: Arc::default(),
            dir: show(&dir),
            since: timestamp().secs(),
            sweeping: Arc::new(Semaphore::new(1)),
        };
        hall.store.keep_free(rules.keep_free);
        let hall = Arc::new(hall);
        Ok(Self { hall, listeners, addresses, metrics, door, owner, confinement })
    }

    /// What changes it while it runs.
    #[must_use]
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.hall))
    }

    /// Where it listens, in the order of `Serve::listen`.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it tells numbers and health.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where the owner ticket of the root lies.
    #[must_use]
    pub fn owner_ticket(&self) -> &OwnerTicket {
        &self.owner
    }

    /// By which key it is known, and by which for a while, and until when.
    #[must_use]
    pub fn pins(&self) -> (KeyPin, Option<(KeyPin, Timestamp)>) {
        self.hall.keys.pins()
    }

    /// How far the process is confined.
    #[must_use]
    pub const fn confinement(&self) -> (Confinement, CallFilter) {
        self.confinement
    }

    /// The buffers of all its sessions: what they hold, and held at most.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.hall.pool.clone()
    }

    /// The id of the served root.
    #[must_use]
    pub fn root_id(&self) -> RootId {
        self.hall.root
    }

    /// Serves until `stop` turns true, then drains: nothing new is let in, what runs may finish
    /// within 30 s, the rest is stopped and keeps what is staged.
    ///
    /// # Errors
    /// None at present; a failure of one connection is that connection's.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), Fault> {
        let open = Open(Arc::clone(&self.hall));
        let mut doors = JoinSet::new();
        for listener in self.listeners {
            doors.spawn(accept(Arc::clone(&self.hall), listener));
        }
        if self.hall.access.read_only == ReadOnly::No {
            doors.spawn(sweep::sweep(Arc::clone(&self.hall)));
        }
        let hall = || Arc::clone(&self.hall);
        let patrol = AbortOnDrop(tokio::spawn(roster::patrol(hall())));
        // Both are answered until all is over.
        let told = self.metrics.map(|at| AbortOnDrop(tokio::spawn(metrics::attend(hall(), at))));
        let asked = self.door.as_ref().and_then(|door| door.listener().ok());
        let asked = asked.map(|at| AbortOnDrop(tokio::spawn(operator::attend(hall(), at))));
        // A sender that is gone means stop, too.
        let _ = stop.wait_for(|stop| *stop).await;
        self.hall.draining.store(true, Ordering::Release);
        doors.shutdown().await;
        self.hall.drain().await;
        drop(patrol);
        // One that is cut short leaves what it made for itself.
        let _ = timeout(CLOSE, self.hall.sweeping.acquire()).await;
        if let Some(audit) = &self.hall.audit {
            audit.close(GOODBYE).await;
        }
        drop((open, told, asked, self.door));
        Ok(())
    }
}

/// Changes a server while it runs.
#[derive(Clone)]
pub struct Control(Arc<Hall>);

impl Control {
    /// Other rules from now on, and another certificate for connections that come; whoever is there
    /// already is not disturbed.
    ///
    /// # Errors
    /// `Tls`: the identity does not fit; then nothing is changed.
    pub fn reload(&self, rules: Rules, identity: Option<&Identity>) -> Result<(), Fault> {
        identity.map_or(Ok(()), |own| self.0.keys.replace_own(own))?;
        self.0.gate.set_caps(rules.caps);
        self.0.store.keep_free(rules.keep_free);
        self.0.board.set(rules);
        Ok(())
    }
}

/// A task that ends with whoever began it.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sessions end when whoever runs the server does not any more.
struct Open(Arc<Hall>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.draining.store(true, Ordering::Release);
        self.0.tell_all(&Command::Close(Some(Fault::new(Code::ShuttingDown, ""))));
    }
}

fn fence(confine: Confine, dir: &Path, state: &State, access: Access) -> (Confinement, CallFilter) {
    match confine {
        Confine::Process => {
            let files = confine::confine(dir, state.path(), access.read_only);
            (files, syscalls::refuse(syscalls::Whom::Process))
        }
        Confine::Nothing => (Confinement::None, CallFilter::None),
    }
}

fn open_audit(audit: Auditing, state: &State, dir: &Path) -> Result<Option<Arc<Audit>>, Fault> {
    let Auditing::Log(file_bytes_max) = audit else { return Ok(None) };
    let about = format!("{} serves \"{}\"", crate::AGENT, show(dir));
    Audit::open(state, file_bytes_max, &about).map(Some)
}

/// A file system may have no sockets; nothing that is served needs this one.
fn open_door(state: &State) -> Option<Door> {
    let door = Door::open(state);
    door.inspect_err(|fault| tracing::warn!(%fault, "floe status is not answered")).ok()
}

/// Connections in sessions at once, idle ones too: what buffers leave of the memory is for them,
/// however many are the first of theirs.
fn sockets_max(descriptors: u64, memory: ByteCount) -> usize {
    let afforded = (descriptors / 2).min(memory.0 / 2 / SESSION_BYTES);
    usize::try_from(afforded).unwrap_or(usize::MAX).clamp(1, SOCKETS_MAX)
}

/// What may be lent, so that no more than `buffers` are ever held: a lane that hands a piece to TLS
/// holds it twice for that moment, and charges the copy first.
fn lent_bytes_max(buffers: ByteCount, lanes: usize) -> ByteCount {
    let copies = lanes as u64 * (u64::from(Limits::PIECE_BYTES) + COPY_BYTES);
    ByteCount(buffers.0.saturating_sub(copies).max(buffers.0 / 2))
}

async fn accept(hall: Arc<Hall>, listener: TcpListener) {
    let mut warned: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                // Whoever has to give way is gone before others come: places count descriptors.
                let exit = hall.gate.exit().await;
                socket::configure(&socket);
                attend::let_in(&hall, socket, peer, exit);
            }
            Err(error) => {
                // It fails again and again until a descriptor is free; once a minute says enough.
                if warned.is_none_or(|when| when.elapsed() >= ACCEPT_WARNING) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "accept failed");
                }
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

impl Hall {
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn tell_all(&self, command: &Command) -> Vec<Arc<Member>> {
        let members = self.registry.members();
        for member in &members {
            // One that is over needs no command.
            let _ = member.running.command(command.clone());
        }
        members
    }

    async fn drain(&self) {
        for (command, patience) in [
            (Command::Drain, DRAIN),
            (Command::Close(Some(Fault::new(Code::ShuttingDown, ""))), CLOSE),
        ] {
            let members = self.tell_all(&command);
            tracing::info!(sessions = members.len(), ?command, "ending sessions");
            let all_gone = async {
                for member in &members {
                    member.running.gone().await;
                }
            };
            if timeout(patience, all_gone).await.is_ok() {
                return;
            }
        }
    }

    /// How long it has run.
    fn age(&self) -> Duration {
        Duration::from_micros(self.clock.now().0)
    }

    /// The rules that hold now.
    fn rules(&self) -> Arc<Rules> {
        self.board.now()
    }

    /// What lies beneath a directory of the served one.
    fn store_beneath(&self, prefix: ObjectPath) -> Arc<dyn Store> {
        store_beneath(&self.store, prefix)
    }
}

fn store_beneath(store: &Arc<LocalStore<KernelDisk>>, prefix: ObjectPath) -> Arc<dyn Store> {
    let store = Arc::clone(store);
    if prefix.is_root() { store } else { Arc::new(Confined::new(store, prefix)) }
}
