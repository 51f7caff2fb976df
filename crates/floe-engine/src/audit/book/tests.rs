use super::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

fn house() -> (tempfile::TempDir, State, Book) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let book = open(&state).unwrap();
    (dir, state, book)
}

fn open(state: &State) -> Result<Book, Fault> {
    Book::open(state, 1 << 20)
}

fn line() -> [Draft; 1] {
    [Record::now("commit").draft()]
}

fn text(state: &State) -> String {
    std::fs::read_to_string(state.path().join(NOW)).unwrap()
}

/// A log whose last line is torn, and its text.
fn torn(state: &State) -> String {
    let text = text(state) + "{\"n\":2,\"pr";
    std::fs::write(state.path().join(NOW), &text).unwrap();
    text
}

/// A state directory with such a log of one line before it, and its text.
fn torn_house() -> (tempfile::TempDir, State, String) {
    let (dir, state, mut book) = house();
    book.append(&line()).unwrap();
    drop(book);
    let text = torn(&state);
    (dir, state, text)
}

/// In a thread of its own, as it cannot be taken back, where no file's bytes can be synced; `None`
/// where the kernel has no filter of calls.
fn without_fdatasync<R: Send>(then: impl FnOnce() -> R + Send) -> Option<R> {
    where_fails((libc::SYS_fdatasync, Vec::new()), libc::EIO, then)
}

/// The same where nothing long can be written.
fn without_room<R: Send>(then: impl FnOnce() -> R + Send) -> Option<R> {
    let long = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ge, 100).unwrap();
    let rules = vec![SeccompRule::new(vec![long]).unwrap()];
    where_fails((libc::SYS_pwrite64, rules), libc::ENOSPC, then)
}

fn where_fails<R: Send>(
    call: (i64, Vec<SeccompRule>),
    error: i32,
    then: impl FnOnce() -> R + Send,
) -> Option<R> {
    let (rules, refused) = ([call].into(), SeccompAction::Errno(error.unsigned_abs()));
    let arch = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            seccompiler::apply_filter(&program).ok()?;
            Some(then())
        });
        refused.join().unwrap()
    })
}

/// The lines of the file of before and of that of now, which are one whole chain.
fn events(state: &State) -> Vec<String> {
    let (mut head, mut events) = (Some(Head::START), Vec::new());
    let before = files(state).unwrap().pop().unwrap();
    for name in [&name_of(before), NOW] {
        let file = File::open(state.path().join(name)).unwrap();
        let walked = walk(file, head, |line, _| {
            events.push(super::super::line::record_of(line).unwrap().1.event);
        });
        let walked = walked.unwrap();
        assert_eq!(walked.ended, Ended::Whole, "{name}");
        head = walked.head;
    }
    events
}

#[test]
fn where_the_first_line_of_a_new_file_is_torn_the_chain_goes_on_from_the_file_before() {
    for torn in [&[0; 4096][..], b"{\"n\":3,\"pr"] {
        for starts_anew in [true, false] {
            let (_dir, state, mut book) = house();
            let mut other = open(&state).unwrap();
            other.append(&line()).unwrap();
            book.append(&line()).unwrap();
            book.turn_page().unwrap();
            drop(book);
            std::fs::write(state.path().join(NOW), torn).unwrap();
            if starts_anew {
                other = open(&state).unwrap();
            }
            other.append(&line()).unwrap();
            assert_eq!(events(&state), ["commit", "commit", "cut", "commit"], "{starts_anew}");
            assert_eq!(std::fs::read(state.path().join("audit.cut.3.0")).unwrap(), torn);
        }
    }
}

#[test]
fn a_torn_end_is_said_also_where_the_first_line_behind_it_fails() {
    let (_dir, state, mut book) = house();
    book.append(&line()).unwrap();
    std::fs::write(state.path().join(NOW), text(&state) + "{\"n\":2,\"pr").unwrap();
    book.catch_up().unwrap();
    let now = state.path().join(NOW);
    let sound = std::mem::replace(&mut book.page.file, File::open(&now).unwrap());
    book.append(&line()).unwrap_err();
    book.page.file = sound;
    book.append(&line()).unwrap();
    book.append(&line()).unwrap();
    let text = text(&state);
    let count = |what: &str| text.matches(what).count();
    assert_eq!((count("\"cut\""), count("\"commit\"")), (1, 3), "{text}");
    assert_eq!(walk(text.as_bytes(), Some(Head::START), |_, _| {}).unwrap().ended, Ended::Whole);
}

#[test]
fn a_page_whose_names_may_not_be_durable_is_the_last() {
    let (_dir, state, mut book) = house();
    book.append(&line()).unwrap();
    book.file_bytes_max = 1;
    book.state = state.without_syncs();
    let failed = book.append(&line()).unwrap_err();
    // A second sync would find nothing to do, and call it durable.
    book.state = state;
    assert_eq!(book.append(&line()), Err(failed));
    assert_eq!((book.is_broken(), book.ahead()), (true, 0));
}

#[test]
fn a_page_that_another_turned_counts_once_its_name_is_durable() {
    let (_dir, state, mut book) = house();
    book.append(&line()).unwrap();
    std::fs::rename(state.path().join(NOW), state.path().join(name_of(1))).unwrap();
    book.state = state.without_syncs();
    let failed = book.append(&line()).unwrap_err();
    book.state = state;
    assert_eq!(book.append(&line()), Err(failed));
}

#[test]
fn a_torn_end_is_cut_once_what_is_kept_is_durable() {
    let (_dir, state, torn) = torn_house();
    // What stands before it, and the name of the file that it is moved to.
    let bytes = without_fdatasync(|| open(&state).map(drop));
    for failed in [bytes, Some(open(&state.without_syncs()).map(drop))] {
        assert!(failed.is_none_or(|failed| failed.is_err()));
        assert_eq!(text(&state), torn);
    }
    open(&state).unwrap().append(&line()).unwrap();
    assert_eq!(text(&state).matches("\"cut\"").count(), 1);
}

#[test]
fn nothing_follows_what_another_wrote_and_nobody_could_sync() {
    let (_dir, state, mut book) = house();
    book.append(&line()).unwrap();
    book.sync().unwrap();
    torn(&state);
    let Some(failed) = without_fdatasync(|| book.append(&line())) else { return };
    // A second sync would find nothing to do, and call it durable.
    assert_eq!(book.append(&line()), Err(failed.unwrap_err()));
    assert_eq!((book.is_broken(), book.ahead()), (true, 0));
}

#[test]
fn a_cut_is_durable_before_any_line_stands_behind_it() {
    let (_dir, state, _) = torn_house();
    let mut book = open(&state).unwrap();
    let cuts = || text(&state).matches("\"cut\"").count();
    assert_eq!((cuts(), book.unsynced()), (1, 0));
    torn(&state);
    book.append(&line()).unwrap();
    let last = text(&state).lines().last().map_or(0, |line| line.len() as u64 + 1);
    assert_eq!((cuts(), book.unsynced()), (2, last));
}

#[test]
fn a_cut_without_room_for_its_line_has_it_before_the_next() {
    let (_dir, state, _) = torn_house();
    let Some(book) = without_room(|| open(&state)) else { return };
    let mut book = book.unwrap();
    assert_eq!(text(&state).lines().count(), 1);
    book.append(&line()).unwrap();
    let text = text(&state);
    let second = text.lines().nth(1).unwrap();
    assert!(text.lines().count() == 3 && second.contains("\"cut\""), "{text}");
}
