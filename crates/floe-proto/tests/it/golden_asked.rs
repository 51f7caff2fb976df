//! What is asked beside transfers, and what is answered, byte by byte.

use crate::golden::{ROOT, metadata, path};
use floe_proto::frame::*;
use floe_types::*;

pub fn requests() -> Vec<(Frame<()>, &'static str)> {
    let request = |request| Frame::Request(RequestId(3), request);
    vec![
        (
            request(Request::List { path: path("d"), after: None, max: EntryCount(256) }),
            "0000000d 30 00 0000 a4000301000281416404190100",
        ),
        (
            request(Request::List { path: path("d"), after: Some(vec![9]), max: EntryCount(256) }),
            "00000010 30 00 0000 a5000301000281416403410904190100",
        ),
        (
            request(Request::Stat { path: path("a"), root: RootWish::Computed }),
            "0000000b 30 00 0000 a400030101028141610501",
        ),
        (
            request(Request::Remove { path: path("a"), recursive: Recursive::Yes }),
            "0000000b 30 00 0000 a400030102028141610601",
        ),
        (
            request(Request::Rename {
                from: path("a"),
                to: path("d/b"),
                replace: Replace::Refused,
            }),
            "00000011 30 00 0000 a500030103028141610782416441620800",
        ),
        (
            request(Request::MakeDirectory { path: path("d/e") }),
            "0000000b 30 00 0000 a300030104028241644165",
        ),
        (request(Request::Measure { path: path("d") }), "00000009 30 00 0000 a30003010502814164"),
    ]
}

const SPEEDS: Speeds = Speeds {
    disk: DiskSpeed {
        write: ByteCount(1000),
        read: ByteCount(2000),
        sync: Micros(40),
        copied_in: ByteCount(4000),
        copied_out: ByteCount(23),
    },
    hash: ByteCount(3000),
    cipher: ByteCount(1_000_000),
};

pub fn replies() -> Vec<(Frame<()>, &'static str)> {
    let reply = |answer| Frame::Reply(RequestId(3), answer);
    let file = Stat {
        kind: EntryKind::File,
        size: ByteCount(5),
        metadata: metadata(),
        target: None,
        root: Some(ROOT),
    };
    let link =
        Stat { kind: EntryKind::Link, target: Some(b"a".to_vec()), root: None, ..file.clone() };
    let name = |text: &str| Component::new(text.as_bytes()).unwrap();
    let names = vec![(name("a"), Some(file.clone())), (name("l"), Some(link)), (name("x"), None)];
    let stats = Stats {
        causes: Causes { source_disk: Micros(1), idle: Micros(500_000), ..Causes::default() },
        data_bytes: ByteCount(1 << 20),
        round_trip: Some(Micros(250)),
        work: Some(Work::UnderWay),
    };
    vec![
        (
            reply(Err(Fault::new(Code::NotFound, "stat \"a\""))),
            "00000013 31 00 0000 a30003010002a2000301687374617420226122",
        ),
        (
            reply(Ok(Reply::Measured(SPEEDS))),
            "00000022 31 00 0000 a300030104 \
             06a7001903e8011907d002182803190bb8041a000f424005190fa00617",
        ),
        (reply(Ok(Reply::Done)), "00000005 31 00 0000 a200030101"),
        (
            reply(Ok(Reply::Stat(file))),
            "0000003d 31 00 0000 \
             a30003010203a40000010502831901a41a6553f1001a075bcd15045820a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        ),
        (
            reply(Ok(Reply::Page { names, next: Some(vec![9]) })),
            "00000061 31 00 0000 \
             a4000301030483824161a40000010502831901a41a6553f1001a075bcd150458 \
             20a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 \
             a082416ca40002010502831901a41a6553f1001a075bcd150341618141780541 \
             09",
        ),
        (
            Frame::Stats(stats),
            "0000002c 32 00 0000 \
             a400ad000101000200030004000500060007000800091a0007a1200a000b000c \
             00011a00100000 0218fa0301",
        ),
    ]
}
