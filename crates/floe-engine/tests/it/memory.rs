//! What peers can make a server hold: no more than it was given, whatever they leave unread.

use crate::house::{House, Plan, get, path};
use crate::peer::Peer;
use floe_proto::codec::encode;
use floe_proto::frame::{Basis, Data, Direction, Frame, More, Want};
use floe_types::{ByteCount, EntryId, Limits, Seq};
use std::fs;
use std::time::Duration;
use tokio::time::timeout;

/// Asks for a large file and reads none of it.
async fn ask_and_not_read(house: &House, client: u8) -> Peer {
    let mut peer = Peer::greet(house, client).await;
    let transfer = peer.open(Direction::Get, path("large")).await;
    let index = loop {
        if let Frame::Entries(_, entries) = peer.hear().await {
            break entries[0].index;
        }
    };
    peer.say(&Frame::Want(Want {
        entry: EntryId { transfer, index },
        basis: Basis::Content,
        have: Vec::new(),
        finished: None,
        more: More::Last,
    }))
    .await;
    peer
}

/// Announces a piece and sends a little of it.
async fn begin_a_piece(house: &House, client: u8) -> Peer {
    let mut peer = Peer::greet(house, client).await;
    let len = ByteCount(u64::from(Limits::PIECE_BYTES));
    let mut bytes = Vec::new();
    let data = Data { seq: Seq(0), at: ByteCount::ZERO, len, bytes: () };
    encode(&Frame::Data(data), &mut bytes).unwrap();
    bytes.extend_from_slice(&[0; 1000]);
    peer.write(&bytes).await;
    peer
}

/// A server with little memory, and what is in it.
async fn small_house() -> House {
    let house = House::open_as(Plan { memory: MEMORY, ..Plan::default() }).await;
    fs::write(house.served("large"), vec![7; 32 << 20]).unwrap();
    fs::write(house.served("small"), "at last").unwrap();
    house
}

const MEMORY: ByteCount = ByteCount(8 << 20);

/// Once somebody has to wait for memory, a client that reads is served all the same.
async fn serves_others_within_its_memory(house: House, slow: Vec<Peer>) {
    let short = async {
        while !house.pool.is_short() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), short).await.expect("nobody has to wait");
    let client = house.client(1).await;
    assert_eq!(get(&client, "small", &house.local("small")).await.result, Ok(()));
    let held = house.pool.held_max();
    assert!(held.0 <= MEMORY.0 / 2, "{held} held");
    client.close().await;
    drop(slow);
    house.close().await;
}

#[tokio::test]
async fn slow_readers_hold_no_more_than_the_budget_and_keep_nobody_out() {
    let house = small_house().await;
    let mut slow = Vec::new();
    for client in 0..32 {
        slow.push(ask_and_not_read(&house, client).await);
    }
    serves_others_within_its_memory(house, slow).await;
}

#[tokio::test]
async fn slow_writers_hold_no_more_than_the_budget_and_keep_nobody_out() {
    let house = small_house().await;
    let mut slow = Vec::new();
    for client in 0..20 {
        slow.push(begin_a_piece(&house, client).await);
    }
    serves_others_within_its_memory(house, slow).await;
}

#[tokio::test]
async fn a_piece_longer_than_the_server_told_is_a_violation() {
    let house = House::open().await;
    let mut peer = Peer::greet(&house, 1).await;
    assert_eq!(peer.welcome.piece_bytes_max, Limits::PIECE_BYTES);
    let len = ByteCount(u64::from(Limits::PIECE_BYTES) + 1);
    let mut bytes = Vec::new();
    let data = Data { seq: Seq(0), at: ByteCount::ZERO, len, bytes: () };
    encode(&Frame::Data(data), &mut bytes).unwrap();
    peer.write(&bytes).await;
    match peer.hear().await {
        Frame::Close(Some(fault)) => assert_eq!(fault.code, floe_types::Code::Violation),
        other => panic!("{other:?}"),
    }
    house.close().await;
}
