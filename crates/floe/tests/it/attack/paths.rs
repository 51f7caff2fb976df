//! Paths of every bad kind, in every frame that takes one.

use super::fort::{Fort, saw_nothing};
use super::peer::{Answer, Peer, VIOLATION};
use super::wire::{self, Cbor, at, code, cold, kind, map, path, request};
use std::fs;
use std::os::unix::ffi::OsStrExt;

/// Paths that no object has.
fn bad_paths() -> Vec<(&'static str, Cbor)> {
    let long = vec![b'n'; 255];
    let deep = vec![&b"d"[..]; 256];
    let wide: Vec<_> = (0..16).map(|_| &long[..]).chain([&b"x"[..]]).collect();
    let names: &[(&str, &[&[u8]])] = &[
        ("up", &[b".."]),
        ("up from within", &[b"d", b"..", b"..", b"outside", b"secret"]),
        ("here", &[b"."]),
        ("here within", &[b"d", b".", b"f"]),
        ("empty name", &[b""]),
        ("empty name before", &[b"", b"etc", b"passwd"]),
        ("empty name behind, as of a slash at the end", &[b"d", b""]),
        ("absolute", &[b"/etc/passwd"]),
        ("slash in a name", &[b"d/f"]),
        ("up in a name", &[b"d/../../outside"]),
        ("slash at the end", &[b"d/"]),
        ("NUL", &[b"f\0"]),
        ("NUL alone", &[b"\0"]),
        ("NUL before what is cut off", &[b"kept\0.txt"]),
        ("name of 256 bytes", &[&[b'n'; 256]]),
        ("256 names", &deep),
        ("4097 bytes", &wide),
        ("reserved", &[b".floe", b"secret"]),
        ("reserved in capitals", &[b".FLOE", b"secret"]),
        ("reserved in both", &[b".fLoE"]),
        ("reserved with dots behind", &[b".floe.."]),
        ("reserved with a space behind", &[b".floe "]),
        ("reserved within", &[b"d", b".floe"]),
        ("reserved with a ligature", &[".\u{fb02}oe".as_bytes()]),
        ("reserved with what is not seen", &[".fl\u{200d}oe".as_bytes()]),
        ("reserved, short", &[b"FLOE~1"]),
        ("reserved, short and hashed", &[b"fl1a2B~12"]),
    ];
    let mut bad: Vec<_> = names.iter().map(|(name, names)| (*name, path(names))).collect();
    bad.extend([
        ("no list", Cbor::from(&b"kept"[..])),
        ("a text as a name", vec![Cbor::text("kept")].into()),
        ("a number as a name", vec![Cbor::from(7)].into()),
        ("a list in a list", vec![at("kept")].into()),
        ("a name that is not ended", Cbor::raw(&[0x81, 0x5f, 0x41, b'a', 0xff])),
        ("a list that is not ended", Cbor::raw(&[0x9f, 0x41, b'a', 0xff])),
        ("more names than are there", Cbor::raw(&[0x82, 0x41, b'a'])),
        ("2^32 names", Cbor::raw(&[0x9a, 0xff, 0xff, 0xff, 0xff])),
        ("2^64-1 names", Cbor::raw(&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255])),
        (
            "a name of 2^64-1 bytes",
            Cbor::raw(&[0x81, 0x5b, 255, 255, 255, 255, 255, 255, 255, 255]),
        ),
    ]);
    bad
}

/// A frame of a client that takes a path: what it is, what goes before it, and it.
type Carrier = (&'static str, Vec<u8>, fn(Cbor) -> Vec<u8>);

/// Every one there is.
fn carriers() -> Vec<Carrier> {
    let put = cold(kind::OPEN, &wire::open(0, 0, at("tree")));
    let in_tree = [put.clone(), wire::entries(0, &[wire::dir(0, at(""))])].concat();
    vec![
        ("LIST", vec![], |path| cold(kind::REQUEST, &request(0, wire::LIST, path))),
        ("STAT", vec![], |path| cold(kind::REQUEST, &request(0, wire::STAT, path))),
        ("REMOVE", vec![], |path| cold(kind::REQUEST, &request(0, wire::REMOVE, path))),
        ("REMOVE -r", vec![], |path| {
            cold(kind::REQUEST, &request(0, wire::REMOVE, path).with(6, 1))
        }),
        ("RENAME from", vec![], |path| cold(kind::REQUEST, &request(0, wire::RENAME, path))),
        ("RENAME to", vec![], |path| {
            cold(kind::REQUEST, &request(0, wire::RENAME, at("kept")).with(7, path).with(8, 1))
        }),
        ("MKDIR", vec![], |path| cold(kind::REQUEST, &request(0, wire::MKDIR, path))),
        ("OPEN put", vec![], |path| cold(kind::OPEN, &wire::open(0, 0, path))),
        ("OPEN get", vec![], |path| cold(kind::OPEN, &wire::open(0, 1, path))),
        ("ENTRIES file", in_tree.clone(), |path| wire::entries(0, &[wire::file(1, path, 3)])),
        ("ENTRIES directory", in_tree.clone(), |path| wire::entries(0, &[wire::dir(1, path)])),
        ("ENTRIES link", in_tree.clone(), |path| wire::entries(0, &[wire::link(1, path, b"x")])),
        ("ENTRIES end", in_tree.clone(), |path| wire::entries(0, &[wire::end(1, path, 0)])),
        ("FAILED", in_tree, |path| {
            let body = map([(0, 0.into()), (1, 9.into()), (2, path), (3, wire::fault(0, "x"))]);
            cold(kind::FAILED, &body)
        }),
    ]
}

#[test]
fn no_frame_takes_a_path_that_no_object_has() {
    let fort = Fort::plain();
    for (carrier, before, frame) in carriers() {
        for (name, path) in bad_paths() {
            let mut peer = fort.peer();
            peer.say(&[before.clone(), frame(path)].concat());
            assert_eq!(peer.verdict(), VIOLATION, "{carrier}, {name}");
            assert_eq!(peer.answer(), Answer::End, "{carrier}, {name}");
            saw_nothing(&peer);
        }
    }
    let left: Vec<_> =
        fs::read_dir(fort.served("")).unwrap().map(|it| it.unwrap().path()).collect();
    let known = ["kept", "tree", ".floe"].map(|name| fort.served(name));
    assert!(left.iter().all(|path| known.contains(path)), "{left:?}");
    fort.stands();
}

/// What is not text is a name all the same, and so is what only looks like another.
#[test]
fn names_are_bytes() {
    let fort = Fort::new();
    for name in [
        &b"caf\xe9"[..],
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"..\xff",
        b"...",
        b" ",
        b"-rf",
        b"\x1b[2J\n\r",
        b".floe\xff",
        b"floe",
        b"C:\\x",
        b"\xc0\xae\xc0\xae",
        &[b'n'; 255],
    ] {
        let mut peer = fort.peer();
        let ask = |what| cold(kind::REQUEST, &request(0, what, path(&[name])));
        for (what, answer) in [
            (wire::STAT, Answer::Fault(code::NOT_FOUND)),
            (wire::MKDIR, Answer::Done),
            (wire::LIST, Answer::Done),
        ] {
            peer.say(&ask(what));
            assert_eq!(peer.answer(), answer, "{name:?}");
        }
        assert!(fort.served("").join(std::ffi::OsStr::from_bytes(name)).is_dir(), "{name:?}");
    }
    fort.stands();
}

#[test]
fn the_longest_path_is_no_violation_and_one_byte_more_is() {
    let fort = Fort::new();
    let long = vec![b'n'; 255];
    let names: Vec<_> = (0..16).map(|_| &long[..]).collect();
    let fits = path(&names);
    assert_eq!(names.iter().map(|name| name.len() + 1).sum::<usize>() - 1, 4095);
    let deepest = path(&vec![&b"d"[..]; 255]);
    let mut peer: Peer = fort.peer();
    for (what, path, answer) in [
        (wire::STAT, &fits, Answer::Fault(code::NOT_FOUND)),
        (wire::STAT, &deepest, Answer::Fault(code::NOT_FOUND)),
        (wire::MKDIR, &deepest, Answer::Done),
        (wire::LIST, &deepest, Answer::Done),
        (wire::RENAME, &deepest, Answer::Done),
    ] {
        peer.say(&cold(kind::REQUEST, &request(0, what, path.clone())));
        assert_eq!(peer.answer(), answer, "request {what}");
    }
    let recursive = request(0, wire::REMOVE, at("d")).with(6, 1);
    peer.say(&cold(kind::REQUEST, &recursive));
    assert_eq!(peer.answer(), Answer::Done);
    assert!(!fort.served("d").exists() && fort.served("elsewhere").is_dir());
    fort.stands();
}
