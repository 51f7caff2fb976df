//! Opens entries: sources, stages, directories, standard input and output.

use super::short::ShortSink;
use super::{Done, Files, Handle, LocalEnd, wrong_kind};
use crate::descriptors::Slot;
use floe_proto::disk::{Followed, Journal, OpenHow, Opened, Reread, SinkWish, Standing};
use floe_proto::frame::{Basis, EntryBody, RecogniseWish, ResumeWish};
use floe_store::{
    Begun, Follow, Journaling, OpenedEntry, OpenedSink, Progress, Recognise, Resume, SinkSpec,
};
use floe_types::{
    ByteCount, Code, EntryId, Fault, Freshness, Metadata, Mode, ObjectPath, Precondition, Subtree,
    Timestamp,
};
use std::sync::Arc;

impl Files {
    pub(super) fn open(
        &self,
        entry: EntryId,
        path: &ObjectPath,
        how: &OpenHow,
        slot: Slot,
        working: Progress<'_>,
    ) -> Result<Done, Fault> {
        if let (OpenHow::Sink(_) | OpenHow::Directory(_), Some(scribe)) = (how, &self.scribe) {
            scribe.may_write()?;
        }
        let opened = match (how, self.end(entry.transfer)?) {
            (OpenHow::ProbeSource(size), _) => self.open_probe_source(entry, *size),
            (OpenHow::ProbeSink, _) => self.open_probe_sink(entry),
            (OpenHow::Source(followed), LocalEnd::Store(store)) => {
                let follow = match followed {
                    Followed::Named => Follow::Yes,
                    Followed::Found => Follow::No,
                };
                self.opened_source(entry, store.open(path, follow)?, slot)
            }
            (OpenHow::Source(_), LocalEnd::Input(input)) => {
                let opened = opened_input(input.began(), input.spent());
                self.open.add(entry, Handle::Input(input), Some(slot));
                opened
            }
            (OpenHow::Sink(wish), LocalEnd::Store(store)) => {
                let spec = || self.spec(path.clone(), wish.clone());
                let open = || store.open_sink(spec(), working);
                let opened = self.insist(open(), (entry.transfer, path, &*store), open)?;
                self.opened_sink(entry, opened, wish.size, slot)
            }
            (OpenHow::Sink(wish), LocalEnd::Output(output)) => {
                let opened = output.open(wish.version, wish.freshness)?;
                self.open.add(entry, Handle::Output(output), Some(slot));
                let basis = if opened.trusted { Basis::Version } else { Basis::Content };
                Opened::Sink { have: opened.have, basis, finished: None }
            }
            (OpenHow::Directory(precondition), LocalEnd::Store(store)) => {
                if self.is_deserted() {
                    // The next session may have ended it by now.
                    return Err(Fault::new(Code::ConnectionLost, "whoever asked is gone"));
                }
                let begin = || store.begin_directory(path, *precondition);
                let begun = self.insist(begin(), (entry.transfer, path, &*store), begin)?;
                // What stands and must not be replaced is not lent, and stays as it is.
                if (begun, *precondition) != (Begun::Stood, Precondition::Absent) {
                    self.begun.add(entry.transfer, path);
                }
                if self.is_deserted() {
                    // It may have been stuck in there for so long.
                    self.leave_begun(Some(entry.transfer));
                }
                Opened::Directory(match begun {
                    Begun::Made => Standing::Made,
                    Begun::Stood => Standing::Stood,
                })
            }
            (OpenHow::Directory(_), _) => {
                let what = "write a directory to standard output";
                return Err(Fault::new(Code::IsDirectory, what));
            }
            (OpenHow::Source(_), LocalEnd::Output(_)) | (OpenHow::Sink(_), LocalEnd::Input(_)) => {
                return Err(wrong_kind(entry));
            }
        };
        Ok(Done::Opened(opened))
    }

    fn opened_source(&self, entry: EntryId, opened: OpenedEntry, slot: Slot) -> Opened {
        let reread = Reread::Yes;
        match opened {
            OpenedEntry::File { source, version, freshness, metadata } => {
                let holes = source.holes();
                match self.prefetch.read(&*source, version, &self.pool) {
                    Some(short) => self.open.add(entry, Handle::Short(Arc::new(short)), None),
                    None => self.open.add(entry, Handle::Source(source), Some(slot)),
                }
                let size = version.map(|version| version.size);
                let told = ByteCount::ZERO;
                let body = EntryBody::File { size, holes: told, version, freshness, metadata };
                Opened::Source { body, metadata, reread, holes }
            }
            OpenedEntry::Directory { metadata } => {
                let (body, holes) = (EntryBody::Directory, Vec::new());
                Opened::Source { body, metadata, reread, holes }
            }
            OpenedEntry::Link { target, metadata } => {
                let (body, holes) = (EntryBody::Link { target, metadata }, Vec::new());
                Opened::Source { body, metadata, reread, holes }
            }
        }
    }

    fn spec(&self, path: ObjectPath, wish: SinkWish) -> SinkSpec {
        SinkSpec {
            path,
            owner: self.owner,
            size: wish.size,
            holes: wish.holes,
            version: wish.version,
            freshness: wish.freshness,
            metadata: wish.metadata,
            precondition: wish.precondition,
            resume: match wish.resume {
                ResumeWish::Continue => Resume::Continue,
                ResumeWish::Discard => Resume::Discard,
            },
            recognise: match wish.recognise {
                RecogniseWish::ByVersion => Recognise::ByVersion,
                RecogniseWish::ByContent => Recognise::ByContent,
            },
            journaling: match wish.journal {
                Journal::Kept => Journaling::Journal,
                Journal::None => Journaling::None,
            },
        }
    }

    fn opened_sink(
        &self,
        entry: EntryId,
        opened: OpenedSink,
        size: Option<ByteCount>,
        slot: Slot,
    ) -> Opened {
        let handle = |sink| match ShortSink::of(sink, size, &self.held, &self.pool) {
            Ok(short) => Handle::ShortSink(Arc::new(short)),
            Err(sink) => Handle::Sink(sink),
        };
        let told = |basis| match basis {
            floe_store::Basis::Version => Basis::Version,
            floe_store::Basis::Content => Basis::Content,
        };
        match opened {
            OpenedSink::Staged { sink, have, basis } => {
                self.open.add(entry, handle(sink), Some(slot));
                Opened::Sink { have, basis: told(basis), finished: None }
            }
            OpenedSink::Finished { root, basis, sink } => {
                self.open.add(entry, handle(sink), Some(slot));
                Opened::Sink { have: Vec::new(), basis: told(basis), finished: Some(root) }
            }
        }
    }
}

/// Standard input as an entry: a file of unknown size, made now, for its owner to read and write.
fn opened_input(mtime: Timestamp, spent: Vec<Subtree>) -> Opened {
    let metadata = Metadata { mode: Mode::from_bits(0o644), mtime };
    let freshness = Freshness::Fresh;
    let holes = ByteCount::ZERO;
    let body = EntryBody::File { size: None, holes, version: None, freshness, metadata };
    Opened::Source { body, metadata, reread: Reread::No { spent }, holes: Vec::new() }
}
