use super::*;

fn house() -> (tempfile::TempDir, State, Book) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let (book, _) = Book::open(&state, 1 << 20).unwrap();
    (dir, state, book)
}

fn line() -> [Draft; 1] {
    [Record::now("commit").draft()]
}

fn text(state: &State) -> String {
    std::fs::read_to_string(state.path().join(NOW)).unwrap()
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
