//! Trust through the door, among processes: one identity, locks that end with their owner, and a
//! client that is let in by the owner ticket of a first start.
//!
//! A child process is this very test binary, run for one test that does nothing without its parent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use floe_engine::greeting::{self, Caller, Greeted};
use floe_engine::identity::Identity;
use floe_engine::secure::{Security, TlsServer, client_handshake, server_handshake};
use floe_engine::state::State;
use floe_engine::ticket::{Admission, RootId, Ticket, TicketStore};
use floe_proto::frame::{Verbs, Welcome};
use floe_types::{Code, Limits};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

const STATE: &str = "FLOE_TEST_STATE";
const ROOT: RootId = RootId([1; 16]);

fn child(test: &str, state: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(STATE, state)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child says behind `mark`.
fn said(child: &mut Child, mark: &str) -> String {
    let stdout = child.stdout.as_mut().unwrap();
    let mut lines = BufReader::new(stdout).lines().map(Result::unwrap);
    lines.find_map(|line| line.split_once(mark).map(|(_, rest)| rest.to_owned())).unwrap()
}

/// The state directory of the parent; nothing where this is no child, but a test of the suite.
fn state_of_parent() -> Option<State> {
    let dir = PathBuf::from(std::env::var_os(STATE)?);
    Some(State::open(&dir).unwrap())
}

#[test]
fn child_holds_a_lock() {
    let Some(state) = state_of_parent() else { return };
    let _lock = state.lock_transfer(b"key").unwrap();
    println!("held:");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read(&mut [0]).unwrap();
}

#[test]
fn a_killed_process_leaves_its_lock_free() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let mut child = child("trust::child_holds_a_lock", dir.path());
    said(&mut child, "held:");
    let fault = state.lock_transfer(b"key").unwrap_err();
    assert_eq!(fault.code, Code::AlreadyRunning);
    assert_eq!(fault.detail, format!("pid {}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    state.lock_transfer(b"key").unwrap();
}

#[test]
fn child_makes_an_identity() {
    let Some(state) = state_of_parent() else { return };
    let _ = std::io::stdin().read(&mut [0]).unwrap();
    let pin = Identity::load_or_create(&state).unwrap().pin();
    let tickets = TicketStore::open(&state).unwrap();
    let owner = tickets.owner(ROOT, pin, SystemTime::now()).unwrap();
    println!("made:{pin} {}", owner.id);
}

#[test]
fn processes_that_start_first_at_once_have_one_identity() {
    let dir = tempfile::tempdir().unwrap();
    let mut children: Vec<_> =
        (0..4).map(|_| child("trust::child_makes_an_identity", dir.path())).collect();
    for child in &mut children {
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    }
    let made: Vec<_> = children.iter_mut().map(|child| said(child, "made:")).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert!(made.iter().all(|line| *line == made[0]), "{made:?}");
}

#[tokio::test]
async fn the_owner_ticket_of_a_first_start_lets_its_holder_in() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let identity = Identity::load_or_create(&state).unwrap();
    let tickets = TicketStore::open(&state).unwrap();
    let owner = tickets.owner(ROOT, identity.pin(), SystemTime::now()).unwrap();
    let ticket: Ticket = std::fs::read_to_string(&owner.path).unwrap().parse().unwrap();
    let Security::Tls { pin } = (Security::Tls { pin: ticket.pin() }) else { panic!("no TLS") };

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (limits, soon) = (Limits::default(), Instant::now() + Duration::from_secs(20));
    let client = async {
        let socket = TcpStream::connect(addr).await.unwrap();
        let mut link = client_handshake(socket, pin, soon).await.unwrap();
        let client = state.client_id().unwrap();
        let caller = Caller { client, ticket: Some(&ticket), agent: "test" };
        greeting::hello(&mut link, caller, &limits, soon).await.unwrap()
    };
    let server = async {
        let socket = listener.accept().await.unwrap().0;
        let tls = TlsServer::new(&identity).unwrap();
        let mut link = server_handshake(socket, &tls, soon).await.unwrap();
        let Greeted::Hello(claim) = greeting::receive(&mut link, &limits, soon).await.unwrap()
        else {
            panic!("no HELLO")
        };
        let now = SystemTime::now();
        let admission =
            greeting::check_hello(&claim, &tickets, ROOT, link.peer_key(), now).unwrap();
        let (frame, _) = claim.admit::<()>(welcome());
        greeting::send(&mut link, &frame, &limits, soon).await.unwrap();
        admission
    };
    let (welcomed, admission) = tokio::join!(client, server);
    assert_eq!(welcomed, welcome());
    let Admission::Ticket(grant) = admission else { panic!("anonymous") };
    assert_eq!((grant.id, grant.bounds.verbs), (owner.id, Verbs::ALL));
}

fn welcome() -> Welcome {
    Welcome {
        abilities: 0,
        session: [5; 16],
        secret: [6; 32],
        verbs: Verbs::ALL,
        piece_bytes_max: 1 << 20,
        streams_max: 8,
        entries_ahead_max: 64,
        agent: "test".into(),
        successor: None,
    }
}
