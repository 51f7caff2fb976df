//! Lanes: OS threads that serve streams, each with a current-thread tokio runtime of its own.
//!
//! A task stays on the lane it was put on, so nothing it holds needs to be shared. A lane never
//! blocks on a disk. Load counts the streams a lane serves; new ones go where it is least.

use crate::clock::micros;
use floe_types::{Code, Fault, Micros};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

type Start = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The lanes of one server or client. Dropping the last handle ends them, and every task on them.
#[derive(Clone)]
pub struct Lanes {
    lanes: Arc<[Lane]>,
}

struct Lane {
    inbox: mpsc::UnboundedSender<Start>,
    load: Arc<AtomicUsize>,
}

/// Whether a lane's thread gives way to the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Firm,
    Yielding,
}

/// How much less a thread that gives way counts, to a scheduler that knows from -20 to 19.
const YIELDING_NICE: i32 = 10;

/// Which lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LaneId(usize);

/// Counts as one stream on a lane while it lives.
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// So many lanes; their threads are called `name` and a number.
    ///
    /// # Errors
    /// `LimitExceeded` where the system gives no more threads or descriptors.
    pub fn start(name: &str, count: usize) -> Result<Self, Fault> {
        Self::start_with(name, count, Manner::Firm)
    }

    /// One lane whose thread gives way: where others have as much to do as there are cores, it has
    /// about a tenth of one; where they leave more, all of it.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_yielding(name: &str) -> Result<Self, Fault> {
        Self::start_with(name, 1, Manner::Yielding)
    }

    fn start_with(name: &str, count: usize, manner: Manner) -> Result<Self, Fault> {
        let lanes: Result<Vec<_>, _> =
            (0..count.max(1)).map(|nth| start_lane(format!("{name}-{nth}"), manner)).collect();
        let lanes = lanes
            .map_err(|error| Fault::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
        Ok(Self { lanes: lanes.into() })
    }

    /// As many lanes as there are cores, at least two.
    #[must_use]
    pub fn count_for_server() -> usize {
        std::thread::available_parallelism().map_or(2, usize::from).max(2)
    }

    /// As many lanes as there are cores, but no more than streams.
    #[must_use]
    pub fn count_for_client(streams: usize) -> usize {
        std::thread::available_parallelism().map_or(2, usize::from).min(streams).max(1)
    }

    /// The lane with the least to do.
    #[must_use]
    pub fn least_loaded(&self) -> LaneId {
        let loads = self.lanes.iter().map(|lane| lane.load.load(Ordering::Relaxed));
        LaneId(loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(nth, _)| nth))
    }

    /// Adds a stream to a lane's load.
    #[must_use]
    pub fn load(&self, lane: LaneId) -> Load {
        let load = Arc::clone(&self.lanes[lane.0].load);
        load.fetch_add(1, Ordering::Relaxed);
        Load(load)
    }

    /// Runs a task on a lane; what it is made of there need not be `Send`.
    pub fn spawn<T, F>(&self, lane: LaneId, start: T)
    where
        T: FnOnce() -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let start: Start = Box::new(move || Box::pin(start()));
        // A lane's thread ends only when all handles are gone, so someone is there to receive.
        self.lanes[lane.0].inbox.send(start).ok();
    }
}

/// How long this lane has not rested so far: time in which its thread had something to do, whether
/// it had a core or not.
pub fn worked() -> Micros {
    REST.with(|rest| {
        let (rested, now) = (rest.rested.get(), Instant::now());
        micros(now.duration_since(rest.begun).saturating_sub(rested))
    })
}

/// How long this thread has had a processor so far.
pub fn ran() -> Micros {
    let ran = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let micros = |of: i64| u64::try_from(of).unwrap_or_default();
    Micros(micros(ran.tv_sec) * 1_000_000 + micros(ran.tv_nsec) / 1_000)
}

/// The rest of a lane: what its runtime spent waiting for anything to do.
struct Rest {
    begun: Instant,
    rested: Cell<Duration>,
    since: Cell<Option<Instant>>,
}

impl Rest {
    fn begins(&self) {
        self.since.set(Some(Instant::now()));
    }

    fn ends(&self) {
        if let Some(since) = self.since.take() {
            self.rested.set(self.rested.get() + since.elapsed());
        }
    }
}

thread_local! {
    static REST: Rest =
        Rest { begun: Instant::now(), rested: Cell::default(), since: Cell::default() };
}

fn start_lane(name: String, manner: Manner) -> std::io::Result<Lane> {
    let (inbox, mut starts) = mpsc::unbounded_channel::<Start>();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| REST.with(Rest::begins))
        .on_thread_unpark(|| REST.with(Rest::ends))
        .build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        if manner == Manner::Yielding {
            give_way();
        }
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async move {
            while let Some(start) = starts.recv().await {
                tokio::task::spawn_local(start());
            }
        });
    })?;
    Ok(Lane { inbox, load: Arc::default() })
}

/// Of this thread alone, as Linux has it; nobody is refused it.
fn give_way() {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0) + YIELDING_NICE;
    if let Err(error) = rustix::process::setpriority_process(None, nice.min(19)) {
        tracing::debug!(%error, "a thread does not give way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_goes_where_least_is_done_and_runs_there() {
        let lanes = Lanes::start("floe-lane", 2).unwrap();
        let first = lanes.least_loaded();
        let load = lanes.load(first);
        assert_ne!(lanes.least_loaded(), first);
        drop(load);
        assert_eq!(lanes.least_loaded(), first);
        let (said, heard) = std::sync::mpsc::channel();
        lanes.spawn(first, move || async move {
            said.send(std::thread::current().name().map(str::to_owned)).unwrap();
        });
        assert_eq!(heard.recv().unwrap().as_deref(), Some("floe-lane-0"));
    }

    #[test]
    fn a_lane_knows_how_long_it_worked_and_not_how_long_it_rested() {
        let lanes = Lanes::start("floe-lane", 1).unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        lanes.spawn(lanes.least_loaded(), move || async move {
            let (begun, before) = (Instant::now(), worked());
            let nap = Duration::from_millis(200);
            let _ = tokio::time::timeout(nap, std::future::pending::<()>()).await;
            let rested = (begun.elapsed(), worked().0 - before.0);
            let (begun, before) = (Instant::now(), worked());
            while begun.elapsed() < nap {
                std::hint::spin_loop();
            }
            said.send((rested, worked().0 - before.0)).unwrap();
        });
        let ((slept, idle), busy) = heard.recv().unwrap();
        assert!(busy >= 200_000, "{busy}");
        assert!(u128::from(idle) + 150_000 < slept.as_micros(), "{idle} of {slept:?}");
    }

    #[test]
    fn a_thread_that_gives_way_is_alone_in_it() {
        let before = rustix::process::getpriority_process(None).unwrap();
        let lanes = Lanes::start_yielding("floe-porch").unwrap();
        let (said, heard) = std::sync::mpsc::channel();
        lanes.spawn(lanes.least_loaded(), move || async move {
            said.send(rustix::process::getpriority_process(None).unwrap()).unwrap();
        });
        assert_eq!(heard.recv().unwrap(), (before + YIELDING_NICE).min(19));
        assert_eq!(rustix::process::getpriority_process(None).unwrap(), before);
    }
}
