//! What runs now, and what ran: for the operator and for what watches a server.
//!
//! A card for each session, a line on it for each transfer. Bytes are those of the core; what was
//! seen last counts where it does not tell any more, so that no sum ever falls.

use crate::clock::timestamp;
use crate::control::{LiveSession, LiveTransfer, Shown};
use crate::registry::Pass;
use crate::running::Running;
use data_encoding::HEXLOWER;
use floe_proto::command::{Command, Summary};
use floe_proto::frame::Direction;
use floe_types::{Code, Fault, ObjectPath, Rate, TransferId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All sessions of a server.
#[derive(Default)]
pub(super) struct Tally(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    cards: BTreeMap<u64, Arc<Card>>,
    next: u64,
    ended: Sums,
}

/// What a server did since it began.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Sums {
    /// Sessions that began,
    pub(super) sessions: u64,
    /// and those that were refused.
    pub(super) refused: u64,
    /// Of puts, then of gets.
    pub(super) ways: [Way; 2],
}

/// What went one way.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Way {
    /// Transfers that run,
    pub(super) running: u64,
    /// that are done,
    pub(super) done: u64,
    /// and that failed.
    pub(super) failed: u64,
    /// Bytes that went over the network.
    pub(super) bytes: u64,
    /// Entries that are committed.
    pub(super) entries: u64,
}

/// One session.
pub(super) struct Card {
    /// Eight digits.
    pub(super) id: String,
    pub(super) ticket: String,
    pub(super) client: String,
    pub(super) agent: String,
    pub(super) since: i64,
    /// What it sees as the root.
    pub(super) prefix: ObjectPath,
    pub(super) running: Arc<Running>,
    lines: Mutex<BTreeMap<TransferId, Line>>,
}

struct Line {
    direction: Direction,
    path: ObjectPath,
    since: i64,
    limit: Option<Rate>,
    flow: Flow,
    seen: Summary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Runs,
    Paused,
}

/// A session is among those that run while this lives.
pub(super) struct Present {
    tally: Arc<Tally>,
    nth: u64,
    pub(super) card: Arc<Card>,
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut inner = self.tally.lock();
        inner.cards.remove(&self.nth);
        // Where a core failed nobody said how its transfers ended.
        for line in std::mem::take(&mut *self.card.lines()).into_values() {
            let way = &mut inner.ended.ways[place(line.direction)];
            way.count(&line.seen);
            way.failed += 1;
        }
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub(super) fn enter(self: &Arc<Self>, card: Card) -> Present {
        let mut inner = self.lock();
        let (nth, card) = (inner.next, Arc::new(card));
        inner.next += 1;
        inner.ended.sessions += 1;
        inner.cards.insert(nth, Arc::clone(&card));
        Present { tally: Arc::clone(self), nth, card }
    }

    /// One was not let in.
    pub(super) fn refused(&self) {
        self.lock().ended.refused += 1;
    }

    /// A transfer is over.
    pub(super) fn ends(
        &self,
        card: &Card,
        transfer: TransferId,
        result: &Result<(), Fault>,
        summary: &Summary,
    ) {
        let mut inner = self.lock();
        let Some(line) = card.lines().remove(&transfer) else { return };
        let way = &mut inner.ended.ways[place(line.direction)];
        way.count(summary);
        match result {
            Ok(()) => way.done += 1,
            Err(_) => way.failed += 1,
        }
    }

    /// All of it, and how many sessions there are.
    pub(super) fn sums(&self) -> (Sums, usize) {
        let inner = self.lock();
        let mut sums = inner.ended;
        for card in inner.cards.values() {
            for (transfer, line) in card.lines().iter_mut() {
                let way = &mut sums.ways[place(line.direction)];
                way.count(line.look(&card.running, *transfer));
                way.running += 1;
            }
        }
        (sums, inner.cards.len())
    }

    /// Bytes that each transfer has moved.
    pub(super) fn moved(&self) -> BTreeMap<String, u64> {
        let mut moved = BTreeMap::new();
        for card in self.lock().cards.values() {
            for (transfer, line) in card.lines().iter_mut() {
                let bytes = line.look(&card.running, *transfer).bytes_sent.0;
                moved.insert(format!("{}.{transfer}", card.id), bytes);
            }
        }
        moved
    }

    /// What runs; `before` is what had been moved that long ago.
    pub(super) fn show(&self, before: &BTreeMap<String, u64>, ago: Duration) -> Shown {
        let cards: Vec<_> = self.lock().cards.values().cloned().collect();
        let more = cards.len().saturating_sub(SHOWN_MAX);
        let shown = cards.iter().take(SHOWN_MAX).map(|card| card.show(before, ago));
        let (pid, dir, since) = (std::process::id(), String::new(), 0);
        Shown { pid, dir, since, draining: false, sessions: shown.collect(), more }
    }

    /// Does something to a transfer, or to each of a session; `to_session` is done to that itself.
    ///
    /// # Errors
    /// `NotFound`; `Usage` where two have that id.
    pub(super) fn act(
        &self,
        id: &str,
        to_session: Option<&Command>,
        deed: impl Fn(&Card, TransferId),
    ) -> Result<(), Fault> {
        let (session, transfer) = match id.split_once('.') {
            Some((session, nth)) => (session, Some(nth)),
            None => (id, None),
        };
        let cards: Vec<_> = self.lock().cards.values().cloned().collect();
        let mut named = cards.into_iter().filter(|card| card.id == session);
        let none = || Fault::new(Code::NotFound, format!("find {}", shown(id)));
        let card = named.next().ok_or_else(none)?;
        if named.next().is_some() {
            return Err(Fault::new(Code::Usage, format!("find {}: there are two", shown(id))));
        }
        match (transfer, to_session) {
            (None, Some(command)) => {
                // One that is over needs none.
                let _ = card.running.command(command.clone());
            }
            (None, None) => {
                let transfers: Vec<_> = card.lines().keys().copied().collect();
                transfers.into_iter().for_each(|transfer| deed(&card, transfer));
            }
            (Some(nth), _) => {
                let transfer = nth.parse().map(TransferId).map_err(|_| none())?;
                if !card.lines().contains_key(&transfer) {
                    return Err(none());
                }
                deed(&card, transfer);
            }
        }
        Ok(())
    }
}

impl Card {
    /// A session without transfers.
    pub(super) fn new(
        (id, ticket, client, agent): (String, String, String, String),
        pass: Option<&Pass>,
        running: Arc<Running>,
    ) -> Self {
        let prefix = pass.map_or_else(ObjectPath::root, |pass| pass.bounds.prefix.clone());
        let (since, lines) = (timestamp().secs(), Mutex::default());
        Self { id, ticket, client, agent, since, prefix, running, lines }
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<TransferId, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer begins.
    pub(super) fn begins(&self, transfer: TransferId, direction: Direction, path: &ObjectPath) {
        // One that is too long to be joined is refused.
        let path = self.prefix.join_path(path).unwrap_or_else(|_| path.clone());
        let (since, seen) = (timestamp().secs(), Summary::default());
        let line = Line { direction, path, since, limit: None, flow: Flow::Runs, seen };
        self.lines().insert(transfer, line);
    }

    /// Changes the limit; one that is paused has it when it is resumed.
    pub(super) fn limit(&self, transfer: TransferId, limit: Option<Rate>) {
        self.change(transfer, |line| line.limit = limit);
    }

    /// Moves nothing any more.
    pub(super) fn pause(&self, transfer: TransferId) {
        self.change(transfer, |line| line.flow = Flow::Paused);
    }

    /// Goes on.
    pub(super) fn resume(&self, transfer: TransferId) {
        self.change(transfer, |line| line.flow = Flow::Runs);
    }

    fn change(&self, transfer: TransferId, change: impl FnOnce(&mut Line)) {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&transfer) else { return };
        change(line);
        let command = match line.flow {
            Flow::Runs => Command::Limit(transfer, line.limit),
            Flow::Paused => Command::Pause(transfer),
        };
        // Under the lock: what is commanded last is what stands on the line.
        let _ = self.running.command(command);
    }

    fn show(&self, before: &BTreeMap<String, u64>, ago: Duration) -> LiveSession {
        let mut lines = self.lines();
        let transfers = lines.iter_mut().map(|(transfer, line)| {
            let id = format!("{}.{transfer}", self.id);
            let seen = line.look(&self.running, *transfer).clone();
            let new = before.get(&id).map_or(0, |was| seen.bytes_sent.0.saturating_sub(*was));
            let millis = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX).max(1);
            let names = line.path.components().iter().map(|name| name.as_bytes());
            LiveTransfer {
                id,
                direction: word(line.direction).to_owned(),
                path_hex: HEXLOWER.encode(&names.collect::<Vec<_>>().join(&b'/')),
                since: line.since,
                bytes_stored: seen.bytes_stored.0,
                bytes_total: seen.bytes_total.0,
                bytes_moved: seen.bytes_sent.0,
                rate: new.saturating_mul(1000) / millis,
                limit: line.limit.map(Rate::bytes_per_sec),
                paused: line.flow == Flow::Paused,
            }
        });
        let transfers = transfers.collect();
        drop(lines);
        LiveSession {
            id: self.id.clone(),
            ticket: self.ticket.clone(),
            client: self.client.clone(),
            agent: self.agent.clone(),
            since: self.since,
            streams: self.running.streams(),
            transfers,
        }
    }
}

impl Line {
    /// What the core says of it, or said last.
    fn look(&mut self, running: &Running, transfer: TransferId) -> &Summary {
        if let Some(summary) = running.summary(transfer) {
            self.seen = summary;
        }
        &self.seen
    }
}

impl Way {
    fn count(&mut self, summary: &Summary) {
        self.bytes += summary.bytes_sent.0;
        self.entries += u64::from(summary.entries_committed.0);
    }
}

const fn place(direction: Direction) -> usize {
    match direction {
        Direction::Put => 0,
        Direction::Get => 1,
    }
}

/// In one word.
pub(super) const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Put => "put",
        Direction::Get => "get",
    }
}

fn shown(id: &str) -> String {
    format!("\"{}\"", floe_types::Escaped(id.as_bytes()))
}

/// Sessions of one answer.
const SHOWN_MAX: usize = 4096;
