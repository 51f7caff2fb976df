//! One connection whose bytes become a new file, committed when the peer closes cleanly.
//!
//! A reset, silence, an early end, a byte too many or a size that cannot be leave nothing visible.

use super::local::{Inbox, Target, store_all};
use super::stop::Present;
use super::wire::{Framing, Incoming, Pace, Peer, Terms, read_size};
use crate::clock::timestamp;
use floe_types::{
    ByteCount, Code, Component, Fault, ObjectPath, Precondition, Root, Timestamp, Utc,
};

/// What a connection became.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Received {
    pub(super) name: Component,
    pub(super) size: ByteCount,
    pub(super) root: Root,
}

/// Receives one file.
///
/// # Errors
/// `Violation` and `NoSpace` for a size refused; what `store_all` answers.
pub(super) fn receive(
    present: &Present,
    inbox: &Inbox,
    number: u64,
    peer: Peer,
    terms: &Terms,
) -> Result<Received, Fault> {
    let who = format!("from {peer}");
    let announced = match terms.framing {
        Framing::Open => None,
        Framing::Sized => Some(read_size(present, &who)?),
    };
    if let Some(size) = announced {
        inbox.check_room(size, &who)?;
    }
    let name = name(timestamp(), number, peer)?;
    let path = ObjectPath::root()
        .join(name.clone())
        .map_err(|fault| Fault::new(Code::BadPath, format!("name a received file: {fault}")))?;
    let target = Target { path, precondition: Precondition::Absent };
    let incoming = Incoming { from: present, announced, who: &who, pace: Pace::Whole };
    let (size, root) = store_all(inbox, target, incoming, terms)?;
    Ok(Received { name, size, root })
}

/// `20261123T084612.123456Z-000001-53412`: when it began, which connection it was, the peer's port.
fn name(at: Timestamp, number: u64, peer: Peer) -> Result<Component, Fault> {
    let began = format!("{:.6}", Utc(at)).replace(['-', ':'], "");
    let text = format!("{began}-{number:06}-{}", peer.0.port());
    Component::new(text.as_bytes())
        .map_err(|fault| Fault::new(Code::BadPath, format!("name a received file: {fault}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_when_which_and_who() {
        let at = Timestamp::new(1_795_423_572, 123_456_789).unwrap();
        let peer = Peer("[::ffff:192.0.2.1]:53412".parse().unwrap());
        assert_eq!(peer.to_string(), "192.0.2.1:53412");
        assert_eq!(name(at, 1, peer).unwrap().to_string(), "20261123T084612.123456Z-000001-53412");
    }
}
