//! What a server may announce and send to `floe get`, and must not lead out or come to stand.

use super::host::{Victim, done, opened, send_all, welcoming};
use super::wire::{self, Cbor, at, cold, dir, end, file, header, hot, kind, link, map, path};
use std::fs;

const GET: &[&str] = &["get", "URL/d", "dest", "--streams", "1"];
const EVIL: &[u8] = b"evil";

fn evil(index: u64, at: Cbor) -> Cbor {
    file(index, at, EVIL.len() as u64)
}

/// Announcements that no tree has.
fn no_trees() -> Vec<(&'static str, Vec<Cbor>)> {
    let root = || dir(0, at(""));
    let named = |name: &[u8]| vec![root(), evil(1, path(&[name]))];
    let too_many: Vec<_> = (1..=4097).map(|nth| evil(nth, at(&format!("f{nth}")))).collect();
    vec![
        ("up", named(b"..")),
        ("up and out", vec![root(), evil(1, path(&[b"..", b"..", b"outside", b"secret"]))]),
        ("here", named(b".")),
        ("nothing", named(b"")),
        ("absolute", named(b"/etc/passwd")),
        ("a slash", named(b"../outside/secret")),
        ("NUL", named(b"f\0")),
        ("reserved", vec![root(), dir(1, at(".floe")), evil(2, at(".floe/secret"))]),
        ("reserved in capitals", named(b".FLOE")),
        ("a name of 256 bytes", named(&[b'n'; 256])),
        ("256 names", vec![root(), evil(1, path(&vec![&b"d"[..]; 256]))]),
        ("a directory above", vec![root(), dir(1, path(&[b".."]))]),
        ("a link above", vec![root(), link(1, path(&[b"..", b"l"]), b"x")]),
        ("a link of NUL", vec![root(), link(1, at("l"), b"a\0b")]),
        ("a link of nothing", vec![root(), link(1, at("l"), b"")]),
        ("a link of 4096 bytes", vec![root(), link(1, at("l"), &[b'a'; 4096])]),
        ("no root", vec![evil(0, at("f"))]),
        ("two roots", vec![root(), dir(1, at(""))]),
        ("what is in no directory", vec![root(), evil(1, at("none/f"))]),
        ("what is in a file", vec![root(), evil(1, at("f")), evil(2, at("f/g"))]),
        ("what is in a link", vec![root(), link(1, at("l"), b"../outside"), evil(2, at("l/f"))]),
        (
            "what is in a directory that has ended",
            vec![root(), dir(1, at("d")), end(2, at("d"), 1), evil(3, at("d/f"))],
        ),
        ("the end of a file", vec![root(), evil(1, at("f")), end(2, at("f"), 1)]),
        ("the end of another directory", vec![root(), dir(1, at("d")), end(2, at("d"), 0)]),
        ("the end of nothing", vec![root(), end(1, at("d"), 7)]),
        ("an index twice", vec![root(), evil(1, at("f")), evil(1, at("g"))]),
        ("what replaces another path", vec![root(), evil(1, at("f")), evil(2, at("g")).with(9, 1)]),
        ("what replaces nothing", vec![root(), evil(1, at("f")).with(9, 7)]),
        ("a size of 2^63", vec![root(), file(1, at("f"), 1 << 63)]),
        ("a size of -1", vec![root(), evil(1, at("f")).with(3, Cbor::Negative(0))]),
        (
            "set-id bits",
            vec![root(), evil(1, at("f")).with(6, vec![0o4755.into(), 0.into(), 0.into()])],
        ),
        ("a device", vec![root(), dir(1, at("f")).with(2, 4)]),
        ("holes larger than the file", vec![root(), evil(1, at("f")).with(10, 5)]),
        ("more than may be announced", [vec![root()], too_many].concat()),
    ]
}

#[test]
fn a_tree_that_is_none_is_refused_and_nothing_leads_out() {
    for (name, tree) in no_trees() {
        let victim = Victim::new();
        let port = welcoming(move |peer| {
            opened(peer);
            for some in tree.chunks(400) {
                peer.say(&wire::entries(0, some));
            }
        });
        victim.refuses(name, port, GET);
        assert!(!victim.stage.path("here/secret").exists(), "{name}");
    }
}

/// A server that announces a tree, sends what is wanted and is in good order but for that tree.
fn serving(tree: Vec<Cbor>) -> u16 {
    let ends = tree.iter().filter(|entry| entry.at(2).uint() != 1).count();
    welcoming(move |peer| {
        opened(peer);
        peer.say(&wire::entries(0, &tree));
        send_all(peer, EVIL, tree.len() as u64, ends);
    })
}

/// Names that mean two things at once: whichever stands, it stands within.
#[test]
fn names_that_meet_end_within_the_tree() {
    let outside = || link(1, at("l"), b"../../outside");
    let whole = |inner: Vec<Cbor>| {
        let last = inner.len() as u64 + 1;
        [vec![dir(0, at(""))], inner, vec![end(last, at(""), 0)]].concat()
    };
    for (name, tree, statuses) in [
        ("a file twice", whole(vec![evil(1, at("f")), evil(2, at("f"))]), &[0, 10][..]),
        ("a link twice", whole(vec![outside(), link(2, at("l"), b"x")]), &[0, 10]),
        ("a file, then a link", whole(vec![evil(1, at("l")), link(2, at("l"), b"x")]), &[0, 10]),
        ("a link, then a file", whole(vec![outside(), evil(2, at("l"))]), &[0, 10]),
        (
            "a link, then a directory of its name, and a file in that",
            whole(vec![outside(), dir(2, at("l")), evil(3, at("l/secret")), end(4, at("l"), 2)]),
            &[10],
        ),
        (
            "a file, then a directory of its name, and a file in that",
            whole(vec![
                evil(1, at("l")),
                dir(2, at("l")),
                evil(3, at("l/secret")),
                end(4, at("l"), 2),
            ]),
            &[10],
        ),
        (
            "a directory, then a link of its name",
            whole(vec![dir(1, at("l")), end(2, at("l"), 1), link(3, at("l"), b"../../outside")]),
            &[10],
        ),
        (
            "a directory twice",
            whole(vec![dir(1, at("l")), end(2, at("l"), 1), dir(3, at("l")), end(4, at("l"), 3)]),
            &[6],
        ),
    ] {
        let victim = Victim::new();
        let ended = victim.run(serving(tree.clone()), GET);
        assert!(statuses.contains(&ended.status), "{name}: {} {}", ended.status, ended.err);
        // Where the link stands already, from an earlier get: the same.
        let again = victim.run(serving(tree), GET);
        assert!([0, 6, 10].contains(&again.status), "{name}: {} {}", again.status, again.err);
    }
}

#[test]
fn a_link_of_an_earlier_get_is_not_followed() {
    for text in ["../../outside", "/proc/self/root/tmp", "..", "."] {
        let victim = Victim::new();
        let first = vec![dir(0, at("")), link(1, at("l"), text.as_bytes()), end(2, at(""), 0)];
        victim.run(serving(first), GET).ok();
        let second = vec![
            dir(0, at("")),
            dir(1, at("l")),
            evil(2, at("l/secret")),
            end(3, at("l"), 1),
            end(4, at(""), 0),
        ];
        let ended = victim.run(serving(second), GET);
        assert_eq!(ended.status, 10, "{text}: {}", ended.err);
        let kept = fs::read_link(victim.stage.path("here/dest/l")).unwrap();
        assert_eq!(kept.to_str(), Some(text));
        assert!(!victim.stage.path("here/secret").exists());
        assert!(!victim.stage.path("here/dest/secret").exists());
    }
}

/// What is said of one file of four bytes, once it is wanted.
type Lie = (&'static str, i32, fn() -> Vec<u8>);

const RIGHT: fn() -> [u8; 32] = || *blake3::hash(EVIL).as_bytes();

const LIES: &[Lie] = &[
    ("another root", 5, || [super::host::chunk(0, 0, EVIL), done(0, 4, [1; 32])].concat()),
    ("another size", 6, || [super::host::chunk(0, 0, EVIL), done(0, 5, RIGHT())].concat()),
    ("2^63-1 bytes", 6, || done(0, i64::MAX as u64, RIGHT())),
    ("2^64-1 bytes", 6, || done(0, u64::MAX, RIGHT())),
    ("more bytes than its chunk", 6, || {
        [header(0, 0, 0, 0, 4), wire::data(0, 0, b"evil and more")].concat()
    }),
    ("more bytes than the file", 6, || super::host::chunk(0, 0, b"evil and more")),
    ("a chunk behind the file", 6, || header(0, 0, 0, 262_144, 4)),
    ("a chunk at 2^63", 6, || header(0, 0, 0, 1 << 63, 4)),
    ("a chunk that is not aligned", 6, || header(0, 0, 0, 1, 3)),
    ("a chunk of 2^32-1 bytes", 6, || header(0, 0, 0, 0, u32::MAX)),
    ("a chunk of another entry", 6, || header(0, 0, 9, 0, 4)),
    ("a chunk of another transfer", 6, || header(0, 7, 0, 0, 4)),
    ("bytes without a chunk", 6, || wire::data(0, 0, EVIL)),
    ("bytes with a gap", 6, || [header(0, 0, 0, 0, 4), wire::data(0, 1, b"vil")].concat()),
    ("a piece above what was agreed on", 6, || {
        [header(0, 0, 0, 0, 4), wire::head(262_144 + 17, kind::DATA, 0, 0)].concat()
    }),
    ("the end of another tree", 6, || cold(kind::COMPLETE, &map([(0, 0.into()), (1, 2.into())]))),
    ("STORED", 6, || hot(kind::STORED, 0, &[0; 16])),
    ("a kind that nobody knows", 6, || hot(0x40, 0, b"")),
    ("a frame of 2^32-1 bytes", 6, || wire::head(u32::MAX, kind::ENTRIES, 0, 0)),
    ("COMMITTED", 6, || {
        let one = vec![0.into(), Cbor::from(&[1; 32][..])];
        cold(kind::COMMITTED, &map([(0, 0.into()), (1, vec![one.into()].into())]))
    }),
];

#[test]
fn bytes_that_lie_never_come_to_stand() {
    for (name, status, lie) in LIES {
        for dest in ["dest", "-"] {
            eprintln!("{name} to {dest}");
            let victim = Victim::new();
            let port = welcoming(|peer| {
                opened(peer);
                peer.say(&wire::entries(0, &[evil(0, at(""))]));
                peer.hears(kind::WANT);
                peer.say(&lie());
                while let Some(frame) = peer.next() {
                    if frame.kind == kind::FAILED {
                        peer.say(&cold(kind::COMPLETE, &map([(0, 0.into()), (1, 1.into())])));
                    }
                }
            });
            let ended = victim.run(port, &["get", "URL/f", dest, "--streams", "1"]);
            assert_eq!(ended.status, *status, "{name} to {dest}: {}", ended.err);
            assert!(ended.out.is_empty() || ended.out == EVIL, "{name}: {:?}", ended.out);
            assert!(!victim.stage.path("here/dest").exists(), "{name}");
        }
    }
}

#[test]
fn bytes_that_never_match_are_given_up() {
    for dest in ["dest", "-"] {
        let victim = Victim::new();
        let port = welcoming(|peer| {
            opened(peer);
            peer.say(&wire::entries(0, &[evil(0, at(""))]));
            peer.hears(kind::WANT);
            for seq in 0.. {
                let sent = [header(seq, 0, 0, 0, 4), wire::data(seq, 0, b"lies")].concat();
                peer.say(&[sent, wire::seal(seq, 4, [1; 32], Some([2; 32]))].concat());
                if peer.next().is_none_or(|frame| frame.kind != kind::CORRUPT) {
                    return;
                }
                if seq == 7 {
                    let failed = map([(0, 0.into()), (1, 0.into()), (2, at(""))]);
                    peer.say(&cold(kind::FAILED, &failed.with(3, wire::fault(20, "x"))));
                    peer.say(&cold(kind::COMPLETE, &map([(0, 0.into()), (1, 1.into())])));
                    return;
                }
            }
        });
        let ended = victim.run(port, &["get", "URL/f", dest, "--streams", "1"]);
        assert_eq!((ended.status, ended.out.len()), (5, 0), "{dest}: {}", ended.err);
        assert!(!victim.stage.path("here/dest").exists());
    }
}

/// A size that no disk has is no reason to take anything.
#[test]
fn a_size_beyond_all_disks_fails_by_name() {
    let victim = Victim::new();
    let port = welcoming(|peer| {
        opened(peer);
        peer.say(&wire::entries(0, &[file(0, at(""), i64::MAX as u64)]));
        send_all(peer, EVIL, 1, 1);
    });
    let ended = victim.run(port, &["get", "URL/f", "dest", "--streams", "1"]);
    assert!([1, 6, 7].contains(&ended.status), "{} {}", ended.status, ended.err);
    assert!(!victim.stage.path("here/dest").exists());
}
