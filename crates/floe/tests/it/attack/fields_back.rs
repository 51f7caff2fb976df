//! The same lies, in every field of every cold frame that a server says, told to clients.

use super::fields::{
    Field, SIZE, STAT, Shape,
    Takes::{Bytes, Fixed, More, Number, Text},
    U32, shape, wrong_of_both,
};
use super::host::{Victim, asked, opened, welcoming};
use super::peer::Peer;
use super::wire::{self, Cbor, kind, map};
use std::sync::{Arc, Mutex};

/// What grants a transfer.
fn granting() -> Shape {
    let granted = map([(0, 0.into()), (1, Cbor::from(&[][..])), (2, (1 << 20).into())]);
    let fields = [(0, U32), (1, Bytes(0, 65_536)), (2, Number(1, i64::MAX as u64))];
    shape("OPENED", kind::OPENED, granted, &fields)
}

/// What answers a request.
fn replying() -> Vec<Shape> {
    let stat = || map([(0, 0.into()), (1, 3.into()), (2, wire::metadata())]);
    let reply = |what: u64| map([(0, 0.into()), (1, what.into())]);
    let name = || Cbor::from(vec![vec![Cbor::from(&b"f"[..]), stat()].into()]);
    let fault = wire::fault(3, "x");
    let with = |fields: &[Field]| [&[(0, U32), (1, Number(0, 4))][..], fields].concat();
    let refused = reply(0).with(2, fault);
    let fields = [(0, Number(0, 2)), (1, SIZE), (2, More), (4, Fixed(32))];
    vec![
        shape("what stands", STAT, stat(), &fields).but(&[4]),
        shape("a refusal", kind::REPLY, refused, &with(&[(2, More)])),
        shape("a stat", kind::REPLY, reply(2).with(3, stat()), &with(&[(3, More)])),
        shape(
            "a page",
            kind::REPLY,
            reply(3).with(4, name()),
            &with(&[(4, More), (5, Bytes(0, 512))]),
        ),
    ]
}

/// What a server signs for.
fn signing() -> Shape {
    let leaf = Cbor::from(&[7; 32][..]);
    let text = Cbor::text("t");
    let bytes = || Cbor::from(&[1; 64][..]);
    let whole = [(0, 0.into()), (1, 9.into()), (2, text), (3, bytes()), (4, 0x0807.into())];
    let receipt = map(whole).with(5, bytes()).with(6, vec![leaf]);
    let fields = [
        (0, U32),
        (1, SIZE),
        (2, Text(255)),
        (3, Bytes(0, 2048)),
        (4, Number(0, 0xffff)),
        (5, Bytes(0, 1024)),
        (6, More),
    ];
    shape("RECEIPT", kind::RECEIPT, receipt, &fields)
}

/// Tells clients one lie after the other, when they are as far as `first` goes.
fn lies(wrong: &[(String, Vec<u8>)], args: &[&str], first: fn(&mut Peer)) {
    let victim = Victim::new();
    let lie = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&lie);
    let port = welcoming(move |peer| {
        first(peer);
        let bytes = told.lock().unwrap().clone();
        peer.say(&bytes);
    });
    for (name, bytes) in wrong {
        lie.lock().unwrap().clone_from(bytes);
        victim.refuses(name, port, args);
    }
}

const GET: &[&str] = &["get", "URL/d", "dest", "--streams", "1"];

#[test]
fn a_client_that_gets_takes_no_field_that_lies() {
    let wrong = wrong_of_both();
    assert!(wrong.len() > 500, "{}", wrong.len());
    let parts = wrong.len().div_ceil(4);
    std::thread::scope(|scope| {
        for part in wrong.chunks(parts) {
            scope.spawn(|| lies(part, GET, opened));
        }
    });
}

#[test]
fn a_client_that_asks_takes_no_field_that_lies() {
    let first = |peer: &mut Peer| drop(asked(peer));
    lies(&granting().wrong(), GET, first);
    let asks = |peer: &mut Peer| drop(peer.hears(kind::REQUEST));
    let mut wrong: Vec<_> = replying().iter().flat_map(Shape::wrong).collect();
    wrong.extend(signing().wrong());
    lies(&wrong, &["stat", "URL/d"], asks);
}
