//! Threads that may block on a disk, so that no lane ever does.
//!
//! Crews, shared by all sessions of a process: `Bulk` moves bytes, `Names` opens, lists and
//! changes names, `Sync` makes durable, `Hash` reads whole objects because somebody asked; a slow
//! one delays none of the others. Threads start when there is work and end after idling. Customers
//! of a crew have turns: whoever has many jobs waits for its own, and leaves some threads to others
//! always. A `Strand` runs jobs one after the other on a crew: the long writes of a file go through
//! one, and the short ones of a stream, so that a busy disk thread finds the next job without a
//! wake-up. A job that panics is the job's loss, never the thread's.

mod strand; // jobs in order

pub use strand::Strand;

use crate::customer::Customer;
use crate::descriptors::{self, OpenFiles};
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is to be done.
pub type Job = Box<dyn FnOnce() + Send>;

const IDLE: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 1 << 20;
/// Objects that are hashed at once for nobody's transfer.
const HASHING_MAX: usize = 2;
/// Customers that wait for descriptors at once.
const WAITING_MAX: usize = 16;
/// Pieces that are packed at once: each thread keeps memory for it.
const PACKING_MAX: usize = 16;

/// The crews of one process.
#[derive(Clone)]
pub struct DiskThreads {
    /// Moves bytes.
    pub bulk: Crew,
    /// Opens, lists, changes names.
    pub names: Crew,
    /// Makes durable.
    pub sync: Crew,
    /// Hashes whole objects.
    pub hash: Crew,
    /// Packs pieces: no disk, but longer than a lane may be held.
    pub pack: Crew,
    /// Opens what has to wait for a descriptor: each customer's in order.
    pub late: Crew,
    /// One thread that looks again for stages that another process holds.
    pub held: Crew,
    /// What may be open at once.
    pub files: Arc<OpenFiles>,
}

impl DiskThreads {
    /// Crews for this machine: 4 to 16 threads that move bytes, up to 8 of the others. Raises how
    /// many descriptors the process may have.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let bulk = (4 * cores).clamp(4, 16);
        Self {
            bulk: Crew::new("floe-disk", bulk),
            names: Crew::new("floe-names", bulk.min(8)),
            sync: Crew::new("floe-sync", 8),
            // Hours of one may be hours for others.
            hash: Crew::of_shares("floe-hash", HASHING_MAX, 1),
            pack: Crew::new("floe-pack", cores.min(PACKING_MAX)),
            late: Crew::of_shares("floe-late", WAITING_MAX, 1),
            held: Crew::new("floe-held", 1),
            files: OpenFiles::new(descriptors::raise()),
        }
    }
}

impl Default for DiskThreads {
    fn default() -> Self {
        Self::new()
    }
}

/// Threads that take jobs, from each customer in turn.
#[derive(Clone)]
pub struct Crew {
    desk: Arc<Desk>,
}

struct Desk {
    name: &'static str,
    threads_max: usize,
    /// Threads that one customer may have.
    own_max: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: Turns,
    idle: usize,
    /// One of the idle was woken, and has not come yet.
    called: bool,
    threads: usize,
}

/// Who takes a job that was queued, or more of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Help {
    /// Somebody who works or comes.
    Enough,
    /// A thread that is to be started.
    New,
}

/// The jobs of all customers, and who is next.
#[derive(Default)]
struct Turns {
    customers: BTreeMap<Customer, Jobs>,
    /// Those that have jobs, each once.
    order: VecDeque<Customer>,
    len: usize,
}

/// Those of one customer.
#[derive(Default)]
struct Jobs {
    queue: VecDeque<Job>,
    running: usize,
}

impl Turns {
    fn push(&mut self, customer: Customer, job: Job) {
        let jobs = self.customers.entry(customer).or_default();
        if jobs.queue.is_empty() {
            self.order.push_back(customer);
        }
        jobs.queue.push_back(job);
        self.len += 1;
    }

    /// The next job of whoever is next and has fewer than so many that run.
    fn pop(&mut self, own_max: usize) -> Option<(Customer, Job)> {
        for _ in 0..self.order.len() {
            let customer = self.order.pop_front()?;
            let jobs = self.customers.get_mut(&customer)?;
            if customer != Customer::ANYBODY && jobs.running >= own_max {
                self.order.push_back(customer);
                continue;
            }
            let job = jobs.queue.pop_front()?;
            jobs.running += 1;
            self.len -= 1;
            if !jobs.queue.is_empty() {
                self.order.push_back(customer);
            }
            return Some((customer, job));
        }
        None
    }

    /// One of its jobs has ended.
    fn ended(&mut self, customer: Customer) {
        let Some(jobs) = self.customers.get_mut(&customer) else { return };
        jobs.running -= 1;
        if jobs.running == 0 && jobs.queue.is_empty() {
            self.customers.remove(&customer);
        }
    }
}

impl Crew {
    /// A crew of so many threads at most, three quarters of which one customer may have.
    #[must_use]
    pub fn new(name: &'static str, threads_max: usize) -> Self {
        Self::of_shares(name, threads_max, (threads_max - threads_max / 4).max(1))
    }

    fn of_shares(name: &'static str, threads_max: usize, own_max: usize) -> Self {
        let (state, work) = (Mutex::default(), Condvar::new());
        Self { desk: Arc::new(Desk { name, threads_max, own_max, state, work }) }
    }

    /// Queues a job. The queue's bound is that of the sessions: each has a bounded number of
    /// operations under way.
    pub fn submit(&self, job: Job) {
        self.submit_for(Customer::ANYBODY, job);
    }

    /// The same, for a customer who has turns with others, and no more than its share of the
    /// threads.
    pub fn submit_for(&self, customer: Customer, job: Job) {
        let mut state = self.desk.lock();
        state.queue.push(customer, job);
        if self.desk.call(&mut state) == Help::New {
            drop(state);
            self.desk.start_thread();
        }
    }
}

impl Desk {
    /// Somebody idle is to come, unless one comes already: who comes calls the next one. So short
    /// jobs wake one thread, and long ones all.
    fn call(&self, state: &mut State) -> Help {
        if state.idle > 0 {
            if !std::mem::replace(&mut state.called, true) {
                self.work.notify_one();
            }
            return Help::Enough;
        }
        if state.threads == self.threads_max {
            return Help::Enough;
        }
        state.threads += 1;
        Help::New
    }

    fn start_thread(self: &Arc<Self>) {
        let desk = Arc::clone(self);
        let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK_BYTES);
        if thread.spawn(move || desk.serve()).is_ok() {
            return;
        }
        let mut state = self.lock();
        state.threads -= 1;
        // With no thread at all nobody would ever answer: do the work here, late but done.
        while state.threads == 0
            && let Some((customer, job)) = state.queue.pop(usize::MAX)
        {
            drop(state);
            run(job);
            state = self.lock();
            state.queue.ended(customer);
        }
        if state.queue.len > 0 && state.idle > 0 {
            self.call(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            state = self.work_off(state);
            state.idle += 1;
            let (woken, timeout) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            // Whoever comes, for whatever reason, is who was called.
            state.called = false;
            if timeout.timed_out() && state.queue.len == 0 {
                state.threads -= 1;
                return;
            }
        }
    }

    /// Runs jobs until none is left, the first one beside whoever takes the next.
    fn work_off<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        let mut comes = true;
        while let Some((customer, job)) = state.queue.pop(self.own_max) {
            let more = std::mem::take(&mut comes) && state.queue.len > 0;
            let help = if more { self.call(&mut state) } else { Help::Enough };
            drop(state);
            if help == Help::New {
                self.start_thread();
            }
            run(job);
            state = self.lock();
            state.queue.ended(customer);
        }
        state
    }
}

fn run(job: Job) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        // Whoever writes it down may panic, too: that is no thread's loss, either.
        let _ = catch_unwind(|| tracing::error!("a disk job panicked"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_blocked_job_holds_up_no_other_while_threads_are_left() {
        let crew = Crew::new("test", 2);
        let (release, blocked) = channel::<()>();
        let (done, heard) = channel();
        let ended = done.clone();
        crew.submit(Box::new(move || {
            blocked.recv().ok();
            ended.send("slow").unwrap();
        }));
        crew.submit(Box::new(move || done.send("quick").unwrap()));
        assert_eq!(heard.recv(), Ok("quick"));
        release.send(()).unwrap();
        assert_eq!(heard.recv(), Ok("slow"));
    }

    /// Deep directories that are made on a slow disk, and somebody who asks for one name.
    #[test]
    fn who_has_many_slow_jobs_holds_up_nobody_else() {
        let crew = Crew::new("test", 4);
        let (one, other) = (Customer::next(), Customer::next());
        let gate = Arc::new((Mutex::new(0), Condvar::new()));
        let (done, heard) = channel();
        for _ in 0..64 {
            let (gate, done) = (Arc::clone(&gate), done.clone());
            crew.submit_for(
                one,
                Box::new(move || {
                    let mut open = gate.0.lock().unwrap();
                    while *open == 0 {
                        open = gate.1.wait(open).unwrap();
                    }
                    *open -= 1;
                    done.send("one").unwrap();
                }),
            );
        }
        let second = done.clone();
        crew.submit_for(other, Box::new(move || second.send("other").unwrap()));
        assert_eq!(heard.recv(), Ok("other"), "a thread was left for it");
        // Where all threads are taken, by turns: not behind all that came before.
        let third = Customer::next();
        for _ in 0..2 {
            let (gate, done) = (Arc::clone(&gate), done.clone());
            let wait = move || {
                let mut open = gate.0.lock().unwrap();
                while *open == 0 {
                    open = gate.1.wait(open).unwrap();
                }
                *open -= 1;
                done.send("third").unwrap();
            };
            crew.submit_for(third, Box::new(wait));
        }
        crew.submit_for(other, Box::new(move || done.send("other").unwrap()));
        *gate.0.lock().unwrap() = 66;
        gate.1.notify_all();
        let ended: Vec<_> = heard.iter().collect();
        let place = ended.iter().position(|who| *who == "other").unwrap();
        assert!(ended.len() == 67 && place < 16, "{place} came before");
    }
}
