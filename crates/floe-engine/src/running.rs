//! A session that runs: the core behind one mutex, the seats of its streams, its driver.
//!
//! Whoever has something for the core takes one round: lock, tell, take what it gives, unlock, act.
//! No system call, hash, cipher or wait happens under the lock. A round wakes the streams the core
//! names, and the driver when there are events or an earlier timeout. The driver is one task: it
//! runs timers, the operations of the session, and hands events on. If the core panics, the session
//! is over and its streams leave; no other session notices.

mod pages; // of directories, as fast as they are taken
mod round; // one turn of the core
mod toll; // a rate of several sessions
mod terms; // what both ends agreed on
mod traffic; // what packing did
#[cfg(test)]
mod unjoined; // a session for tests

use crate::buffer::{Bell, Charge, Piece, Remembered};
use crate::clock::Clock;
use crate::disk_threads::DiskThreads;
use crate::files::{Done, Files, Op};
use crate::grant::Throttle;
use crate::port::{Ended, Inbox, Port};
use floe_proto::command::{Accepted, Command, Event, Lost, Summary};
use floe_proto::disk::{Lane, Took};
use floe_proto::session::Session;
use floe_types::{ByteCount, Code, Fault, Limits, OpId, StreamId, Time, TransferId};
use pages::{Pages, Taker};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use toll::Toll;

pub use terms::Terms;
pub use traffic::{Paying, Traffic};

/// The core, on pooled pieces.
pub type Core = Session<Piece>;

/// One session that runs.
pub struct Running {
    core: Mutex<Core>,
    clock: Clock,
    /// Every bound.
    pub limits: Limits,
    /// What both ends agreed on.
    pub terms: Terms,
    /// What it has open.
    pub files: Arc<Files>,
    /// Who does its blocking work.
    pub threads: DiskThreads,
    /// The rate that it has together with other sessions.
    toll: Option<Toll>,
    /// What packing did.
    pub traffic: Arc<Traffic>,
    seats: Mutex<BTreeMap<StreamId, Arc<Seat>>>,
    streams_next: AtomicU32,
    /// Streams that were let in and do not sit yet.
    expected: AtomicUsize,
    driver: Arc<Inbox>,
    events: Mutex<VecDeque<Event>>,
    /// The frames that the peer has not taken yet.
    unsaid: Mutex<Charge>,
    /// What it remembers for its peer, these among it.
    remembered: Remembered,
    late: Mutex<Vec<Late>>,
    /// The driver has another page to read once less than this waits to be said.
    pages_below: AtomicU64,
    /// What the driver's timer is set to; `u64::MAX` for nothing.
    armed: AtomicU64,
    /// How the session ended, once it has.
    over: watch::Sender<Option<Result<(), Fault>>>,
    released: watch::Sender<Released>,
    /// Streams that have not left yet.
    present: watch::Sender<usize>,
    /// Set where the core failed: it is not asked any more.
    broken: AtomicBool,
}

/// An operation that a listener kept back.
enum Late {
    /// It is done now.
    Submit(OpId, Op),
    /// It is not.
    Fail(OpId, Fault),
}

/// Whether a session has given up what it had open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Released {
    No,
    Yes,
}

/// A stream's place in its session.
#[derive(Default)]
pub struct Seat {
    /// Where its operations end, and its bell.
    pub inbox: Arc<Inbox>,
    hang_up: AtomicBool,
}

impl Seat {
    /// Whether the core asked to hang the stream up.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.hang_up.load(Ordering::Acquire)
    }
}

/// A stream that was let in. Dropped once it sits, or does not come.
pub struct Expected(Arc<Running>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.expected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the driver hands on.
pub trait Listener {
    /// An event that is not the engine's own to act on.
    fn hear(&mut self, running: &Arc<Running>, event: Event);

    /// An operation of the session, before it is submitted. `None` keeps it back: whoever does so
    /// ends that by `Running::submit_later` or `Running::fail_later`.
    fn admit(&mut self, running: &Arc<Running>, op: OpId, what: Op) -> Option<Op>;
}

impl Running {
    /// A session around a core that no stream has joined yet.
    #[must_use]
    pub fn new(
        core: Core,
        clock: Clock,
        limits: Limits,
        terms: Terms,
        files: Arc<Files>,
        threads: DiskThreads,
        throttle: Option<Arc<Throttle>>,
    ) -> Arc<Self> {
        let unsaid = Mutex::new(files.pool().charge());
        let driver = Arc::<Inbox>::default();
        let bell = Arc::clone(&driver) as Arc<dyn Bell>;
        let remembered = files.pool().remembered(files.party(), bell);
        let running = Arc::new(Self {
            core: Mutex::new(core),
            toll: throttle.map(Toll::new),
            clock,
            limits,
            terms,
            files,
            threads,
            unsaid,
            remembered,
            traffic: Arc::default(),
            seats: Mutex::default(),
            streams_next: AtomicU32::new(0),
            expected: AtomicUsize::new(0),
            driver,
            events: Mutex::default(),
            late: Mutex::default(),
            pages_below: AtomicU64::new(0),
            armed: AtomicU64::new(u64::MAX),
            over: watch::Sender::new(None),
            released: watch::Sender::new(Released::No),
            present: watch::Sender::new(0),
            broken: AtomicBool::new(false),
        });
        running.look_at_rate();
        running
    }

    /// Gives the session a command.
    ///
    /// # Errors
    /// The core's; `ConnectionLost` where the session is over.
    pub fn command(&self, command: Command) -> Result<Accepted, Fault> {
        if self.ending().is_some() {
            return Err(Fault::new(Code::ConnectionLost, "the session is over"));
        }
        let closes = matches!(command, Command::Close(Some(_)));
        let accepted = self.round(|core, now| core.handle_command(command, now));
        if closes {
            // What it asked for, and is not begun or takes long, is nobody's any more. Not before
            // the core knows: it would tell its peer of failures.
            self.desert();
        }
        accepted
    }

    /// Gives the session a command, and tells `note` what became of it before anyone else can
    /// learn of it. `note` runs under the lock: it must not wait or come back here.
    ///
    /// # Errors
    /// As `command`.
    pub fn begin(&self, command: Command, note: impl FnOnce(Accepted)) -> Result<Accepted, Fault> {
        if self.ending().is_some() {
            return Err(Fault::new(Code::ConnectionLost, "the session is over"));
        }
        self.round(|core, now| {
            let accepted = core.handle_command(command, now)?;
            note(accepted);
            Ok(accepted)
        })
    }

    /// An `Event::Dial` came to nothing.
    pub fn dial_failed(&self) {
        if self.ending().is_none() {
            self.round(|core, now| core.handle_dial_failed(now));
        }
    }

    /// How far a transfer is.
    #[must_use]
    pub fn summary(&self, transfer: TransferId) -> Option<Summary> {
        let summary = lock(&self.core).summary(transfer);
        summary.map(|summary| Summary { packed: self.traffic.total(), ..summary })
    }

    /// Changes what buffers the session may hold.
    pub fn set_budget(&self, buffers: ByteCount) {
        if self.ending().is_some() {
            return;
        }
        self.round(|core, now| core.handle_budget(buffers, now));
    }

    /// A seat for a new stream, which the core learns of.
    pub fn seat(&self) -> (StreamId, Arc<Seat>) {
        let stream = StreamId(self.streams_next.fetch_add(1, Ordering::Relaxed));
        let seat = Arc::new(Seat::default());
        lock(&self.seats).insert(stream, Arc::clone(&seat));
        self.present.send_modify(|present| *present += 1);
        self.round(|core, now| core.handle_stream_up(stream, now));
        (stream, seat)
    }

    /// The rate that it has together with others may be another now.
    pub fn look_at_rate(&self) {
        // A session that nothing is another for is left alone.
        if let Some(toll) = self.toll.as_ref().filter(|toll| toll.is_other(self.clock.now())) {
            self.round(|core, now| toll.look(core, now));
        }
    }

    /// Lets one more stream come, unless there are so many; it counts until it sits.
    pub fn expect_stream(self: &Arc<Self>, max: u32) -> Option<Expected> {
        let seats = lock(&self.seats);
        let coming = seats.len() + self.expected.load(Ordering::Relaxed);
        (coming < max as usize).then(|| {
            self.expected.fetch_add(1, Ordering::Relaxed);
            Expected(Arc::clone(self))
        })
    }

    /// Streams that sit here now.
    #[must_use]
    pub fn streams(&self) -> usize {
        lock(&self.seats).len()
    }

    /// A stream is gone: the core learns why, unless the session is over. Its operations go on.
    pub fn lose(&self, stream: StreamId, why: Lost) {
        if self.ending().is_none() {
            self.round(|core, now| core.handle_stream_lost(stream, why, now));
        }
    }

    /// A stream has left: nothing of it is under way.
    pub fn leave(&self, stream: StreamId) {
        let mut seats = lock(&self.seats);
        let left = seats.remove(&stream).is_some();
        if seats.is_empty() {
            self.desert();
        }
        drop(seats);
        if left {
            self.present.send_modify(|present| *present -= 1);
        }
    }

    /// What it asked for is nobody's any more, and what is kept back of it ends.
    fn desert(&self) {
        self.files.desert();
        self.driver.ring();
    }

    /// How the session ended, once it has: nothing of it is under way any more.
    #[must_use]
    pub fn ending(&self) -> Option<Result<(), Fault>> {
        self.over.borrow().clone()
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Result<(), Fault> {
        let mut over = self.over.subscribe();
        match over.wait_for(Option::is_some).await {
            Ok(ending) => ending.clone().unwrap_or(Ok(())),
            Err(_) => Ok(()),
        }
    }

    /// Waits until the session has ended and given up what it had open.
    pub async fn released(&self) {
        let mut released = self.released.subscribe();
        let _ = released.wait_for(|released| *released == Released::Yes).await;
    }

    /// Whether the session has ended and given up what it had open.
    #[must_use]
    pub fn is_released(&self) -> bool {
        *self.released.borrow() == Released::Yes
    }

    /// Waits until the session has ended and every stream has left.
    pub async fn gone(&self) {
        let _ = self.ended().await;
        let mut present = self.present.subscribe();
        let _ = present.wait_for(|present| *present == 0).await;
    }

    /// Ends the session from outside the core: its state cannot be trusted any more.
    pub fn break_off(&self, why: Fault) {
        self.broken.store(true, Ordering::Release);
        self.files.cut_off();
        self.end(Err(why));
    }

    /// Its client has come again, and so does not hear it any more.
    pub fn supersede(&self, fault: Fault) {
        // One that is over already needs no command.
        let _ = self.command(Command::Close(Some(fault)));
        self.files.cut_off();
    }

    /// Whether the core failed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    fn end(&self, how: Result<(), Fault>) {
        self.over.send_if_modified(|over| {
            let first = over.is_none();
            if first {
                *over = Some(how);
            }
            first
        });
        self.driver.ring();
        for seat in lock(&self.seats).values() {
            seat.inbox.ring();
        }
    }

    fn hang_up(&self, stream: StreamId) {
        if let Some(seat) = lock(&self.seats).get(&stream) {
            seat.hang_up.store(true, Ordering::Release);
            seat.inbox.ring();
        }
    }

    /// Has the driver submit an operation that a listener kept back.
    pub fn submit_later(&self, op: OpId, what: Op) {
        lock(&self.late).push(Late::Submit(op, what));
        self.driver.ring();
    }

    /// Has the driver end an operation that a listener kept back, undone.
    pub fn fail_later(&self, op: OpId, fault: Fault) {
        lock(&self.late).push(Late::Fail(op, fault));
        self.driver.ring();
    }
}

/// Runs a session until it is over and every stream has left.
pub async fn drive(running: Arc<Running>, mut listener: impl Listener) {
    let guard = Guard(Arc::clone(&running));
    let mut port =
        Port::new(Arc::clone(&running.files), running.threads.clone(), Arc::clone(&running.driver));
    let mut pages = Pages::default();
    while running.ending().is_none() {
        let wake = turn(&running, &mut port, &mut pages, &mut listener);
        let Some(wake) = wake else { continue };
        let instant = running.clock.instant(Time(wake)).filter(|_| wake < u64::MAX);
        match instant {
            None => running.driver.rung().await,
            Some(instant) => {
                tokio::select! {
                    () = running.driver.rung() => {}
                    () = sleep_until(Instant::from_std(instant)) => {}
                }
            }
        }
    }
    drop(guard);
    running.gone().await;
}

/// Lets go of everything even if the driver panics; then the core cannot be trusted any more.
struct Guard(Arc<Running>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_off(Fault::new(Code::Other, "a session's driver failed"));
        }
        // What is open may have a last word for its disk, which a lane does not wait for.
        let running = Arc::clone(&self.0);
        self.0.threads.names.submit(Box::new(move || {
            running.files.close();
            running.released.send_replace(Released::Yes);
        }));
    }
}

/// One turn of the driver; when to look again, unless at once.
fn turn(
    running: &Arc<Running>,
    port: &mut Port,
    pages: &mut Pages,
    listener: &mut impl Listener,
) -> Option<u64> {
    let mut ended: Vec<Ended> = Vec::new();
    port.take_ended(&mut ended);
    let mut ops = Vec::new();
    for late in std::mem::take(&mut *lock(&running.late)) {
        match late {
            Late::Submit(op, what) => ops.push((op, what)),
            Late::Fail(op, fault) => {
                ended.push(Ended { op, done: Done::Failed(fault), took: Took::default() });
            }
        }
    }
    let late = ops.len();
    let wake = running.round(|core, now| {
        if core.poll_timeout().is_some_and(|time| time <= now) {
            core.handle_timeout(now);
        }
        for Ended { op, done, took } in ended {
            pages.ended(op);
            core.handle_disk(op, done, took, now);
        }
        while let Some((op, what)) = core.poll_disk(Lane::Session, now) {
            ops.extend(pages.keep(op, what));
        }
        let wake = core.poll_timeout().map_or(u64::MAX, |time| time.0);
        running.armed.store(wake, Ordering::Release);
        let taker = if running.files.is_deserted() { Taker::Gone } else { Taker::Here };
        ops.extend(std::iter::from_fn(|| pages.next(core.unsaid_bytes(), taker)));
        running.pages_below.store(pages.next_below().0, Ordering::Release);
        wake
    });
    let busy = !ops.is_empty();
    // A transfer is heard of before its operations, all else behind them.
    let mut last = Vec::new();
    for event in std::mem::take(&mut *lock(&running.events)) {
        match event {
            Event::TransferBegun { .. } => listener.hear(running, event),
            event => last.push(event),
        }
    }
    let admitted = ops.into_iter().enumerate().filter_map(|(nth, (op, what))| {
        let what = if nth < late { Some(what) } else { listener.admit(running, op, what) };
        what.map(|what| (op, what))
    });
    port.submit(admitted);
    for event in last {
        match event {
            Event::HangUp(stream) => running.hang_up(stream),
            Event::Ended(fault) => {
                listener.hear(running, Event::Ended(fault.clone()));
                running.end(fault.map_or(Ok(()), Err));
            }
            event => listener.hear(running, event),
        }
    }
    (!busy).then_some(wake)
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
