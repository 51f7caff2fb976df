//! What each session may hold in buffers: parties with transfers have equal parts of what there is,
//! and a party's sessions equal parts of its own. Pure counting.

use super::{Party, SessionId};
use floe_types::ByteCount;
use std::collections::HashMap;

/// The sessions that have transfers, and what they may hold.
pub(super) struct Shares {
    /// What all of them may hold together.
    buffers: ByteCount,
    busy: HashMap<SessionId, Busy>,
    parties: HashMap<Party, Told>,
}

/// A session with transfers.
struct Busy {
    party: Party,
    transfers: usize,
}

/// A party with such sessions.
#[derive(Default)]
struct Told {
    sessions: usize,
    /// What each of them was told last.
    share: Option<ByteCount>,
}

/// The least a session is given, however many there are: the smallest piece. What all of them hold
/// is bounded by the pool.
const SHARE_MIN: u64 = 64 << 10;
/// The most one is given: more would not make it faster.
const SHARE_MAX: u64 = 32 << 20;

impl Shares {
    pub(super) fn new(buffers: ByteCount) -> Self {
        Self { buffers, busy: HashMap::new(), parties: HashMap::new() }
    }

    /// A transfer of a session begins.
    pub(super) fn begin(&mut self, id: SessionId, party: Party) {
        let busy = self.busy.entry(id).or_insert(Busy { party, transfers: 0 });
        busy.transfers += 1;
        if busy.transfers == 1 {
            self.parties.entry(party).or_default().sessions += 1;
        }
    }

    /// A transfer of a session is over.
    pub(super) fn end(&mut self, id: &SessionId) {
        if let Some(busy) = self.busy.get_mut(id) {
            busy.transfers -= 1;
            if busy.transfers == 0 {
                self.remove(id);
            }
        }
    }

    /// A session has none any more.
    pub(super) fn remove(&mut self, id: &SessionId) {
        let Some(Busy { party, .. }) = self.busy.remove(id) else { return };
        if let Some(told) = self.parties.get_mut(&party) {
            told.sessions -= 1;
            if told.sessions == 0 {
                self.parties.remove(&party);
            }
        }
    }

    /// What a session of a party may hold that has a transfer.
    pub(super) fn of(&self, party: &Party) -> ByteCount {
        let sessions = self.parties.get(party).map_or(0, |told| told.sessions);
        share_of(self.buffers, self.parties.len(), sessions)
    }

    /// What one may hold that begins its first transfer next.
    pub(super) fn next(&self, party: &Party) -> ByteCount {
        let (parties, sessions) = match self.parties.get(party) {
            Some(told) => (self.parties.len(), told.sessions + 1),
            None => (self.parties.len() + 1, 1),
        };
        share_of(self.buffers, parties, sessions)
    }

    /// The parties whose sessions may hold more or less than they were told last: to be told now.
    pub(super) fn changed(&mut self) -> Vec<(Party, ByteCount)> {
        let (buffers, parties) = (self.buffers, self.parties.len());
        let changed = self.parties.iter_mut().filter_map(|(party, told)| {
            let share = share_of(buffers, parties, told.sessions);
            (told.share.replace(share) != Some(share)).then_some((*party, share))
        });
        changed.collect()
    }
}

fn share_of(buffers: ByteCount, parties: usize, sessions: usize) -> ByteCount {
    let share = buffers.0 / parties.max(1) as u64 / sessions.max(1) as u64;
    // In powers of two, so that one session more or less seldom changes everybody's.
    ByteCount((1 << share.max(1).ilog2()).clamp(SHARE_MIN, SHARE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Party = Party::Ticket([1; 16]);
    const OTHER: Party = Party::Ticket([2; 16]);

    #[test]
    fn a_share_is_of_those_that_have_transfers() {
        let mut shares = Shares::new(ByteCount(64 << 20));
        assert_eq!(shares.next(&ONE), ByteCount(SHARE_MAX));
        (0..3).for_each(|nth| shares.begin([nth; 16], ONE));
        shares.begin([0; 16], ONE);
        assert_eq!(
            (shares.of(&ONE), shares.next(&ONE)),
            (ByteCount(16 << 20), ByteCount(16 << 20))
        );
        assert_eq!(shares.changed(), [(ONE, ByteCount(16 << 20))]);
        assert_eq!(shares.changed(), []);
        (0..3).for_each(|nth| shares.end(&[nth; 16]));
        assert_eq!(shares.of(&ONE), ByteCount(SHARE_MAX), "one has another transfer");
        shares.end(&[0; 16]);
        shares.remove(&[0; 16]);
        assert!(shares.parties.is_empty() && shares.busy.is_empty());
    }

    #[test]
    fn many_sessions_of_one_party_leave_another_its_half() {
        let mut shares = Shares::new(ByteCount(64 << 20));
        (0..16).for_each(|nth| shares.begin([nth; 16], ONE));
        assert_eq!(shares.next(&OTHER), ByteCount(32 << 20));
        shares.begin([99; 16], OTHER);
        assert_eq!((shares.of(&ONE), shares.of(&OTHER)), (ByteCount(2 << 20), ByteCount(32 << 20)));
        shares.remove(&[99; 16]);
        assert_eq!(shares.of(&ONE), ByteCount(4 << 20));
    }
}
