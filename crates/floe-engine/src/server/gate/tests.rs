use super::*;
use std::future::{pending, ready};
use std::pin::Pin;
use std::task::Poll;

const CAPS: Caps = Caps {
    greetings: 256,
    greetings_per_address: 32,
    sessions: 1,
    sessions_per_ticket: None,
    sessions_per_address: None,
};

/// A place, where nobody who leaves is waited for.
fn place(gate: &Arc<Gate>, address: IpAddr) -> Option<Place> {
    let exit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    gate.place(address, exit)
}

async fn is_pending<T>(mut waits: Pin<&mut impl Future<Output = T>>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await
}

/// Takes the whole gate, from eight addresses.
async fn crowd(gate: &Arc<Gate>) -> Vec<Permit> {
    let mut held = Vec::new();
    for nth in 0..CAPS.greetings {
        let address =
            IpAddr::from([10, 0, 0, u8::try_from(nth / CAPS.greetings_per_address).unwrap()]);
        held.push(place(gate, address).unwrap().pass(ready(())).await.unwrap());
    }
    // A task that has done so much is told to wait where it need not: another turn.
    tokio::task::yield_now().await;
    held
}

#[tokio::test]
async fn an_address_waits_for_its_own_and_holds_up_no_other() {
    let gate = Gate::new(PLACES_MAX, CAPS);
    let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let mut held = Vec::new();
    for _ in 0..CAPS.greetings_per_address {
        held.push(place(&gate, one).unwrap().pass(ready(())).await.unwrap());
    }
    let waits = place(&gate, one).unwrap().pass(ready(()));
    tokio::pin!(waits);
    assert!(is_pending(waits.as_mut()).await);
    drop(place(&gate, other).unwrap().pass(ready(())).await.unwrap());
    held.pop();
    drop(waits.await.unwrap());
    drop(held);
    assert!(gate.lock().addresses.is_empty());
}

#[tokio::test]
async fn who_comes_when_no_place_is_left_takes_one_of_the_address_that_has_most() {
    let gate = Gate::new(12, CAPS);
    let from = |nth: u8| IpAddr::from([10, 0, 0, nth]);
    let mut all: Vec<_> = std::iter::from_fn(|| place(&gate, from(1))).collect();
    assert_eq!(all.len(), 12, "one that is alone has all");
    for (nth, share) in [(2, 6), (3, 4), (4, 3)] {
        let taken: Vec<_> = std::iter::from_fn(|| place(&gate, from(nth))).collect();
        assert_eq!(taken.len(), share);
        all.extend(taken);
        let most = gate.lock().addresses.values().map(|their| their.places).max();
        assert!(most <= Some(share + 1), "{most:?}");
    }
    let oldest = all.remove(0);
    assert!(oldest.pass(ready(())).await.is_err(), "another has its place");
    let newest = all.pop().unwrap();
    let passed = newest.pass(ready(())).await;
    assert!(passed.is_ok());
    drop((passed, all));
    assert!(gate.lock().addresses.is_empty() && gate.lock().free == 12);
}

#[tokio::test]
async fn a_greeting_that_takes_long_is_pressed_only_while_others_wait() {
    let gate = Gate::new(PLACES_MAX, CAPS);
    let mut held = crowd(&gate).await;
    let mut slow = held.pop().unwrap();
    slow.since -= HASTE;
    {
        let pressed = slow.is_pressed();
        tokio::pin!(pressed);
        assert!(is_pending(pressed.as_mut()).await, "nobody waits");
        let next = place(&gate, IpAddr::from([10, 1, 0, 0])).unwrap().pass(ready(()));
        tokio::pin!(next);
        assert!(is_pending(next.as_mut()).await);
        pressed.await;
    }
    let next = place(&gate, IpAddr::from([10, 1, 0, 0])).unwrap().pass(ready(()));
    drop(slow);
    assert!(next.await.is_ok());
}

#[tokio::test]
async fn who_waits_for_the_turns_of_its_own_address_presses_those_and_nobody_elses() {
    let gate = Gate::new(PLACES_MAX, CAPS);
    let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
    let mut held = Vec::new();
    for address in [one, other] {
        for _ in 0..CAPS.greetings_per_address {
            let mut slow = place(&gate, address).unwrap().pass(ready(())).await.unwrap();
            slow.since -= HASTE;
            held.push(slow);
        }
    }
    tokio::task::yield_now().await;
    let (theirs, own) = (held.pop().unwrap(), held.remove(0));
    let pressed = theirs.is_pressed();
    tokio::pin!(pressed);
    {
        let next = place(&gate, one).unwrap().pass(ready(()));
        tokio::pin!(next);
        assert!(is_pending(next.as_mut()).await);
        own.is_pressed().await;
        assert!(is_pending(pressed.as_mut()).await, "another address");
        drop(own);
        assert!(next.await.is_ok());
    }
    let quick = held.pop().unwrap();
    let pressed = |turn: &Turn| turn.is_pressed(HASTE, HASTE_MIN);
    let waits = Waits::new(&quick.own.of.waiting);
    assert!(pressed(&quick.own) && !quick.own.is_pressed(HASTE, HASTE * 2), "not before its least");
    drop(waits);
    assert!(!pressed(&quick.own) && !pressed(&quick.all), "nobody waits any more");
}

#[tokio::test]
async fn who_has_said_nothing_gives_way_to_whoever_has_no_place() {
    let gate = Gate::new(300, CAPS);
    let from = |nth: u16| {
        let [high, low] = nth.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    };
    let mut all: Vec<_> = (0..300).filter_map(|nth| place(&gate, from(nth))).collect();
    assert_eq!(all.len(), 300, "one of each address");
    assert!(place(&gate, from(299)).is_none(), "none has more than this one would");
    let newcomer = place(&gate, from(1000)).unwrap();
    assert!(newcomer.pass(ready(())).await.is_ok(), "nobody has a turn who says nothing");
    assert!(all.remove(0).pass(ready(())).await.is_err(), "the oldest gave way");
    // Who speaks keeps its place, also while the gate is full: the next gives way.
    let _full = Arc::clone(&gate.all().free).try_acquire_many_owned(150).unwrap();
    let (speaks, silent) = (all.remove(0).pass(ready(())), all.remove(0).pass(pending()));
    tokio::pin!(speaks, silent);
    assert!(is_pending(speaks.as_mut()).await && is_pending(silent.as_mut()).await);
    let newcomers: Vec<_> = (1001..1003).filter_map(|nth| place(&gate, from(nth))).collect();
    assert_eq!(newcomers.len(), 2);
    assert!(silent.await.is_err() && is_pending(speaks.as_mut()).await);
    drop((newcomers, all));
}

/// Else nobody counts as waiting where places are few, and turns are held for all of their time.
#[tokio::test]
async fn who_has_a_turn_leaves_a_place_to_wait_for_it() {
    let gate = Gate::new(8, CAPS);
    gate.set_caps(CAPS);
    let from = |nth: u8| IpAddr::from([10, 0, 0, nth]);
    let mut held = Vec::new();
    for nth in 0..4 {
        held.push(place(&gate, from(nth)).unwrap().pass(ready(())).await.unwrap());
    }
    let waits = place(&gate, from(9)).unwrap().pass(ready(()));
    tokio::pin!(waits);
    assert!(is_pending(waits.as_mut()).await);
    let mut slow = held.remove(0);
    slow.since -= HASTE;
    slow.is_pressed().await;
    drop(slow);
    assert!(waits.await.is_ok());
}

#[test]
fn the_more_wait_the_sooner_a_greeting_is_pressed_and_all_have_their_turn() {
    assert_eq!(haste(0, 256), HASTE);
    assert_eq!(haste(256, 256), HASTE / 2);
    assert_eq!(haste(4096, 256), HASTE / 17);
    assert_eq!(haste(4096, 1), HASTE_MIN);
    assert_eq!(haste(usize::MAX, 0), HASTE_MIN);
    for waiting in [1_u32, 100, 1000, 4096] {
        let turns = f64::from(waiting) / 256.0;
        let last = haste(waiting as usize, 256).as_secs_f64() * turns;
        assert!(last < HASTE.as_secs_f64(), "{waiting}: {last}");
    }
}

#[tokio::test]
async fn nobody_comes_while_many_have_to_leave_and_are_not_gone() {
    let gate = Gate::new(1, CAPS);
    let mut left = Vec::new();
    for nth in 0..=EXITS {
        let address = IpAddr::from([10, 0, 1, u8::try_from(nth).unwrap()]);
        left.push(gate.place(address, gate.exit().await).unwrap());
    }
    let next = gate.exit();
    tokio::pin!(next);
    assert!(is_pending(next.as_mut()).await, "all places but one are of those who leave");
    let way_out = left.remove(0).pass(ready(())).await.err().unwrap();
    assert!(way_out.is_some() && is_pending(next.as_mut()).await, "it is not gone yet");
    drop(way_out);
    drop(next.await);
}
