//! One command of a round: what it moves from where to where, and what happened to it.

use crate::case::{Case, lock};
use crate::client::{Clients, Piped, Run, number};
use crate::entry::Compare;
use crate::place::Place;
use crate::plan::{Shape, TaskPlan, Verb};
use crate::proxy::Proxy;
use crate::source::Source;
use crate::tree::Tree;
use floe_types::Escaped;
use rustix::process::Signal;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// One command.
pub(crate) struct Task {
    /// The round.
    pub(crate) case: Arc<Case>,
    /// Which of the round's.
    pub(crate) nth: usize,
    /// What was decided about it.
    pub(crate) plan: TaskPlan,
    /// What it moves.
    pub(crate) source: Source,
    /// Where it goes.
    pub(crate) place: Arc<Place>,
    /// What stood there before.
    pub(crate) standing: Tree,
    /// Its names on the server.
    pub(crate) names: Vec<Vec<u8>>,
    /// Its network.
    pub(crate) proxy: Proxy,
    /// How it is run.
    pub(crate) clients: Clients,
    /// Its words.
    pub(crate) args: Vec<OsString>,
    /// Its pipes.
    pub(crate) piped: Piped,
    /// Where what it says goes.
    pub(crate) log: PathBuf,
    /// The server's audit log.
    pub(crate) audit: PathBuf,
    /// Whether another task writes the same name.
    pub(crate) rivalled: bool,
    /// What happened to it.
    pub(crate) history: History,
    /// The run that is under way.
    pub(crate) current: Mutex<Option<Arc<Run>>>,
}

/// What happened to a task.
#[derive(Default)]
pub(crate) struct History {
    /// How often a client, its server or all its connections were taken away.
    pub(crate) disruptions: AtomicU64,
    /// How often the same command was started beside it.
    pub(crate) twins: AtomicU64,
    /// Whether the server was killed meanwhile.
    pub(crate) bereft: AtomicBool,
    /// Whether the disk was full meanwhile.
    pub(crate) filled: AtomicBool,
    /// What a run that was killed had stored for certain.
    pub(crate) stored: AtomicU64,
    /// Whether a run ended with status 0.
    pub(crate) succeeded: AtomicBool,
    /// Whether it is through.
    pub(crate) done: AtomicBool,
    /// Whether it ended in a way that keeps its stage.
    pub(crate) refused: AtomicBool,
}

impl Task {
    /// Signals the run that is under way, if there is one.
    pub(crate) fn send(&self, signal: Signal) -> bool {
        let current = lock(&self.current).clone();
        if let Some(run) = &current {
            if signal != Signal::CONT && signal != Signal::STOP {
                self.disrupt();
            }
            run.process.send(signal);
        }
        current.is_some()
    }

    /// Whether it goes to standard output.
    pub(crate) fn is_drawn(&self) -> bool {
        matches!(self.piped, Piped::Drawn(_))
    }

    /// How much of what stands at its final name has to agree, of so much: where bits are flipped
    /// on a plain wire, bytes only.
    pub(crate) fn compare(&self, most: Compare) -> Compare {
        if self.plan.weather.corrupt > 0 { Compare::Bytes } else { most }
    }

    /// Whether it is through.
    pub(crate) fn is_done(&self) -> bool {
        self.history.done.load(Ordering::Acquire)
    }

    /// Something was taken away from it.
    pub(crate) fn disrupt(&self) {
        self.history.disruptions.fetch_add(1, Ordering::AcqRel);
    }

    /// In words.
    pub(crate) fn name(&self) -> String {
        let verb = match self.plan.verb {
            Verb::Put => "put",
            Verb::Get => "get",
        };
        format!("task {} ({verb} of {:?})", self.nth, self.plan.shape)
    }

    /// How often all of it goes over the wire: standard input again for each commit, as the
    /// server's audit log has them, but for one whose line a kill came before. No version says that
    /// the next run brings the same, and a run that is ended may not have heard of its commit.
    pub(crate) fn whole_sends(&self) -> io::Result<u64> {
        if self.plan.verb == Verb::Get || !matches!(self.plan.shape, Shape::Pipe(_)) {
            return Ok(1);
        }
        let log = std::fs::read_to_string(&self.audit)?;
        let path = Escaped(&self.names.join(&b'/')).to_string();
        let records = log.lines().filter_map(|line| serde_json::from_str(line).ok());
        let commits = records.filter(|record: &serde_json::Value| {
            record["event"] == "commit" && record["result"] == "ok" && record["path"] == *path
        });
        let unsaid = u64::from(self.history.bereft.load(Ordering::Acquire));
        Ok((commits.count() as u64 + unsaid).max(1))
    }

    /// What a run's last progress says is stored.
    pub(crate) fn note_stored(&self, progress: &serde_json::Value) {
        let stored = number(progress, "bytes_stored");
        self.history.stored.fetch_max(stored, Ordering::AcqRel);
    }
}
