//! How a stage comes to be owned: an earlier one of its key is continued, one of another version
//! adopted, or a new one made.
//!
//! A journal is of the staged file whose birth its head names: one that a crash brought back, or
//! left beside another file, means nothing, and neither does a stage without its journal.
//!
//! Adoption in steps, each of which a crash may follow: the new key is owned by an empty file; the
//! records that count are written to a journal of that key and synced with the bytes; that journal
//! gets its name, durably; the staged file takes the place of the empty one, durably, before a byte
//! is written over.

use super::key::Key;
use super::others::{self, Taken};
use super::{Opened, Stage, Stood, remove};
use crate::api::{Basis, Overwrite, Progress, Result, Resume, SinkSpec};
use crate::disk::{Access, Disk, DiskError, DiskResult, Doing};
use crate::journal::{Head, Lineage, Record, SlotIndex};
use crate::local::area::{Berth, STAGE_MODE, name, random};
use crate::local::hole;
use crate::local::ledger::{Continued, FileBytes, Ledger};
use crate::local::recover::{Staged, Trust, trust};
use crate::replay::{Recorded, Survey, survey};
use crate::source::fill;
use floe_types::planted::{self, Bug};
use floe_types::{
    ByteCount, Code, Fault, Freshness, Offset, Range, RangeSet, Subtree, Subtrees, Timestamp,
};
use std::sync::Arc;

/// How often a stage that others move at the same moment is looked for again.
const ATTEMPTS_MAX: u32 = 16;
/// So many stages of other versions are looked at.
const OTHERS_MAX: usize = 16;
const FLUSH_BYTES: usize = 64 << 10;

/// Opens the stage of `spec`, whose final name is shown so: continued, adopted, or new.
pub(in crate::local) fn open<D: Disk>(
    disk: &Arc<D>,
    berth: Berth<D>,
    (spec, shown): (&SinkSpec, &str),
    progress: Progress<'_>,
) -> Result<Opened<D>> {
    let claim = Claim { disk, berth: &berth, spec, shown, key: Key::of(spec), progress };
    let (files, have, basis) = claim.files()?;
    let room = claim.room(&files.0, &have);
    let key = claim.key;
    let stage = Stage::new(disk, berth, (spec, shown), key, files);
    if room == Room::TooLittle {
        if have.is_empty() {
            stage.discard()?;
        }
        return Err(Fault::new(Code::NoSpace, format!("stage {shown}")));
    }
    Ok(Opened { stage, have, basis })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    Enough,
    TooLittle,
}

type Files<D> = (<D as Disk>::Handle, Ledger<D>);
type Held<D> = (Files<D>, Vec<Subtree>, Basis);

struct Claim<'a, D: Disk> {
    disk: &'a Arc<D>,
    berth: &'a Berth<D>,
    spec: &'a SinkSpec,
    /// The final name, in quotes.
    shown: &'a str,
    key: Key,
    progress: Progress<'a>,
}

impl<D: Disk> Claim<'_, D> {
    fn files(&self) -> Result<Held<D>> {
        let (file, stood) = self.own()?;
        if self.spec.resume == Resume::Discard {
            self.remove_others()?;
            return self.start(file, stood);
        }
        let journal = match stood {
            Stood::There => self.journal_of(&self.key, &file)?,
            Stood::Not => None,
        };
        match journal {
            Some((journal, survey)) if survey.head.version == self.spec.version => {
                self.resume(file, journal, &survey)
            }
            Some(_) => self.start(file, stood),
            None => match self.adopt()? {
                Some(held) => Ok(held),
                None => self.start(file, stood),
            },
        }
    }

    /// The staged file of this key, made where there is none.
    fn own(&self) -> Result<(D::Handle, Stood)> {
        for _ in 0..ATTEMPTS_MAX {
            match self.take(&self.key).doing(self.doing())? {
                Taken::HeldElsewhere => break,
                Taken::Ours(file) => return Ok((file, Stood::There)),
                Taken::Missing => {}
            }
            if let Some(file) = self.create().doing(self.doing())? {
                return Ok((file, Stood::Not));
            }
        }
        Err(Fault::new(Code::AlreadyRunning, self.doing()))
    }

    /// Whether the file system has room for what is missing, asked before any of it is set aside.
    fn room(&self, file: &D::Handle, have: &[Subtree]) -> Room {
        let Some(size) = self.spec.size else { return Room::Enough };
        let size = size.minus(self.spec.holes);
        let keep = self.berth.reserve().keep();
        let recorded = || have.iter().map(|subtree| subtree.range.len().0).sum::<u64>();
        // What is recorded of holes takes no space.
        let data = (self.spec.holes > ByteCount::ZERO && !have.is_empty())
            .then(|| hole::data_in(&**self.disk, file))
            .flatten();
        // No record shows what an earlier run has set aside.
        let allocated = self.disk.stat(file).map_or(0, |stat| stat.allocated.0);
        let held = data.map_or_else(recorded, |data| data.0).max(allocated).min(size.0);
        if held >= size.0 {
            return Room::Enough; // nothing is missing, however little is free
        }
        match self.disk.free_space(&self.berth.handle) {
            Ok(free) if free.plus(ByteCount(held)) < size.plus(keep) => Room::TooLittle,
            _ => Room::Enough,
        }
    }

    fn doing(&self) -> String {
        format!("stage {}", self.shown)
    }

    fn take(&self, key: &Key) -> DiskResult<Taken<D::Handle>> {
        others::take(&**self.disk, &self.berth.handle, key)
    }

    fn create(&self) -> DiskResult<Option<D::Handle>> {
        others::settle(&**self.disk, &self.berth.handle, &self.key)?;
        others::create(&**self.disk, &self.berth.handle, &self.key)
    }

    /// Begins with nothing, in a stage that stood or a new one.
    fn start(&self, file: D::Handle, stage: Stood) -> Result<Held<D>> {
        let head = self.head(Lineage::Own, self.spec.freshness, &file)?;
        let old =
            remove(&**self.disk, &self.berth.handle, &self.key.journal()).doing(self.doing())?;
        if [stage, old].contains(&Stood::There) || head.birth.is_none() {
            // Durably: after a power loss the old journal would speak of the new bytes.
            self.berth.sync_names()?;
        }
        let begin = || {
            remove(&**self.disk, &self.berth.handle, &self.key.rewrite())?;
            if self.disk.stat(&file)?.size > ByteCount::ZERO {
                self.disk.truncate(&file, ByteCount::ZERO)?;
            }
            let journal = self.key.journal();
            let journal = self.disk.create_file(&self.berth.handle, name(&journal)?, STAGE_MODE)?;
            let (bytes, binding) = head.encode();
            self.disk.write_at(&journal, Offset::ZERO, &bytes)?;
            Ok((journal, binding))
        };
        let (journal, binding) = begin().doing(self.doing())?;
        let at = Continued { next: SlotIndex(0), recorded: RangeSet::new() };
        let ledger = Ledger::new(Arc::clone(self.disk), journal, binding, at);
        Ok(((file, ledger), Vec::new(), self.basis(&head)))
    }

    fn resume(&self, file: D::Handle, journal: D::Handle, survey: &Survey) -> Result<Held<D>> {
        match trust(survey, self.berth.epoch) {
            Trust::All => self.go_on(file, journal, survey),
            trust => {
                let head = self.head(survey.head.lineage, survey.head.freshness, &file)?;
                let old = Old { key: &self.key, file: &file, journal: &journal, survey };
                let (ledger, have) = self.rewrite(&old, &head, trust)?;
                self.berth.sync_names()?;
                Ok(((file, ledger), have, self.basis(&head)))
            }
        }
    }

    /// Continues an earlier stage whose every record counts. First the names: it may have been
    /// taken over from another version by who died before that was durable, and what is written
    /// over now would be that version's after a power loss.
    fn go_on(&self, file: D::Handle, journal: D::Handle, survey: &Survey) -> Result<Held<D>> {
        self.berth.sync_names()?;
        let basis = self.basis(&survey.head);
        let mut have = Have::new(basis);
        let bytes = FileBytes { disk: &**self.disk, file: &journal };
        let dropped = self.staged(&file)?.recover(&bytes, survey, Trust::All, &mut |recorded| {
            have.add(recorded);
            Ok(())
        })?;
        let end = ByteCount(survey.binding.offset(survey.end).0);
        if self.disk.stat(&journal).doing(self.doing())?.size > end {
            self.disk.truncate(&journal, end).doing(self.doing())?;
        }
        self.confirm(&journal, survey).doing(self.doing())?;
        let (have, recorded) = have.finish();
        let at = Continued { next: survey.end, recorded };
        let ledger = Ledger::new(Arc::clone(self.disk), journal, survey.binding, at);
        for range in dropped.iter() {
            ledger.forget(range).doing(self.doing())?;
        }
        Ok(((file, ledger), have, basis))
    }

    /// Makes a journal that is continued durable: a chunk that its last process forgot may be
    /// written over from now on. Slots that a failed sync may have left clean are written again.
    fn confirm(&self, journal: &D::Handle, survey: &Survey) -> DiskResult<()> {
        let mut at = if survey.firm == SlotIndex(0) {
            Offset::ZERO
        } else {
            survey.binding.offset(survey.firm)
        };
        let (end, mut buffer) = (survey.binding.offset(survey.end), vec![0; FLUSH_BYTES]);
        while at < end {
            let rest = Range::new(at, end).len().to_len().unwrap_or(FLUSH_BYTES).min(FLUSH_BYTES);
            let read = |at, into: &mut [u8]| self.disk.read_at(journal, at, into).map(Some);
            let count = fill(at, &mut buffer[..rest], read)?.unwrap_or(0);
            if count == 0 {
                return Err(DiskError::new(Code::Io));
            }
            self.disk.write_at(journal, at, &buffer[..count])?;
            at = at.plus(ByteCount::of_len(count));
        }
        self.disk.sync_data(journal)
    }

    /// Takes over the stage of another version of the same source.
    fn adopt(&self) -> Result<Option<Held<D>>> {
        let mut adopted = None;
        for key in self.others().doing(self.doing())? {
            let Taken::Ours(file) = self.take(&key).doing(self.doing())? else { continue };
            let journal = self.journal_of(&key, &file)?;
            if let (None, Some((journal, survey))) = (&adopted, journal) {
                let old = Old { key: &key, file: &file, journal: &journal, survey: &survey };
                let (ledger, have) = self.take_over(&old)?;
                let taken = planted::is(Bug::ResumeOntoAChangedSource);
                let basis = if taken { Basis::Version } else { Basis::Content };
                adopted = Some(((file, ledger), have, basis));
            } else {
                self.remove_stage(&key).doing(self.doing())?;
            }
        }
        Ok(adopted)
    }

    /// Its file takes the place of the one that owns the key.
    fn take_over(&self, old: &Old<'_, D>) -> Result<(Ledger<D>, Vec<Subtree>)> {
        let head = self.head(Lineage::Adopted, self.spec.freshness, old.file)?;
        let written = self.rewrite(old, &head, trust(old.survey, self.berth.epoch))?;
        // The journal first, for good: one of an earlier life of this file, or none, would stand
        // beside it where a power loss keeps the second name alone.
        self.berth.sync_names()?;
        let (from, to) = (old.key.stage(), self.key.stage());
        let rename = || {
            let area = &self.berth.handle;
            self.disk.rename((area, name(&from)?), (area, name(&to)?), Overwrite::Allowed)
        };
        rename().doing(self.doing())?;
        self.berth.sync_names()?;
        // Owned first: somebody else may begin that version again.
        others::remove(&**self.disk, &self.berth.handle, old.key).doing(self.doing())?;
        Ok(written)
    }

    /// Writes the records that count to a new journal of this key, with bytes and journal synced.
    fn rewrite(
        &self,
        old: &Old<'_, D>,
        head: &Head,
        trust: Trust,
    ) -> Result<(Ledger<D>, Vec<Subtree>)> {
        let (bytes, binding) = head.encode();
        let rewrite = self.key.rewrite();
        let create = || {
            remove(&**self.disk, &self.berth.handle, &rewrite)?;
            self.disk.create_file(&self.berth.handle, name(&rewrite)?, STAGE_MODE)
        };
        let journal = create().doing(self.doing())?;
        let mut have = Have::new(self.basis(head));
        let (mut next, mut at, mut waiting) = (SlotIndex(0), Offset::ZERO, bytes);
        let mut flush = |waiting: &mut Vec<u8>| {
            self.disk.write_at(&journal, at, waiting).doing(self.doing())?;
            at = at.plus(ByteCount::of_len(waiting.len()));
            waiting.clear();
            Ok(())
        };
        let read = FileBytes { disk: &**self.disk, file: old.journal };
        self.staged(old.file)?.recover(&read, old.survey, trust, &mut |recorded| {
            have.add(recorded);
            let record = Record::Chunk(recorded.range, recorded.digest);
            waiting.extend_from_slice(&binding.encode(next, &record));
            next.0 += 1;
            if waiting.len() >= FLUSH_BYTES { flush(&mut waiting) } else { Ok(()) }
        })?;
        waiting.extend_from_slice(&binding.encode(next, &Record::Checkpoint(next)));
        flush(&mut waiting)?;
        let finish = || {
            // If this sync fails, whoever comes next must know that it was begun.
            let slot = old.survey.binding.encode(old.survey.end, &Record::Syncing);
            self.disk.write_at(old.journal, old.survey.binding.offset(old.survey.end), &slot)?;
            self.disk.sync_data(old.file)?;
            self.disk.sync_file(&journal)?;
            let area = &self.berth.handle;
            let to = self.key.journal();
            self.disk.rename((area, name(&rewrite)?), (area, name(&to)?), Overwrite::Allowed)
        };
        finish().doing(self.doing())?;
        let (have, recorded) = have.finish();
        let at = Continued { next: SlotIndex(next.0 + 1), recorded };
        Ok((Ledger::new(Arc::clone(self.disk), journal, binding, at), have))
    }

    /// The journal of a key, if it reads and is of this path and owner, and of this staged file.
    fn journal_of(&self, key: &Key, of: &D::Handle) -> Result<Option<(D::Handle, Survey)>> {
        let journal = key.journal();
        let open = || self.disk.open_file(&self.berth.handle, name(&journal)?, Access::ReadWrite);
        let file = match open() {
            Err(error) if error.code() == Code::NotFound => return Ok(None),
            answer => answer.doing(self.doing())?,
        };
        let survey = survey(&FileBytes { disk: &**self.disk, file: &file })?;
        let stat = self.disk.stat(of).doing(self.doing())?;
        let ours = |survey: &Survey| {
            let head = &survey.head;
            let same = match (head.birth, stat.birth) {
                (Some(written), Some(now)) => written == now,
                // An empty file may own the key alone, while another is on its way there.
                _ => stat.size > ByteCount::ZERO,
            };
            same && head.path == self.spec.path && head.owner == self.spec.owner
        };
        Ok(survey.filter(ours).map(|survey| (file, survey)))
    }

    fn others(&self) -> DiskResult<Vec<Key>> {
        let other =
            |file: &[u8]| Key::of_file(file).filter(|key| key.is_other_version_of(&self.key));
        others::keys(&**self.disk, &self.berth.handle, OTHERS_MAX, other)
    }

    fn remove_others(&self) -> Result<()> {
        let remove = || {
            self.others()?
                .iter()
                .try_for_each(|key| others::remove(&**self.disk, &self.berth.handle, key))
        };
        remove().doing(self.doing())
    }

    fn remove_stage(&self, key: &Key) -> DiskResult<()> {
        others::remove_files(&**self.disk, &self.berth.handle, key)
    }

    fn staged<'b>(&'b self, file: &'b D::Handle) -> Result<Staged<'b, D>> {
        let size = self.disk.stat(file).doing(self.doing())?.size;
        let (object, progress) = (self.spec.size, self.progress);
        let reserve = self.berth.reserve();
        Ok(Staged { disk: &**self.disk, file, size, object, reserve, progress })
    }

    fn birth(&self, file: &D::Handle) -> Result<Option<Timestamp>> {
        Ok(self.disk.stat(file).doing(self.doing())?.birth)
    }

    fn head(&self, lineage: Lineage, freshness: Freshness, file: &D::Handle) -> Result<Head> {
        Ok(Head {
            id: random().doing(self.doing())?,
            epoch: self.berth.epoch,
            path: self.spec.path.clone(),
            owner: self.spec.owner,
            size: self.spec.size,
            version: self.spec.version,
            freshness,
            lineage,
            birth: self.birth(file)?,
        })
    }

    /// What records under this head rest on.
    fn basis(&self, head: &Head) -> Basis {
        let settled = [head.freshness, self.spec.freshness] == [Freshness::Settled; 2];
        let same = head.version.is_some() && head.version == self.spec.version;
        if settled && same && head.lineage == Lineage::Own {
            Basis::Version
        } else {
            Basis::Content
        }
    }
}

/// A stage that is about to be taken up.
struct Old<'a, D: Disk> {
    key: &'a Key,
    file: &'a D::Handle,
    journal: &'a D::Handle,
    survey: &'a Survey,
}

/// What a stage holds, as the other end is told.
enum Have {
    Merged(Subtrees, RangeSet),
    Chunks(Vec<Subtree>),
}

impl Have {
    fn new(basis: Basis) -> Self {
        match basis {
            Basis::Version => Self::Merged(Subtrees::new(), RangeSet::new()),
            Basis::Content => Self::Chunks(Vec::new()),
        }
    }

    fn add(&mut self, recorded: Recorded) {
        let subtree = Subtree { range: recorded.range, digest: recorded.digest };
        match self {
            Self::Merged(subtrees, ranges) => {
                if subtrees.insert(subtree) {
                    ranges.insert(recorded.range);
                }
            }
            Self::Chunks(chunks) => chunks.push(subtree),
        }
    }

    fn finish(self) -> (Vec<Subtree>, RangeSet) {
        match self {
            Self::Merged(subtrees, ranges) => (subtrees.iter().collect(), ranges),
            Self::Chunks(mut chunks) => {
                chunks.sort_by_key(|subtree| subtree.range);
                let mut ranges = RangeSet::new();
                chunks.iter().for_each(|subtree| ranges.insert(subtree.range));
                (chunks, ranges)
            }
        }
    }
}
