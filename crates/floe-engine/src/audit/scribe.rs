//! One session's hand in the log: who it is stands in each of its lines.
//!
//! What changes a file or a name goes in three steps, on a disk thread: room, the deed, its line,
//! durably. Only then the client is told that it is done.

use super::Audit;
use super::clerk::Promise;
use super::line::{Draft, Record, now};
use crate::ticket::TicketId;
use floe_proto::disk::{CommitOp, CommitWhat};
use floe_proto::frame::Request;
use floe_types::{ByteCount, EntryId, Escaped, Fault, ObjectPath, Root, TransferId};
use std::net::SocketAddr;
use std::sync::Arc;

/// Who a session is to the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// Its id.
    pub session: [u8; 16],
    /// Its ticket's name and id; nothing of an anonymous one.
    pub ticket: Option<(String, TicketId)>,
    /// Where its first connection came from.
    pub client: SocketAddr,
    /// What it sees as the root, beneath the served directory.
    pub prefix: ObjectPath,
}

/// Writes one session's lines.
pub struct Scribe {
    audit: Arc<Audit>,
    /// What stands in each of them.
    said: Record,
    prefix: ObjectPath,
}

/// Room for lines of what is about to be done.
pub struct Room(Promise);

/// What is about to be done, and its line if that ends well.
pub struct Deed {
    record: Record,
    done: Draft,
}

impl Deed {
    fn of(record: Record) -> Self {
        Self { done: record.draft(), record }
    }

    /// The most that its line can take.
    fn bytes_max(&self) -> u64 {
        self.done.bytes_max() + RESULT_BYTES
    }

    fn ended(self, result: &Result<(), Fault>) -> Draft {
        match result {
            Ok(()) => self.done,
            Err(_) => self.record.ending(result).draft(),
        }
    }
}

impl Scribe {
    /// A session begins: its first line is left.
    pub(crate) fn begin(audit: &Arc<Audit>, who: Who, agent: &str) -> Self {
        audit.present.send_modify(|present| *present += 1);
        let ticket = who.ticket.as_ref();
        let said = Record {
            session: Some(data_encoding::HEXLOWER.encode(&who.session).into()),
            ticket: ticket.map(|(name, _)| Escaped(name.as_bytes()).to_string().into()),
            ticket_id: ticket.map(|(_, id)| id.to_string().into()),
            client: Some(who.client.to_string().into()),
            ..Record::default()
        };
        let scribe = Self { audit: Arc::clone(audit), said, prefix: who.prefix };
        scribe.note(Record { about: Some(agent.to_owned()), ..scribe.record("begin") });
        scribe
    }

    /// It ended. To be called once.
    pub(crate) fn end(&self, result: &Result<(), Fault>) {
        self.note(self.record("end").ending(result));
        self.audit.present.send_modify(|present| *present -= 1);
    }

    fn record(&self, event: &str) -> Record {
        self.record_at(&now(), event)
    }

    fn record_at(&self, time: &Arc<str>, event: &str) -> Record {
        let Record { session, ticket, ticket_id, client, .. } = self.said.clone();
        Record { session, ticket, ticket_id, client, ..Record::at(time, event) }
    }

    /// A path of the session's as one beneath the served directory.
    fn path(&self, path: &ObjectPath) -> Option<String> {
        // One that is too long to be joined was refused by the store.
        Some(self.prefix.join_path(path).unwrap_or_else(|_| path.clone()).to_string())
    }

    fn of(&self, record: Record, transfer: TransferId, path: &ObjectPath) -> Record {
        Record { transfer: Some(transfer.0), path: self.path(path), ..record }
    }

    fn note(&self, record: Record) {
        self.audit.desk.note(record.draft());
    }

    /// Whether there is room for anything at all: refuses early what would fail at its end.
    ///
    /// # Errors
    /// `NoSpace` and the like.
    pub(crate) fn may_write(&self) -> Result<(), Fault> {
        self.audit.may_write()
    }

    /// Room for the lines of a batch of commits.
    ///
    /// # Errors
    /// `NoSpace` and the like: then nothing of it must be committed.
    pub(crate) fn before_commit(&self, batch: &[CommitOp]) -> Result<(Room, Vec<Deed>), Fault> {
        let time = now();
        let deeds: Vec<Deed> = batch.iter().map(|op| Deed::of(self.commit(op, &time))).collect();
        Ok((self.room(&deeds)?, deeds))
    }

    /// Has the lines of a batch written, durably.
    ///
    /// # Errors
    /// The system's: then nobody may be told that it is committed.
    pub(crate) fn committed<'a>(
        &self,
        (room, deeds): (Room, Vec<Deed>),
        results: impl IntoIterator<Item = &'a Result<(), Fault>>,
    ) -> Result<(), Fault> {
        let lines = deeds.into_iter().zip(results);
        self.write(room, lines.map(|(deed, result)| deed.ended(result)).collect())
    }

    /// Room for the line of a request that changes names, if it does.
    ///
    /// # Errors
    /// `NoSpace` and the like: then it must not be done.
    pub(crate) fn before_request(&self, request: &Request) -> Result<Option<(Room, Deed)>, Fault> {
        let (event, path, to) = match request {
            Request::Remove { path, .. } => ("remove", path, None),
            Request::Rename { from, to, .. } => ("rename", from, self.path(to)),
            Request::MakeDirectory { path } => ("mkdir", path, None),
            Request::List { .. } | Request::Stat { .. } | Request::Measure { .. } => {
                return Ok(None);
            }
        };
        let deed = Deed::of(Record { path: self.path(path), to, ..self.record(event) });
        let room = self.room(std::slice::from_ref(&deed))?;
        Ok(Some((room, deed)))
    }

    /// Has the line of a request written, durably.
    ///
    /// # Errors
    /// As `committed`.
    pub(crate) fn requested(
        &self,
        (room, deed): (Room, Deed),
        result: &Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.write(room, vec![deed.ended(result)])
    }

    /// An object was sent, and the client says that it has it whole.
    pub(crate) fn sent(&self, entry: EntryId, path: &ObjectPath, size: ByteCount, root: Root) {
        let record = self.of(self.record("send"), entry.transfer, path);
        self.note(Record { size: Some(size.0), root: Some(root.to_string()), ..record });
    }

    /// A transfer whose client took so many bytes ended before it said that it has them.
    pub(crate) fn broken_off(
        &self,
        (transfer, path): (TransferId, &ObjectPath),
        sent: ByteCount,
        fault: &Fault,
    ) {
        let record = self.of(self.record("fail"), transfer, path);
        self.note(Record { size: Some(sent.0), ..record }.ending(&Err(fault.clone())));
    }

    /// An entry of a transfer failed.
    pub(crate) fn failed(&self, entry: EntryId, path: &ObjectPath, fault: &Fault) {
        self.note(self.of(self.record("fail"), entry.transfer, path).ending(&Err(fault.clone())));
    }

    /// Whether lines pile up: whoever causes more should wait for `caught_up`.
    pub(crate) fn is_behind(&self) -> bool {
        self.audit.desk.is_behind()
    }

    /// Waits until they do not.
    pub(crate) async fn caught_up(&self) {
        self.audit.desk.caught_up().await;
    }

    fn commit(&self, op: &CommitOp, time: &Arc<str>) -> Record {
        let of = |event| self.of(self.record_at(time, event), op.entry.transfer, &op.path);
        match &op.what {
            CommitWhat::Object { size, root } => {
                Record { size: Some(size.0), root: Some(root.to_string()), ..of("commit") }
            }
            CommitWhat::Link { target, .. } => {
                Record { to: Some(Escaped(target).to_string()), ..of("link") }
            }
            CommitWhat::Directory { .. } => of("directory"),
        }
    }

    fn room(&self, deeds: &[Deed]) -> Result<Room, Fault> {
        self.audit.desk.promise(deeds.iter().map(Deed::bytes_max).sum()).map(Room)
    }

    fn write(&self, room: Room, drafts: Vec<Draft>) -> Result<(), Fault> {
        let written = self.audit.desk.write(drafts);
        // Until here the room was kept.
        drop(room.0);
        written
    }
}

/// What a result can add to a line.
const RESULT_BYTES: u64 = 128;
/// What the lines of a small transfer take.
pub(super) const BYTES_MIN: u64 = 64 << 10;
