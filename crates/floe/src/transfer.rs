//! One transfer after the other over one connection, each told of and summed up.
//!
//! `put` and `get` decide what goes where; here it is done. A failed transfer does not hold the
//! others up unless the connection is gone, the person stopped it, or `--fail-fast` was given.

use crate::args::TransferFlags;
use crate::dial::Dialer;
use crate::event::Event;
use crate::fault::{Failure, Result, tell};
use crate::remote::ServerName;
use crate::report::{Finished, Name, Report, Voice};
use crate::signals::Signals;
use floe_engine::client::{
    Client, LocalSink, LocalSource, Notice, Notices, Outcome, Receipts, watch,
};
use floe_proto::command::{OnFailure, StreamCount, TransferOptions};
use floe_proto::frame::{Pace, Packing, Priority, RecogniseWish, ResumeWish};
use floe_types::{Code, Fault, ObjectPath, Precondition};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// One transfer.
#[derive(Debug)]
pub struct Job {
    /// The server.
    pub server: ServerName,
    /// From where to where.
    pub course: Course,
    /// What makes two commands identical; nothing for standard input and output.
    pub lock: Option<Vec<u8>>,
    /// In words.
    pub name: Name,
}

/// From where to where.
#[derive(Clone, Debug)]
pub enum Course {
    /// To the server.
    Put {
        /// Local.
        from: LocalSource,
        /// The final name there.
        to: ObjectPath,
        /// Where what the server signs is kept.
        receipts: Option<Receipts>,
    },
    /// From the server.
    Get {
        /// The name there.
        from: ObjectPath,
        /// Local: the final name.
        to: LocalSink,
    },
}

/// What became of several transfers.
#[derive(Debug, Default)]
pub struct Tally {
    done: usize,
    failed: Vec<Code>,
}

impl Job {
    /// With receipts, if they are wanted, of what is put.
    pub fn signed(mut self, kept: Option<Receipts>) -> Self {
        if let Course::Put { receipts, .. } = &mut self.course {
            *receipts = kept;
        }
        self
    }
}

impl TransferFlags {
    /// As the engine takes them.
    ///
    /// # Errors
    /// `Usage` where two flags contradict each other.
    pub fn options(&self) -> Result<TransferOptions> {
        if self.window < self.chunk.bytes() {
            return Err(Failure::hinted(
                Code::Usage,
                "--window is smaller than --chunk",
                "a window holds at least one chunk",
            ));
        }
        Ok(TransferOptions {
            chunk: self.chunk,
            window: self.window,
            pace: if self.lockstep { Pace::Lockstep } else { Pace::Streaming },
            precondition: match self.no_clobber {
                true => Precondition::Absent,
                false => Precondition::None,
            },
            resume: if self.no_resume { ResumeWish::Discard } else { ResumeWish::Continue },
            recognise: match self.checksum {
                true => RecogniseWish::ByContent,
                false => RecogniseWish::ByVersion,
            },
            on_failure: if self.fail_fast { OnFailure::Stop } else { OnFailure::Continue },
            rate: self.limit,
            packing: self.compress,
            priority: self.priority(),
            ..TransferOptions::default()
        })
    }

    /// How many connections: the plain dialogue uses one, and each would have a share of its own
    /// where others are to have all.
    pub fn stream_count(&self) -> StreamCount {
        match (self.lockstep, self.background, self.streams) {
            (true, ..) | (_, true, StreamCount::Auto) => StreamCount::Fixed(1),
            (_, _, streams) => streams,
        }
    }

    /// Whether others go first.
    pub const fn priority(&self) -> Priority {
        if self.background { Priority::Background } else { Priority::Normal }
    }
}

impl Tally {
    /// Counts one that is done.
    pub fn succeed(&mut self) {
        self.done += 1;
    }

    /// Counts one that failed; its line is said here, once, and its event sent.
    pub fn fail(&mut self, failure: &Failure, voice: Voice) {
        tell(failure);
        if let Failure::Fault { fault, .. } = failure {
            let status = fault.code.exit_status();
            voice.send(|| Event::new("error").with_fault(fault).with("exit_status", status));
        }
        self.failed.push(failure.code());
    }

    /// Whether nothing further should be begun.
    pub fn must_stop(&self, on_failure: OnFailure) -> bool {
        match self.failed.last() {
            None => false,
            Some(code) => on_failure == OnFailure::Stop || ends_the_session(*code),
        }
    }

    /// The exit status of them all: one failure of one transfer keeps its own.
    ///
    /// # Errors
    /// `Told` with the code.
    pub fn end(self) -> Result<()> {
        let Some(first) = self.failed.first().copied() else { return Ok(()) };
        if let Some(code) = self.failed.iter().find(|code| ends_the_session(**code)) {
            return Err(Failure::Told(*code));
        }
        let alike = self.done == 0 && self.failed.iter().all(|code| *code == first);
        Err(Failure::Told(if alike { first } else { Code::Partial }))
    }
}

/// Whether the next transfer would fail as this one did.
fn ends_the_session(code: Code) -> bool {
    matches!(code, Code::Interrupted) || code.exit_status() == Code::Unreachable.exit_status()
}

/// Does the jobs in order.
pub async fn run_all(
    dialer: &mut Dialer,
    jobs: Vec<Job>,
    options: &TransferOptions,
    voice: Voice,
    signals: &mut Signals,
    tally: &mut Tally,
) {
    for job in jobs {
        if tally.must_stop(options.on_failure) {
            break;
        }
        match run_one(dialer, job, options, voice, signals).await {
            Ok(()) => tally.succeed(),
            Err(failure) => tally.fail(&failure, voice),
        }
    }
}

async fn run_one(
    dialer: &mut Dialer,
    job: Job,
    options: &TransferOptions,
    voice: Voice,
    signals: &mut Signals,
) -> Result<()> {
    let _lock = job.lock.as_deref().map(|key| dialer.lock(key)).transpose()?;
    let report = Report::new(voice, job.name.clone(), options.priority, Instant::now());
    let hint = hint_of(&job.course);
    let client = signals.or(dialer.client(&job.server)).await?;
    let (report, finished) = drive(client, job.course, options.clone(), report, signals).await?;
    let failure = match (finished.result, hint) {
        (Ok(()), _) => return Ok(()),
        (Err(fault), Some(hint)) if fault.code == Code::Interrupted => {
            Failure::Fault { fault, hint: Some(hint.to_owned()) }
        }
        (Err(fault), _) if report.has_told(&fault) => Failure::Told(fault.code),
        (Err(fault), _) => fault.into(),
    };
    // Programs know it from the summary.
    tell(&failure);
    Err(Failure::Told(failure.code()))
}

async fn drive(
    client: &Client,
    course: Course,
    options: TransferOptions,
    report: Report,
    signals: &mut Signals,
) -> Result<(Report, Finished)> {
    let begun = Instant::now();
    let (watch, notices) = watch();
    let teller = Teller::start(report, notices)?;
    let work = async move {
        match course {
            Course::Put { from, to, receipts: None } => client.put(from, to, options, watch).await,
            Course::Put { from, to, receipts: Some(receipts) } => {
                client.put_signed(from, to, options, watch, receipts).await
            }
            Course::Get { from, to } => client.get(from, to, options, watch).await,
        }
    };
    tokio::pin!(work);
    let outcome = loop {
        tokio::select! {
            outcome = &mut work => break outcome,
            // A second one does not come here: it ends the process.
            () = signals.next() => client.interrupt(),
        }
    };
    teller.finish(finished(outcome, begun.elapsed())).await
}

/// Tells of a transfer on a thread of its own: a terminal that is stopped, or a program that reads
/// slowly, holds up nothing else.
struct Teller {
    finished: oneshot::Sender<Finished>,
    told: oneshot::Receiver<(Report, Finished)>,
}

impl Teller {
    fn start(mut report: Report, mut notices: Notices) -> Result<Self> {
        let (finished, end) = oneshot::channel();
        let (say_told, told) = oneshot::channel();
        let work = move || {
            while let Some(notice) = notices.blocking_recv() {
                tell_notice(&mut report, notice);
            }
            if let Ok(finished) = end.blocking_recv() {
                report.finish(&finished);
                // Nobody waits any more only where the process ends.
                let _ = say_told.send((report, finished));
            }
        };
        thread::Builder::new().name("report".to_owned()).spawn(work).map_err(|error| {
            Failure::new(Code::LimitExceeded, format!("start a thread: {error}"))
        })?;
        Ok(Self { finished, told })
    }

    /// Tells the rest, and the end.
    async fn finish(self, finished: Finished) -> Result<(Report, Finished)> {
        // A thread that is gone is noticed in the next line.
        let _ = self.finished.send(finished);
        let gone = |_| Failure::new(Code::Other, "a thread ended without an answer");
        self.told.await.map_err(gone)
    }
}

fn tell_notice(report: &mut Report, notice: Notice) {
    match notice {
        Notice::Progress(summary) => report.progress(&summary, Instant::now()),
        Notice::EntryFinished { path, object } => report.entry(&path, object),
        Notice::EntryFailed { path, fault } => report.failed(&path, &fault),
        Notice::EntrySkipped { path, fault } => report.skipped(&path, &fault),
        Notice::Reconnecting { why, after } => report.reconnecting(&why, after),
        Notice::Reconnected => report.reconnected(),
        Notice::Stopping => report.interrupting(),
        Notice::Untold { finished, failed, skipped } => report.untold(finished, failed, skipped),
    }
}

fn finished(outcome: std::result::Result<Outcome, Fault>, elapsed: Duration) -> Finished {
    match outcome {
        Ok(outcome) => Finished {
            result: outcome.result,
            summary: outcome.summary,
            object: outcome.root,
            packing: outcome.packing,
            elapsed: outcome.elapsed,
            reconnects: outcome.reconnects,
        },
        Err(fault) => Finished {
            result: Err(fault),
            summary: Default::default(),
            object: None,
            packing: Packing::Never,
            elapsed,
            reconnects: 0,
        },
    }
}

fn hint_of(course: &Course) -> Option<&'static str> {
    match course {
        Course::Get { to: LocalSink::StandardOutput, .. } => {
            Some("what was written to standard output starts over in another run")
        }
        _ => None,
    }
}

/// What makes two commands identical: host, direction and paths.
pub fn lock_key(verb: &str, server: &str, local: &[u8], remote: &[u8]) -> Vec<u8> {
    [verb.as_bytes(), server.as_bytes(), local, remote].join(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(done: usize, failed: &[Code]) -> u8 {
        let tally = Tally { done, failed: failed.to_vec() };
        tally.end().map_or_else(|failure| failure.code().exit_status(), |()| 0)
    }

    #[test]
    fn one_failure_keeps_its_own_status_and_a_mix_is_partial() {
        assert_eq!(tally(2, &[]), 0);
        assert_eq!(tally(0, &[Code::NotFound]), 3);
        assert_eq!(tally(0, &[Code::NotFound, Code::NotFound]), 3);
        assert_eq!(tally(1, &[Code::NotFound]), 10);
        assert_eq!(tally(0, &[Code::NotFound, Code::Exists]), 10);
        assert_eq!(tally(1, &[Code::ConnectionLost]), 6);
        assert_eq!(tally(1, &[Code::NotFound, Code::Interrupted]), 130);
    }

    #[test]
    fn a_lost_connection_and_ctrl_c_end_the_rest() {
        let after = |code| Tally { done: 0, failed: vec![code] };
        assert!(after(Code::Interrupted).must_stop(OnFailure::Continue));
        assert!(after(Code::ConnectionLost).must_stop(OnFailure::Continue));
        assert!(!after(Code::NotFound).must_stop(OnFailure::Continue));
        assert!(after(Code::NotFound).must_stop(OnFailure::Stop));
    }

    #[test]
    fn lock_keys_do_not_run_together() {
        assert_ne!(lock_key("put", "h", b"ab", b"c"), lock_key("put", "h", b"a", b"bc"));
    }
}
