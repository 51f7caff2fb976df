//! One stream's loop against a peer that is a bare socket.

#![allow(clippy::unwrap_used)]

use super::{Activity, Stream};
use crate::buffer::Pool;
use crate::clock::Clock;
use crate::disk_threads::DiskThreads;
use crate::files::Files;
use crate::running::{Owed, Running, Terms};
use crate::secure::plaintext;
use floe_proto::codec::encode;
use floe_proto::command::{Config, Role, StreamCount};
use floe_proto::frame::{Frame, Verbs};
use floe_proto::session::Session;
use floe_store::OwnerId;
use floe_types::{ByteCount, Limits};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

/// A server's session that nobody has joined.
fn session(owed: Owed) -> Arc<Running> {
    let limits = Limits::default();
    let clock = Clock::start();
    let config = Config {
        limits: limits.clone(),
        verbs: Verbs::ALL,
        piece_bytes: ByteCount(u64::from(Limits::PIECE_BYTES)),
        streams: StreamCount::Fixed(1),
        buffers: ByteCount(1 << 20),
    };
    let core = Session::new(Role::Server, config, clock.now());
    let files = Files::local(OwnerId([0; 32]), Pool::new(ByteCount(0)), 256);
    let terms = Terms { piece_bytes_max: Limits::PIECE_BYTES, owed };
    Running::new(core, clock, limits, terms, Arc::new(files), DiskThreads::new())
}

async fn pair() -> (TcpStream, TcpStream) {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
    (door.accept().await.unwrap().0, far)
}

#[tokio::test]
async fn a_peer_that_asks_and_takes_no_answer_is_not_heard_for_ever() {
    let (near, far) = pair().await;
    let running = session(Owed::AtMost(1000));
    let mut stream = Stream::new(&running, plaintext(near));
    let mut pings = Vec::new();
    for number in 0..4096 {
        encode(&Frame::<()>::Ping(number), &mut pings).unwrap();
    }
    // Far more than two sockets hold.
    let (mut said, mut idle) = (0, 0);
    while said < 64 << 20 && idle < 1000 {
        let wrote = far.try_write(&pings[said % pings.len()..]).unwrap_or(0);
        said += wrote;
        let activity = stream.turn(&mut ByteCount(0)).unwrap();
        assert!(stream.owed <= 1000 + super::FRAMES_A_ROUND, "{} frames wait", stream.owed);
        idle = if wrote == 0 && activity == Activity::None { idle + 1 } else { 0 };
        tokio::task::yield_now().await;
    }
    assert!(said < 64 << 20, "the peer was heard to its end");
}
