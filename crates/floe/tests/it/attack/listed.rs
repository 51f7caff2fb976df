//! ENTRIES that are packed, and are not what they say; and by hand as they should be.

use super::fort::Fort;
use super::host::{Victim, challenge, host, opened, welcome};
use super::packed::{SEGMENT, blocks, entered, sevens, start};
use super::peer::{Answer, Peer, VIOLATION};
use super::wire::{self, at, cold, hot, kind, map};

/// Pieces and entries.
const ABILITIES: u64 = 1 | 8 | 16;
const TEXT: usize = 4000;

/// PACKED_ENTRIES: how long they say to be, and what they are packed to.
fn listed(len: u32, frame: &[u8]) -> Vec<u8> {
    hot(kind::PACKED_ENTRIES, 0, &[&len.to_be_bytes(), frame].concat())
}

/// A list of one link whose text is one byte again and again, and how it is packed by hand: a block
/// of bytes as they are, and one of that byte.
fn link() -> (Vec<u8>, Vec<u8>) {
    let plain = wire::entries(0, &[wire::link(0, at("x"), &[b'z'; TEXT])]);
    let body = plain[8..].to_vec();
    let (before, text) = body.split_at(body.len() - TEXT);
    assert!(text.iter().all(|byte| *byte == b'z'), "it is the last field");
    let size = u32::try_from(body.len()).unwrap().to_le_bytes();
    let block = |len: usize, bits: u32| (u32::try_from(len).unwrap() << 3 | bits).to_le_bytes();
    let first = [&block(before.len(), 0)[..3], before].concat();
    let last = [&block(TEXT, 3)[..3], b"z"].concat();
    let packed = [start(SEGMENT, &size), first, last].concat();
    (body, packed)
}

fn opened_put(fort: &Fort, abilities: u64) -> Peer {
    let mut peer = entered(fort, abilities);
    peer.say(&cold(kind::OPEN, &wire::open(0, 0, at("t"))));
    peer.hears(kind::OPENED);
    peer
}

/// What no packed entries are.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let (body, right) = link();
    let len = u32::try_from(body.len()).unwrap();
    let size = len.to_le_bytes();
    vec![
        ("a bomb: blocks of 64 MiB", {
            listed(len, &[start(SEGMENT, &size), blocks(64 << 20)].concat())
        }),
        ("a bomb that says so", listed(len, &sevens(64 << 20))),
        ("a length above the limit", listed(65_537, &sevens(65_537))),
        ("a length of 2^32-1", listed(u32::MAX, &right)),
        ("a byte more than it is", listed(len + 1, &right)),
        ("a byte less", listed(len - 1, &right)),
        ("no entries", listed(5000, &sevens(5000))),
        ("a byte behind the frame", listed(len, &[&right[..], &[0]].concat())),
        ("a frame cut short", listed(len, &right[..right.len() - 1])),
        ("no frame", listed(len, &[7; 100])),
        ("nothing", listed(len, b"")),
        ("what is no shorter", listed(4, &right)),
        ("no length", hot(kind::PACKED_ENTRIES, 0, &[0; 3])),
        ("a flag", hot(kind::PACKED_ENTRIES, 2, &listed(len, &right)[8..])),
        ("a frame above the limit", wire::head(65_537, kind::PACKED_ENTRIES, 0, 0)),
    ]
}

#[test]
fn packed_entries_that_lie_are_a_violation_and_leave_nothing() {
    let fort = Fort::plain();
    for (name, bytes) in lies() {
        let mut peer = opened_put(&fort, ABILITIES);
        peer.say(&bytes);
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
        assert!(!fort.served("t").exists(), "{name}");
    }
    fort.stands();
}

#[test]
fn without_the_ability_packed_entries_are_a_violation() {
    let (body, right) = link();
    let bytes = listed(u32::try_from(body.len()).unwrap(), &right);
    for (fort, abilities, told) in [
        (Fort::plain(), 1 | 8, 16),
        (Fort::with(&["--plaintext", "--compress", "never"], ""), ABILITIES, 0),
    ] {
        let mut peer = opened_put(&fort, abilities);
        assert_eq!(peer.welcome.as_ref().unwrap().at(0).uint() & 16, told);
        peer.say(&bytes);
        assert_eq!(peer.verdict(), VIOLATION);
        fort.stands();
    }
}

#[test]
fn packed_entries_by_hand_are_entries() {
    let fort = Fort::plain();
    let (body, right) = link();
    let mut peer = opened_put(&fort, ABILITIES);
    peer.say(&wire::entries(0, &[wire::dir(1, at(""))]));
    peer.say(&listed(u32::try_from(body.len()).unwrap(), &right));
    let end = wire::entries(0, &[wire::end(2, at(""), 1)]);
    peer.say(&[end, cold(kind::COMPLETE, &map([(0, 0.into()), (1, 3.into())]))].concat());
    let done = Answer::Frame(kind::COMPLETED);
    assert_eq!(peer.until(&[done, VIOLATION]), done);
    drop(peer);
    let text = std::fs::read_link(fort.served("t/x")).unwrap();
    assert_eq!(text.as_os_str().len(), TEXT);
    fort.stands();
}

/// A get is answered with packed entries where its client can take them, and wishes it.
#[test]
fn a_list_is_packed_for_who_can_take_it_and_does_not_refuse() {
    let fort = Fort::plain();
    // Each is long enough alone: how many go in one frame is the moment's.
    let long = "a-name-that-comes-again-".repeat(8);
    for nth in 0..30 {
        std::fs::create_dir_all(fort.served(&format!("d/{long}/{long}{nth}"))).unwrap();
    }
    for (abilities, wish, packs) in [
        (ABILITIES, None, true),
        (ABILITIES, Some(3_u64), true),
        (ABILITIES, Some(0), false),
        (1 | 8, None, false),
    ] {
        let mut peer = entered(&fort, abilities);
        let open = wire::open(0, 1, at("d"));
        let open = match wish {
            Some(wish) => open.with(12, wish),
            None => open,
        };
        peer.say(&cold(kind::OPEN, &open));
        peer.hears(kind::OPENED);
        let lists = [kind::ENTRIES, kind::PACKED_ENTRIES];
        let kinds: Vec<_> = std::iter::from_fn(|| peer.next())
            .map(|frame| frame.kind)
            .filter(|kind| lists.contains(kind))
            .take(20)
            .collect();
        assert_eq!(kinds.contains(&kind::PACKED_ENTRIES), packs, "{abilities} {wish:?}");
    }
    fort.stands();
}

/// A server that lies so to `floe get`.
#[test]
fn a_client_takes_no_packed_entries_that_lie() {
    let (lists, victim) = (lies(), Victim::new());
    for (nth, (name, _)) in lies().into_iter().enumerate() {
        let bytes = lists[nth].1.clone();
        let port = host(move |peer| {
            challenge(peer);
            peer.say(&cold(kind::WELCOME, &welcome().with(0, ABILITIES)));
            opened(peer);
            peer.say(&bytes.clone());
        });
        victim.refuses(name, port, &["get", "URL/f", "dest", "--streams", "1"]);
        assert!(!victim.stage.path("here/dest").exists(), "{name}");
    }
}
