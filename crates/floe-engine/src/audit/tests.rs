use super::*;
use floe_proto::disk::{CommitOp, CommitWhat};
use floe_proto::frame::{Recursive, Request};
use floe_types::{EntryId, EntryIndex, ObjectPath, TransferId};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

struct House {
    dir: tempfile::TempDir,
    state: State,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        Self { dir, state }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn open(&self) -> Arc<Audit> {
        Audit::open(&self.state, FILE_BYTES, "a test").unwrap()
    }

    /// What each line of all files says, which are whole.
    fn records(&self) -> Vec<Record> {
        let shelf = Shelf::of(&self.state).unwrap();
        let (mut head, mut records) = (Some(Head::START), Vec::new());
        for volume in shelf.volumes() {
            let walked = volume.walk(head, |line, _| records.push(record_of(line).unwrap().1));
            let walked = walked.unwrap();
            assert_eq!(walked.ended, Ended::Whole, "{}", volume.path().display());
            head = walked.head;
        }
        records
    }

    fn events(&self) -> Vec<String> {
        self.records().into_iter().map(|record| record.event).collect()
    }
}

fn close(audit: &Audit) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(audit.close(Duration::from_secs(60)));
}

fn who() -> Who {
    Who {
        session: [0xab; 16],
        ticket: Some(("alice".to_owned(), TicketId([7; 16]))),
        client: "192.0.2.1:4000".parse().unwrap(),
        prefix: ObjectPath::parse(b"people/alice").unwrap(),
    }
}

fn remove(path: &[u8]) -> Request {
    Request::Remove { path: ObjectPath::parse(path).unwrap(), recursive: Recursive::No }
}

fn commit(nth: u64, path: &[u8]) -> CommitOp {
    CommitOp {
        entry: EntryId { transfer: TransferId(3), index: EntryIndex(nth) },
        path: ObjectPath::parse(path).unwrap(),
        what: CommitWhat::Object { size: ByteCount(5), root: floe_types::Root([9; 32]) },
    }
}

fn done(scribe: &Scribe, path: &[u8]) {
    let line = scribe.before_request(&remove(path)).unwrap().unwrap();
    scribe.requested(line, &Ok(())).unwrap();
}

#[test]
fn lines_say_who_did_what_and_a_restart_continues_the_chain() {
    let house = House::new();
    let audit = house.open();
    let scribe = Scribe::begin(&audit, who(), "floe/9");
    let batch = [commit(0, b"a"), commit(1, b"b\n\x1b[31m\xff")];
    let lines = scribe.before_commit(&batch).unwrap();
    let results = [Ok(()), Err(Fault::new(Code::Exists, "x"))];
    scribe.committed(lines, &results).unwrap();
    // They are there before anybody is told: nothing was flushed.
    let text = house.text("audit.jsonl");
    assert_eq!(text.matches("\"commit\"").count(), 2, "{text}");
    scribe.end(&Ok(()));
    close(&audit);
    drop(audit);
    close(&house.open());
    let records = house.records();
    let events: Vec<_> = records.iter().map(|record| record.event.as_str()).collect();
    let expected = ["start", "begin", "commit", "commit", "end", "stop", "start", "stop"];
    assert_eq!(events, expected);
    let Record { session, transfer, ticket, path, size, root, result, .. } = &records[2];
    assert_eq!(session.as_deref(), Some(&*"ab".repeat(16)));
    assert_eq!((*transfer, ticket.as_deref()), (Some(3), Some("alice")));
    assert_eq!((path.as_deref(), *size), (Some("people/alice/a"), Some(5)));
    assert_eq!((root.as_deref(), &**result), (Some(&*"09".repeat(32)), "ok"));
    let (failed, code) = (&records[3], records[3].code);
    assert_eq!(failed.path.as_deref(), Some("people/alice/b\\u{a}\\u{1b}[31m\\xff"));
    assert_eq!((failed.result.as_str(), code), ("exists already", Some(60)));
}

#[test]
fn a_torn_end_is_cut_and_said() {
    for torn in [&b"{\"n\":3,\"prev\":\"0"[..], &[0; 5000], b"\0\0\0\n{\"n\":4}\n", b"x"] {
        let house = House::new();
        let audit = house.open();
        close(&audit);
        drop(audit);
        let before = house.text("audit.jsonl");
        let mut file = fs::File::options().append(true).open(house.path("audit.jsonl")).unwrap();
        file.write_all(torn).unwrap();
        close(&house.open());
        assert!(house.text("audit.jsonl").starts_with(&before));
        let records = house.records();
        assert_eq!(records[2].event, "cut");
        assert_eq!(records[2].count, Some(torn.len() as u64));
        let about = records[2].about.as_ref().unwrap();
        let (kept, hash) = about.split_once(' ').unwrap();
        assert_eq!(hash, blake3::hash(torn).to_hex().as_str());
        assert_eq!(fs::read(house.path(kept)).unwrap(), torn);
        assert_eq!(records.len(), 5);
    }
}

#[test]
fn what_somebody_changed_stays_as_it_is_and_is_said() {
    let house = House::new();
    let audit = house.open();
    close(&audit);
    drop(audit);
    let changed = house.text("audit.jsonl").replacen("a test", "a text", 1);
    fs::write(house.path("audit.jsonl"), &changed).unwrap();
    close(&house.open());
    let text = house.text("audit.jsonl");
    assert!(text.starts_with(&changed));
    let third = record_of(text.lines().nth(2).unwrap().as_bytes()).unwrap().1;
    assert_eq!(third.event, "damage");
    assert!(third.about.unwrap().contains("audit.jsonl line 2"));
    let shelf = Shelf::of(&house.state).unwrap();
    let walked = shelf.volumes()[0].walk(Some(Head::START), |_, _| {}).unwrap();
    assert!(matches!(walked.ended, Ended::Broken(Break { line: 2, .. })), "{walked:?}");
    // Behind it the chain goes on from what stands there.
    let rest = text.split_inclusive('\n').skip(1).collect::<String>();
    assert_eq!(walk(rest.as_bytes(), None, |_, _| {}).unwrap().ended, Ended::Whole);
}

#[test]
fn full_files_stay_and_the_chain_goes_on_in_the_next() {
    let house = House::new();
    let open = || Audit::open(&house.state, ByteCount(4096), "a test").unwrap();
    let audit = open();
    let scribe = Scribe::begin(&audit, who(), "floe/9");
    (0..60).for_each(|nth| done(&scribe, format!("f{nth}").as_bytes()));
    scribe.end(&Ok(()));
    close(&audit);
    drop((scribe, audit));
    // One whose newest file is empty continues that before.
    let number = book::files(&house.state).unwrap().pop().unwrap();
    assert!(number >= 3, "{number}");
    fs::rename(house.path("audit.jsonl"), house.path(&book::name_of(number + 1))).unwrap();
    close(&open());
    let events = house.events();
    assert_eq!(events.len(), 66);
    assert_eq!(events.iter().filter(|event| *event == "remove").count(), 60);
    for number in book::files(&house.state).unwrap().into_iter().rev().skip(1) {
        let len = fs::metadata(house.path(&book::name_of(number))).unwrap().len();
        assert!((4096..4096 + 1024).contains(&len), "{len}");
    }
}

#[test]
fn two_servers_of_one_state_directory_write_one_chain() {
    let house = House::new();
    let open = || Audit::open(&house.state, ByteCount(8192), "a test").unwrap();
    let both = [open(), open()];
    std::thread::scope(|scope| {
        for audit in &both {
            scope.spawn(|| {
                let scribe = Scribe::begin(audit, who(), "floe/9");
                (0..100).for_each(|nth| done(&scribe, format!("f{nth}").as_bytes()));
                scribe.end(&Ok(()));
            });
        }
    });
    both.iter().for_each(|audit| close(audit));
    let events = house.events();
    assert_eq!(events.iter().filter(|event| *event == "remove").count(), 200);
    assert_eq!(events.len(), 2 * 104);
}

#[test]
fn lines_that_are_taken_away_while_it_is_written_break_the_chain() {
    let house = House::new();
    let audit = house.open();
    let scribe = Scribe::begin(&audit, who(), "floe/9");
    done(&scribe, b"a");
    done(&scribe, b"b");
    let first = house.text("audit.jsonl").lines().next().unwrap().to_owned() + "\n";
    fs::write(house.path("audit.jsonl"), first).unwrap();
    done(&scribe, b"c");
    let text = house.text("audit.jsonl");
    assert!(text.contains("\"damage\"") && text.contains("people/alice/c"), "{text}");
    let walked = walk(text.as_bytes(), Some(Head::START), |_, _| {}).unwrap();
    assert!(matches!(walked.ended, Ended::Broken(Break { line: 2, .. })), "{walked:?}");
}

#[test]
fn whoever_cannot_get_in_cannot_fill_the_disk() {
    let mut refusals = Refusals::new(Instant::now());
    let start = refusals.since;
    let admitted = (0..1000).filter(|_| refusals.admit(start).is_some()).count();
    assert_eq!(admitted, 60);
    assert_eq!(refusals.admit(start + Duration::from_secs(1)), Some(940));
    assert_eq!(refusals.admit(start + Duration::from_secs(1)), None);
    assert_eq!(refusals.admit(start + Duration::from_secs(100)), Some(1));
    assert_eq!(refusals.left, 59);
}

#[test]
fn notes_are_bounded_and_those_that_are_missing_are_counted() {
    let house = House::new();
    // A file of which nothing can be written: the thread waits for its lock.
    let audit = house.open();
    close(&audit);
    let lock = fs::File::options().read(true).write(true).open(house.path("audit.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let scribe = Scribe::begin(&audit, who(), "floe/9");
    let long = ObjectPath::parse("x/".repeat(200).as_bytes()).unwrap();
    let entry = EntryId { transfer: TransferId(1), index: EntryIndex(0) };
    let root = floe_types::Root([1; 32]);
    // The first may have been taken before it was known that nothing can be written.
    let count = 40_000;
    (0..count).for_each(|_| scribe.sent(entry, &long, ByteCount(1), root));
    assert!(scribe.is_behind());
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    scribe.end(&Ok(()));
    close(&audit);
    assert!(!scribe.is_behind());
    let records = house.records();
    let sent = records.iter().filter(|record| record.event == "send").count() as u64;
    let missing: u64 =
        records.iter().filter(|it| it.event == "gap").filter_map(|it| it.count).sum();
    assert!(missing > 0 && sent > 1000, "{missing} {sent}");
    // The end may be among those that found no place.
    let ended = records.iter().filter(|record| record.event == "end").count() as u64;
    assert_eq!(sent + missing + ended, count + 1);
}
