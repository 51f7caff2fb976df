//! One stream's loop against a peer that is a bare socket.

#![allow(clippy::unwrap_used)]

use super::{Activity, Place, Stream, Told};
use crate::running::Running;
use crate::secure::plaintext;
use floe_proto::codec::{Kind, encode};
use floe_proto::command::TransferOptions;
use floe_proto::frame::{Direction, Frame, Open};
use floe_proto::session::Asked;
use floe_types::{ByteCount, ObjectPath, TransferId};
use tokio::net::{TcpListener, TcpStream};

async fn pair() -> (TcpStream, TcpStream) {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
    (door.accept().await.unwrap().0, far)
}

#[tokio::test]
async fn a_peer_that_asks_and_takes_no_answer_is_not_heard_for_ever() {
    let (near, far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    // Each is refused: an answer waits for each. Far more than two sockets hold.
    let (mut said, mut idle, mut next) = (0, 0, 0);
    let (mut bytes, mut from) = (Vec::new(), 0);
    while said < 64 << 20 && idle < 1000 {
        if from == bytes.len() {
            (bytes, from) = (opens(next), 0);
            next += OPENS;
        }
        let wrote = far.try_write(&bytes[from..]).unwrap_or(0);
        (said, from) = (said + wrote, from + wrote);
        let activity = stream.turn(&mut ByteCount(0)).unwrap();
        idle = if wrote == 0 && activity == Activity::None { idle + 1 } else { 0 };
        tokio::task::yield_now().await;
    }
    assert!(said < 64 << 20, "the peer was heard to its end");
    assert!(!stream.hears());
}

const OPENS: u32 = 1000;

/// Transfers that are opened from an id on.
fn opens(first: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for id in first..first + OPENS {
        encode(&open::<()>(id), &mut bytes).unwrap();
    }
    bytes
}

fn open<P>(id: u32) -> Frame<P> {
    let options = TransferOptions::default();
    Frame::Open(Open {
        transfer: TransferId(id),
        direction: Direction::Put,
        path: ObjectPath::root(),
        chunk: options.chunk,
        window: options.window,
        pace: options.pace,
        precondition: options.precondition,
        resume: options.resume,
        recognise: options.recognise,
        unasked: options.unasked,
        receipts: options.receipts,
        probe: options.probe,
        packing: options.packing,
        priority: options.priority,
        rate: None,
    })
}

#[tokio::test]
async fn frames_wait_while_their_peer_does_not_take_the_answers_of_others() {
    let (near, _far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    stream.frames.extend((0..2 * OPENS).map(open));
    stream.round(&mut ByteCount(0), Told::WhatIsAskedFor).unwrap();
    assert!(stream.frames.len() > 900, "{} are left", stream.frames.len());
    let unsaid = running.round(|core, _| core.unsaid_bytes());
    assert!(unsaid.0 > 0 && running.files.pool().held() >= unsaid, "{unsaid:?} is not charged");
}

/// What there is room for was said before the core heard them.
#[tokio::test]
async fn nothing_is_taken_from_the_socket_before_all_that_was_has_been_told() {
    let (near, far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    let mut bytes = Vec::new();
    encode(&open::<()>(1), &mut bytes).unwrap();
    assert_eq!(far.try_write(&bytes).unwrap(), bytes.len());
    stream.link.socket().readable().await.unwrap();
    stream.frames.push_back(open(0));
    assert!(stream.hears());
    assert!(stream.take_in(&mut ByteCount(0), &mut Activity::None).is_none());
    assert_eq!(stream.frames.len(), 1);
    stream.frames.clear();
    assert!(stream.take_in(&mut ByteCount(0), &mut Activity::None).is_none());
    assert_eq!(stream.frames.len(), 1);
}

#[tokio::test]
async fn what_came_before_the_end_of_a_connection_is_told_though_its_answers_wait() {
    let (near, far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    // Ten more answers, and nothing would be heard.
    let (id, most) = (stream.place.id, 1014);
    running.round(|core, now| {
        (0..most).for_each(|nth| core.handle_frame(id, open(nth), now).unwrap());
        assert_eq!(core.hearing(id), Asked::Yes);
    });
    let mut bytes = Vec::new();
    (most..most + 40).for_each(|nth| encode(&open::<()>(nth), &mut bytes).unwrap());
    encode(&Frame::<()>::Close(None), &mut bytes).unwrap();
    assert_eq!(far.try_write(&bytes).unwrap(), bytes.len());
    drop(far);
    stream.link.socket().readable().await.unwrap();
    while stream.turn(&mut ByteCount(0)).is_ok() {
        stream.link.socket().readable().await.unwrap();
    }
    assert_eq!(running.round(|core, _| core.poll_timeout()), None, "CLOSE was not heard");
}

#[tokio::test]
async fn a_frame_that_is_not_whole_is_charged() {
    let (near, far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    let mut bytes = vec![0, 0, 0xea, 0x60, Kind::Entries.wire(), 0, 0, 0];
    bytes.resize(40_000, 0);
    far.writable().await.unwrap();
    assert_eq!(far.try_write(&bytes).unwrap(), bytes.len());
    while !stream.inlet.is_gathering() {
        stream.link.socket().readable().await.unwrap();
        stream.turn(&mut ByteCount(0)).unwrap();
    }
    assert!(running.files.pool().held() > ByteCount(16 << 10));
    drop(stream);
    assert_eq!(running.files.pool().held(), ByteCount(0));
}

#[tokio::test]
async fn a_stream_that_is_not_heard_is_not_slow_to_send_the_rest_of_a_frame() {
    let (near, far) = pair().await;
    let running = Running::unjoined();
    let mut stream = Stream::new(Place::take(&running), plaintext(near));
    let mut bytes = vec![0, 0, 0xea, 0x60, Kind::Entries.wire(), 0, 0, 0];
    bytes.resize(40_000, 0);
    assert_eq!(far.try_write(&bytes).unwrap(), bytes.len());
    while stream.taking_since.is_none() {
        stream.link.socket().readable().await.unwrap();
        stream.turn(&mut ByteCount(0)).unwrap();
    }
    stream.asked = Asked::No;
    stream.give_way().unwrap();
    assert!(stream.inlet.is_gathering() && stream.taking_since.is_none());
}
