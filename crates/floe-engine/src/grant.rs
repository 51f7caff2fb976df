//! What a ticket allows: values, and decisions that need no file, clock or thread.
//!
//! Verbs are asked for by the core at every OPEN and REQUEST (`floe_proto::session`); `Fence` asks
//! again where only a store knows what a write comes to. The prefix is no check at all: whoever
//! holds the ticket is given a store that ends there (`floe_store::confined`).

mod quota; // pure counting
mod usage; // what is used, as a file
mod book; // what is used and set aside, in memory
mod meter; // a quota while sessions run
mod metered; // a stage that counts
mod fence;
mod uses; // how often a ticket was used
mod throttle; // how fast its sessions may go

pub use fence::Fence;
pub use meter::Meter;
pub use quota::{Account, Load, Quota, Short};
pub use throttle::Throttle;
pub use usage::Usage;
pub use uses::{Deed, Uses};

use crate::identity::KeyPin;
use floe_proto::frame::Verbs;
use floe_types::{Code, Escaped, Fault, ObjectPath, Rate, Timestamp};
use std::num::NonZeroU32;

/// What a ticket allows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// What may be done.
    pub verbs: Verbs,
    /// What its holder sees as the root: a directory beneath the served one.
    pub prefix: ObjectPath,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
    /// How much may be brought in, by all its sessions together.
    pub quota: Quota,
    /// How fast bytes of objects may go, both ways and in all its sessions together.
    pub rate: Option<Rate>,
    /// Connections that one session may have.
    pub streams: Option<NonZeroU32>,
    /// How many transfers there may ever be.
    pub uses: Option<NonZeroU32>,
    /// The key that a client must prove to hold, on each of its connections.
    pub client_key: Option<KeyPin>,
}

impl Bounds {
    /// Those verbs everywhere, for ever.
    #[must_use]
    pub fn of(verbs: Verbs) -> Self {
        let quota = Quota { bytes: None, entries: None };
        let prefix = ObjectPath::root();
        let (expires, rate, streams, uses, client_key) = (None, None, None, None, None);
        Self { verbs, prefix, expires, quota, rate, streams, uses, client_key }
    }

    /// Whether its time is over.
    #[must_use]
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Whether a session that began with these may go on now that its ticket allows `now`: nothing
    /// was taken from it. What was added counts for the next session. A quota is the meter's
    /// matter, and uses are counted, but for whether they are; a rate is changed as it runs.
    #[must_use]
    pub fn still_hold(&self, now: &Self) -> bool {
        let is_metered = self.quota.is_some() || !now.quota.is_some();
        let is_counted = self.uses.is_some() || now.uses.is_none();
        let most = |bounds: &Self| bounds.streams.map_or(u32::MAX, NonZeroU32::get);
        let streams = most(self) <= most(now);
        // One that began with any key did not have all its connections asked for this one.
        let is_its_client = now.client_key.is_none() || now.client_key == self.client_key;
        now.verbs.allow(self.verbs)
            && now.prefix == self.prefix
            && is_metered
            && is_counted
            && streams
            && is_its_client
    }

    /// Whether a connection may be used whose client has proved to hold this key, or none.
    ///
    /// # Errors
    /// `ClientKeyNeeded`. Only who proved to know the ticket's secret may be told so.
    pub fn check_client(&self, shown: Option<KeyPin>, doing: &str) -> Result<(), Fault> {
        let detail = match (self.client_key, shown) {
            (None, _) => return Ok(()),
            (Some(bound), Some(shown)) if bound == shown => return Ok(()),
            (Some(_), Some(shown)) => format!("{doing} with the key {shown}"),
            (Some(_), None) => format!("{doing} without a key"),
        };
        Err(Fault::new(Code::ClientKeyNeeded, detail))
    }

    /// Whether it makes sense, for a ticket that begins at `now`.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, now: Timestamp) -> Result<(), &'static str> {
        if self.verbs == Verbs::default() || !Verbs::ALL.allow(self.verbs) {
            return Err("it must allow something");
        }
        if self.verbs.allow(Verbs::OVERWRITE) && !self.verbs.allow(Verbs::WRITE_NEW) {
            return Err("overwrite needs write-new beside it");
        }
        if self.has_expired(now) {
            return Err("it would have expired already");
        }
        Ok(())
    }
}

/// The verbs as people and files write them.
pub const VERBS: [(Verbs, &str); 6] = [
    (Verbs::READ, "read"),
    (Verbs::LIST, "list"),
    (Verbs::WRITE_NEW, "write-new"),
    (Verbs::OVERWRITE, "overwrite"),
    (Verbs::REMOVE, "remove"),
    (Verbs::MAKE_DIRECTORY, "mkdir"),
];

/// The words of verbs, in the order of `VERBS`.
pub fn words_of(verbs: Verbs) -> impl Iterator<Item = &'static str> {
    VERBS.iter().filter(move |(verb, _)| verbs.allow(*verb)).map(|(_, word)| *word)
}

/// The verb of a word.
///
/// # Errors
/// What is wrong with it.
pub fn verb_of(word: &str) -> Result<Verbs, String> {
    if word == "write" {
        // It meant both once, and would mean more to a reader who does not know.
        return Err("'write' is said as write-new, or as write-new,overwrite; trees also need \
                    mkdir"
            .to_owned());
    }
    let found = VERBS.iter().find(|(_, known)| *known == word);
    found
        .map(|(verb, _)| *verb)
        .ok_or_else(|| format!("\"{}\" is no verb; {VERBS_ARE}", Escaped(word.as_bytes())))
}

const VERBS_ARE: &str = "verbs are read, list, write-new, overwrite, remove, mkdir, or all";

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(secs: i64) -> Timestamp {
        Timestamp::new(secs, 0).unwrap()
    }

    #[test]
    fn every_verb_has_one_word_and_reads_back() {
        let all = VERBS.iter().fold(Verbs::default(), |all, (verb, _)| all.and(*verb));
        assert_eq!(all, Verbs::ALL);
        for (verb, word) in VERBS {
            assert_eq!(verb_of(word), Ok(verb));
            assert_eq!(words_of(verb).collect::<Vec<_>>(), [word]);
        }
        for (bad, why) in [("write", "write-new"), ("READ", "no verb"), ("", "no verb")] {
            assert!(verb_of(bad).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn a_session_goes_on_while_nothing_is_taken_from_it() {
        let was = Bounds { expires: Some(stamp(5)), ..Bounds::of(Verbs::READ.and(Verbs::LIST)) };
        let longer = Bounds { expires: Some(stamp(50)), ..was.clone() };
        let wider = Bounds { verbs: Verbs::ALL, ..was.clone() };
        let narrower = Bounds { verbs: Verbs::READ, ..was.clone() };
        let prefix = ObjectPath::parse(b"a").unwrap();
        let moved = Bounds { prefix, ..was.clone() };
        let quota = Quota { bytes: Some(floe_types::ByteCount(5)), entries: None };
        let metered = Bounds { quota, ..was.clone() };
        let counted = Bounds { uses: NonZeroU32::new(9), ..was.clone() };
        let thinner = Bounds { streams: NonZeroU32::new(2), ..was.clone() };
        let slower = Bounds { rate: Rate::new(9), ..was.clone() };
        let key = |byte| Some(KeyPin([byte; 32]));
        let [bound, other] =
            [key(1), key(2)].map(|client_key| Bounds { client_key, ..was.clone() });
        assert!(bound.still_hold(&bound) && bound.still_hold(&was));
        assert!(!was.still_hold(&bound) && !bound.still_hold(&other));
        let all = [&was, &longer, &wider, &slower];
        assert!(all.iter().all(|now| was.still_hold(now)));
        let all = [&narrower, &moved, &metered, &counted, &thinner];
        assert!(all.iter().all(|now| !was.still_hold(now)));
        for before in [metered, counted, thinner] {
            assert!(before.still_hold(&was), "it may more");
        }
    }

    #[test]
    fn a_ticket_is_good_only_with_the_key_that_it_is_bound_to() {
        let key = |byte| Some(KeyPin([byte; 32]));
        let free = Bounds::of(Verbs::READ);
        let bound = Bounds { client_key: key(1), ..free.clone() };
        for shown in [None, key(1), key(2)] {
            assert_eq!(free.check_client(shown, "log in"), Ok(()));
            let may = bound.check_client(shown, "log in");
            let code = (shown != key(1)).then_some(Code::ClientKeyNeeded);
            assert_eq!(may.err().map(|fault| fault.code), code, "{shown:?}");
        }
    }

    #[test]
    fn bounds_make_sense_or_say_what_does_not() {
        let good = Bounds::of(Verbs::WRITE_NEW);
        assert_eq!(good.check(stamp(5)), Ok(()));
        for bad in [
            Bounds::of(Verbs::default()),
            Bounds::of(Verbs::UNCHANGING),
            Bounds::of(Verbs::OVERWRITE),
            Bounds { expires: Some(stamp(5)), ..good.clone() },
        ] {
            assert!(bad.check(stamp(5)).is_err(), "{bad:?}");
        }
        let until = Bounds { expires: Some(stamp(5)), ..good };
        assert!(!until.has_expired(stamp(4)) && until.has_expired(stamp(5)));
    }
}
