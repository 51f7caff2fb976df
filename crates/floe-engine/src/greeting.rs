//! From a secured connection to a session: HELLO and JOIN, said, heard and checked.
//!
//! The steps are the core's (`floe_proto::greeting`); here they meet sockets, tickets and a
//! deadline. Nothing is read beyond the greeting's last frame, so the connection goes on from there
//! in other hands. Whether a JOIN's session exists, and who is busy, only the caller knows.

mod talk;

use crate::identity::{KeyPin, Signer, is_signed};
use crate::secure::Secured;
use crate::ticket::{Admission, RootId, Ticket, TicketStore};
use aws_lc_rs::hmac;
use floe_proto::command::Violation;
use floe_proto::frame::{Frame, Successor, TicketProof, Welcome};
use floe_proto::greeting::{
    Accepted, Answer, Binding, Channel, ClientGreeting, Dialled, Greeter, HelloClaim, JoinClaim,
    Refusal,
};
use floe_types::{Code, Fault, Limits, Micros, Timestamp};
use std::time::SystemTime;
use talk::Talk;
use tokio::time::Instant;

/// Why a client is not let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotIn {
    /// The server is busy: come back after so long.
    Busy(Micros),
    /// Anything else; also what went wrong on the way.
    Fault(Fault),
}

impl From<Fault> for NotIn {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NotIn> for Fault {
    fn from(not_in: NotIn) -> Self {
        match not_in {
            NotIn::Busy(_) => Self::new(Code::Busy, "greet the server"),
            NotIn::Fault(fault) => fault,
        }
    }
}

/// Who says HELLO.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The client's id (`State::client_id`).
    pub client: [u8; 16],
    /// Its ticket; `None` is anonymous.
    pub ticket: Option<&'a Ticket>,
    /// Name and version of the program.
    pub agent: &'a str,
}

/// Client: begins a session on its first connection.
///
/// # Errors
/// `NotIn::Busy`; the server's own fault (`TicketUnknown`, `TicketExpired`, `NotAllowed`, ...);
/// `ProtocolMismatch` or `Tls` for a peer that speaks something else; `Violation`, `TimedOut`,
/// `ConnectionLost`.
pub async fn hello(
    link: &mut Secured,
    caller: Caller<'_>,
    limits: &Limits,
    deadline: Instant,
) -> Result<Welcome, NotIn> {
    let mut talk = Talk::new(link, limits, deadline, "the server");
    let greeter = greeter(&mut talk).await?;
    let proof = match caller.ticket {
        Some(ticket) => Some(TicketProof {
            ticket: ticket.id().0,
            signature: ticket.sign(&greeter.binding().hello_message())?,
        }),
        None => None,
    };
    let binding = *greeter.binding();
    let (frame, await_welcome) = greeter.hello(caller.client, proof, caller.agent.to_owned());
    talk.send(&frame).await?;
    let frame = talk.receive().await?;
    let welcome = next(await_welcome.handle(frame).map_err(|violation| talk.broken(violation))?)?;
    check_successor(&binding, welcome.successor.as_ref()).map_err(|why| talk.broken(why))?;
    Ok(welcome)
}

/// Whether another key may be taken for the server's: the one that is known vouches for it, since
/// it secures the connection, and so does the other one, by its signature.
fn check_successor(binding: &Binding, told: Option<&Successor>) -> Result<(), Violation> {
    let Some(Successor { key, scheme, signature, .. }) = told else { return Ok(()) };
    if binding.channel == Channel::Plaintext {
        return Err(Violation { what: "another key, told in plaintext" });
    }
    match is_signed(key, *scheme, signature, &binding.successor_message()) {
        true => Ok(()),
        false => Err(Violation { what: "another key that is not the server's" }),
    }
}

/// Server: says that a key will take the place of the one that secures this connection.
///
/// # Errors
/// `Other`: the key cannot be used.
pub fn successor(claim: &HelloClaim, by: &Signer, until: Timestamp) -> Result<Successor, Fault> {
    Ok(Successor {
        key: by.key().to_vec(),
        scheme: by.scheme(),
        signature: by.sign_message(&claim.binding().successor_message())?,
        until: u64::try_from(until.secs()).unwrap_or_default(),
    })
}

/// Client: joins a session with one more connection.
///
/// # Errors
/// As `hello`; `Elsewhere` where the process at the other end does not hold the session.
pub async fn join(
    link: &mut Secured,
    session: [u8; 16],
    secret: &[u8; 32],
    limits: &Limits,
    deadline: Instant,
) -> Result<(), NotIn> {
    let mut talk = Talk::new(link, limits, deadline, "the server");
    let greeter = greeter(&mut talk).await?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut mac = [0; 32];
    mac.copy_from_slice(hmac::sign(&key, &greeter.binding().join_message()).as_ref());
    let (frame, await_joined) = greeter.join(session, mac);
    talk.send(&frame).await?;
    let frame = talk.receive().await?;
    next(await_joined.handle(frame).map_err(|violation| talk.broken(violation))?)
}

async fn greeter(talk: &mut Talk<'_>) -> Result<Greeter, NotIn> {
    if let Some(exporter) = talk.exporter()? {
        return Ok(Dialled::new().secured(exporter));
    }
    let frame = talk.receive_challenge().await?;
    next(Dialled::new().challenged(frame).map_err(|violation| talk.broken(violation))?)
}

fn next<T>(answer: Answer<T>) -> Result<T, NotIn> {
    match answer {
        Answer::Next(next) => Ok(next),
        Answer::Busy(after) => Err(NotIn::Busy(after)),
        Answer::Closed(Some(fault)) => Err(NotIn::Fault(fault)),
        Answer::Closed(None) => {
            Err(NotIn::Fault(Fault::new(Code::ConnectionLost, "the server closed the greeting")))
        }
    }
}

/// What a client asks with its first frame; nobody has checked it yet.
#[derive(Debug)]
pub enum Greeted {
    /// A session: see `check_hello`, then `HelloClaim::admit` and `send`, or `refuse`.
    Hello(HelloClaim),
    /// To join one: see `check_join`, then `JoinClaim::admit` and `send`, or `refuse`.
    Join(JoinClaim),
    /// Nothing: it said CLOSE.
    Left,
}

/// Server: challenges (on plaintext) and hears the first frame.
///
/// # Errors
/// `ProtocolMismatch` for a peer that speaks something else, `Violation`, `TimedOut`,
/// `ConnectionLost`. What can be said to the peer has been said; drop the connection.
pub async fn receive(
    link: &mut Secured,
    limits: &Limits,
    deadline: Instant,
) -> Result<Greeted, Fault> {
    let mut talk = Talk::new(link, limits, deadline, "the client");
    let await_first = match talk.exporter()? {
        Some(exporter) => Accepted::new().secured(exporter),
        None => {
            let (frame, await_first) = Accepted::new().challenge(crate::state::random()?);
            talk.send(&frame).await?;
            await_first
        }
    };
    let heard = match talk.receive().await {
        Ok(frame) => await_first.handle(frame).map_err(|violation| talk.broken(violation)),
        Err(fault) => Err(fault),
    };
    match heard {
        Ok(ClientGreeting::Hello(claim)) => Ok(Greeted::Hello(claim)),
        Ok(ClientGreeting::Join(claim)) => Ok(Greeted::Join(claim)),
        Ok(ClientGreeting::Closed(_)) => Ok(Greeted::Left),
        Err(fault) => {
            if matches!(fault.code, Code::ProtocolMismatch | Code::Violation) {
                let told = Fault::new(fault.code, "");
                refuse(link, Refusal::Close(told), limits, deadline).await;
            }
            Err(fault)
        }
    }
}

/// Server: who a HELLO is from, and what that one may.
///
/// Anonymous clients are told as such; whether they are served is the caller's matter. `shown` is
/// the key that the client has on this connection. Waits for nothing: `TicketStore::refresh` is
/// done before, elsewhere.
///
/// # Errors
/// As `TicketStore::verify`; `ClientKeyNeeded`: the ticket is bound to another key.
pub fn check_hello(
    claim: &HelloClaim,
    tickets: &TicketStore,
    root: RootId,
    shown: Option<KeyPin>,
    now: SystemTime,
) -> Result<Admission, Fault> {
    let Some(proof) = &claim.hello().proof else { return Ok(Admission::Anonymous) };
    let grant = tickets.verify(proof, &claim.binding().hello_message(), root, now)?;
    // Behind the proof: to whom does not know the secret a bound ticket is as unknown as any.
    grant.bounds.check_client(shown, "log in")?;
    Ok(Admission::Ticket(grant))
}

/// Server: whether a JOIN is by somebody who holds the session's secret. `lead` is what the
/// session's first stream runs over. Compares in constant time.
///
/// # Errors
/// `TicketUnknown`: the proof is wrong; `NotAllowed`: it comes over another kind of channel.
pub fn check_join(claim: &JoinClaim, secret: &[u8; 32], lead: Channel) -> Result<(), Fault> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, &claim.binding().join_message(), &claim.join().mac)
        .map_err(|_| Fault::new(Code::TicketUnknown, "join the session: the proof is wrong"))?;
    if claim.binding().channel != lead {
        let detail = "join the session: it runs over another kind of connection";
        return Err(Fault::new(Code::NotAllowed, detail));
    }
    Ok(())
}

/// Server: says WELCOME or JOINED, all of it.
///
/// # Errors
/// `TimedOut`, `ConnectionLost`.
pub async fn send(
    link: &mut Secured,
    frame: &Frame<()>,
    limits: &Limits,
    deadline: Instant,
) -> Result<(), Fault> {
    Talk::new(link, limits, deadline, "the client").send(frame).await
}

/// Server: says BUSY or CLOSE, ends its half and waits, briefly, for the peer to have heard it.
/// Nothing is reported: a peer that is not let in loses nothing by not hearing why.
pub async fn refuse(link: &mut Secured, why: Refusal, limits: &Limits, deadline: Instant) {
    let frame = match why {
        Refusal::Busy(after) => Frame::Busy(after),
        Refusal::Close(fault) => Frame::Close(Some(fault)),
    };
    Talk::new(link, limits, deadline, "the client").part(&frame).await;
}

#[cfg(test)]
mod tests;
