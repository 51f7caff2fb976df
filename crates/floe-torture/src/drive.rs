//! The runs of a command, one after the other until it is done.

use crate::breach::Promise;
use crate::case::{Awake, Phase, lock};
use crate::client::Run;
use crate::dice::Dice;
use crate::judge::{self, Verdict};
use crate::process::Ended;
use crate::task::Task;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Once nothing goes wrong any more, whatever runs ends within this time, and so does the same
/// command run again.
pub(crate) const CALM_MAX: Duration = Duration::from_secs(100);

impl Task {
    /// Runs the command until it is done.
    pub(crate) fn drive(&self, mut dice: Dice) -> io::Result<()> {
        let mut again = self.plan.again;
        while self.case.goes_on() {
            let Some((run, ended, phase)) = self.run()? else { break };
            match judge::judge(self, &run, &ended, phase)? {
                Verdict::Again => self.case.pause(Duration::from_millis(dice.scaled(400))),
                Verdict::Done if again => again = false,
                Verdict::Done => break,
            }
        }
        self.history.done.store(true, Ordering::Release);
        Ok(())
    }

    /// One run, from its beginning to its end. `None` where it did not end.
    fn run(&self) -> io::Result<Option<(Arc<Run>, Ended, Phase)>> {
        let phase = self.case.phase();
        self.source.begin();
        let run = Arc::new(self.clients.start(&self.case, &self.args, &self.piped, &self.log)?);
        *lock(&self.current) = Some(Arc::clone(&run));
        let (mut whole, mut calm) = (Awake::begin(), None);
        let mut late = || {
            if self.case.phase() == Phase::Calm {
                calm.get_or_insert_with(Awake::begin);
            }
            whole.elapsed();
            calm.as_mut().is_some_and(|calm| calm.elapsed() > CALM_MAX) || !self.case.goes_on()
        };
        let ended = run.wait(&mut late)?;
        *lock(&self.current) = None;
        self.case.peak(CLIENT_PEAK, run.process.peak_bytes());
        let took = whole.elapsed();
        match ended {
            Some(ended) => {
                self.case.note(&format_args!("task {}: {ended:?} after {took:?}", self.nth));
                if phase == Phase::Calm {
                    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    self.case.peak(CALM_PEAK, millis);
                }
                Ok(Some((run, ended, phase)))
            }
            None if self.case.goes_on() => {
                let doing = run.process.doing();
                let seen = format!("{} is stuck {took:?} after it began: {doing}", self.name());
                self.case.breach(Promise::Continues, seen);
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

/// What the largest resident memory of a client is counted as.
pub(crate) const CLIENT_PEAK: &str = "client memory, bytes";
/// And the longest run that began when nothing went wrong any more.
pub(crate) const CALM_PEAK: &str = "longest run in calm, ms";
