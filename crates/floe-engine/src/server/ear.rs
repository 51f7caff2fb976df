//! What a server does about the events of a session: logs them, and keeps stages to one owner.
//!
//! A client that was cut off and came back finds its stage held by its own old session. That one is
//! told to end; the open waits, without holding a thread, until it has let go. A sync that cannot
//! be called back may take a while; past the bound the client is told to come again. So it is with
//! whatever else it would change: what the old session has under way may be of another version,
//! or a link, which has no stage, and would come behind it. What a killed command had on its way
//! may be read only after its next run opened: it gets no stage of that.

use super::Hall;
use super::ledger::{self, Gate, Use};
use super::tally::Card;
use crate::audit::Scribe;
use crate::clock::duration;
use crate::files::Op;
use crate::grant::Deed;
use crate::registry::{Arrival, Claim, Held, Pass, SessionId};
use crate::rules::TreeCaps;
use crate::running::{Listener, Running};
use floe_proto::command::{Command, Event, Summary};
use floe_proto::disk::{CommitWhat, DiskOp, OpenHow};
use floe_proto::frame::{Direction, Request};
use floe_store::{OwnerId, StageKey};
use floe_types::{ByteCount, Code, EntryCount, EntryId, Fault, ObjectPath, OpId, TransferId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The listener of one session.
pub(super) struct Ear {
    hall: Arc<Hall>,
    session: SessionId,
    whose: Whose,
    scribe: Option<Arc<Scribe>>,
    card: Arc<Card>,
    trees: TreeCaps,
    transfers: BTreeMap<TransferId, Transfer>,
    /// Uses that were completed; whoever did not hear of it may come again for them.
    completed: Vec<Use>,
}

/// Whose a session is.
pub(super) struct Whose {
    /// Its stages are found by this.
    pub(super) owner: OwnerId,
    /// The client.
    pub(super) client: [u8; 16],
    /// With what it was let in.
    pub(super) pass: Option<Pass>,
    /// Whoever came later takes over from it.
    pub(super) arrival: Arrival,
}

/// A transfer of a session.
struct Transfer {
    direction: Direction,
    /// What its entries are beneath.
    path: ObjectPath,
    /// What it counts as, where its ticket's uses are counted, and whether it may.
    counted: Option<(Use, Gate)>,
    /// How many entries it has had.
    entries: u64,
    /// Bytes of those that have lines of their own.
    told: ByteCount,
}

impl Ear {
    pub(super) fn new(
        hall: &Arc<Hall>,
        session: SessionId,
        whose: Whose,
        scribe: Option<Arc<Scribe>>,
        card: &Arc<Card>,
    ) -> Self {
        let trees = hall.rules().trees;
        let (hall, card) = (Arc::clone(hall), Arc::clone(card));
        let (transfers, completed) = (BTreeMap::new(), Vec::new());
        Self { hall, session, whose, scribe, card, trees, transfers, completed }
    }

    fn begin(
        &mut self,
        running: &Arc<Running>,
        id: TransferId,
        direction: Direction,
        path: ObjectPath,
    ) {
        self.complete();
        let counted = self.whose.pass.as_ref().and_then(|pass| {
            // As many as there may be now, not when the session began.
            let most = self.hall.roster.uses_now(pass, self.hall.root)?;
            let deed = Deed::new(self.whose.client, direction, &path);
            Some(self.hall.ledger.begin(pass.id, most, deed))
        });
        if let Some((_, gate)) = &counted {
            let (running, gate) = (Arc::clone(running), gate.clone());
            spawn_local(async move {
                if let Err(fault) = ledger::pass(gate).await {
                    cancel(&running, id, fault);
                }
            });
        }
        self.transfers
            .insert(id, Transfer { direction, path, counted, entries: 0, told: ByteCount::ZERO });
    }

    /// Not where nobody answers for the load, nor where each transfer is counted.
    fn takes_probes(&self) -> bool {
        self.whose.pass.as_ref().is_some_and(Pass::takes_probes)
    }

    /// Whether the server takes trees so large and so deep. One that has too many entries is over
    /// with it, and what is too deep only by itself.
    fn check_tree(&mut self, running: &Running, what: &Op) -> Result<(), Fault> {
        match what {
            DiskOp::Open { entry, path, how } => {
                self.count(running, entry.transfer)?;
                match how {
                    OpenHow::Directory(_) => self.trees.check_depth(path),
                    // Directories above it are made with it.
                    OpenHow::Sink(_) => path
                        .split_last()
                        .map_or(Ok(()), |(parent, _)| self.trees.check_depth(&parent)),
                    _ => Ok(()),
                }
            }
            // Links are committed without having been opened.
            DiskOp::Commit { batch, .. } => batch.iter().try_for_each(|one| match one.what {
                CommitWhat::Link { .. } => self.count(running, one.entry.transfer),
                _ => Ok(()),
            }),
            DiskOp::Apply {
                request: Request::MakeDirectory { path } | Request::Rename { to: path, .. },
            } => self.trees.check_depth(path),
            _ => Ok(()),
        }
    }

    /// One more entry of a transfer.
    fn count(&mut self, running: &Running, id: TransferId) -> Result<(), Fault> {
        let Some(transfer) = self.transfers.get_mut(&id) else { return Ok(()) };
        transfer.entries += 1;
        let checked = self.trees.check_count(transfer.entries);
        checked.inspect_err(|fault| cancel(running, id, fault.clone()))
    }

    /// The gates of those transfers that have not opened.
    fn shut_gates(&self, of: impl IntoIterator<Item = TransferId>) -> Vec<Gate> {
        let counted = of.into_iter().filter_map(|id| self.transfers.get(&id)?.counted.as_ref());
        counted.map(|(_, gate)| gate).filter(|gate| !is_open(gate)).cloned().collect()
    }

    /// What an open waits for.
    fn want(&self, entry: EntryId, path: &ObjectPath, how: &OpenHow) -> Want {
        match (how, &self.scribe) {
            (OpenHow::Sink(wish), _) => {
                let owner = self.whose.owner;
                let key = StageKey { path: path.clone(), owner, version: wish.version };
                Want::Claim(entry, key, self.whose.arrival)
            }
            (_, Some(scribe)) if scribe.is_behind() => Want::Lines(Arc::clone(scribe)),
            _ => Want::Nothing,
        }
    }

    /// A transfer ended: whether that was a use.
    fn note_use(&mut self, used: Use, gate: &Gate, result: &Result<(), Fault>, sums: &Summary) {
        // Only where this end found nothing there: what came over is never told by the peer alone.
        let moved = sums.entries_found != EntryCount(0) || sums.bytes_sent != ByteCount::ZERO;
        match result {
            Ok(()) => self.completed.push(used),
            // Some entries failed, and the rest is done.
            Err(fault) if fault.code == Code::Partial => self.completed.push(used),
            // A name that was mistyped is no use.
            Err(fault) if fault.code == Code::NotFound && !moved && is_open(gate) => used.forget(),
            Err(_) => {}
        }
    }

    /// The client went on after what it completed: it knows of it.
    fn complete(&mut self) {
        self.completed.drain(..).for_each(Use::complete);
    }

    /// Leaves the lines of what the disk threads do not see.
    fn write_down(&self, event: &Event) {
        let Some(scribe) = &self.scribe else { return };
        let whole = |entry: &TransferId, path: &ObjectPath| {
            let of = self.transfers.get(entry)?;
            // One that is too long to be joined was refused.
            Some((of.direction, of.path.join_path(path).unwrap_or_else(|_| path.clone())))
        };
        match event {
            Event::EntryFinished { entry, path, object: Some((size, root)) } => {
                if let Some((Direction::Get, path)) = whole(&entry.transfer, path) {
                    scribe.sent(*entry, &path, *size, *root);
                }
            }
            Event::EntryFailed { entry, path, fault } => {
                if let Some((_, path)) = whole(&entry.transfer, path) {
                    scribe.failed(*entry, &path, fault);
                }
            }
            _ => {}
        }
    }
}

impl Ear {
    /// Leaves the line of what a client was sent, and never said that it has.
    fn write_down_broken(&self, id: TransferId, of: &Transfer, sent: ByteCount, fault: &Fault) {
        let more = sent.minus(of.told);
        if let (Some(scribe), Direction::Get) = (&self.scribe, of.direction)
            && more > ByteCount::ZERO
            && fault.code != Code::Partial
        {
            scribe.broken_off((id, &of.path), more, fault);
        }
    }
}

/// What a transfer has not ended of its directories is not its own any more.
fn leave_begun(running: &Running, transfer: TransferId) {
    if running.files.has_begun(transfer) {
        let files = Arc::clone(&running.files);
        running.threads.names.submit(Box::new(move || files.leave_begun(Some(transfer))));
    }
}

impl Listener for Ear {
    fn hear(&mut self, running: &Arc<Running>, event: Event) {
        self.write_down(&event);
        if let Event::EntryFinished { entry, object: Some((size, _)), .. } = &event
            && let Some(of) = self.transfers.get_mut(&entry.transfer)
        {
            of.told = of.told.plus(*size);
        }
        match event {
            Event::TransferBegun { transfer, direction, path } => {
                self.hall.registry.transfer_begins(&self.session);
                self.card.begins(transfer, direction, &path);
                tracing::info!(transfer = transfer.0, ?direction, %path, "transfer begins");
                self.begin(running, transfer, direction, path);
            }
            Event::TransferFinished { transfer, result, summary } => {
                leave_begun(running, transfer);
                self.hall.registry.transfer_ends(&self.session);
                self.hall.tally.ends(&self.card, transfer, &result, &summary);
                let of = self.transfers.remove(&transfer);
                if let (Some(of), Err(fault)) = (&of, &result) {
                    self.write_down_broken(transfer, of, summary.bytes_sent, fault);
                }
                let counted = of.and_then(|of| of.counted);
                if let Some((used, gate)) = counted {
                    self.note_use(used, &gate, &result, &summary);
                }
                let (total, sent) = (summary.bytes_total.0, summary.bytes_sent.0);
                let entries = summary.entries_committed.0;
                match result {
                    Ok(()) => {
                        tracing::info!(
                            transfer = transfer.0,
                            total,
                            sent,
                            entries,
                            "transfer done"
                        );
                    }
                    Err(fault) => {
                        tracing::info!(transfer = transfer.0, total, sent, %fault, "transfer ends");
                    }
                }
            }
            Event::EntryFailed { entry, path, fault } => {
                tracing::info!(transfer = entry.transfer.0, %path, %fault, "entry failed");
            }
            Event::EntrySkipped { path, fault } => tracing::debug!(%path, %fault, "entry skipped"),
            Event::EntryFinished { entry, path, .. } => {
                tracing::debug!(transfer = entry.transfer.0, %path, "entry finished");
            }
            // Servers do not dial and do not ask; the rest is the driver's.
            Event::EntryFound { .. }
            | Event::EntryEnding(_)
            | Event::Receipted(..)
            | Event::Dial
            | Event::Stalled
            | Event::HangUp(_)
            | Event::Replied(..) => {}
            Event::Ended(fault) => {
                let lost = fault.clone().unwrap_or(Fault::new(Code::ConnectionLost, ""));
                for (id, of) in &self.transfers {
                    let sent = running.summary(*id).map_or(ByteCount::ZERO, |sums| sums.bytes_sent);
                    self.write_down_broken(*id, of, sent, &lost);
                }
                if fault.is_none() {
                    self.complete();
                }
            }
        }
    }

    fn admit(&mut self, running: &Arc<Running>, op: OpId, what: Op) -> Option<Op> {
        if let Err(fault) = self.check_tree(running, &what) {
            running.fail_later(op, fault);
            return None;
        }
        let probe = |how: &OpenHow| matches!(how, OpenHow::ProbeSource(_) | OpenHow::ProbeSink);
        let (shut, want) = match &what {
            DiskOp::Open { how, .. } if probe(how) && !self.takes_probes() => {
                running.fail_later(op, Fault::new(Code::NotAllowed, "probe"));
                return None;
            }
            DiskOp::Apply { request: Request::Measure { .. } } if !self.takes_probes() => {
                running.fail_later(op, Fault::new(Code::NotAllowed, "measure"));
                return None;
            }
            DiskOp::Open { entry, path, how } => {
                (self.shut_gates([entry.transfer]), self.want(*entry, path, how))
            }
            // Links are committed without having been opened.
            DiskOp::Commit { batch, .. } => {
                (self.shut_gates(batch.iter().map(|one| one.entry.transfer)), Want::Nothing)
            }
            DiskOp::Apply { request } if changes(request) => (Vec::new(), Want::Nothing),
            _ => return Some(what),
        };
        let before = match &what {
            DiskOp::Open { how: OpenHow::Source(_), .. } => Vec::new(),
            DiskOp::Open { how, .. } if probe(how) => Vec::new(),
            _ => self.hall.registry.left_before(running),
        };
        let mut holder = None;
        match &want {
            Want::Nothing if shut.is_empty() && before.is_empty() => return Some(what),
            Want::Claim(entry, key, _) if shut.is_empty() && before.is_empty() => {
                match self.hall.registry.claim(key, running, self.whose.arrival) {
                    Ok(claim) => {
                        running.files.keep(*entry, Box::new(claim));
                        return Some(what);
                    }
                    Err(held) => holder = Some(held),
                }
            }
            _ => {}
        }
        let (hall, running) = (Arc::clone(&self.hall), Arc::clone(running));
        spawn_local(async move {
            match wait_for(&hall, &running, (shut, before), want, holder).await {
                Ok(()) => running.submit_later(op, what),
                Err(fault) => running.fail_later(op, fault),
            }
        });
        None
    }
}

/// Whether a request changes what stands.
fn changes(request: &Request) -> bool {
    use Request::{MakeDirectory, Remove, Rename};
    matches!(request, Remove { .. } | Rename { .. } | MakeDirectory { .. })
}

/// Ends a transfer; one that is over needs no command.
fn cancel(running: &Running, id: TransferId, fault: Fault) {
    let _ = running.command(Command::Cancel(id, fault));
}

fn is_open(gate: &Gate) -> bool {
    matches!(*gate.borrow(), Some(Ok(())))
}

/// What an operation waits for, beside its ticket's uses.
enum Want {
    Nothing,
    /// That fewer lines wait to be written.
    Lines(Arc<Scribe>),
    /// That the stage of an entry is its own, for a session that came then.
    Claim(EntryId, StageKey, Arrival),
}

/// Waits until all gates have opened, and sessions of before have let go, and then for the rest.
///
/// # Errors
/// What a gate says; `Busy`: it is not to be had, after as long as a peer may be silent.
async fn wait_for(
    hall: &Hall,
    running: &Arc<Running>,
    (shut, before): (Vec<Gate>, Vec<Arc<Running>>),
    want: Want,
    holder: Option<Held>,
) -> Result<(), Fault> {
    for gate in shut {
        ledger::pass(gate).await?;
    }
    let let_go = async {
        for one in before {
            one.released().await;
        }
    };
    if timeout(duration(hall.rules().limits.silence), let_go).await.is_err() {
        let detail = "what an earlier session of this client has under way does not end";
        let busy = Fault::new(Code::Busy, detail);
        tracing::warn!(fault = %busy, "a session ends");
        // All of it, so that it comes again: an entry alone would only fail.
        let _ = running.command(Command::Close(Some(busy.clone())));
        return Err(busy);
    }
    match want {
        Want::Nothing => Ok(()),
        Want::Lines(scribe) => {
            // On a disk that does not answer, not for ever.
            let lines = timeout(duration(hall.rules().limits.silence), scribe.caught_up());
            lines.await.map_err(|_| Fault::new(Code::Busy, "the server's audit log is behind"))
        }
        Want::Claim(entry, key, arrival) => {
            let claim = take_over(hall, (running, arrival), &key, holder).await?;
            running.files.keep(entry, Box::new(claim));
            Ok(())
        }
    }
}

/// Claims a stage: has whoever holds it end, and waits until it is free.
///
/// # Errors
/// `TakenOver`: who holds it came later, and is left alone; `Busy`: it is not free after
/// as long as a peer may be silent.
async fn take_over(
    hall: &Hall,
    (running, arrival): (&Arc<Running>, Arrival),
    key: &StageKey,
    mut holder: Option<Held>,
) -> Result<Claim, Fault> {
    let claimed = timeout(duration(hall.rules().limits.silence), async {
        loop {
            if let Some(held) = holder {
                let taken_over = Fault::new(Code::TakenOver, "");
                if !held.came_later {
                    tracing::info!(path = %key.path, "taking over from an earlier session");
                    held.by.supersede(taken_over);
                } else if held.by.ending().is_none() {
                    tracing::info!(path = %key.path, "a later session has taken over");
                    return Err(taken_over);
                }
                held.by.released().await;
            }
            match hall.registry.claim(key, running, arrival) {
                Ok(claim) => return Ok(claim),
                Err(next) => holder = Some(next),
            }
        }
    });
    claimed.await.unwrap_or_else(|_| {
        tracing::warn!(path = %key.path, "another session does not let go of its stage");
        Err(Fault::new(Code::Busy, "another session still holds the stage"))
    })
}
