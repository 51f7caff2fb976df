//! One command carried to its end, over as many sessions as it takes.

use super::ends::End;
use super::live::Live;
use super::proof::Proof;
use super::totals::Totals;
use super::{Notice, Outcome, Shared, Watch, interrupted};
use crate::files::LocalEnd;
use floe_proto::command::{Command, Event, Summary, TransferOptions};
use floe_proto::frame::{Direction, Packing, ReceiptWish, RecogniseWish, ResumeWish, Unasked};
use floe_types::{ByteCount, ChunkSize, Code, Fault, ObjectPath, Root, TransferId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

/// What is to be done.
pub(super) struct Errand {
    pub(super) direction: Direction,
    pub(super) end: End,
    pub(super) remote: ObjectPath,
    pub(super) options: TransferOptions,
    pub(super) watch: Watch,
}

const PROGRESS: Duration = Duration::from_millis(200);
/// How long an interrupted transfer may take to put its stage in order.
/// A command has five seconds in all.
const INTERRUPT: Duration = Duration::from_secs(4);
/// The pause before the first reconnect; it doubles from there,
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// What standard output may have to hold back for one chunk that is late.
const OUTPUT_WINDOW: ByteCount = ByteCount(16 << 20);

/// How long a server is asked to begin, if it takes the connection and then does not answer, or
/// says that it is busy;
const CONTACT: Duration = Duration::from_secs(25);
/// and for how long if it loses the connection: it was killed just now, or there is a crowd.
const CONTACT_LOST: Duration = Duration::from_secs(12);
/// The longest pause between two of these, unless the server asks for more.
const CONTACT_PAUSE_MAX: Duration = Duration::from_secs(4);

/// The first session. A server that cannot be reached at all is not waited for.
pub(super) async fn first_contact(shared: &Arc<Shared>) -> Result<Arc<Live>, Fault> {
    let (started, mut pause) = (Instant::now(), BACKOFF_MIN);
    loop {
        let (fault, most) = match Live::begin(shared).await {
            Err(fault) if fault.code == Code::ConnectionLost => (fault, CONTACT_LOST),
            Err(fault) if matches!(fault.code, Code::TimedOut | Code::Busy) => (fault, CONTACT),
            result => return result,
        };
        let now = Instant::now();
        let asked = shared.patience.until().map_or(Duration::ZERO, |until| until - now);
        let next = asked + with_jitter(pause);
        if now + next - started > most.min(shared.connect.retry.give_up_after) {
            return Err(fault);
        }
        tracing::info!(%fault, "first contact is made again");
        sleep(next).await;
        pause = (pause * 2).min(CONTACT_PAUSE_MAX);
    }
}

/// Carries an errand to its end.
pub(super) async fn carry(shared: &Arc<Shared>, mut errand: Errand, proof: Proof) -> Outcome {
    if matches!(errand.end.at, LocalEnd::Output(_)) {
        errand.options.window = errand.options.window.min(OUTPUT_WINDOW);
    }
    if let (Direction::Get, Some(rate)) = (errand.direction, errand.options.rate) {
        // What a slow receiver leaves in the socket stands before whatever else it is told.
        let second = ByteCount(rate.bytes_per_sec());
        let two = |chunk: ChunkSize| chunk.bytes().plus(chunk.bytes());
        if second < two(errand.options.chunk) {
            errand.options.chunk = ChunkSize::MIN;
        }
        errand.options.window = errand.options.window.min(second.max(two(errand.options.chunk)));
    }
    let started = Instant::now();
    let mut way = Way {
        shared,
        errand: &errand,
        proof,
        totals: Totals::default(),
        root: None,
        packing: Packing::Never,
        began: false,
        reconnects: 0,
        patience: Patience::new(shared.connect.retry.give_up_after),
        interrupted: shared.interrupted.subscribe(),
    };
    let result = way.go().await;
    let result = way.proof.end(result).await;
    Outcome {
        result,
        summary: way.totals.with_nothing(),
        root: way.root,
        packing: way.packing,
        elapsed: started.elapsed(),
        reconnects: way.reconnects,
        buffers_bytes_max: shared.pool.held_max(),
    }
}

struct Way<'a> {
    shared: &'a Arc<Shared>,
    errand: &'a Errand,
    proof: Proof,
    totals: Totals,
    root: Option<(ByteCount, Root)>,
    /// How what goes may be packed.
    packing: Packing,
    /// Whether a session of this errand moved anything.
    began: bool,
    reconnects: u32,
    patience: Patience,
    interrupted: watch::Receiver<bool>,
}

/// Whether this errand had a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WasIn {
    Yes,
    No,
}

impl WasIn {
    /// A ticket that was known before and is not now was revoked. That the server said so may have
    /// been lost behind bytes that nobody took any more.
    fn tells(self, fault: Fault) -> Fault {
        match (self, fault.code) {
            (Self::Yes, Code::TicketUnknown) => Fault::new(Code::TicketRevoked, fault.detail),
            _ => fault,
        }
    }
}

impl Way<'_> {
    async fn go(&mut self) -> Result<(), Fault> {
        let mut was_in = WasIn::No;
        loop {
            if self.shared.is_interrupted() {
                return Err(interrupted());
            }
            let session = tokio::select! {
                session = self.shared.session() => session,
                () = stopped(&mut self.interrupted) => return Err(interrupted()),
            };
            let lost = match session {
                Ok(live) => {
                    was_in = WasIn::Yes;
                    if self.reconnects > 0 {
                        self.tell(Notice::Reconnected);
                    }
                    let began = Instant::now();
                    match self.attempt(&live).await {
                        Err(fault) if fault.code.is_lost() => {
                            self.patience.was_up(began.elapsed());
                            fault
                        }
                        result => return result,
                    }
                }
                Err(fault) if fault.code.is_lost() => fault,
                Err(fault) => return Err(was_in.tells(fault)),
            };
            self.pause(lost).await?;
        }
    }

    /// Waits before the next attempt, unless there is none.
    async fn pause(&mut self, why: Fault) -> Result<(), Fault> {
        let Some(pause) = self.patience.pause(Instant::now()) else { return Err(why) };
        self.reconnects += 1;
        let after = with_jitter(pause);
        self.tell(Notice::Reconnecting { why, after });
        tokio::select! {
            () = sleep(after) => Ok(()),
            () = stopped(&mut self.interrupted) => Err(interrupted()),
        }
    }

    fn tell(&self, notice: Notice) {
        self.errand.watch.tell(notice);
    }

    /// One session's part.
    async fn attempt(&mut self, live: &Live) -> Result<(), Fault> {
        let Errand { direction, end, remote, options, .. } = self.errand;
        self.proof.trust(&self.shared.trust.new_keys());
        let receipts = self.proof.wish();
        if receipts == ReceiptWish::Signed && !live.signs_receipts() {
            return Err(Fault::new(Code::Unsupported, "ask for receipts: this server signs none"));
        }
        self.packing = if live.packs() { options.packing } else { Packing::Never };
        let mut options = TransferOptions { unasked: end.unasked, receipts, ..options.clone() };
        if self.began {
            // What stands now is of this run.
            options.resume = ResumeWish::Continue;
            options.unasked = Unasked::Refused;
        }
        if let LocalEnd::Input(input) = &end.at {
            // What was said of a commit may have been lost with the last session. The object then
            // stands there, and has no version to be known by. Otherwise there is nothing to find.
            options.recognise = match input.may_be_finished() {
                true => RecogniseWish::ByContent,
                false => RecogniseWish::ByVersion,
            };
        }
        let (transfer, mut events) = live.begin_transfer(*direction, end, remote, &options)?;
        // A session measures from its own beginning on.
        self.totals.begin(&live.running.summary(transfer).unwrap_or_default());
        let mut last = Summary::default();
        let finished = self.follow(live, transfer, &mut events, &mut last).await;
        let result = match finished {
            Some((result, summary)) => {
                last = Summary { packed: live.running.traffic.total(), ..summary };
                result
            }
            None => {
                last = live.running.summary(transfer).unwrap_or(last);
                match live.running.ending() {
                    Some(Err(fault)) => Err(fault),
                    _ => Err(Fault::new(Code::ConnectionLost, "the session ended")),
                }
            }
        };
        // The one object stands under its name, durably; what was lost is the farewell. Standard
        // input could not be sent again to find that out.
        let result = match result {
            Err(fault) if fault.code.is_lost() && self.root.is_some() => Ok(()),
            result => result,
        };
        let result = self.proof.broken().map_or(result, Err);
        self.note_advance(&last);
        self.began |= last.bytes_sent > ByteCount::ZERO || last.bytes_stored > ByteCount::ZERO;
        self.totals.add(&last);
        if result.is_ok() {
            self.tell(Notice::Progress(self.totals.with_nothing()));
        }
        match result {
            Err(fault) if self.shared.is_interrupted() && fault.code.is_lost() => {
                Err(interrupted())
            }
            result => result,
        }
    }

    /// Hears events until the last one; `None` where the session ended without it.
    async fn follow(
        &mut self,
        live: &Live,
        transfer: TransferId,
        events: &mut UnboundedReceiver<Event>,
        last: &mut Summary,
    ) -> Option<(Result<(), Fault>, Summary)> {
        let mut ticks = interval(PROGRESS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = self.interrupted.clone();
        loop {
            tokio::select! {
                event = events.recv() => match event? {
                    Event::TransferFinished { result, summary, .. } => {
                        return Some((result, summary));
                    }
                    event => {
                        let held = self.proof.broken().is_none();
                        self.hear(event).await;
                        if let Some(fault) = self.proof.broken().filter(|_| held) {
                            // One that is over has stopped.
                            let _ = live.running.command(Command::Cancel(transfer, fault));
                        }
                    }
                },
                _ = ticks.tick() => {
                    if let Some(summary) = live.running.summary(transfer) {
                        self.note_advance(&summary);
                        self.tell(Notice::Progress(self.totals.with(&summary)));
                        *last = summary;
                    }
                }
                () = stopped(&mut interrupted) => {
                    return self.stop(live, transfer, events, last).await;
                }
            }
        }
    }

    /// A person stopped it: reads end, the stage is made durable, within a bound.
    async fn stop(
        &mut self,
        live: &Live,
        transfer: TransferId,
        events: &mut UnboundedReceiver<Event>,
        last: &Summary,
    ) -> Option<(Result<(), Fault>, Summary)> {
        self.tell(Notice::Stopping);
        if let LocalEnd::Input(input) = &self.errand.end.at {
            input.stop();
        }
        // A session that is over has stopped.
        let _ = live.running.command(Command::Cancel(transfer, interrupted()));
        let deadline = Instant::now() + INTERRUPT;
        loop {
            match timeout_at(deadline, events.recv()).await {
                Ok(Some(Event::TransferFinished { result, summary, .. })) => {
                    return Some((result, summary));
                }
                Ok(Some(event)) => self.hear(event).await,
                Ok(None) | Err(_) => return Some((Err(interrupted()), last.clone())),
            }
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::Receipted(_, receipt) => self.proof.hear(receipt),
            Event::EntryFinished { path, object, .. } => {
                if let Some(object) = object {
                    // One that is too long to be joined was refused.
                    let whole = self.errand.remote.join_path(&path);
                    self.proof.finish(whole.unwrap_or_else(|_| path.clone()), object).await;
                }
                if path.is_root() && object.is_some() {
                    self.root = object;
                }
                self.tell(Notice::EntryFinished { path, object });
            }
            Event::EntryFailed { path, fault, .. } => {
                self.tell(Notice::EntryFailed { path, fault });
            }
            Event::EntrySkipped { path, fault } => self.tell(Notice::EntrySkipped { path, fault }),
            _ => {}
        }
    }

    fn note_advance(&mut self, summary: &Summary) {
        if self.totals.is_beyond(summary) {
            self.patience.advance();
        }
    }
}

/// How long sessions are lost and made again until that is given up: so long without one, since
/// anything got further. A session may have had nothing to do for longer than that.
struct Patience {
    give_up_after: Duration,
    lost: Option<Instant>,
    backoff: Duration,
}

impl Patience {
    const fn new(give_up_after: Duration) -> Self {
        Self { give_up_after, lost: None, backoff: BACKOFF_MIN }
    }

    /// Something got further.
    const fn advance(&mut self) {
        (self.lost, self.backoff) = (None, BACKOFF_MIN);
    }

    /// A session was up for so long, however little there was to do: that is no time without one.
    fn was_up(&mut self, lasted: Duration) {
        self.lost = self.lost.map(|lost| lost + lasted);
    }

    /// How long to wait before the next attempt; nothing where it is given up.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let lost = *self.lost.get_or_insert(now);
        if now.duration_since(lost) >= self.give_up_after {
            return None;
        }
        let pause = self.backoff;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
        Some(pause)
    }
}

/// Waits for a person to stop it.
async fn stopped(interrupted: &mut watch::Receiver<bool>) {
    // The sender outlives every transfer.
    let _ = interrupted.wait_for(|stop| *stop).await;
}

/// Between half of it and all of it: many clients of one server do not come back at once.
fn with_jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is whole.
    let share = getrandom::fill(&mut byte).map_or(u32::from(u8::MAX), |()| u32::from(byte[0]));
    pause / 2 + pause * share / (2 * u32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_longer_than_asked_nor_shorter_than_half() {
        for _ in 0..100 {
            let pause = with_jitter(BACKOFF_MAX);
            assert!(pause >= BACKOFF_MAX / 2 && pause <= BACKOFF_MAX);
        }
    }

    #[test]
    fn a_session_that_had_nothing_to_do_is_made_again() {
        let begin = Instant::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut patience = Patience::new(Duration::from_secs(300));
        // After an hour without a byte.
        assert_eq!(patience.pause(at(3600)), Some(BACKOFF_MIN));
        assert!(patience.pause(at(3899)).is_some_and(|pause| pause > BACKOFF_MIN));
        // Up again, for an hour once more.
        patience.was_up(Duration::from_secs(3600));
        assert!(patience.pause(at(7499)).is_some());
        // Those that are lost at once are given up in the end.
        patience.was_up(Duration::from_secs(1));
        assert_eq!(patience.pause(at(7501)), None);
        patience.advance();
        assert_eq!(patience.pause(at(9000)), Some(BACKOFF_MIN));
    }

    #[test]
    fn only_what_the_network_did_is_tried_again() {
        assert!(Code::ConnectionLost.is_lost() && Code::Unreachable.is_lost());
        assert!(!Code::TakenOver.is_lost() && !Code::Integrity.is_lost());
        assert!(!Code::Violation.is_lost() && !Code::Interrupted.is_lost());
    }
}
