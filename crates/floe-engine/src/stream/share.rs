//! Turns on a lane: each customer's busy streams together take as many as those of any other, so
//! that whoever has many streams does not keep others from theirs.
//!
//! A stream that has taken its turn lets as many rounds of the lane pass as its customer has busy
//! streams there. Where nobody else is busy nothing is waited for.

use crate::customer::Customer;
use std::cell::RefCell;
use std::collections::BTreeMap;
use tokio::task::yield_now;

thread_local! {
    /// Busy streams of this thread's lane.
    static BUSY: RefCell<BTreeMap<Customer, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// More than that costs more than it gives others.
const ROUNDS_MAX: usize = 256;

/// One stream's part in it. It stays on the thread that it was made on.
pub(super) struct Share {
    customer: Customer,
    busy: bool,
}

impl Share {
    pub(super) const fn of(customer: Customer) -> Self {
        Self { customer, busy: false }
    }

    /// It has something to do.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.busy, true) {
            BUSY.with_borrow_mut(|busy| *busy.entry(self.customer).or_default() += 1);
        }
    }

    /// It waits for its peer, a disk or memory.
    pub(super) fn rest(&mut self) {
        if std::mem::replace(&mut self.busy, false) {
            BUSY.with_borrow_mut(|busy| {
                if let Some(count) = busy.get_mut(&self.customer) {
                    *count -= 1;
                    if *count == 0 {
                        busy.remove(&self.customer);
                    }
                }
            });
        }
    }

    /// Lets others have their turn.
    pub(super) async fn give_way(&self) {
        let rounds = BUSY.with_borrow(|busy| match busy.len() {
            0 | 1 => 1,
            _ => busy.get(&self.customer).map_or(1, |own| (*own).min(ROUNDS_MAX)),
        });
        for _ in 0..rounds {
            yield_now().await;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.rest();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use tokio::task::{LocalSet, spawn_local};

    /// Turns that one stream of a customer takes while so many of another take theirs.
    async fn beside(many: usize) -> (u32, u32) {
        let (one, other) = (Customer::next(), Customer::next());
        let (taken, others) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let turns = |customer, count: &Rc<Cell<u32>>, until: &Rc<Cell<u32>>| {
            let (count, until) = (Rc::clone(count), Rc::clone(until));
            spawn_local(async move {
                let mut share = Share::of(customer);
                share.begin();
                while until.get() < 1000 {
                    count.set(count.get() + 1);
                    share.give_way().await;
                }
            })
        };
        let mut all: Vec<_> = (0..many).map(|_| turns(other, &others, &taken)).collect();
        all.push(turns(one, &taken, &taken));
        for task in all {
            task.await.unwrap();
        }
        (taken.get(), others.get())
    }

    #[test]
    fn one_stream_has_as_many_turns_as_sixteen_of_another() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (one, sixteen) = LocalSet::new().block_on(&runtime, beside(16));
        assert_eq!(one, 1000);
        assert!((900..=1_100).contains(&sixteen), "{sixteen}");
        BUSY.with_borrow(|busy| assert!(busy.is_empty()));
    }
}
