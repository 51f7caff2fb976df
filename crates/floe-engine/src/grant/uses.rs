//! How often a ticket was used, where that is bounded: a file of the state directory for each.
//!
//! A use is one transfer, in as many sessions as it takes: it is counted, durably, when it begins,
//! and whoever comes again for the same (the same client, way and path) goes on with it until it
//! was completed. So what broke off can be continued, and nobody gets more by never completing:
//! no more than the same again.

use crate::state::{Privacy, State};
use data_encoding::HEXLOWER;
use floe_proto::frame::Direction;
use floe_types::{Code, Fault, ObjectPath};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The uses of a ticket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Uses {
    begun: u32,
    /// Those that were not completed yet, oldest first.
    open: Vec<Deed>,
}

/// What a use is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// Whose.
    pub client: [u8; 16],
    /// Which way.
    pub direction: Direction,
    /// The digest of the remote path as the ticket's holder sees it.
    path: [u8; 32],
    /// How often it was begun or continued.
    begun: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    begun: u32,
    open: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    client: String,
    get: bool,
    path: String,
    begun: u32,
}

impl Deed {
    /// A transfer of a client, which way, of what the ticket's holder calls so.
    #[must_use]
    pub fn new(client: [u8; 16], direction: Direction, path: &ObjectPath) -> Self {
        let path = *blake3::hash(&path.to_bytes()).as_bytes();
        Self { client, direction, path, begun: 1 }
    }

    fn is(&self, other: &Self) -> bool {
        (self.client, self.direction, self.path) == (other.client, other.direction, other.path)
    }
}

impl Uses {
    /// Those of a ticket as they stand.
    ///
    /// # Errors
    /// `State`.
    pub fn peek(state: &State, ticket: &str) -> Result<Self, Fault> {
        let file = file_of(ticket);
        let Some(bytes) = state.read(&file, Privacy::Any)? else { return Ok(Self::default()) };
        Self::parse(&bytes).ok_or_else(|| state.fault("read", &file, "it is damaged"))
    }

    /// How many there were, completed or not.
    #[must_use]
    pub const fn begun(&self) -> u32 {
        self.begun
    }

    /// Whether there is anything that this client may still begin or continue.
    #[must_use]
    pub fn admit(&self, most: NonZeroU32, client: [u8; 16]) -> bool {
        self.begun < most.get() || self.open.iter().any(|deed| deed.client == client)
    }

    /// Counts what begins, unless it goes on with what was counted. Durable.
    ///
    /// # Errors
    /// `TicketExpired`: there were as many as there may be; `State`.
    pub fn begin(state: &State, ticket: &str, most: NonZeroU32, deed: Deed) -> Result<(), Fault> {
        let goes_on = Self::change(state, ticket, |uses| uses.open_one(most, deed))?;
        if goes_on { Ok(()) } else { Err(Self::spent(most)) }
    }

    /// Removes what is written down of a ticket that is no more.
    ///
    /// # Errors
    /// `State`.
    pub fn remove(state: &State, ticket: &str) -> Result<(), Fault> {
        state.remove(&file_of(ticket))?;
        state.remove(&lock_of(ticket))
    }

    /// What began was completed: the same again is another use. Durable.
    ///
    /// # Errors
    /// `State`.
    pub fn complete(state: &State, ticket: &str, deed: &Deed) -> Result<(), Fault> {
        Self::change(state, ticket, |uses| uses.open.retain(|open| !open.is(deed)))
    }

    /// What began came to nothing at all. Durable.
    ///
    /// # Errors
    /// `State`.
    pub fn forget(state: &State, ticket: &str, deed: &Deed) -> Result<(), Fault> {
        Self::change(state, ticket, |uses| {
            if uses.open.iter().any(|open| open.is(deed) && open.begun == 1) {
                uses.open.retain(|open| !open.is(deed));
                uses.begun -= 1;
            }
        })
    }

    /// The fault of a ticket that was used up.
    #[must_use]
    pub fn spent(most: NonZeroU32) -> Fault {
        let times = if most.get() == 1 { "once".to_owned() } else { format!("{most} times") };
        Fault::new(Code::TicketExpired, format!("it could be used {times}, and was"))
    }

    fn open_one(&mut self, most: NonZeroU32, deed: Deed) -> bool {
        if let Some(known) = self.open.iter_mut().find(|open| open.is(&deed)) {
            known.begun = known.begun.saturating_add(1);
            return known.begun <= CONTINUED_MAX;
        }
        if self.begun >= most.get() {
            return false;
        }
        self.begun += 1;
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        self.open.push(deed);
        true
    }

    fn change<T>(state: &State, ticket: &str, by: impl FnOnce(&mut Self) -> T) -> Result<T, Fault> {
        let _held = state.hold(&lock_of(ticket))?;
        let before = Self::peek(state, ticket)?;
        let mut uses = before.clone();
        let answer = by(&mut uses);
        if uses != before {
            state.replace(&file_of(ticket), &uses.format())?;
        }
        Ok(answer)
    }

    /// Reads the bytes of the file; `None`: it is damaged.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let Whole { version: VERSION, begun, open } = serde_json::from_slice(bytes).ok()? else {
            return None;
        };
        let open = open.into_iter().map(Line::read).collect::<Option<_>>()?;
        Some(Self { begun, open })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let open = self.open.iter().map(Line::of).collect();
        let whole = Whole { version: VERSION, begun: self.begun, open };
        let mut bytes = serde_json::to_vec(&whole).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl Line {
    fn of(deed: &Deed) -> Self {
        let get = deed.direction == Direction::Get;
        let (client, path) = (HEXLOWER.encode(&deed.client), HEXLOWER.encode(&deed.path));
        Self { client, get, path, begun: deed.begun }
    }

    fn read(self) -> Option<Deed> {
        let client = HEXLOWER.decode(self.client.as_bytes()).ok()?.try_into().ok()?;
        let path = HEXLOWER.decode(self.path.as_bytes()).ok()?.try_into().ok()?;
        let direction = if self.get { Direction::Get } else { Direction::Put };
        Some(Deed { client, direction, path, begun: self.begun })
    }
}

fn file_of(ticket: &str) -> String {
    format!("uses-{ticket}.json")
}

fn lock_of(ticket: &str) -> String {
    format!("uses-{ticket}.lock")
}

const VERSION: u32 = 1;
/// Uses that can be continued; of more, the oldest cannot.
const OPEN_MAX: usize = 64;
/// How often one can be begun: a client that never completes gets no more than that.
const CONTINUED_MAX: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroU32 = NonZeroU32::new(2).unwrap();

    fn deed(client: u8, direction: Direction, path: &str) -> Deed {
        let path = ObjectPath::parse(path.as_bytes()).unwrap();
        Deed::new([client; 16], direction, &path)
    }

    #[test]
    fn what_broke_off_goes_on_and_what_was_completed_counts_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let begin = |deed: &Deed| Uses::begin(&state, "t", TWO, deed.clone()).is_ok();
        let (up, down) = (deed(1, Direction::Put, "a"), deed(1, Direction::Get, "a"));
        assert!(begin(&up) && begin(&up) && begin(&down));
        for other in [deed(1, Direction::Put, "b"), deed(2, Direction::Put, "a")] {
            assert!(!begin(&other), "{other:?}");
        }
        Uses::complete(&state, "t", &up).unwrap();
        assert!(!begin(&up) && begin(&down));
        let uses = Uses::peek(&state, "t").unwrap();
        assert_eq!((uses.begun(), uses.open.len()), (2, 1));
        assert!(uses.admit(TWO, [1; 16]) && !uses.admit(TWO, [2; 16]));
        Uses::complete(&state, "t", &down).unwrap();
        let fault = Uses::begin(&state, "t", TWO, down).unwrap_err();
        assert_eq!(fault.code, Code::TicketExpired);
        assert!(!Uses::peek(&state, "t").unwrap().admit(TWO, [1; 16]));
        assert_eq!(Uses::peek(&state, "other").unwrap(), Uses::default());
    }

    #[test]
    fn one_that_is_never_completed_is_continued_only_so_often() {
        let (mut uses, one) = (Uses::default(), deed(1, Direction::Get, "a"));
        let begun = (0..1000).filter(|_| uses.open_one(TWO, one.clone())).count();
        assert_eq!((begun, uses.begun), (CONTINUED_MAX as usize, 1));
    }

    #[test]
    fn what_came_to_nothing_is_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let typo = deed(1, Direction::Get, "typo");
        Uses::begin(&state, "t", TWO, typo.clone()).unwrap();
        Uses::forget(&state, "t", &typo).unwrap();
        Uses::forget(&state, "t", &typo).unwrap();
        assert_eq!(Uses::peek(&state, "t").unwrap(), Uses::default());
        // Whoever came again for it had something of it.
        (0..2).for_each(|_| Uses::begin(&state, "t", TWO, typo.clone()).unwrap());
        Uses::forget(&state, "t", &typo).unwrap();
        assert_eq!(Uses::peek(&state, "t").unwrap().begun(), 1);
    }

    #[test]
    fn a_damaged_file_lets_nothing_begin() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let deed = deed(1, Direction::Put, "a");
        for damaged in ["", "{}", r#"{"version":2,"begun":0,"open":[]}"#] {
            state.replace("uses-t.json", damaged.as_bytes()).unwrap();
            let fault = Uses::begin(&state, "t", TWO, deed.clone()).unwrap_err();
            assert_eq!(fault.code, Code::State, "{damaged}");
        }
    }

    #[test]
    fn only_so_many_can_be_continued() {
        let mut uses = Uses::default();
        let many = NonZeroU32::new(u32::MAX).unwrap();
        let nth = |nth: usize| deed(1, Direction::Put, &format!("{nth}"));
        (0..=OPEN_MAX).for_each(|n| assert!(uses.open_one(many, nth(n))));
        assert!(uses.open.len() == OPEN_MAX && !uses.open.contains(&nth(0)));
        assert_eq!(Uses::parse(&uses.format()), Some(uses));
    }
}
