//! Each ticket against each thing that can be asked: what it does not allow is refused by code, and
//! is not done.

use super::fort::Fort;
use super::peer::{Answer, Peer};
use super::wire::{self, at, code, cold, kind, request};
use crate::stage::census;
use std::fs;

const READ: u32 = 1;
const LIST: u32 = 2;
const WRITE: u32 = 4;
const OVERWRITE: u32 = 8;
const REMOVE: u32 = 16;
const MKDIR: u32 = 64;
/// Verbs that change something.
const CHANGE: u32 = WRITE | OVERWRITE | REMOVE | MKDIR;

const TICKETS: &[(&str, u32)] = &[
    ("read", READ),
    ("list", LIST),
    ("read,list", READ | LIST),
    ("write-new", WRITE),
    ("write-new,overwrite", WRITE | OVERWRITE),
    ("remove", REMOVE),
    ("mkdir", MKDIR),
    ("write-new,mkdir", WRITE | MKDIR),
    ("write-new,remove", WRITE | REMOVE),
    ("read,list,write-new,overwrite,remove,mkdir", READ | LIST | CHANGE),
];

/// Takes seconds where it is allowed; it is asked where it is not.
const MEASURE: &str = "MEASURE";

/// What is asked, the verbs it needs, and what says it.
fn asked() -> Vec<(&'static str, u32, Vec<u8>)> {
    let ask = |what, path: &str| request(0, what, at(path));
    let get = |path: &str| cold(kind::OPEN, &wire::open(0, 1, at(path)));
    let put = |path: &str, all: &[_]| {
        [cold(kind::OPEN, &wire::open(0, 0, at(path))), wire::entries(0, all)].concat()
    };
    let file = wire::file(0, at(""), 300_000);
    let only = std::slice::from_ref;
    let requests = vec![
        ("LIST", LIST, ask(wire::LIST, "")),
        ("LIST of a directory", LIST, ask(wire::LIST, "d")),
        ("STAT", LIST, ask(wire::STAT, "f")),
        ("STAT with a root", LIST | READ, ask(wire::STAT, "f").with(5, 1)),
        ("REMOVE", REMOVE, ask(wire::REMOVE, "f")),
        ("REMOVE of a tree", REMOVE, ask(wire::REMOVE, "d").with(6, 1)),
        ("RENAME", REMOVE | WRITE, ask(wire::RENAME, "f")),
        (
            "RENAME over something",
            REMOVE | WRITE | OVERWRITE,
            ask(wire::RENAME, "f").with(7, at("g")).with(8, 1),
        ),
        ("MKDIR", MKDIR, ask(wire::MKDIR, "made")),
        ("MKDIR of two", MKDIR, ask(wire::MKDIR, "made/within")),
        (MEASURE, WRITE, ask(wire::MEASURE, "")),
    ];
    let mut all: Vec<_> = requests
        .into_iter()
        .map(|(name, needs, body)| (name, needs, cold(kind::REQUEST, &body)))
        .collect();
    let probe = |direction: u64| cold(kind::OPEN, &wire::open(0, direction, at("")).with(11, 9));
    all.extend([
        ("probe of a get", READ, probe(1)),
        (
            "probe of a put",
            WRITE,
            [probe(0), wire::entries(0, only(&wire::file(0, at(""), 9)))].concat(),
        ),
        ("get of a file", READ, get("f")),
        ("get of a directory", READ | LIST, get("d")),
        ("put of a file", WRITE, put("new", only(&file))),
        ("put over a file", WRITE | OVERWRITE, put("f", only(&file))),
        ("put over another file", WRITE | OVERWRITE, put("g", only(&file))),
        ("put of a file in a new directory", WRITE | MKDIR, put("made/new", &[file])),
        (
            "put of a link over a file",
            WRITE | OVERWRITE,
            put("f", &[wire::link(0, at(""), b"elsewhere")]),
        ),
        (
            "put of a directory",
            WRITE | MKDIR,
            put("made", &[wire::dir(0, at("")), wire::file(1, at("f"), 300_000)]),
        ),
    ]);
    all
}

/// What every ticket finds.
fn furnish(fort: &Fort) {
    for gone in ["made", "new", "elsewhere", "d", "f", "g"] {
        let path = fort.served(gone);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            let _ = fs::remove_file(path);
        }
    }
    fs::create_dir(fort.served("d")).unwrap();
    for name in ["f", "g", "d/f"] {
        fs::write(fort.served(name), "stands").unwrap();
    }
}

/// Whether it goes on, or the code that says no.
fn judged(peer: &mut Peer) -> Result<(), u64> {
    loop {
        let frame = peer.next().unwrap();
        match frame.answer() {
            Answer::Fault(code) | Answer::Failed(code) | Answer::Cancel(code) => return Err(code),
            Answer::Done | Answer::Frame(kind::WANT | kind::COMMITTED) => return Ok(()),
            // A directory alone tells nothing: what is in it does.
            Answer::Frame(kind::ENTRIES) => {
                let map = frame.map();
                if map.at(1).items().iter().any(|entry| entry.at(2).uint() == 0) {
                    return Ok(());
                }
            }
            Answer::Frame(kind::OPENED) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn stands(fort: &Fort) -> impl PartialEq + std::fmt::Debug {
    let mut all = census(&fort.served(""));
    all.retain(|path, _| !path.starts_with(fort.served(".floe")) && *path != fort.served(""));
    all
}

fn try_all(fort: &Fort, ticket: &super::peer::Ticket, verbs: u32, frozen: bool) {
    for (name, needs, bytes) in asked() {
        let frozen = frozen && needs & CHANGE != 0;
        let allowed = !frozen && needs & !verbs == 0;
        if name == MEASURE && allowed {
            continue;
        }
        furnish(fort);
        let before = stands(fort);
        let mut peer = fort.peer_of(ticket);
        peer.say(&bytes);
        let judged = judged(&mut peer);
        let refused = match (frozen, allowed) {
            (true, _) => Err(code::READ_ONLY),
            (false, true) => Ok(()),
            (false, false) => Err(code::NOT_ALLOWED),
        };
        assert_eq!(judged, refused, "{name} with {verbs:#x}");
        if refused.is_err() {
            drop(peer);
            assert_eq!(stands(fort), before, "{name} with {verbs:#x}");
        }
    }
}

#[test]
fn no_frame_does_what_its_ticket_does_not_allow() {
    let fort = Fort::plain();
    for (nth, (allow, verbs)) in TICKETS.iter().enumerate() {
        let text = crate::tickets::ticket(
            &fort.stage,
            &["create", &format!("ticket{nth}"), "--allow", allow],
        );
        let ticket = super::peer::Ticket::parse(&text.ok().text());
        try_all(&fort, &ticket, *verbs, false);
    }
    furnish(&fort);
    fort.stands();
}

#[test]
fn no_frame_changes_what_is_served_read_only() {
    let fort = Fort::with(&["--plaintext", "--read-only"], "");
    try_all(&fort, &fort.owner, READ | LIST | CHANGE, true);
    fort.stands();
}
