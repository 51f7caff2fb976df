//! One round: a transfer by the real binary, cut once or more, and what must hold afterwards.
//!
//! One side is on the mounted tree and loses power; the other is elsewhere and does not. After each
//! cut what stands under the final names is looked at before any program runs again; then the same
//! command is run, to be cut once more or to end well. Everything is drawn from the round's seed;
//! how the programs' own threads run is not, so a seed gives the same story, not the same instant.

mod story; // what is drawn
mod places; // where each side keeps what
mod written; // what the server's audit log must hold

pub use story::{Cut, Side, Story};

use crate::content::{Planned, Standing, is_like};
use crate::dice::Dice;
use crate::file::Toll;
use crate::mounted::Mounted;
use crate::program::{Program, Running, Server};
use crate::staged;
use crate::tree::{Power, Survivors};
use places::Places;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};
use story::Then;

/// What a round met.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    /// Times that power was lost.
    pub cuts: u64,
    /// Of them, those behind the end of a command that said it was done.
    pub cuts_after_done: u64,
    /// Looks at a final name that showed nothing.
    pub nothing: u64,
    /// That showed the old version.
    pub old: u64,
    /// That showed the new one.
    pub new: u64,
    /// Bytes that a checkpoint covered at a cut, and that were not sent again.
    pub spared: u64,
    /// Calls that changed something.
    pub calls: u64,
    /// Unsynced effects at the cuts.
    pub toll: Toll,
}

/// Why a round ended early.
#[derive(Debug)]
pub enum Trouble {
    /// The contract is broken.
    Broken(String),
    /// This machine could not play it.
    Machine(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Machine(error)
    }
}

/// Longer than any command of a round takes, also where it waits to dial again.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a command is looked at.
const LOOK: Duration = Duration::from_millis(3);

/// Plays the round of a seed in a directory, which must be empty.
///
/// # Errors
/// The first thing that was wrong.
pub fn play(program: &Program, seed: u64, dir: &Path) -> Result<Tally, Trouble> {
    let mut dice = Dice::new(seed);
    let story = Story::drawn(&mut dice);
    let places = Places::new(dir, story.side)?;
    let mounted = Mounted::new(&places.mount)?;
    places.prepare()?;
    let server = program.serve(&places.served, &places.server_state, "127.0.0.1:0", &places.log)?;
    let (tally, covered) = (Tally::default(), 0);
    let mut round =
        Round { program, story, dice, places, mounted, server: Some(server), tally, covered };
    round.play()?;
    (round.tally.calls, round.tally.toll) = round.mounted.figures();
    Ok(round.tally)
}

struct Round<'a> {
    program: &'a Program,
    story: Story,
    dice: Dice,
    places: Places,
    mounted: Mounted,
    server: Option<Server>,
    tally: Tally,
    /// What a checkpoint covered at the last cut.
    covered: u64,
}

/// Whether a command said that it was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Nothing,
    Done,
}

impl Drop for Round<'_> {
    /// Nobody may be left on the mount when it goes, nor in a call that does not end.
    fn drop(&mut self) {
        self.mounted.release();
        self.server = None;
    }
}

fn broken<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Broken(what.into()))
}

impl Round<'_> {
    fn play(&mut self) -> Result<(), Trouble> {
        let old = self.story.old.clone();
        if !old.is_empty() {
            self.provide(&old)?;
            self.finish(&old)?;
        }
        let new = self.story.new.clone();
        self.provide(&new)?;
        let mut said = Said::Nothing;
        let mut waiting = None;
        for _ in 0..self.story.cuts {
            self.mounted.arm(self.story.cut.fuse(&new, &mut self.dice));
            let (once, still) = self.run_into_cut(waiting.take())?;
            if once == Said::Done {
                said = Said::Done;
            }
            waiting = still;
            self.lose_power()?;
            self.look(said)?;
            self.restart()?;
            if said == Said::Done {
                break;
            }
        }
        match waiting {
            Some(client) => self.end(client).map(drop)?,
            None => self.finish(&new)?,
        }
        self.look(Said::Done)?;
        self.tidy_up()
    }

    /// Puts files where the command takes them from.
    fn provide(&self, files: &[Planned]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.write(&self.places.source, &self.places.source_root))
    }

    fn client(&self) -> Result<Running, Trouble> {
        let Some(server) = &self.server else { return broken("no server runs") };
        let (verb, from, to) = self.places.command(&server.address);
        let mut args = vec![verb, "--json", &from, &to];
        args.extend(self.story.flags);
        let Places { client_state, log, .. } = &self.places;
        let log = log.with_file_name("client");
        Ok(self.program.client(&args, client_state, server, &log)?)
    }

    /// Runs the command without a cut: it ends well, and sends nothing that a checkpoint covered.
    fn finish(&mut self, files: &[Planned]) -> Result<(), Trouble> {
        let client = self.client()?;
        let sent = self.end(client)?;
        let (covered, total) =
            (self.covered, files.iter().map(|file| file.len as u64).sum::<u64>());
        if covered > 0 {
            match sent {
                Some(sent) if sent + covered <= total => self.tally.spared += covered,
                sent => {
                    return broken(format!(
                        "sent {sent:?} of {total} bytes again, {covered} were checkpointed"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Waits until a command ends well; how many bytes it sent.
    fn end(&self, mut client: Running) -> Result<Option<u64>, Trouble> {
        let began = Instant::now();
        loop {
            match client.ended()? {
                Some(status) if status.success() => return Ok(client.summed("bytes_sent")),
                Some(status) if client.met_nobody(status) => client = self.client()?,
                Some(status) => {
                    return broken(format!("ended with {status}: {}", client.last_words()));
                }
                None if began.elapsed() > PATIENCE => return broken("a command does not end"),
                None => {
                    let _ = self.mounted.wait_for_off(LOOK);
                }
            }
        }
    }

    /// Runs the command until the power goes; where it ends before, the power goes then. What is on
    /// the mount is killed. Also a client that goes on at the other side.
    fn run_into_cut(
        &mut self,
        waiting: Option<Running>,
    ) -> Result<(Said, Option<Running>), Trouble> {
        let mut client = match waiting {
            Some(client) => client,
            None => self.client()?,
        };
        let began = Instant::now();
        let ended = loop {
            match client.ended()? {
                Some(status) if client.met_nobody(status) => client = self.client()?,
                Some(status) => break Some(status),
                None => {}
            }
            if self.mounted.wait_for_off(LOOK) == Power::Off {
                break None;
            }
            if began.elapsed() > PATIENCE {
                return broken("a command does not end");
            }
        };
        let power = self.mounted.wait_for_off(Duration::ZERO);
        if let Some(status) = ended
            && !status.success()
            && power == Power::On
        {
            return broken(format!("ended with {status}: {}", client.last_words()));
        }
        self.tally.cuts_after_done += u64::from(power == Power::On);
        self.mounted.switch_off();
        let goes_on = self.story.side.is_server() && self.story.then == Then::SameClient;
        match &self.server {
            Some(server) if self.story.side.is_server() => server.running.kill(),
            _ => {}
        }
        if goes_on && client.ended()?.is_none() {
            self.mounted.release();
            return Ok((Said::Nothing, Some(client)));
        }
        client.kill();
        self.mounted.release();
        let said = if client.wait()?.success() { Said::Done } else { Said::Nothing };
        Ok((said, None))
    }

    fn lose_power(&mut self) -> Result<(), Trouble> {
        if self.story.side.is_server()
            && let Some(mut server) = self.server.take()
        {
            server.running.wait()?;
            self.places.address = server.address.clone();
            self.places.ticket = server.ticket.clone();
        }
        let survivors = Survivors::drawn(&mut self.dice);
        self.mounted.cut(&survivors, &mut self.dice)?;
        self.tally.cuts += 1;
        self.covered = 0;
        if let [file] = &self.story.new[..]
            && self.story.side.is_receiver()
            && file.look(&self.places.target)? == Standing::Nothing
        {
            self.covered = staged::checkpointed(&self.places.area)?;
        }
        Ok(())
    }

    /// Starts what was killed again.
    fn restart(&mut self) -> Result<(), Trouble> {
        if self.server.is_some() {
            return Ok(());
        }
        let Places { served, server_state, address, log, .. } = &self.places;
        let server = match self.program.serve(served, server_state, address, log) {
            Ok(server) => server,
            Err(error) => return broken(format!("after the cut: {error}")),
        };
        if server.ticket != self.places.ticket {
            return broken("the server forgot its ticket");
        }
        self.server = Some(server);
        Ok(())
    }

    /// Looks at every final name.
    fn look(&mut self, said: Said) -> Result<(), Trouble> {
        let target = self.places.target.clone();
        for (nth, new) in self.story.new.clone().iter().enumerate() {
            let old = self.story.old.get(nth);
            let before = old.map_or(Ok(Standing::Nothing), |old| old.look(&target))?;
            match (new.look(&target)?, before) {
                (Standing::Whole, _) => self.tally.new += 1,
                (_, Standing::Whole) if said == Said::Nothing => self.tally.old += 1,
                (Standing::Nothing, _) if said == Said::Nothing && old.is_none() => {
                    self.tally.nothing += 1;
                }
                (stands, before) => {
                    return broken(format!(
                        "{:?}: as the new version {stands:?}, as the old one {before:?}, the \
                         command said {said:?}",
                        new.beneath(&target)
                    ));
                }
            }
        }
        if said == Said::Done {
            self.look_at_directories()?;
        }
        if said == Said::Done && self.story.side == Side::PutServer {
            let missing = written::missing(&self.places, &self.story.new)?;
            return missing
                .map_or(Ok(()), |path| broken(format!("no line of {path:?} in the log")));
        }
        Ok(())
    }

    /// A tree's directories have mode and time of those that were sent.
    fn look_at_directories(&self) -> Result<(), Trouble> {
        let Places { source, target, .. } = &self.places;
        let of_tree: BTreeSet<_> = self.story.new.iter().flat_map(Planned::directories).collect();
        for path in of_tree {
            let there = target.join(path);
            if !is_like(&there, &source.join(path))? {
                return broken(format!("{there:?} has not the mode and time that were sent"));
            }
        }
        Ok(())
    }

    /// Ends the server; no stage may be left on either side.
    fn tidy_up(&mut self) -> Result<(), Trouble> {
        if let Some(mut server) = self.server.take() {
            server.running.terminate();
            let status = server.running.wait()?;
            if !status.success() {
                return broken(format!("the server ended with {status}"));
            }
        }
        if let Some(wrong) = written::broken(self.program, &self.places)? {
            return broken(format!("the audit log is broken: {wrong}"));
        }
        match staged::left(&self.places.received)?.as_slice() {
            [] => Ok(()),
            left => broken(format!("left behind: {}", left.join(", "))),
        }
    }
}
