//! What goes wrong while commands run: the plan's troubles at their times, each undone after its
//! own.

use crate::breach::Promise;
use crate::case::{Case, TICK, lock};
use crate::client::Run;
use crate::dice::Dice;
use crate::entry::Compare;
use crate::plan::{Shape, Trouble};
use crate::room::Room;
use crate::server::Seat;
use crate::task::Task;
use rustix::process::Signal;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Everything that can be hurt.
pub(crate) struct Victims<'a> {
    /// The round.
    pub(crate) case: &'a Arc<Case>,
    /// Its server.
    pub(crate) seat: &'a Arc<Seat>,
    /// Its commands.
    pub(crate) tasks: &'a [Task],
    /// Its small disk, if it has one.
    pub(crate) room: Option<&'a Room>,
    /// Commands that were started beside another.
    pub(crate) twins: Mutex<Vec<(usize, Run)>>,
}

/// What is due.
#[derive(Clone, Copy, Debug)]
enum Due {
    Begin(Trouble),
    Undo(Trouble),
}

impl Victims<'_> {
    /// Lets all troubles happen, until they are over or nobody is left to be hurt.
    pub(crate) fn hurt(&self, troubles: &[(u64, Trouble)], dice: &mut Dice) -> io::Result<()> {
        let begun = Instant::now();
        let mut due: Vec<(u64, Due)> =
            troubles.iter().map(|(at, trouble)| (*at, Due::Begin(*trouble))).collect();
        while !due.is_empty() && self.case.goes_on() && !self.tasks.iter().all(Task::is_done) {
            due.sort_by_key(|(at, _)| *at);
            let (at, what) = due[0];
            if begun.elapsed() < Duration::from_millis(at) {
                thread::sleep(TICK);
                continue;
            }
            due.remove(0);
            match what {
                Due::Undo(trouble) => self.undo(trouble)?,
                Due::Begin(trouble) => {
                    self.case.note(&format_args!("{trouble:?}"));
                    self.begin(trouble, dice)?;
                    if let Some(span) = trouble.lasts() {
                        let now = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                        due.push((now.saturating_add(span), Due::Undo(trouble)));
                    }
                }
            }
            self.look()?;
        }
        Ok(())
    }

    /// Nothing is wrong any more.
    pub(crate) fn calm(&self) -> io::Result<()> {
        self.case.note(&"nothing goes wrong any more");
        if let Some(room) = self.room {
            room.free()?;
        }
        self.seat.send(Signal::CONT);
        for (nth, twin) in std::mem::take(&mut *lock(&self.twins)) {
            twin.process.send(Signal::KILL);
            twin.wait(&mut || !self.case.goes_on())?;
            let said = twin.said();
            if let Some(line) = said.panic {
                let seen = format!("the same command beside task {nth} said {line}");
                self.case.breach(Promise::Told, seen);
            }
        }
        // A run that begins from here on has nothing in its way.
        for task in self.tasks {
            task.send(Signal::CONT);
            task.proxy.calm();
        }
        self.case.calm();
        Ok(())
    }

    /// Whether every final name still holds what it may.
    pub(crate) fn look(&self) -> io::Result<()> {
        for task in self.tasks {
            self.case.count("looks at final names");
            for wrong in task.place.look(task.compare(Compare::Seen))? {
                self.case.breach(Promise::Whole, format!("{}: {wrong}", task.name()));
            }
        }
        Ok(())
    }

    fn begin(&self, trouble: Trouble, dice: &mut Dice) -> io::Result<()> {
        let case = self.case;
        let signal = |nth: usize, signal, what| {
            if self.tasks[nth].send(signal) {
                case.count(what);
            }
        };
        match trouble {
            Trouble::KillClient(nth) => signal(nth, Signal::KILL, "clients killed"),
            Trouble::StopClient(nth, _) => signal(nth, Signal::STOP, "clients stopped for a while"),
            Trouble::EndClient(nth) => {
                let end = dice.of([Signal::TERM, Signal::INT]);
                signal(nth, end, "clients ended (SIGTERM, SIGINT)");
            }
            Trouble::KillServer(down) => {
                case.count("servers killed");
                self.disrupt_all();
                for task in self.tasks {
                    task.history.bereft.store(true, Ordering::Release);
                }
                self.seat.kill(Duration::from_millis(down))?;
            }
            Trouble::StopServer(_) => {
                case.count("servers stopped for a while");
                self.seat.send(Signal::STOP);
            }
            Trouble::ReplaceServer => {
                case.count("servers replaced (SIGTERM)");
                self.disrupt_all();
                // One that is stopped may hold a lock that the next needs.
                self.seat.send(Signal::CONT);
                self.seat.hand_over()?;
            }
            Trouble::Cut(nth) => {
                case.count("networks cut");
                self.tasks[nth].disrupt();
                self.tasks[nth].proxy.cut();
            }
            Trouble::Freeze(nth, _) => {
                case.count("networks frozen for a while");
                self.tasks[nth].proxy.freeze(true);
            }
            Trouble::FillDisk(_) => self.fill()?,
            Trouble::Change(nth, change) => {
                let task = &self.tasks[nth];
                match task.source.change(case, &task.place, change, dice) {
                    Err(error) if is_refused(&error) => {}
                    other => other?,
                }
            }
            Trouble::Twin(nth) => self.twin(nth)?,
        }
        Ok(())
    }

    fn undo(&self, trouble: Trouble) -> io::Result<()> {
        match trouble {
            Trouble::StopClient(nth, _) => {
                self.tasks[nth].send(Signal::CONT);
            }
            Trouble::StopServer(_) => self.seat.send(Signal::CONT),
            Trouble::Freeze(nth, _) => self.tasks[nth].proxy.freeze(false),
            Trouble::FillDisk(_) => {
                if let Some(room) = self.room {
                    room.free()?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn disrupt_all(&self) {
        self.tasks.iter().for_each(Task::disrupt);
    }

    fn fill(&self) -> io::Result<()> {
        let Some(room) = self.room else { return Ok(()) };
        self.case.count("disks filled for a while");
        for task in self.tasks {
            task.history.filled.store(true, Ordering::Release);
        }
        room.fill()
    }

    /// The same command once more beside the one that runs, which it must not disturb.
    fn twin(&self, nth: usize) -> io::Result<()> {
        let task = &self.tasks[nth];
        // Only a file's has a lock, and leaves nothing half done if it is killed.
        if task.is_done() || !matches!(task.plan.shape, Shape::File(_)) {
            return Ok(());
        }
        self.case.count("same commands at once");
        task.history.twins.fetch_add(1, Ordering::AcqRel);
        task.disrupt();
        let run = task.clients.start(self.case, &task.args, &task.piped, &task.log)?;
        lock(&self.twins).push((nth, run));
        Ok(())
    }
}

impl Trouble {
    /// After how many milliseconds it is undone.
    fn lasts(self) -> Option<u64> {
        match self {
            Self::StopClient(_, span)
            | Self::StopServer(span)
            | Self::Freeze(_, span)
            | Self::FillDisk(span) => Some(span),
            _ => None,
        }
    }
}

/// A change that this disk or user cannot make.
fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied)
}
