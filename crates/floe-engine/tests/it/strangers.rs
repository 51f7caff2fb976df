//! Garbage, forged joins, wrong keys and tickets: nobody gets in, and nobody else notices.

use crate::house::{House, Plan, get, path, put};
use crate::peer::Peer;
use floe_engine::client::{Client, Credential};
use floe_engine::greeting::{Caller, NotIn, hello, join};
use floe_engine::identity::KeyPin;
use floe_engine::secure::{Secured, Security, client_handshake};
use floe_engine::server::{Access, Public, ReadOnly};
use floe_engine::ticket::Ticket;
use floe_proto::command::PROBES;
use floe_proto::frame::{Direction, Frame, Recursive, Request};
use floe_types::{Code, Limits, Mode};
use std::fs;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

fn refused(connected: Result<Client, floe_types::Fault>) -> Code {
    connected.err().expect("let in").code
}

#[tokio::test]
async fn garbage_on_the_port_is_closed_and_holds_nobody_up() {
    for tls in [true, false] {
        let house = House::open_as(Plan { tls, ..Plan::default() }).await;
        let long = vec![0xff; 100_000];
        for garbage in
            [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\x16\x03\x01\x00\x05hello", &long]
        {
            let mut stranger = TcpStream::connect(house.address).await.unwrap();
            // The server may have closed before it all went out.
            let _ = stranger.write_all(garbage).await;
            let mut answer = Vec::new();
            let read = stranger.read_to_end(&mut answer);
            // A reset is an end, too.
            let _ = timeout(Duration::from_secs(15), read).await.expect("not closed");
            assert!(answer.len() < 4096);
        }
        if tls {
            fs::write(house.local("source"), "x").unwrap();
            let client = house.client(1).await;
            assert_eq!(put(&client, &house.local("source"), "x").await.result, Ok(()));
            client.close().await;
        }
        house.close().await;
    }
}

async fn link(house: &House) -> (Secured, Instant) {
    let socket = TcpStream::connect(house.address).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    (client_handshake(socket, house.pin, deadline).await.unwrap(), deadline)
}

#[tokio::test]
async fn a_join_needs_the_secret_and_a_session_that_is_here() {
    let house = House::open().await;
    let limits = Limits::default();
    let (mut lead, deadline) = link(&house).await;
    let caller = Caller { client: [1; 16], ticket: Some(&house.ticket), agent: "test" };
    let welcome = hello(&mut lead, caller, &limits, deadline).await.unwrap();
    let code = |joined: Result<(), NotIn>| match joined.unwrap_err() {
        NotIn::Fault(fault) => fault.code,
        NotIn::Busy(_) => Code::Busy,
    };
    let (mut forged, deadline) = link(&house).await;
    let joined = join(&mut forged, welcome.session, &[9; 32], &limits, deadline).await;
    assert_eq!(code(joined), Code::TicketUnknown);
    let (mut lost, deadline) = link(&house).await;
    let joined = join(&mut lost, [3; 16], &welcome.secret, &limits, deadline).await;
    assert_eq!(code(joined), Code::Elsewhere);
    let (mut right, deadline) = link(&house).await;
    join(&mut right, welcome.session, &welcome.secret, &limits, deadline).await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn a_wrong_key_or_ticket_is_refused_by_name() {
    let house = House::open().await;
    let mut wrong_key = house.connect(1);
    wrong_key.security = Security::Tls { pin: KeyPin([1; 32]) };
    assert_eq!(refused(Client::connect(wrong_key).await), Code::ServerKeyMismatch);
    let mut wrong_ticket = house.connect(1);
    wrong_ticket.credential = Credential::Ticket(Ticket::generate(house.pin).unwrap());
    assert_eq!(refused(Client::connect(wrong_ticket).await), Code::TicketUnknown);
    let mut nobody = house.connect(1);
    nobody.credential = Credential::Anonymous;
    assert_eq!(refused(Client::connect(nobody).await), Code::NotAllowed);
    let mut nowhere = house.connect(1);
    nowhere.port = house.address.port();
    house.close().await;
    assert_eq!(refused(Client::connect(nowhere).await), Code::Unreachable);
}

#[tokio::test]
async fn a_public_server_is_read_by_anybody_and_written_by_nobody() {
    let access = Access { read_only: ReadOnly::Yes, public: Public::Yes, umask: Mode::NONE };
    let house = House::open_as(Plan { access, ..Plan::default() }).await;
    fs::write(house.served("a"), "1").unwrap();
    fs::write(house.local("source"), "2").unwrap();
    let mut anybody = house.connect(1);
    anybody.credential = Credential::Anonymous;
    for connect in [anybody, house.connect(1)] {
        let client = Client::connect(connect).await.unwrap();
        assert_eq!(get(&client, "a", &house.local("a")).await.result, Ok(()));
        let outcome = put(&client, &house.local("source"), "b").await;
        assert_eq!(outcome.result.unwrap_err().code, Code::ReadOnly);
        let remove = Request::Remove { path: path("a"), recursive: Recursive::No };
        assert_eq!(client.request(remove).await.unwrap_err().code, Code::ReadOnly);
        client.close().await;
    }
    assert!(!house.served("b").exists());
    house.close().await;
}

#[tokio::test]
async fn who_has_no_ticket_has_the_server_make_no_bytes() {
    let access = Access { read_only: ReadOnly::No, public: Public::Yes, umask: Mode::NONE };
    let house = House::open_as(Plan { access, ..Plan::default() }).await;
    let mut stranger = Peer::greet_as(&house, 1, None).await;
    assert_eq!(stranger.welcome.abilities & PROBES, 0);
    stranger.probe(Direction::Get, 1 << 20).await;
    let fault = loop {
        match stranger.hear().await {
            Frame::Failed(failed) => break failed.fault,
            Frame::Cancel(_, fault) => break fault,
            frame => assert!(!matches!(frame, Frame::Entries(..) | Frame::Header(_)), "{frame:?}"),
        }
    };
    assert_eq!(fault.code, Code::NotAllowed);
    let guest = Peer::greet(&house, 2).await;
    assert_eq!(guest.welcome.abilities & PROBES, PROBES);
    drop((stranger, guest));
    house.close().await;
}
