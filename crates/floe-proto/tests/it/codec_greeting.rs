//! The greeting: each step takes its own frame, and no other.

use crate::codec::bytes_of;
use floe_proto::codec::{Decoded, Decoder};
use floe_proto::frame::*;
use floe_proto::greeting::*;
use floe_types::*;

fn welcome() -> Welcome {
    Welcome {
        abilities: 0,
        session: [1; 16],
        secret: [2; 32],
        verbs: Verbs::READ,
        piece_bytes_max: 1 << 20,
        streams_max: 8,
        entries_ahead_max: 64,
        agent: "test".to_owned(),
        successor: None,
    }
}

/// As the other end reads it, before it is let in.
fn crossed(frame: &Frame<()>) -> Frame<()> {
    let mut decoder = Decoder::new(&Limits::default());
    match decoder.feed(&bytes_of(frame)).unwrap().decoded {
        Some(Decoded::Frame(frame)) => frame,
        other => panic!("not a frame: {other:?}"),
    }
}

#[test]
fn a_plaintext_client_signs_the_servers_challenge() {
    let (challenge, first) = Accepted::new().challenge([7; 32]);
    let Ok(Answer::Next(greeter)) = Dialled::new().challenged(crossed(&challenge)) else {
        panic!("a challenge is taken");
    };
    assert_eq!(greeter.binding(), &Binding { channel: Channel::Plaintext, exporter: [7; 32] },);
    let message = greeter.binding().hello_message();
    let (hello, wait) = greeter.hello([9; 16], None, "test".to_owned());
    let Ok(ClientGreeting::Hello(claim)) = first.handle(crossed(&hello)) else {
        panic!("a HELLO is taken");
    };
    assert_eq!(claim.binding().hello_message(), message);
    let (answer, hello) = claim.admit(welcome());
    assert_eq!(hello.client, [9; 16]);
    assert_eq!(wait.handle(crossed(&answer)), Ok(Answer::Next(welcome())));
}

#[test]
fn a_further_stream_joins() {
    let greeter = Dialled::new().secured([3; 32]);
    let message = greeter.binding().join_message();
    let (join, wait) = greeter.join::<()>([1; 16], [4; 32]);
    let Ok(ClientGreeting::Join(claim)) = Accepted::new().secured([3; 32]).handle(crossed(&join))
    else {
        panic!("a JOIN is taken");
    };
    assert_eq!(claim.join(), &Join { session: [1; 16], mac: [4; 32] });
    assert_eq!(claim.binding().join_message(), message);
    assert_eq!(wait.handle(crossed(&claim.admit())), Ok(Answer::Next(())));
}

#[test]
fn what_is_signed_differs_by_channel_purpose_and_connection() {
    let messages = [Channel::Tls, Channel::Plaintext].map(|channel| {
        [[0; 32], [1; 32]].map(|exporter| {
            let binding = Binding { channel, exporter };
            [binding.hello_message(), binding.join_message()]
        })
    });
    let mut messages: Vec<_> = messages.into_iter().flatten().flatten().collect();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 8);
}

#[test]
fn refusals_reach_the_client() {
    let after = Micros::from_secs(3);
    let fault = Fault::new(Code::TicketUnknown, "");
    for (refusal, answer) in [
        (Refusal::Busy(after), Answer::Busy(after)),
        (Refusal::Close(fault.clone()), Answer::Closed(Some(fault))),
    ] {
        let greeter = Dialled::new().secured([3; 32]);
        let (hello, wait) = greeter.hello::<()>([9; 16], None, String::new());
        let Ok(ClientGreeting::Hello(claim)) =
            Accepted::new().secured([3; 32]).handle(crossed(&hello))
        else {
            panic!("a HELLO is taken");
        };
        assert_eq!(wait.handle(crossed(&claim.refuse(refusal))), Ok(answer));
    }
}

#[test]
fn a_frame_out_of_turn_is_a_violation() {
    let frames = || {
        [Frame::Challenge([0; 32]), Frame::Joined, Frame::Ping(1), Frame::Welcome(welcome())]
            .into_iter()
            .collect::<Vec<Frame<()>>>()
    };
    for frame in frames() {
        assert!(Accepted::new().secured([0; 32]).handle(frame).is_err());
    }
    for frame in frames().into_iter().skip(1) {
        assert!(Dialled::new().challenged(frame).is_err());
    }
    for frame in frames().into_iter().take(3) {
        let (_, wait) = Dialled::new().secured([0; 32]).hello::<()>([0; 16], None, String::new());
        assert!(wait.handle(frame).is_err());
    }
}

#[test]
fn a_key_that_takes_the_place_of_the_servers_has_these_bytes() {
    let (key, signature) = (vec![0xab; 4], vec![0xcd; 5]);
    let successor = Some(Successor { key, scheme: 0x0403, signature, until: 1_800_000_000 });
    let frame = Frame::Welcome(Welcome { successor, ..welcome() });
    let plain = bytes_of(&Frame::Welcome(welcome()));
    let bytes = bytes_of(&frame);
    // Four pairs more, behind the others.
    let more: &[u8] = &[
        &b"\x08\x44\xab\xab\xab\xab"[..],
        b"\x09\x19\x04\x03",
        b"\x0a\x45\xcd\xcd\xcd\xcd\xcd",
        b"\x0b\x1a\x6b\x49\xd2\x00",
    ]
    .concat();
    assert_eq!(bytes[8], plain[8] + 4);
    assert_eq!(bytes[9..], [&plain[9..], more].concat());
    assert_eq!(crossed(&frame), frame);
    // All of them, or none.
    for left_out in [0..6, 6..10, 10..17, 17..23] {
        let mut rest = more.to_vec();
        rest.drain(left_out);
        let mut body = [&[plain[8] + 3], &plain[9..], &rest[..]].concat();
        let len = u32::try_from(body.len()).unwrap().to_be_bytes();
        body.splice(..0, [&len[..], &[0x03, 0, 0, 0]].concat());
        let fed = Decoder::new(&Limits::default()).feed::<()>(&body);
        assert_eq!(fed.map(|fed| fed.decoded).unwrap_err().what, "a part of another key");
    }
}
