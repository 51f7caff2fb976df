//! Jobs of a crew in order.

use super::{Crew, Job, run};
use crate::customer::Customer;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Jobs of a crew that run one after the other, in order.
#[derive(Clone)]
pub struct Strand {
    crew: Crew,
    customer: Customer,
    line: Arc<Mutex<Line>>,
    turn_jobs: usize,
}

#[derive(Default)]
struct Line {
    queue: VecDeque<Job>,
    running: Running,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Running {
    Yes,
    #[default]
    No,
}

/// Jobs that a strand runs before it lets others of the crew have the thread.
const TURN_JOBS: usize = 16;

impl Strand {
    /// An empty strand on a crew, for a customer.
    #[must_use]
    pub fn new(crew: &Crew, customer: Customer) -> Self {
        Self { crew: crew.clone(), customer, line: Arc::default(), turn_jobs: TURN_JOBS }
    }

    /// An empty strand of long jobs: others of the crew have their turn after each.
    #[must_use]
    pub fn of_long_jobs(crew: &Crew, customer: Customer) -> Self {
        Self { turn_jobs: 1, ..Self::new(crew, customer) }
    }

    /// Queues a job behind all earlier ones of the strand.
    pub fn submit(&self, job: Job) {
        let mut line = lock(&self.line);
        line.queue.push_back(job);
        if line.running == Running::No {
            line.running = Running::Yes;
            drop(line);
            self.resume();
        }
    }

    fn resume(&self) {
        let strand = self.clone();
        self.crew.submit_for(self.customer, Box::new(move || strand.take_turn()));
    }

    fn take_turn(&self) {
        for _ in 0..self.turn_jobs {
            let mut line = lock(&self.line);
            let Some(job) = line.queue.pop_front() else {
                line.running = Running::No;
                return;
            };
            drop(line);
            run(job);
        }
        self.resume();
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::sync::mpsc::channel;

    #[test]
    fn a_strand_keeps_order_and_survives_a_panic() {
        let strand = Strand::new(&Crew::new("test", 4), Customer::ANYBODY);
        let (sent, got) = channel();
        for nth in 0..100 {
            let sent = sent.clone();
            strand.submit(Box::new(move || {
                assert!(nth != 50, "on purpose");
                sent.send(nth).unwrap();
            }));
        }
        drop(sent);
        let order: Vec<_> = got.iter().collect();
        assert_eq!(order, (0..100).filter(|nth| *nth != 50).collect::<Vec<_>>());
    }

    #[test]
    fn strands_of_long_jobs_take_turns() {
        let crew = Crew::new("test", 1);
        let strand = || Strand::of_long_jobs(&crew, Customer::ANYBODY);
        let (one, other) = (strand(), strand());
        let (release, blocked) = channel::<()>();
        let (done, heard) = channel();
        one.submit(Box::new(move || blocked.recv().unwrap_or(())));
        for _ in 0..3 {
            let done = done.clone();
            one.submit(Box::new(move || done.send("one").unwrap()));
        }
        other.submit(Box::new(move || done.send("other").unwrap()));
        release.send(()).unwrap();
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["other", "one", "one", "one"]);
    }

    /// Files that one ticket writes to a disk that has stopped, and somebody else's one.
    #[test]
    fn a_customer_with_many_strands_leaves_a_thread_to_others() {
        let crew = Crew::new("test", 4);
        let one = Customer::next();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..8 {
            let gate = Arc::clone(&gate);
            Strand::new(&crew, one).submit(Box::new(move || {
                let open = gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open);
                drop(open.unwrap());
            }));
        }
        let (done, heard) = channel();
        Strand::new(&crew, Customer::next()).submit(Box::new(move || done.send(()).unwrap()));
        assert_eq!(heard.recv(), Ok(()));
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
    }
}
