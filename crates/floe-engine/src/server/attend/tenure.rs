//! What holds while a session runs: its lead stream, its place in the registry, its last line.

use super::Hall;
use crate::audit::Scribe;
use crate::registry::{Member, SessionId};
use crate::running::Running;
use crate::secure::Secured;
use crate::stream::{Place, Stream};
use floe_types::{Code, Fault};
use std::sync::Arc;
use tokio::task::spawn_local;
use tracing::Instrument;

/// Begins the lead stream of a session; what it costs is held as long as it runs.
pub(super) fn lead(
    link: Result<Secured, Fault>,
    place: Place,
    running: &Running,
    costs: impl Sized + 'static,
) {
    match link {
        Ok(link) => {
            let stream = Stream::new(place, link);
            let stream = async move { (stream.run().await, drop(costs)) };
            spawn_local(stream.in_current_span());
        }
        Err(fault) => {
            running.break_off(fault);
            // The session is over once nobody has a place.
            drop(place);
        }
    }
}

/// A session that is to have its last line, however it ends.
pub(super) struct Attendance {
    pub(super) scribe: Option<Arc<Scribe>>,
    pub(super) running: Arc<Running>,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        let cut = || Fault::new(Code::ConnectionLost, "");
        if self.running.ending().is_none() {
            // Nobody drives it: who waits for its end has it here.
            self.running.break_off(cut());
        }
        if let Some(scribe) = &self.scribe {
            scribe.end(&self.running.ending().unwrap_or_else(|| Err(cut())));
        }
    }
}

/// A session that JOINs find, while this lives.
pub(super) struct Listed {
    hall: Arc<Hall>,
    id: SessionId,
}

impl Listed {
    pub(super) fn new(hall: &Arc<Hall>, id: SessionId, member: Member) -> Self {
        hall.registry.add(id, member);
        Self { hall: Arc::clone(hall), id }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.hall.registry.remove(&self.id);
    }
}
