//! A stage on a simulated disk, left by a process that died, whose journal is replaced.
//!
//! Five chunks: 0 to 3 are written and recorded, 0 and 1 below a checkpoint; then bytes of 1 and 3
//! rot. Where another boot follows, records are trusted as far as the last checkpoint covers them;
//! where the process was killed only, all records of a sound journal are.

use floe_store::disk::{Access, Disk, Name};
use floe_store::local::LocalStore;
use floe_store::replay::{Condition, Survey};
use floe_store::simulated::{SimulatedDisk, SimulatedHandle};
use floe_store::{Journaling, OpenedSink, OwnerId, Recognise, Resume, Sink, SinkSpec, Store};
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, Freshness, Metadata, Mode, ObjectPath, Offset,
    Precondition, Range, SourceVersion, Subtree, Timestamp,
};

const GRAIN: u64 = 256 << 10;
const CHUNKS: u64 = 5;
const ROTTEN: [u64; 2] = [1, 3];

/// What came between the process that left the stage and the one that opens it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boot {
    /// The machine began again.
    Another,
    /// Nothing: the process was killed.
    TheSame,
}

/// A stage as it was left, and its sound journal.
struct Left {
    disk: SimulatedDisk,
    journal: Vec<u8>,
    /// The bytes of the stage.
    bytes: Vec<u8>,
}

thread_local! {
    static LEFT: Left = leave().unwrap_or_else(|why| panic!("a sound stage: {why}"));
}

/// The journal as it was left.
pub fn sound_journal() -> Vec<u8> {
    LEFT.with(|left| left.journal.clone())
}

/// What a range of the stage hashes to, if it has all of its bytes.
pub fn digest(range: Range) -> Option<ChunkDigest> {
    if !Subtree::is_aligned(range) {
        return None; // no subtree, and so no chunk, is there
    }
    LEFT.with(|left| {
        let bytes =
            left.bytes.get(range.start().0.try_into().ok()?..range.end().0.try_into().ok()?);
        let mut hasher = ChunkHasher::new(range.start());
        hasher.update(bytes?);
        hasher.finish()
    })
}

/// Opens the stage with another journal; nothing is held that it may not hold.
pub fn check(journal: &[u8], survey: &Survey, boot: Boot) {
    let disk = LEFT.with(|left| match boot {
        Boot::Another => left.disk.copy(),
        Boot::TheSame => left.disk.twin(),
    });
    let trusts_all = boot == Boot::TheSame && survey.condition == Condition::Sound;
    replace(&disk, journal).unwrap_or_else(|why| panic!("replace the journal: {why:?}"));
    let store = LocalStore::new(disk).unwrap_or_else(|why| panic!("open the store: {why}"));
    let opened = store.open_sink(spec(), &|_, _| {});
    let OpenedSink::Staged { sink, have, .. } = opened.unwrap_or_else(|why| panic!("stage: {why}"))
    else {
        panic!("nothing is finished")
    };
    let Some(plain) = super::plain::read(journal) else { panic!("it was read before") };
    for subtree in &have {
        let (start, end) = (subtree.range.start().0, subtree.range.end().0);
        assert!(end <= CHUNKS * GRAIN, "{subtree:?} is beyond the object");
        let mut at = start;
        while at < end {
            let record = plain.counted.iter().find(|one| one.range.start().0 == at);
            let Some(record) = record else {
                panic!("no record of {at} in {subtree:?}: {plain:?}")
            };
            let covered = record.slot < survey.covered && survey.condition != Condition::Damaged;
            let true_now = digest(record.range) == Some(record.digest);
            assert!(
                covered || true_now || trusts_all,
                "{record:?} is held, and its bytes are others"
            );
            at = record.range.end().0;
        }
        assert_eq!(at, end, "{subtree:?} ends within a record");
    }
    // What is missing can be written: whatever the journal said, the stage goes on.
    let missing = (0..CHUNKS).find(|nth| {
        let chunk = Range::new(Offset(nth * GRAIN), Offset((nth + 1) * GRAIN));
        have.iter().all(|subtree| subtree.range.intersect(chunk).is_empty())
    });
    if let Some(nth) = missing {
        let written = write(&*sink, nth).and_then(|()| sink.checkpoint());
        assert!(written.is_ok(), "the stage does not go on: {written:?}");
    }
}

fn leave() -> floe_store::Result<Left> {
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone())?;
    let OpenedSink::Staged { sink, .. } = store.open_sink(spec(), &|_, _| {})? else {
        panic!("nothing stands there")
    };
    write(&*sink, 0)?;
    write(&*sink, 1)?;
    sink.checkpoint()?;
    write(&*sink, 2)?;
    write(&*sink, 3)?;
    drop((sink, store));
    let left = past_the_store(&disk, b".stage").and_then(|stage| {
        for nth in ROTTEN {
            disk.write_at(&stage, Offset(nth * GRAIN), b"rot")?;
        }
        let journal = past_the_store(&disk, b".journal")?;
        Ok((all(&disk, &journal)?, all(&disk, &stage)?))
    });
    let (journal, bytes) = left.unwrap_or_else(|why| panic!("look at the stage: {why:?}"));
    Ok(Left { disk, journal, bytes })
}

fn write(sink: &dyn Sink, nth: u64) -> floe_store::Result<()> {
    let start = Offset(nth * GRAIN);
    let bytes: Vec<u8> =
        (0..GRAIN).map(|at| (at.wrapping_mul(nth + 3) >> 5 ^ nth).to_le_bytes()[0]).collect();
    let mut hasher = ChunkHasher::new(start);
    hasher.update(&bytes);
    sink.write_at(start, &bytes)?;
    let chunk = Range::new(start, Offset((nth + 1) * GRAIN));
    hasher.finish().map_or(Ok(()), |digest| sink.record(chunk, &digest))
}

fn replace(disk: &SimulatedDisk, journal: &[u8]) -> floe_store::disk::DiskResult<()> {
    let file = past_the_store(disk, b".journal")?;
    disk.truncate(&file, ByteCount::ZERO)?;
    disk.write_at(&file, Offset::ZERO, journal)
}

/// The one file of the stage that ends so.
fn past_the_store(
    disk: &SimulatedDisk,
    ending: &[u8],
) -> floe_store::disk::DiskResult<SimulatedHandle> {
    let area = disk.open_child(&disk.root()?, Name::RESERVED)?;
    let names = disk.list(&area, None, 100)?.names;
    let name = names.iter().find(|name| name.ends_with(ending));
    let name = name.and_then(|name| Name::new(name));
    let Some(name) = name else { panic!("no stage") };
    disk.open_file(&area, name, Access::ReadWrite)
}

fn all(disk: &SimulatedDisk, file: &SimulatedHandle) -> floe_store::disk::DiskResult<Vec<u8>> {
    let size = disk.stat(file)?.size;
    let mut bytes = vec![0; size.to_len().unwrap_or(0)];
    let count = disk.read_at(file, Offset::ZERO, &mut bytes)?;
    assert_eq!(count, bytes.len());
    Ok(bytes)
}

fn spec() -> SinkSpec {
    let (size, mtime) = (ByteCount(CHUNKS * GRAIN), Timestamp::new(10, 0).unwrap_or_default());
    SinkSpec {
        path: ObjectPath::parse(b"x").unwrap_or_default(),
        owner: OwnerId([3; 32]),
        size: Some(size),
        holes: ByteCount::ZERO,
        version: Some(SourceVersion { inode: 1, size, mtime, ctime: mtime }),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o640), mtime },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: Journaling::Journal,
    }
}
