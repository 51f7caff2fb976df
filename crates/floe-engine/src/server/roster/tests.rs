use super::*;
use crate::buffer::Pool;
use crate::clock::Clock;
use crate::disk_threads::DiskThreads;
use crate::files::Files;
use crate::running::{Running, Terms};
use crate::state::State;
use floe_proto::command::{Config, Holes, Role, StreamCount};
use floe_proto::frame::Verbs;
use floe_proto::greeting::Channel;
use floe_proto::session::Session;
use floe_store::OwnerId;
use floe_types::{ByteCount, Limits};

fn member() -> Arc<Member> {
    let limits = Limits::default();
    let clock = Clock::start();
    let config = Config {
        limits: limits.clone(),
        verbs: Verbs::LIST,
        piece_bytes: ByteCount(u64::from(Limits::PIECE_BYTES)),
        streams: StreamCount::Fixed(1),
        buffers: ByteCount(1 << 20),
        holes: Holes::AsHoles,
    };
    let core = Session::new(Role::Server, config, clock.now());
    let files = Files::local(OwnerId([0; 32]), Pool::new(ByteCount(0)), 256);
    let terms = Terms { piece_bytes_max: Limits::PIECE_BYTES };
    let threads = DiskThreads::new();
    let running = Running::new(core, clock, limits, terms, Arc::new(files), threads);
    Arc::new(Member { running, secret: [0; 32], channel: Channel::Tls, pass: None })
}

#[test]
fn a_session_whose_core_panics_is_over_and_the_others_are_looked_at() {
    let (bad, good) = (member(), member());
    let seen = std::cell::Cell::new(0);
    go_round(vec![Arc::clone(&bad), Arc::clone(&good)], |one| {
        seen.set(seen.get() + 1);
        one.running.round(|_, _| assert!(!Arc::ptr_eq(&one.running, &bad.running), "on purpose"));
    });
    assert_eq!(seen.get(), 2);
    assert!(bad.running.is_broken() && matches!(bad.running.ending(), Some(Err(_))));
    assert!(!good.running.is_broken() && good.running.ending().is_none());
}

#[test]
fn a_state_directory_that_hangs_has_one_look_queued_that_answers_all() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let roster = Roster::new(TicketStore::open(&state).unwrap());
    let (go, hung) = std::sync::mpsc::channel::<()>();
    roster.reader.submit(Box::new(move || assert!(hung.recv().is_ok())));
    let mut heard: Vec<_> = (0..100).map(|_| roster.ask()).collect();
    assert_eq!(Arc::strong_count(&roster.tickets), 2, "each look that is queued has them too");
    go.send(()).unwrap();
    for one in &mut heard {
        assert_eq!(one.blocking_recv().unwrap(), Ok(()));
    }
    // One that has begun does not answer who asks later.
    assert_eq!(roster.ask().blocking_recv().unwrap(), Ok(()));
}
