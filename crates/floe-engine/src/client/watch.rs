//! Where a transfer tells what happens, and where it is read.
//!
//! Telling never waits: a terminal that is stopped, or a program that reads slowly, must not hold a
//! transfer up, nor Ctrl-C. So what is not read yet is bounded, in number and in bytes, of which a
//! server chooses most; beyond that it is counted, and told as a number. Of progress only little is
//! kept: the next one says it again.

use super::Notice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Where a transfer tells what happens. Clones tell the same reader.
#[derive(Clone, Debug)]
pub struct Watch {
    to: Sender<Notice>,
    untold: Arc<Counts>,
}

/// Where it is read. Nobody has to.
#[derive(Debug)]
pub struct Notices {
    from: Receiver<Notice>,
    untold: Arc<Counts>,
}

#[derive(Default, Debug)]
struct Counts {
    finished: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    /// What those take that wait to be read.
    bytes: AtomicUsize,
}

/// Notices that wait to be read, at most,
const WAITING_MAX: usize = 1 << 16;
/// and what they take.
const BYTES_MAX: usize = 16 << 20;
/// More than so many wait: progress is old before it is read.
const WAITING_FEW: usize = 16;

/// A watch and its reader.
#[must_use]
pub fn watch() -> (Watch, Notices) {
    watch_of(WAITING_MAX)
}

fn watch_of(waiting_max: usize) -> (Watch, Notices) {
    let (to, from) = mpsc::channel(waiting_max);
    let untold = Arc::new(Counts::default());
    (Watch { to, untold: Arc::clone(&untold) }, Notices { from, untold })
}

impl Watch {
    pub(super) fn tell(&self, notice: Notice) {
        let waiting = self.to.max_capacity() - self.to.capacity();
        if matches!(notice, Notice::Progress(_)) && waiting > WAITING_FEW {
            return;
        }
        let (bytes, held) = (footprint(&notice), &self.untold.bytes);
        let told = match held.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_MAX {
            true => self.to.try_send(notice),
            false => Err(mpsc::error::TrySendError::Full(notice)),
        };
        if told.is_err() {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
        // A reader that went away wants to know nothing more.
        if let Err(mpsc::error::TrySendError::Full(notice)) = told {
            let count = match notice {
                Notice::EntryFinished { .. } => &self.untold.finished,
                Notice::EntryFailed { .. } => &self.untold.failed,
                Notice::EntrySkipped { .. } => &self.untold.skipped,
                _ => return,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Notices {
    /// The next one; `None` once the transfer is over and all is read.
    pub async fn recv(&mut self) -> Option<Notice> {
        match self.caught_up() {
            Some(notice) => Some(notice),
            None => {
                let next = self.from.recv().await;
                self.taken(next)
            }
        }
    }

    /// The next one, for a thread that may wait.
    pub fn blocking_recv(&mut self) -> Option<Notice> {
        match self.caught_up() {
            Some(notice) => Some(notice),
            None => {
                let next = self.from.blocking_recv();
                self.taken(next)
            }
        }
    }

    fn taken(&self, next: Option<Notice>) -> Option<Notice> {
        next.iter().for_each(|notice| {
            self.untold.bytes.fetch_sub(footprint(notice), Ordering::Relaxed);
        });
        next.or_else(|| self.caught_up())
    }

    /// What was not told, once everything that was has been read.
    fn caught_up(&self) -> Option<Notice> {
        if !self.from.is_empty() {
            return None;
        }
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let (finished, failed, skipped) =
            (take(&self.untold.finished), take(&self.untold.failed), take(&self.untold.skipped));
        let some = finished > 0 || failed > 0 || skipped > 0;
        some.then_some(Notice::Untold { finished, failed, skipped })
    }
}

/// About what one takes while it waits.
fn footprint(notice: &Notice) -> usize {
    let own = size_of::<Notice>();
    own + match notice {
        Notice::EntryFinished { path, .. } => path.footprint(),
        Notice::EntryFailed { path, fault } | Notice::EntrySkipped { path, fault } => {
            path.footprint() + fault.detail.len()
        }
        Notice::Reconnecting { why, .. } => why.detail.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_proto::command::Summary;
    use floe_types::{Code, Fault, ObjectPath};

    fn failed() -> Notice {
        Notice::EntryFailed { path: ObjectPath::root(), fault: Fault::new(Code::Io, "") }
    }

    #[test]
    fn what_nobody_reads_is_bounded_and_counted() {
        let (watch, mut notices) = watch_of(3);
        for _ in 0..5 {
            watch.tell(failed());
            watch.tell(Notice::EntryFinished { path: ObjectPath::root(), object: None });
        }
        for _ in 0..3 {
            assert!(!matches!(notices.blocking_recv(), Some(Notice::Untold { .. })));
        }
        let rest = Notice::Untold { finished: 4, failed: 3, skipped: 0 };
        assert_eq!(notices.blocking_recv(), Some(rest));
        watch.tell(failed());
        assert_eq!(notices.blocking_recv(), Some(failed()));
        drop(watch);
        assert_eq!(notices.blocking_recv(), None);
    }

    #[test]
    fn what_nobody_reads_is_bounded_in_bytes_whatever_the_server_calls_it() {
        let (watch, mut notices) = watch();
        let path = ObjectPath::parse("d/".repeat(250).as_bytes()).unwrap();
        let fault = Fault::new(Code::Io, "x".repeat(1000));
        let long = Notice::EntryFailed { path, fault };
        let each = footprint(&long);
        assert!(each > 10_000, "names take more than their bytes");
        (0..10_000).for_each(|_| watch.tell(long.clone()));
        assert!(watch.untold.bytes.load(Ordering::Relaxed) <= BYTES_MAX);
        let told = BYTES_MAX / each;
        for _ in 0..told {
            assert_eq!(notices.blocking_recv().as_ref(), Some(&long));
        }
        let failed = 10_000 - told as u64;
        let rest = Notice::Untold { finished: 0, failed, skipped: 0 };
        assert_eq!(notices.blocking_recv(), Some(rest));
        assert_eq!(watch.untold.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn progress_is_not_piled_up() {
        let (watch, mut notices) = watch();
        (0..1000).for_each(|_| watch.tell(Notice::Progress(Summary::default())));
        watch.tell(failed());
        drop(watch);
        let read = std::iter::from_fn(|| notices.blocking_recv()).count();
        assert_eq!(read, WAITING_FEW + 2);
    }

    #[test]
    fn a_reader_that_went_away_is_no_trouble() {
        let (watch, notices) = watch_of(1);
        drop(notices);
        (0..3).for_each(|_| watch.tell(failed()));
    }
}
