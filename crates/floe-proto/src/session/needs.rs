//! The verbs of a ticket that a transfer or request needs.

use crate::frame::{Direction, Request, RootWish, Verbs};

/// The verbs that a transfer needs at the server.
pub(super) const fn needed_for(direction: Direction) -> Verbs {
    match direction {
        Direction::Put => Verbs::WRITE_NEW,
        Direction::Get => Verbs::READ,
    }
}

/// The verbs that a request needs at the server.
pub(super) const fn needed_by(request: &Request) -> Verbs {
    match request {
        Request::List { .. } => Verbs::LIST,
        // What an object's root says of its bytes, only who may read them is told.
        Request::Stat { root: RootWish::Computed, .. } => Verbs::LIST.and(Verbs::READ),
        Request::Stat { .. } => Verbs::LIST,
        Request::Remove { .. } => Verbs::REMOVE,
        // One name goes, and another comes.
        Request::Rename { .. } => Verbs::REMOVE.and(Verbs::WRITE_NEW),
        Request::MakeDirectory { .. } => Verbs::MAKE_DIRECTORY,
        // A file without a name is written for a moment.
        Request::Measure { .. } => Verbs::WRITE_NEW,
    }
}
