//! Saved logins follow a server to another key.
//!
//! The engine has checked that the key that was pinned vouches for the other one, and that the
//! other one is the server's; here it is kept, for the address it was told at, and said in a line.

use crate::civil;
use crate::event::Event;
use crate::fault::{Failure, tell};
use crate::remote::Address;
use crate::report::Voice;
use floe_engine::hosts::Hosts;
use floe_engine::identity::NewKey;
use floe_engine::state::State;

/// Keeps what a server at an address said of its keys. That it cannot be kept is told, and nothing
/// else fails for it: the old key serves for a while yet.
pub fn follow(state: &State, address: &Address, keys: &[NewKey], voice: Voice) {
    for key in keys {
        match Hosts::new(state).follow(&address.host, address.port, key) {
            Ok(names) => say(voice, address, &names, key),
            Err(fault) => tell(&Failure::from(fault)),
        }
    }
}

/// Says that a server has another key, and which names stand for it now.
pub fn say(voice: Voice, address: &Address, names: &[String], key: &NewKey) {
    let NewKey { old, new, until } = key;
    let until = civil::utc(*until);
    match names {
        [] => voice.say(&format_args!(
            "{address} has another key now, {new}; the ticket or key that was given names the old \
             one, which serves until {until} at most: ask for one made now"
        )),
        names => voice.say(&format_args!(
            "{address} has another key now, {new}, as the one before vouches; {} pins it from now \
             on",
            names.join(", ")
        )),
    }
    voice.send(|| {
        Event::new("key_changed")
            .with("url", address.to_string())
            .with("names", names.to_vec())
            .with("old", old.to_string())
            .with("fingerprint", new.to_string())
            .with("until", until)
    });
}
