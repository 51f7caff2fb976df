//! What may stand in a served tree, or be put there, and must lead nowhere: links, hard links,
//! FIFOs, sockets, devices.

use super::fort::{Fort, saw_nothing};
use super::peer::{Answer, Peer};
use super::wire::{self, at, code, cold, kind, map, path, request};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;

/// What a peer asks of a path, and what says it.
type Ask = (&'static str, fn(&str) -> Vec<u8>);

fn asked(what: u64, path: &str) -> wire::Cbor {
    request(0, what, at(path))
}

fn put(path: &str) -> Vec<u8> {
    let entry = wire::file(0, at(""), 300_000);
    [cold(kind::OPEN, &wire::open(0, 0, at(path))), wire::entries(0, &[entry])].concat()
}

/// Everything that would go through a link, or take what is behind it.
const THROUGH: &[Ask] = &[
    ("LIST", |link| cold(kind::REQUEST, &asked(wire::LIST, link))),
    ("LIST within", |link| cold(kind::REQUEST, &asked(wire::LIST, &format!("{link}/sub")))),
    ("STAT within", |link| cold(kind::REQUEST, &asked(wire::STAT, &format!("{link}/secret")))),
    ("STAT with a root", |link| {
        cold(kind::REQUEST, &asked(wire::STAT, &format!("{link}/secret")).with(5, 1))
    }),
    ("REMOVE", |link| cold(kind::REQUEST, &asked(wire::REMOVE, &format!("{link}/secret")))),
    ("REMOVE of a tree", |link| {
        cold(kind::REQUEST, &asked(wire::REMOVE, &format!("{link}/sub")).with(6, 1))
    }),
    ("RENAME from", |link| {
        cold(kind::REQUEST, &asked(wire::RENAME, &format!("{link}/secret")).with(7, at("got")))
    }),
    ("RENAME to", |link| {
        let to = at(&format!("{link}/secret"));
        cold(kind::REQUEST, &asked(wire::RENAME, "kept").with(7, to).with(8, 1))
    }),
    ("MKDIR", |link| cold(kind::REQUEST, &asked(wire::MKDIR, &format!("{link}/made")))),
    ("get", |link| cold(kind::OPEN, &wire::open(0, 1, at(link)))),
    ("get within", |link| cold(kind::OPEN, &wire::open(0, 1, at(&format!("{link}/secret"))))),
    ("get of a tree within", |link| {
        cold(kind::OPEN, &wire::open(0, 1, at(&format!("{link}/sub"))))
    }),
    ("put", |link| put(&format!("{link}/secret"))),
    ("put of what is new", |link| put(&format!("{link}/new"))),
    ("put of what is new, deeper", |link| put(&format!("{link}/sub/new/er"))),
];

/// The code that says no.
#[track_caller]
fn refused(peer: &mut Peer, name: &str) -> u64 {
    loop {
        match peer.answer() {
            Answer::Fault(code) | Answer::Failed(code) | Answer::Cancel(code) => return code,
            Answer::Frame(kind::OPENED) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn refuses_all_through(fort: &Fort, link: &str) {
    for (name, ask) in THROUGH {
        let mut peer = fort.peer();
        peer.say(&ask(link));
        let code = refused(&mut peer, &format!("{name} through {link}"));
        let known = [
            code::USAGE,
            2,
            code::NOT_FOUND,
            code::PERMISSION_DENIED,
            code::NOT_DIRECTORY,
            code::NOT_REGULAR,
        ];
        assert!(known.contains(&code), "{name} through {link}: {code}");
        saw_nothing(&peer);
    }
}

/// Links to what is outside, and to floe's own: each name, and its text.
fn links(fort: &Fort) -> Vec<(&'static str, String)> {
    let outside = fort.stage.path("outside").to_str().unwrap().to_owned();
    vec![
        ("relative", "../outside".to_owned()),
        ("absolute", outside.clone()),
        ("by-proc", format!("/proc/self/root{outside}")),
        ("by-cwd", "/proc/self/cwd/../outside".to_owned()),
        ("by-descriptor", "/proc/self/fd/3/../outside".to_owned()),
        ("around", "d/../../outside".to_owned()),
        ("reserved", ".floe".to_owned()),
        ("reserved-around", "d/../.floe".to_owned()),
    ]
}

#[test]
fn no_link_in_the_tree_leads_out_or_into_what_is_reserved() {
    let fort = Fort::plain();
    fs::create_dir(fort.served("d")).unwrap();
    fs::create_dir(fort.served(".floe/sub")).unwrap();
    for (name, text) in links(&fort) {
        symlink(&text, fort.served(name)).unwrap();
        refuses_all_through(&fort, name);
        // The link itself is one like any other.
        let mut peer = fort.peer();
        peer.say(&cold(kind::REQUEST, &asked(wire::STAT, name)));
        let stat = peer.hears(kind::REPLY).map().at(3).clone();
        assert_eq!((stat.at(0).uint(), stat.at(3).string()), (2, text.as_bytes()));
        peer.say(&cold(kind::REQUEST, &asked(wire::REMOVE, name).with(6, 1)));
        assert_eq!(peer.answer(), Answer::Done, "{name}");
        assert!(fs::symlink_metadata(fort.served(name)).is_err(), "{name}");
    }
    assert!(!fort.served("got").exists() && fort.served(".floe/sub").is_dir());
    fort.stands();
}

/// What a peer puts as a link is kept as it is, and followed by nobody.
#[test]
fn a_link_that_is_put_is_text_and_leads_nowhere() {
    let fort = Fort::plain();
    fs::create_dir(fort.served("d")).unwrap();
    fs::create_dir(fort.served(".floe/sub")).unwrap();
    for (name, text) in links(&fort) {
        let mut peer = fort.peer();
        let open = cold(kind::OPEN, &wire::open(0, 0, at(name)));
        peer.say(&[open, wire::entries(0, &[wire::link(0, at(""), text.as_bytes())])].concat());
        peer.hears(kind::OPENED);
        peer.hears(kind::COMMITTED);
        assert_eq!(fs::read_link(fort.served(name)).unwrap().to_str(), Some(&text[..]));
        refuses_all_through(&fort, name);
        // Beneath a link of its own transfer, as beneath a directory.
        let deeper = format!("tree-{name}");
        let mut peer = fort.peer();
        peer.say(&cold(kind::OPEN, &wire::open(0, 0, at(&deeper))));
        peer.say(&wire::entries(
            0,
            &[
                wire::dir(0, at("")),
                wire::link(1, at("l"), text.as_bytes()),
                wire::dir(2, at("l")),
                wire::file(3, at("l/secret"), 300_000),
            ],
        ));
        peer.hears(kind::OPENED);
        while !matches!(peer.answer(), Answer::Failed(_)) {}
        drop(peer);
    }
    fort.stands();
}

#[test]
fn a_hard_link_to_a_file_outside_is_replaced_and_never_written() {
    let fort = Fort::plain();
    let outside = fort.stage.path("shared");
    fs::write(&outside, "shared").unwrap();
    fs::hard_link(&outside, fort.served("hard")).unwrap();
    let mut peer = fort.peer();
    let open = cold(kind::OPEN, &wire::open(0, 0, at("hard")));
    peer.say(&[open, wire::entries(0, &[wire::file(0, at(""), 5)])].concat());
    peer.hears(kind::OPENED);
    peer.hears(kind::WANT);
    let bytes = b"other";
    let root = *blake3::hash(bytes).as_bytes();
    let chunk = [wire::header(0, 0, 0, 0, 5), wire::data(0, 0, bytes)].concat();
    peer.say(&[chunk, wire::seal(0, 5, wire::value(0, bytes), Some(root))].concat());
    let one = vec![0.into(), 5.into(), wire::Cbor::from(&root[..])];
    peer.say(&cold(kind::DONE, &map([(0, 0.into()), (1, vec![one.into()].into())])));
    assert_eq!(peer.until(&[Answer::Frame(kind::COMMITTED)]), Answer::Frame(kind::COMMITTED));
    assert_eq!(fs::read(fort.served("hard")).unwrap(), bytes);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "shared");
    assert_eq!(fs::metadata(&outside).unwrap().nlink(), 1);
    drop(peer);
    fort.stands();
}

/// A FIFO would keep whoever opens it, a device may do anything.
#[test]
fn what_is_neither_file_nor_directory_is_never_opened() {
    let fort = Fort::plain();
    let mut made = vec!["fifo", "socket"];
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fort.served("fifo"),
        rustix::fs::FileType::Fifo,
        0o666.into(),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(fort.served("socket")).unwrap();
    let (device, zero) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5));
    match rustix::fs::mknodat(rustix::fs::CWD, fort.served("zero"), device, 0o666.into(), zero) {
        Ok(()) => made.push("zero"),
        Err(error) => crate::stage::skip(&format!("the device of {}: {error}", module_path!())),
    }
    for name in made {
        let kept = fs::symlink_metadata(fort.served(name)).unwrap();
        let asks = [
            ("get", cold(kind::OPEN, &wire::open(0, 1, at(name))), &[code::NOT_REGULAR][..]),
            ("STAT", cold(kind::REQUEST, &asked(wire::STAT, name)), &[code::NOT_REGULAR]),
            (
                "STAT with a root",
                cold(kind::REQUEST, &asked(wire::STAT, name).with(5, 1)),
                &[code::NOT_REGULAR],
            ),
            ("LIST", cold(kind::REQUEST, &asked(wire::LIST, name)), &[code::NOT_DIRECTORY]),
            (
                "get within",
                cold(kind::OPEN, &wire::open(0, 1, path(&[name.as_bytes(), b"x"]))),
                &[code::NOT_DIRECTORY],
            ),
            ("put within", put(&format!("{name}/x")), &[code::NOT_DIRECTORY]),
            (
                "MKDIR within",
                cold(kind::REQUEST, &asked(wire::MKDIR, &format!("{name}/x"))),
                &[code::NOT_DIRECTORY],
            ),
        ];
        for (ask, bytes, codes) in asks {
            let mut peer = fort.peer();
            peer.say(&bytes);
            let said = format!("{ask} of {name}");
            assert!(codes.contains(&refused(&mut peer, &said)), "{said}");
        }
        let stands = fs::symlink_metadata(fort.served(name)).unwrap();
        assert_eq!((stands.ino(), stands.mode()), (kept.ino(), kept.mode()));
        let mut peer = fort.peer();
        peer.say(&cold(kind::REQUEST, &asked(wire::LIST, "")));
        assert_eq!(peer.answer(), Answer::Done, "the directory that it is in");
    }
    // Of a tree that has them, each is passed over and told.
    let mut peer = fort.peer();
    peer.say(&cold(kind::OPEN, &wire::open(0, 1, at(""))));
    assert_eq!(peer.until(&[Answer::Failed(code::NOT_REGULAR)]), Answer::Failed(code::NOT_REGULAR));
    let types = fs::symlink_metadata(fort.served("fifo")).unwrap().file_type();
    assert!(types.is_fifo());
    drop(peer);
    fort.stands();
}
