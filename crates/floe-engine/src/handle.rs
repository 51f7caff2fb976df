//! A transfer's handle: what OPENED gives a client so that any server with this identity and this
//! store can go on with the transfer.
//!
//! Opaque to the client and to the core. Authenticated, not encrypted: it names a stage, which
//! opens nothing by itself. What its ticket allows now is asked again when it is used; the handle
//! only says what was allowed when it was made.
//!
//! ```text
//!  1 version | 8 expiry, seconds | 1 verbs | 1 with ticket? | 16 ticket id or zeros
//!  | n stage key | 32 tag
//! ```

use crate::identity::Identity;
use crate::ticket::TicketId;
use floe_proto::frame::Verbs;
use floe_types::{Code, Fault, Timestamp};
use zeroize::Zeroizing;

/// What a handle says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Names the stage in the store; 1 to 256 bytes.
    pub stage: Vec<u8>,
    /// The ticket that it was made for; `None` is anonymous.
    pub ticket: Option<TicketId>,
    /// What that allowed then.
    pub verbs: Verbs,
    /// From when on it is not taken any more: whole seconds.
    pub expires: Timestamp,
}

/// The key that authenticates handles: the same for all processes with one identity.
pub struct HandleKey(Zeroizing<[u8; 32]>);

impl HandleKey {
    /// The key of an identity.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self(identity.derive(KEY_CONTEXT))
    }

    /// Writes a handle.
    ///
    /// # Errors
    /// `LimitExceeded`: the stage's key is empty or too long.
    pub fn seal(&self, handle: &Handle) -> Result<Vec<u8>, Fault> {
        if !(1..=STAGE_BYTES_MAX).contains(&handle.stage.len()) {
            return Err(Fault::new(Code::LimitExceeded, "write a transfer's handle"));
        }
        let mut bytes = Vec::with_capacity(FIXED_BYTES + handle.stage.len() + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&handle.expires.secs().to_be_bytes());
        bytes.push(handle.verbs.0);
        bytes.push(u8::from(handle.ticket.is_some()));
        bytes.extend_from_slice(&handle.ticket.map_or([0; 16], |id| id.0));
        bytes.extend_from_slice(&handle.stage);
        let tag = blake3::keyed_hash(&self.0, &bytes);
        bytes.extend_from_slice(tag.as_bytes());
        Ok(bytes)
    }

    /// Reads a handle that a client brings.
    ///
    /// # Errors
    /// `Elsewhere`: it was not made by a server with this identity; `TicketExpired`: its time is
    /// over.
    pub fn open(&self, bytes: &[u8], now: Timestamp) -> Result<Handle, Fault> {
        let handle = self.read(bytes).ok_or_else(|| {
            Fault::new(Code::Elsewhere, "go on with a transfer: its handle is not of this server")
        })?;
        if handle.expires <= now {
            return Err(Fault::new(Code::TicketExpired, "go on with a transfer"));
        }
        Ok(handle)
    }

    fn read(&self, bytes: &[u8]) -> Option<Handle> {
        let (body, tag) = bytes.split_last_chunk::<TAG_BYTES>()?;
        if body.len() > FIXED_BYTES + STAGE_BYTES_MAX {
            return None;
        }
        // `Hash` compares in constant time.
        if blake3::keyed_hash(&self.0, body) != blake3::Hash::from_bytes(*tag) {
            return None;
        }
        let (fixed, stage) = body.split_at_checked(FIXED_BYTES)?;
        let (head, ticket) = fixed.split_last_chunk::<16>()?;
        let [VERSION, secs @ .., verbs, with_ticket] = head else { return None };
        let ticket = match with_ticket {
            0 => None,
            1 => Some(TicketId(*ticket)),
            _ => return None,
        };
        let expires = Timestamp::new(i64::from_be_bytes(secs.try_into().ok()?), 0)?;
        Some(Handle { stage: stage.to_vec(), ticket, verbs: Verbs(*verbs), expires })
    }
}

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandleKey(..)")
    }
}

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 1 + 8 + 1 + 1 + 16;
const TAG_BYTES: usize = 32;
const STAGE_BYTES_MAX: usize = 256;
const KEY_CONTEXT: &str = "floe/1 transfer handle";

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> HandleKey {
        HandleKey(Zeroizing::new([byte; 32]))
    }

    fn handle() -> Handle {
        Handle {
            stage: b"stage".to_vec(),
            ticket: Some(TicketId([3; 16])),
            verbs: Verbs::READ,
            expires: Timestamp::new(100, 0).unwrap(),
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::new(secs, 0).unwrap()
    }

    #[test]
    fn reads_back_until_it_expires() {
        let bytes = key(1).seal(&handle()).unwrap();
        assert_eq!(key(1).open(&bytes, at(99)).unwrap(), handle());
        assert_eq!(key(1).open(&bytes, at(100)).unwrap_err().code, Code::TicketExpired);
        let anonymous = Handle { ticket: None, ..handle() };
        let bytes = key(1).seal(&anonymous).unwrap();
        assert_eq!(key(1).open(&bytes, at(99)).unwrap(), anonymous);
    }

    #[test]
    fn any_change_and_any_other_key_is_refused() {
        let bytes = key(1).seal(&handle()).unwrap();
        assert_eq!(key(2).open(&bytes, at(0)).unwrap_err().code, Code::Elsewhere);
        for nth in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[nth] ^= 1;
            assert!(key(1).open(&wrong, at(0)).is_err(), "at {nth}");
            assert!(key(1).open(&bytes[..nth], at(0)).is_err());
        }
        assert!(key(1).open(&vec![0; 1 << 20], at(0)).is_err());
    }

    #[test]
    fn a_stage_key_has_a_bound() {
        for stage in [vec![], vec![0; 257]] {
            assert!(key(1).seal(&Handle { stage, ..handle() }).is_err());
        }
        assert!(key(1).seal(&Handle { stage: vec![0; 256], ..handle() }).is_ok());
    }
}
