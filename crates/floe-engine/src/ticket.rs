//! Tickets: what lets a client in (PROTOCOL.md, ticket).
//!
//! A `Ticket` is the client's side: which server key to trust, and a secret from which a signing
//! key is derived. The secret is shown by `reveal` only, never by `Debug`, an error or a log. The
//! server's side, which holds no secrets, is `TicketStore` in `ticket/store.rs`.

mod store;

pub use store::{Admission, Entry, Grant, NewTicket, OwnerTicket, TicketStore};
pub use store::{format_entries, parse_entries};

use crate::identity::KeyPin;
use crate::state::random;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE32_NOPAD;
use floe_types::{Code, Fault};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Names a ticket to everybody; opens nothing. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub [u8; 16]);

impl TicketId {
    fn of_public(public: &[u8; 32]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::derive_key(ID_CONTEXT, public)[..16]);
        Self(id)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

/// Names a served root: the random id in its `.floe/id`. Shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RootId(pub [u8; 16]);

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// A client's ticket. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pin: KeyPin,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    public: [u8; 32],
}

impl Ticket {
    /// A new ticket for the server with that key.
    ///
    /// # Errors
    /// `Other`: the system has no random bytes, or no memory.
    pub fn generate(pin: KeyPin) -> Result<Self, Fault> {
        Self::of(pin, Zeroizing::new(random()?))
    }

    fn of(pin: KeyPin, secret: Zeroizing<[u8; SECRET_BYTES]>) -> Result<Self, Fault> {
        let mut ticket = Self { pin, secret, public: [0; 32] };
        let pair = ticket.key_pair()?;
        ticket.public.copy_from_slice(pair.public_key().as_ref());
        Ok(ticket)
    }

    /// The key of the server that it opens.
    #[must_use]
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> TicketId {
        TicketId::of_public(&self.public())
    }

    /// The text to type or to keep, `floe1...`: whoever has it is let in.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut body = Zeroizing::new([0; BODY_BYTES + CHECK_BYTES]);
        body[..32].copy_from_slice(&self.pin.0);
        body[32..BODY_BYTES].copy_from_slice(self.secret.as_slice());
        let check = check(&body[..BODY_BYTES]);
        body[BODY_BYTES..].copy_from_slice(&check);
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        text.push_str(PREFIX);
        BASE32_NOPAD.encode_append(body.as_slice(), &mut text);
        text.make_ascii_lowercase();
        text
    }

    /// The same secret for a server whose key is another now.
    #[must_use]
    pub(crate) fn with_pin(&self, pin: KeyPin) -> Self {
        Self { pin, ..self.clone() }
    }

    /// The public half of its key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Signs a message with its key.
    ///
    /// # Errors
    /// `Other`, which aws-lc gives only without memory.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], Fault> {
        let signed = self.key_pair()?.try_sign(message).ok();
        signed
            .and_then(|signature| signature.as_ref().try_into().ok())
            .ok_or_else(|| Fault::new(Code::Other, "sign with the ticket"))
    }

    fn key_pair(&self) -> Result<Ed25519KeyPair, Fault> {
        Ed25519KeyPair::from_seed_unchecked(self.seed().as_slice())
            .map_err(|_| Fault::new(Code::Other, "derive the key of a ticket"))
    }

    fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(SEED_CONTEXT, self.secret.as_slice()))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = Fault;

    /// Takes both cases and white space around. The fault never repeats the text.
    fn from_str(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| Fault::new(Code::Usage, format!("read a ticket: {why}"));
        let text = Zeroizing::new(text.trim().to_ascii_uppercase());
        let digits = text
            .strip_prefix(PREFIX_UPPER)
            .ok_or_else(|| refuse("it does not start with \"floe1\""))?;
        if text.len() != TEXT_BYTES {
            return Err(refuse("it is not whole (89 characters)"));
        }
        let body = BASE32_NOPAD
            .decode(digits.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| refuse("it holds a character that no ticket has"))?;
        let (body, given) = body
            .split_at_checked(BODY_BYTES)
            .ok_or_else(|| refuse("it is not whole (89 characters)"))?;
        if given != check(body) {
            return Err(refuse("a character is wrong"));
        }
        let (mut pin, mut secret) = ([0; 32], Zeroizing::new([0; SECRET_BYTES]));
        pin.copy_from_slice(&body[..32]);
        secret.copy_from_slice(&body[32..]);
        Self::of(KeyPin(pin), secret)
    }
}

/// Whether a signature is by that key.
fn is_signed(public: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

fn check(body: &[u8]) -> [u8; CHECK_BYTES] {
    let hash = blake3::hash(body);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

const PREFIX: &str = "floe1";
const PREFIX_UPPER: &str = "FLOE1";
const SECRET_BYTES: usize = 16;
const BODY_BYTES: usize = 32 + SECRET_BYTES;
const CHECK_BYTES: usize = 4;
const TEXT_BYTES: usize = 89;
const SEED_CONTEXT: &str = "floe/1 ticket signing key";
const ID_CONTEXT: &str = "floe/1 ticket id";

#[cfg(test)]
mod tests;
