//! Pieces that are packed, and are not what they say: each is refused as soon as it is whole, and
//! takes no more memory than a piece.
//!
//! The frames of Zstandard are made by hand (RFC 8878): `floe` must not depend on what one library
//! happens to write.

use super::fort::Fort;
use super::host::{Victim, challenge, host, opened, welcome};
use super::peer::{Answer, Peer, VIOLATION};
use super::wire::{self, at, cold, data, head, header, hot, kind, map, seal, value};

const SIZE: u32 = 300_000;
const CHUNK: u32 = 262_144;
const BLOCK_MAX: u32 = 128 << 10;

/// A session of who knows packed pieces, in which `x` is put and wanted.
fn putting(fort: &Fort, abilities: u64) -> Peer {
    super::chunks::putting_by(entered(fort, abilities))
}

/// A session of who has these abilities.
pub fn entered(fort: &Fort, abilities: u64) -> Peer {
    let mut peer =
        Peer::over(super::channel::Link::Plain(super::channel::Link::tcp(fort.server.port)));
    let exporter = peer.hears(kind::CHALLENGE).body.try_into().unwrap();
    let hello = fort.owner.hello(b"floe/1 plaintext", &exporter).with(0, abilities);
    peer.enter(&hello)
}

/// PACKED of a chunk: where, how long it says to be, and what it holds.
fn packed(seq: u64, at: u64, len: u32, frame: &[u8]) -> Vec<u8> {
    let mut body = [seq, at].map(u64::to_be_bytes).concat();
    body.extend(len.to_be_bytes());
    body.extend(frame);
    hot(kind::PACKED, 0, &body)
}

/// The start of a frame: a descriptor, and what follows it.
pub fn start(descriptor: u8, fields: &[u8]) -> Vec<u8> {
    [&[0x28, 0xb5, 0x2f, 0xfd, descriptor], fields].concat()
}

/// Blocks of one byte again and again, so many bytes of it.
pub fn blocks(mut len: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while len > 0 {
        let some = len.min(BLOCK_MAX);
        len -= some;
        let last = u32::from(len == 0);
        bytes.extend(&(some << 3 | 1 << 1 | last).to_le_bytes()[..3]);
        bytes.push(7);
    }
    bytes
}

/// One segment that says its content size in four bytes.
pub const SEGMENT: u8 = 0xa0;

/// A frame of so many bytes 7.
pub fn sevens(len: u32) -> Vec<u8> {
    [start(SEGMENT, &len.to_le_bytes()), blocks(len)].concat()
}

/// What no packed piece of `CHUNK` bytes is.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let size = CHUNK.to_le_bytes();
    let right = sevens(CHUNK);
    let of = |frame: &[u8]| packed(0, 0, CHUNK, frame);
    let with = |descriptor| [start(descriptor, &size), blocks(CHUNK)].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..], &right].concat();
    let checked = [start(SEGMENT | 4, &size), blocks(CHUNK), vec![1, 2, 3, 4]].concat();
    let reserved = [start(SEGMENT, &size), vec![7, 0, 16, 7]].concat();
    let tiny = (1..=CHUNK / 8).flat_map(|nth| [8 << 3 | 2 | u8::from(nth == CHUNK / 8), 0, 0, 7]);
    let tiny: Vec<_> = tiny.collect();
    vec![
        ("a block for every eight bytes", of(&[start(SEGMENT, &size), tiny].concat())),
        ("a bomb: blocks of 64 MiB", of(&[start(SEGMENT, &size), blocks(64 << 20)].concat())),
        ("a bomb that says so", of(&sevens(64 << 20))),
        ("a bomb of 2^63 bytes", {
            of(&[start(0xe0, &(1_u64 << 63).to_le_bytes()), blocks(1 << 20)].concat())
        }),
        ("a length that is more than the frame's", packed(0, 0, CHUNK, &sevens(CHUNK - 1))),
        ("a length that is less than the frame's", packed(0, 0, CHUNK - 1, &right)),
        ("blocks of a byte less", of(&[start(SEGMENT, &size), blocks(CHUNK - 1)].concat())),
        ("blocks of a byte more", of(&[start(SEGMENT, &size), blocks(CHUNK + 1)].concat())),
        (
            "a window of 3.75 TiB",
            of(&[start(0x80, &[0xff]), size.to_vec(), blocks(CHUNK)].concat()),
        ),
        ("a window, and no size", of(&[start(0x00, &[0x40]), blocks(CHUNK)].concat())),
        (
            "a dictionary's id",
            of(&[start(SEGMENT | 1, &[9]), size.to_vec(), blocks(CHUNK)].concat()),
        ),
        ("a dictionary's id of 0", {
            of(&[start(SEGMENT | 3, &[0; 4]), size.to_vec(), blocks(CHUNK)].concat())
        }),
        ("the unused bit", of(&with(SEGMENT | 0x10))),
        ("the reserved bit", of(&with(SEGMENT | 0x08))),
        ("a checksum that is wrong", of(&checked)),
        ("a checksum that is missing", of(&with(SEGMENT | 4))),
        ("a reserved block", of(&reserved)),
        ("a skippable frame before it", of(&skippable)),
        ("a skippable frame alone", of(&skippable[..12])),
        ("two frames", of(&[sevens(CHUNK / 2), sevens(CHUNK / 2)].concat())),
        ("a byte behind it", of(&[&right[..], &[0]].concat())),
        ("a frame cut short", of(&right[..right.len() - 1])),
        ("a frame without its last block", of(&right[..right.len() - 4])),
        ("a header alone", of(&right[..9])),
        ("a header cut short", of(&right[..6])),
        ("the magic number of an older format", of(&[&[0x27], &right[1..]].concat())),
        ("no frame", of(&[7; 100])),
        ("one byte", of(&[0x28])),
        ("nothing", of(b"")),
        ("a piece of no bytes", packed(0, 0, 0, &sevens(0))),
        ("what is no shorter", packed(0, 0, 9, &[start(0x20, &[9]), vec![73, 0, 0]].concat())),
        ("a length of 2^32-1", packed(0, 0, u32::MAX, &right)),
        ("a length above the limit", packed(0, 0, 262_145, &sevens(262_145))),
        ("a frame above the limit", head(262_144 + 20, kind::PACKED, 0, 0)),
        ("a frame of 2^32-1", head(u32::MAX, kind::PACKED, 0, 0)),
        ("a flag", hot(kind::PACKED, 1, &packed(0, 0, CHUNK, &right)[8..])),
        ("fields cut short", hot(kind::PACKED, 0, &[0; 19])),
        ("another chunk", packed(1, 0, CHUNK, &right)),
        ("a start at 1", packed(0, 1, CHUNK - 1, &sevens(CHUNK - 1))),
        ("a start at 2^64-1", packed(0, u64::MAX, CHUNK, &right)),
        (
            "more than the chunk",
            [packed(0, 0, CHUNK, &right), packed(0, CHUNK.into(), 9000, &sevens(9000))].concat(),
        ),
    ]
}

#[test]
fn a_packed_piece_that_lies_is_a_violation_and_leaves_nothing() {
    let fort = Fort::plain();
    for (name, bytes) in lies() {
        let mut peer = putting(&fort, 9);
        peer.say(&[header(0, 0, 0, 0, CHUNK), bytes].concat());
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
        assert!(!fort.served("x").exists(), "{name}");
    }
    let mut peer = putting(&fort, 9);
    peer.say(&packed(0, 0, CHUNK, &sevens(CHUNK)));
    assert_eq!(peer.verdict(), VIOLATION, "before any HEADER");
    fort.stands();
}

#[test]
fn without_the_ability_a_packed_piece_is_a_violation() {
    let fort = Fort::plain();
    let mut peer = putting(&fort, 1);
    peer.say(&[header(0, 0, 0, 0, CHUNK), packed(0, 0, CHUNK, &sevens(CHUNK))].concat());
    assert_eq!(peer.verdict(), VIOLATION);
    fort.stands();
    // Nor does a server take them that never packs.
    let fort = Fort::with(&["--plaintext", "--compress", "never"], "");
    let mut peer = putting(&fort, 9);
    assert_eq!(peer.welcome.as_ref().unwrap().at(0).uint() & 8, 0);
    peer.say(&[header(0, 0, 0, 0, CHUNK), packed(0, 0, CHUNK, &sevens(CHUNK))].concat());
    assert_eq!(peer.verdict(), VIOLATION);
    fort.stands();
}

/// Frames by hand that are as they should be, with a checksum and without, packed pieces beside
/// others: what comes to stand is what was meant.
#[test]
fn a_packed_piece_by_hand_is_a_piece() {
    let fort = Fort::plain();
    let mut peer = putting(&fort, 9);
    assert_eq!(peer.welcome.as_ref().unwrap().at(0).uint() & 8, 8);
    let whole = vec![7; SIZE as usize];
    let (first, second) = whole.split_at(CHUNK as usize);
    let tail = SIZE - CHUNK;
    let half = CHUNK / 2;
    let root = *blake3::hash(first).as_bytes();
    peer.say(&[header(0, 0, 0, 0, CHUNK), packed(0, 0, half, &sevens(half))].concat());
    peer.say(&data(0, half.into(), &first[half as usize..]));
    peer.say(&seal(0, CHUNK, value(0, first), Some(root)));
    peer.say(&[header(1, 0, 0, CHUNK.into(), tail), packed(1, 0, tail, &sevens(tail))].concat());
    peer.say(&seal(1, tail, value(CHUNK.into(), second), None));
    let root = *blake3::hash(&whole).as_bytes();
    peer.say(&super::host::done(0, SIZE.into(), root));
    peer.say(&cold(kind::COMPLETE, &map([(0, 0.into()), (1, 1.into())])));
    let committed = Answer::Frame(kind::COMPLETED);
    assert_eq!(peer.until(&[committed, VIOLATION]), committed);
    drop(peer);
    assert!(std::fs::read(fort.served("x")).unwrap() == whole);
    fort.stands();
}

/// A piece that decodes, and is not what was sealed, is as any other: asked for again.
#[test]
fn a_packed_piece_of_other_bytes_is_corrupt() {
    let fort = Fort::plain();
    let mut peer = putting(&fort, 9);
    for seq in 0..8 {
        peer.say(&[header(seq, 0, 0, 0, CHUNK), packed(seq, 0, CHUNK, &sevens(CHUNK))].concat());
        peer.say(&seal(seq, CHUNK, [1; 32], Some([2; 32])));
        assert_eq!(peer.answer(), Answer::Frame(kind::CORRUPT), "{seq}");
    }
    drop(peer);
    fort.stands();
}

/// Many that send little and unpack to much, on many connections at once: memory holds.
#[test]
fn little_that_unpacks_to_much_takes_no_more_memory_than_much() {
    let fort = Fort::plain();
    let mut peers: Vec<_> = (0..16).map(|_| putting(&fort, 9)).collect();
    for seq in 0..40 {
        for peer in &mut peers {
            let piece = [header(seq, 0, 0, 0, CHUNK), packed(seq, 0, CHUNK, &sevens(CHUNK))];
            peer.say(&piece.concat());
        }
    }
    assert!(fort.resident());
    drop(peers);
    fort.stands();
}

/// A wish of a get: obeyed where nothing is to be packed, or the peer could not take it.
#[test]
fn what_is_sent_is_packed_for_who_can_take_it_and_wishes_it() {
    let fort = Fort::plain();
    let text = "a line of text that comes again\n".repeat(20_000);
    std::fs::write(fort.served("t"), &text).unwrap();
    for (abilities, wish, packs) in [
        (9, Some(19_u64), true),
        (9, Some(1), true),
        (9, Some(0), false),
        (9, None, false),
        (1, Some(3), false),
    ] {
        let mut peer = putting(&fort, abilities);
        let open = wire::open(1, 1, at("t"));
        let open = match wish {
            Some(wish) => open.with(12, wish),
            None => open,
        };
        peer.say(&cold(kind::OPEN, &open));
        peer.hears(kind::OPENED);
        let index = peer.hears(kind::ENTRIES).map().at(1).items()[0].at(0).uint();
        let want = map([(0, 1.into()), (1, index.into()), (2, 1.into()), (3, vec![].into())]);
        peer.say(&cold(kind::WANT, &want.with(5, 0)));
        let (mut came, mut kinds) = (0, Vec::new());
        while came < text.len() {
            let frame = peer.next().unwrap();
            let len = match frame.kind {
                kind::DATA => frame.body.len() - 16,
                kind::PACKED => {
                    assert_eq!(frame.body[20..24], [0x28, 0xb5, 0x2f, 0xfd]);
                    assert_eq!(frame.body[24] & 0x3f, 0x20, "one segment, and nothing else");
                    u32::from_be_bytes(frame.body[16..20].try_into().unwrap()) as usize
                }
                kind::HEADER | kind::SEAL | kind::DONE => continue,
                other => panic!("{other:#x}"),
            };
            (came, kinds) = (came + len, [&kinds[..], &[frame.kind]].concat());
        }
        let all = if packs { kind::PACKED } else { kind::DATA };
        assert!(kinds.iter().all(|kind| *kind == all), "{abilities} {wish:?}: {kinds:x?}");
    }
    fort.stands();
}

/// A server that lies so to `floe get`.
#[test]
fn a_client_takes_no_packed_piece_that_lies() {
    let (pieces, victim) = (lies(), Victim::new());
    for (nth, (name, _)) in lies().into_iter().enumerate() {
        let bytes = pieces[nth].1.clone();
        let port = host(move |peer| {
            challenge(peer);
            peer.say(&cold(kind::WELCOME, &welcome().with(0, 9)));
            opened(peer);
            peer.say(&wire::entries(0, &[wire::file(0, at(""), SIZE.into())]));
            peer.hears(kind::WANT);
            peer.say(&[header(0, 0, 0, 0, CHUNK), bytes.clone()].concat());
        });
        victim.refuses(name, port, &["get", "URL/f", "dest", "--streams", "1"]);
        assert!(!victim.stage.path("here/dest").exists(), "{name}");
    }
}
