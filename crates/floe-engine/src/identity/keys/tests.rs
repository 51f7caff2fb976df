use super::*;

const DAY: i64 = 86_400;

fn fresh() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    (dir, state)
}

fn at(secs: i64) -> Timestamp {
    Timestamp::new(secs, 0).unwrap()
}

/// The pins: now, going, gone.
fn pins(state: &State, now: i64) -> (KeyPin, Option<KeyPin>, Vec<KeyPin>) {
    let keys = ServerKeys::load(state, at(now)).unwrap().unwrap();
    let going = keys.retiring.map(|one| one.identity.pin());
    (keys.current.pin(), going, keys.former.iter().map(|one| one.pin).collect())
}

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[test]
fn a_rotation_overlaps_and_ends_by_itself() {
    let (_dir, state) = fresh();
    assert!(ServerKeys::load(&state, at(0)).unwrap().is_none());
    let first = ServerKeys::load_or_create(&state, at(0)).unwrap().current.pin();
    let second = ServerKeys::rotate(&state, days(30), at(0)).unwrap().current.pin();
    assert_ne!(first, second);
    assert_eq!(pins(&state, 30 * DAY - 1), (second, Some(first), vec![]));
    let again = ServerKeys::rotate(&state, days(1), at(DAY)).unwrap_err();
    assert_eq!(again.code, Code::AlreadyRunning);
    assert!(again.detail.contains("1970-01-31T00:00:00Z"), "{again}");
    assert_eq!(pins(&state, 30 * DAY), (second, None, vec![first]));
    ServerKeys::drop_expired(&state, at(30 * DAY - 1)).unwrap();
    assert_eq!(pins(&state, 0).1, Some(first), "not before its time");
    ServerKeys::drop_expired(&state, at(30 * DAY)).unwrap();
    assert_eq!(pins(&state, 0), (second, None, vec![first]), "a clock set back changes nothing");
    let third = ServerKeys::rotate(&state, days(1), at(40 * DAY)).unwrap().current.pin();
    assert_eq!(pins(&state, 40 * DAY), (third, Some(second), vec![first]));
}

#[test]
fn a_key_is_retired_at_once_by_word_or_by_no_overlap() {
    let (_dir, state) = fresh();
    assert_eq!(ServerKeys::retire(&state, at(0)).unwrap(), None);
    let first = ServerKeys::load_or_create(&state, at(0)).unwrap().current.pin();
    assert_eq!(ServerKeys::retire(&state, at(0)).unwrap(), None, "nothing goes");
    let second = ServerKeys::rotate(&state, Duration::ZERO, at(1)).unwrap().current.pin();
    assert_eq!(pins(&state, 1), (second, None, vec![first]));
    let third = ServerKeys::rotate(&state, days(9), at(2)).unwrap().current.pin();
    assert_eq!(ServerKeys::retire(&state, at(3)).unwrap(), Some(second));
    assert_eq!(pins(&state, 3), (third, None, vec![first, second]));
    let book = state.read(BOOK, Privacy::Secret).unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&book).contains("PRIVATE"), "it is gone for good");
}

/// Each file as it stands between two steps.
#[test]
fn a_kill_between_two_steps_leaves_one_valid_state() {
    for overlap in [Duration::ZERO, days(30)] {
        let (_dir, state) = fresh();
        let first = ServerKeys::load_or_create(&state, at(0)).unwrap().current.pin();
        let before = state.read(FILE, Privacy::Secret).unwrap().unwrap();
        ServerKeys::rotate(&state, overlap, at(0)).unwrap();
        // The book was written, the key was not.
        state.replace(FILE, &before).unwrap();
        assert_eq!(pins(&state, 1), (first, None, vec![]), "as before");
        ServerKeys::drop_expired(&state, at(31 * DAY)).unwrap();
        assert_eq!(pins(&state, 31 * DAY), (first, None, vec![]));
        let second = ServerKeys::rotate(&state, overlap, at(31 * DAY)).unwrap().current.pin();
        let going = (!overlap.is_zero()).then_some(first);
        let gone = overlap.is_zero().then_some(first).into_iter().collect();
        assert_eq!(pins(&state, 31 * DAY), (second, going, gone));
    }
}

#[test]
fn a_key_is_gone_once_that_is_durable_however_often_it_is_asked() {
    let (_dir, state) = fresh();
    let first = ServerKeys::load_or_create(&state, at(0)).unwrap().current.pin();
    let second = ServerKeys::rotate(&state, days(1), at(0)).unwrap().current.pin();
    let unsynced = state.without_syncs();
    for _ in 0..2 {
        assert_eq!(ServerKeys::retire(&unsynced, at(1)).unwrap_err().code, Code::State);
        assert_eq!(ServerKeys::drop_expired(&unsynced, at(2 * DAY)).unwrap_err().code, Code::State);
    }
    ServerKeys::drop_expired(&state, at(2 * DAY)).unwrap();
    assert_eq!(pins(&state, 0), (second, None, vec![first]));
}

#[test]
fn many_rotations_at_once_are_one() {
    let (_dir, state) = fresh();
    ServerKeys::load_or_create(&state, at(0)).unwrap();
    let made: Vec<_> = std::thread::scope(|scope| {
        let rotate = || ServerKeys::rotate(&state, days(1), at(0)).map(|keys| keys.current.pin());
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let done: Vec<_> = made.iter().flatten().collect();
    assert_eq!(done, [&pins(&state, 0).0], "{made:?}");
}

#[test]
fn a_damaged_book_is_refused_and_shows_no_key() {
    let (_dir, state) = fresh();
    ServerKeys::load_or_create(&state, at(0)).unwrap();
    ServerKeys::rotate(&state, days(1), at(0)).unwrap();
    let good = state.read(BOOK, Privacy::Secret).unwrap().unwrap();
    let text = std::str::from_utf8(&good).unwrap();
    let pem = "-----BEGIN CERTIFICATE-----";
    for (from, to) in [
        ("{", "["),
        ("\"version\": 1", "\"version\": 2"),
        (pem, "-----BEGIN RUBBISH-----"),
        ("\"former\": []", "\"former\": [], \"more\": 1"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        state.replace(BOOK, changed.as_bytes()).unwrap();
        let fault = ServerKeys::load(&state, at(0)).unwrap_err();
        assert_eq!(fault.code, Code::State, "{to}");
        assert!(fault.detail.len() < 200 && !fault.detail.contains("BEGIN"), "{fault}");
        let left = ServerKeys::rotate(&state, days(1), at(0)).unwrap_err();
        assert_eq!(left.code, Code::State);
    }
    let book = KeyBook::parse(&good).unwrap();
    assert_eq!(book.format(), good);
    assert!(!format!("{book:?}").contains("BEGIN"));
}

#[test]
fn of_many_keys_that_went_the_last_are_remembered() {
    let former: Vec<_> = (0..300u16)
        .map(|nth| Former { pin: KeyPin([nth.to_be_bytes()[1]; 32]), retired: at(i64::from(nth)) })
        .collect();
    let read = KeyBook::parse(&KeyBook { goes: None, former: former.clone() }.format()).unwrap();
    assert_eq!(read.former, former[300 - FORMER_MAX..]);
}
