//! A server's sessions by id, for JOIN, and who owns which stage, for take-over.
//!
//! A stage has one live owner. Whoever opens one that another session of this server holds ends
//! that session first: it is the same client, come back. The share of the buffers that a session
//! may hold changes as sessions come and go.

use crate::running::Running;
use floe_proto::greeting::Channel;
use floe_store::OwnerId;
use floe_types::{ByteCount, ObjectPath};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A session as JOIN finds it.
pub struct Member {
    /// The session.
    pub running: Arc<Running>,
    /// What a JOIN must prove to know.
    pub secret: [u8; 32],
    /// What its first stream runs over.
    pub channel: Channel,
}

/// What makes a stage: the final path and its owner.
pub type StageKey = (ObjectPath, OwnerId);
/// A session's id.
pub type SessionId = [u8; 16];

/// The sessions of a server.
pub struct Registry {
    state: Mutex<State>,
    /// What all sessions together may hold in buffers.
    buffers: ByteCount,
}

#[derive(Default)]
struct State {
    members: HashMap<SessionId, Arc<Member>>,
    claims: HashMap<StageKey, Arc<Running>>,
    /// What each session was told last.
    share: Option<ByteCount>,
}

/// The least a session is given, however many there are: a few of the smallest pieces.
const SHARE_MIN: u64 = 256 << 10;
/// The most one is given: more would not make it faster.
const SHARE_MAX: u64 = 32 << 20;

impl Registry {
    /// No sessions yet; all together may hold so much in buffers.
    #[must_use]
    pub fn new(buffers: ByteCount) -> Self {
        Self { state: Mutex::default(), buffers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What one more session may hold in buffers.
    #[must_use]
    pub fn share(&self) -> ByteCount {
        self.share_of(self.lock().members.len() + 1)
    }

    fn share_of(&self, sessions: usize) -> ByteCount {
        let share = self.buffers.0 / (sessions.max(1) as u64);
        // In powers of two, so that one session more or less seldom changes everybody's.
        ByteCount((1 << share.max(1).ilog2()).clamp(SHARE_MIN, SHARE_MAX))
    }

    /// Adds a session that was made with `share`; the others may get less.
    pub fn add(&self, id: SessionId, member: Member) {
        self.lock().members.insert(id, Arc::new(member));
        self.share_out();
    }

    /// Removes a session and all its claims; the others get more.
    pub fn remove(&self, id: &SessionId) {
        let mut state = self.lock();
        if let Some(member) = state.members.remove(id) {
            state.claims.retain(|_, owner| !Arc::ptr_eq(owner, &member.running));
        }
        drop(state);
        self.share_out();
    }

    fn share_out(&self) {
        let mut state = self.lock();
        let share = self.share_of(state.members.len());
        if state.share.replace(share) == Some(share) {
            return;
        }
        let members: Vec<_> = state.members.values().cloned().collect();
        drop(state);
        for member in members {
            member.running.set_budget(share);
        }
    }

    /// A session, if it runs here.
    #[must_use]
    pub fn find(&self, id: &SessionId) -> Option<Arc<Member>> {
        self.lock().members.get(id).cloned()
    }

    /// All sessions.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.lock().members.values().cloned().collect()
    }

    /// How many sessions run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().members.len()
    }

    /// Claims a stage; the session that holds it, if another does.
    pub fn claim(&self, key: &StageKey, by: &Arc<Running>) -> Option<Arc<Running>> {
        let mut state = self.lock();
        match state.claims.get(key) {
            Some(owner) if !Arc::ptr_eq(owner, by) && owner.ending().is_none() => {
                Some(Arc::clone(owner))
            }
            _ => {
                state.claims.insert(key.clone(), Arc::clone(by));
                None
            }
        }
    }

    /// Gives a stage up.
    pub fn release(&self, key: &StageKey, by: &Arc<Running>) {
        let mut state = self.lock();
        if state.claims.get(key).is_some_and(|owner| Arc::ptr_eq(owner, by)) {
            state.claims.remove(key);
        }
    }
}
