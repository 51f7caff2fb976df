use super::*;
use crate::registry::Party;
use crate::running::Running;
use crate::state::State;
use floe_proto::greeting::Channel;

fn member() -> Arc<Member> {
    let running = Running::unjoined();
    Arc::new(Member {
        running,
        secret: [0; 32],
        channel: Channel::Tls,
        pass: None,
        streams_max: 1,
        party: Party::Ticket([0; 16]),
    })
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
    let (keys, _) = Keys::open(crate::server::ServeSecurity::TlsOfState, &state).unwrap();
    let roster = Roster::new(TicketStore::open(&state).unwrap(), Arc::new(keys));
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
