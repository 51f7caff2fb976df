//! Attacks on a server and on clients, by peers that speak the wire by hand.
//!
//! An attack is a row with a name in a table. What is attacked is the binary. Each is refused with
//! a typed answer, nothing outside what is served and nothing of floe's own is seen or changed, the
//! server's memory stays within what it was given, and whoever belongs is served.

pub mod by_hand {
    //! What others attack with, too.
    pub use super::channel::Link;
    pub use super::peer::{Answer, Peer, Ticket};
    pub use super::wire::{code, cold, kind, map};
}

mod wire; // frames and CBOR, true and false
mod channel; // TCP and TLS
mod peer; // a client by hand
mod fort; // a server, and what must hold of it
mod paths; // bad paths in every frame
mod greetings; // HELLO and JOIN that let nobody in
mod verbs; // tickets against everything that can be asked
mod fields; // lies in every field of every cold frame
mod fields_back; // the same of a server
mod chunks; // lies in chunks, of both halves
mod packed; // pieces that are packed, and are not what they say
mod listed; // entries that are
mod things; // links, devices and what else may stand in a tree
mod floods; // too much of everything that is small
mod slow; // what begins and does not go on; what comes and goes
mod crowds; // ten thousand that stand, thousands that come and go
mod tls; // other versions, keys and names
mod host; // a server by hand, and its victim
mod hostile; // trees and bytes that lie to `floe get`
mod answers; // answers that lie to `floe put` and `floe ls`
mod texts; // what a terminal would obey
