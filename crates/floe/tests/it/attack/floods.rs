//! Too much of everything that is small, from whoever was let in.

use super::fort::Fort;
use super::peer::{Answer, Frame, Peer, VIOLATION};
use super::wire::{self, at, code, cold, hot, kind, map, request};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

/// How much of each flood is said, if the server takes it.
const FLOOD: usize = 8 << 20;
/// A server that takes nothing for so long is not waited for any longer.
const STALLED: Duration = Duration::from_millis(300);

/// Says it again and again, and reads nothing, until enough is said or the server takes no more.
fn pour(peer: &mut Peer, mut next: impl FnMut(u64) -> Vec<u8>) {
    peer.link.socket().set_write_timeout(Some(STALLED)).unwrap();
    let mut said = 0;
    for nth in 0.. {
        let frames = next(nth);
        said += frames.len();
        if said > FLOOD || peer.link.write_all(&frames).is_err() {
            return;
        }
    }
}

/// A flood: its name, what goes before it, and its frames by their number.
type Flood = (&'static str, fn() -> Vec<u8>, fn(u64) -> Vec<u8>);

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// A tree that is put.
fn tree() -> Vec<u8> {
    [cold(kind::OPEN, &wire::open(0, 0, at("tree"))), wire::entries(0, &[wire::dir(0, at(""))])]
        .concat()
}

const FLOODS: &[Flood] = &[
    ("PING", nothing, |_| hot(kind::PING, 0, &[1; 8]).repeat(1000)),
    ("PONG", nothing, |_| hot(kind::PONG, 0, &[1; 8]).repeat(1000)),
    ("empty frames to skip", nothing, |_| hot(0x80, 0, b"").repeat(1000)),
    ("long frames to skip", nothing, |_| hot(0xff, 0xff, &[0; 65_536])),
    ("STATS", nothing, |_| cold(kind::STATS, &map([(0, map([])), (1, 0.into())])).repeat(1000)),
    ("STAT, 60 at once", nothing, |_| many(60, wire::STAT, "kept")),
    ("LIST, 60 at once", nothing, |_| many(60, wire::LIST, "")),
    ("OPEN and CANCEL", nothing, |nth| {
        let cancel = map([(0, nth.into()), (1, wire::fault(0, "x"))]);
        let open = cold(kind::OPEN, &wire::open(nth, nth % 2, at("kept")));
        [open, cold(kind::CANCEL, &cancel)].concat()
    }),
    ("FAILED of what was never announced", tree, |nth| {
        let body = map([(0, 0.into()), (1, (nth + 1).into()), (2, at("f"))]);
        cold(kind::FAILED, &body.with(3, wire::fault(0, "x")))
    }),
    ("entries that fail at once", tree, |nth| {
        let body = map([(0, 0.into()), (1, (nth + 1).into()), (2, at("f"))]);
        let entry = wire::entries(0, &[wire::file(nth + 1, at("f"), 1 << 20)]);
        [entry, cold(kind::FAILED, &body.with(3, wire::fault(0, "x")))].concat()
    }),
    ("DROP of what nobody has", tree, |_| {
        let range = |nth: u64| vec![(nth << 18).into(), (1 << 18).into()].into();
        let ranges: Vec<_> = (0..512).map(range).collect();
        cold(kind::DROP, &map([(0, 0.into()), (1, 0.into()), (2, ranges.into())]))
    }),
];

/// So many requests with ids of their own.
fn many(count: u64, what: u64, path: &str) -> Vec<u8> {
    (0..count).flat_map(|id| cold(kind::REQUEST, &request(id, what, at(path)))).collect()
}

#[test]
fn floods_that_are_not_read_back_stay_within_memory_and_keep_nobody_out() {
    let fort = Fort::plain();
    for (name, before, frames) in FLOODS {
        let mut peer = fort.peer();
        peer.say(&before());
        pour(&mut peer, frames);
        fort.serves();
        assert!(fort.resident(), "{name}");
        // What it came to is typed, or the peer is not heard; it never is the server's end.
        drop(peer);
    }
    fort.stands();
}

/// All floods at once, each of a session of its own.
#[test]
fn all_floods_at_once_stay_within_memory_and_keep_nobody_out() {
    let fort = Fort::plain();
    std::thread::scope(|threads| {
        for (_, before, frames) in FLOODS {
            let mut peer = fort.peer();
            threads.spawn(move || {
                peer.say(&before());
                pour(&mut peer, frames);
            });
        }
        fort.serves();
    });
    fort.stands();
}

/// The longest names that there are, announced by several at once: each may for itself, and all
/// together not.
#[test]
fn what_several_have_announced_stays_within_memory_and_keeps_nobody_out() {
    let fort = Fort::plain();
    let long = |nth: u64| {
        let name = [&[b'n'; 235][..], format!("{nth:020}").as_bytes()].concat();
        wire::path(&[&vec![&[b'd'; 255][..]; 14][..], &[&name[..]]].concat())
    };
    let announces = || {
        let mut peer = fort.peer();
        peer.say(&tree());
        let dirs: Vec<_> = (1..15_u8)
            .map(|depth| wire::dir(depth.into(), wire::path(&vec![&[b'd'; 255][..]; depth.into()])))
            .collect();
        peer.say(&wire::entries(0, &dirs));
        for first in (15..4000).step_by(200) {
            let some: Vec<_> =
                (first..first + 200).map(|nth| wire::file(nth, long(nth), 1 << 30)).collect();
            some.chunks(10).for_each(|few| peer.say(&wire::entries(0, few)));
        }
        peer
    };
    let mut peers: Vec<_> = (0..6).map(|_| announces()).collect();
    fort.serves();
    assert!(fort.resident());
    let busy = Answer::Close(Some(code::BUSY));
    let mut answers = peers.iter_mut().map(|peer| {
        peer.say(&cold(kind::REQUEST, &request(7, wire::STAT, at("kept"))));
        peer.until(&[busy, Answer::Done])
    });
    assert!(answers.any(|answer| answer == busy), "nobody was sent away");
    drop(peers);
    fort.stands();
}

/// Pages of a directory that are asked for and hardly taken, by sessions of one ticket that have no
/// transfer: each may for itself, and all together not.
#[test]
fn pages_that_are_hardly_taken_stay_within_memory_and_keep_nobody_out() {
    let fort = Fort::plain();
    let guest = fort.grant("guest", &["--allow", "read,list"]);
    fs::create_dir(fort.served("many")).unwrap();
    // A frame has room for so many: as much memory as a page can take, for little of the disk.
    let link = |nth| symlink("t".repeat(4000), fort.served(&format!("many/{nth}"))).unwrap();
    (0..15).for_each(link);
    let asks = |ticket, pages| {
        let mut peer = fort.peer_of(ticket);
        socket2::SockRef::from(peer.link.socket()).set_recv_buffer_size(128 << 10).unwrap();
        peer.say(&many(pages, wire::LIST, "many"));
        peer
    };
    const ASKED_AGAIN: usize = 8;
    let busy = Answer::Close(Some(code::BUSY));
    let mut other = asks(&fort.owner, 8);
    let mut peers: Vec<_> = (0..72).map(|_| Some(asks(&guest, 64))).collect();
    let mut sent_away = 0;
    for turn in 0..64 + ASKED_AGAIN {
        for peer in &mut peers {
            let Some(own) = peer else { continue };
            let page = own.next();
            match page.as_ref().map_or(Answer::End, Frame::answer) {
                // Whoever takes some is not taken for a slow reader.
                Answer::Done if turn < ASKED_AGAIN => {
                    let id = page.unwrap().map().at(0).uint();
                    own.say(&cold(kind::REQUEST, &request(id, wire::LIST, at("many"))));
                }
                Answer::Done => {}
                answer => {
                    sent_away += usize::from(answer == busy);
                    *peer = None;
                }
            }
        }
        if turn == ASKED_AGAIN {
            fort.serves();
            assert!(fort.resident());
        }
    }
    assert!(sent_away > 0, "nobody was sent away");
    // Nobody of another ticket had to end for it.
    (0..8).for_each(|_| assert_eq!(other.answer(), Answer::Done));
    drop((peers, other));
    fort.stands();
}

/// What is counted is refused by count, not held.
#[test]
fn more_than_is_allowed_at_once_is_refused() {
    let fort = Fort::with(&["--plaintext"], "[limits]\nentries-ahead = 1024\n");
    // The 17th transfer; those before it go on.
    let mut peer = fort.peer();
    let opens: Vec<_> =
        (0..17).flat_map(|id| cold(kind::OPEN, &wire::open(id, 0, at("x")))).collect();
    peer.say(&opens);
    assert_eq!(peer.verdict(), Answer::Cancel(code::LIMIT_EXCEEDED));
    drop(peer);
    // Entries that are announced and never sent, in one frame and in many.
    for at_once in [1, 100] {
        let mut peer = fort.peer();
        peer.say(&tree());
        for first in (1..5000).step_by(at_once) {
            let all: Vec<_> = (first..first + at_once as u64)
                .map(|nth| wire::file(nth, at(&format!("f{nth}")), 1 << 40))
                .collect();
            peer.say(&wire::entries(0, &all));
        }
        let verdict = peer.until(&[VIOLATION]);
        assert_eq!(verdict, VIOLATION, "{at_once} at once");
    }
    // 4097 in one frame.
    let mut peer = fort.peer();
    let all: Vec<_> = (0..4097).map(|_| wire::Cbor::raw(b"\xa0")).collect();
    peer.say(&[tree(), wire::entries(0, &all)].concat());
    assert_eq!(peer.verdict(), VIOLATION);
    // A directory in a directory, deeper than any path.
    let mut peer = fort.peer();
    peer.say(&tree());
    for depth in 1..300 {
        let path = wire::path(&vec![&b"d"[..]; depth]);
        peer.say(&wire::entries(0, &[wire::dir(depth as u64, path)]));
    }
    assert_eq!(peer.until(&[VIOLATION]), VIOLATION);
    fort.stands();
}

#[test]
fn more_requests_than_are_allowed_at_once_are_a_violation_or_answered() {
    let fort = Fort::plain();
    fs::write(fort.served("large"), vec![7; 32 << 20]).unwrap();
    let mut peer = fort.peer();
    // Each takes its time, so that they are open together.
    let hash = |id| cold(kind::REQUEST, &request(id, wire::STAT, at("large")).with(5, 1));
    peer.say(&(0..65).flat_map(hash).collect::<Vec<_>>());
    assert_eq!(peer.until(&[VIOLATION]), VIOLATION);
    // And one id of two at once.
    let mut peer = fort.peer();
    peer.say(&[hash(7), hash(7)].concat());
    assert_eq!(peer.until(&[VIOLATION]), VIOLATION);
    fort.stands();
}

/// Who asks for bytes and never says what came, or promises bytes and never sends them, holds what
/// a window is, and nobody up.
#[test]
fn ends_that_never_answer_hold_nobody_up() {
    let fort = Fort::plain();
    fs::write(fort.served("large"), vec![7; 96 << 20]).unwrap();
    let mut peers = Vec::new();
    for nth in 0..24_u32 {
        let mut peer = fort.peer();
        if nth % 2 == 0 {
            peer.say(&cold(kind::OPEN, &wire::open(0, 1, at("large"))));
            peer.hears(kind::OPENED);
            let index = peer.hears(kind::ENTRIES).map().at(1).items()[0].at(0).clone();
            let want = map([(0, 0.into()), (1, index), (2, 1.into()), (3, vec![].into())]);
            peer.say(&cold(kind::WANT, &want.with(5, 0)));
        } else {
            let path = format!("never{nth}");
            let entry = wire::file(0, at(""), 1 << 20);
            peer.say(&cold(kind::OPEN, &wire::open(0, 0, at(&path))));
            peer.say(&wire::entries(0, &[entry]));
            peer.hears(kind::OPENED);
            peer.hears(kind::WANT);
            peer.say(&[wire::header(0, 0, 0, 0, 1 << 20), wire::data(0, 0, &[7; 100])].concat());
            peer.say(&wire::head(1_000_000, kind::DATA, 0, 0));
        }
        peers.push(peer);
    }
    fort.serves();
    fort.serves();
    drop(peers);
    fort.stands();
}

#[test]
fn who_acknowledges_nothing_gets_a_window_and_no_more() {
    let fort = Fort::plain();
    fs::write(fort.served("large"), vec![7; 16 << 20]).unwrap();
    const WINDOW: usize = 4 << 20;
    let mut peer = fort.peer();
    peer.say(&cold(kind::OPEN, &wire::open(0, 1, at("large")).with(4, WINDOW as u64)));
    peer.hears(kind::OPENED);
    let index = peer.hears(kind::ENTRIES).map().at(1).items()[0].at(0).clone();
    let want = map([(0, 0.into()), (1, index), (2, 1.into()), (3, vec![].into())]);
    peer.say(&cold(kind::WANT, &want.with(5, 0)));
    let mut bytes = 0;
    // Behind the first PONG nothing is on its way that was sent before the window was full.
    for nth in [1, 2] {
        while bytes < WINDOW {
            let frame = peer.next().unwrap();
            bytes += if frame.kind == kind::DATA { frame.body.len() - 16 } else { 0 };
        }
        peer.say(&hot(kind::PING, 0, &[nth; 8]));
        loop {
            let frame = peer.hear().unwrap();
            assert_ne!(frame.kind, kind::DATA, "more than the window");
            if frame.kind == kind::PONG {
                break;
            }
        }
    }
    assert_eq!(bytes, WINDOW);
    drop(peer);
    fort.stands();
}
