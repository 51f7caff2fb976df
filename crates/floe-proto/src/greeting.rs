//! The greeting: from a new connection to a session, as steps that are consumed by value.
//!
//! Pure like the rest: what must be signed or MACed goes out as bytes, signatures and verdicts come
//! in. A step that is gone cannot be repeated, so no connection is let in twice. See PROTOCOL.md,
//! trust and greeting.
//!
//! ```text
//!  client: Dialled --CHALLENGE (plaintext only)--> Greeter --HELLO--> AwaitWelcome --> Session
//!                                                         --JOIN---> AwaitJoined  --> stream up
//!  server: Accepted --CHALLENGE (plaintext only)--> AwaitFirst --> HelloClaim --> WELCOME
//!                                                              --> JoinClaim  --> JOINED
//! ```

use crate::command::{Holes, Violation};
use crate::frame::{Frame, Hello, Join, Packing, TicketProof, Welcome};
use alloc::string::String;
use alloc::vec::Vec;
use floe_types::{Fault, Micros};

/// What a connection runs over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Channel {
    /// TLS 1.3.
    Tls,
    /// Bare TCP, because both ends asked for it.
    Plaintext,
}

/// The ALPN protocol name, and the channel name of TLS.
pub const ALPN: &[u8] = b"floe/1";
/// The label of the TLS exporter; its context is empty and its length 32 bytes.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-floe/1";
/// The TCP port.
pub const PORT: u16 = 3563;

impl Channel {
    /// Its name in signed messages. The names differ, so an answer to a plaintext challenge that
    /// an attacker chose is worth nothing on a TLS connection.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Tls => ALPN,
            Self::Plaintext => b"floe/1 plaintext",
        }
    }
}

/// What binds an answer to one connection: the TLS exporter, or the plaintext challenge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    /// What it runs over.
    pub channel: Channel,
    /// 32 bytes that both ends know and no other connection has.
    pub exporter: [u8; 32],
}

impl Binding {
    /// What the ticket's key signs for HELLO.
    #[must_use]
    pub fn hello_message(&self) -> Vec<u8> {
        self.message(b"floe/1 hello")
    }

    /// What the session's secret authenticates for JOIN.
    #[must_use]
    pub fn join_message(&self) -> Vec<u8> {
        self.message(b"floe/1 join")
    }

    /// What the key that takes the place of the server's signs for WELCOME.
    #[must_use]
    pub fn successor_message(&self) -> Vec<u8> {
        self.message(b"floe/1 successor")
    }

    fn message(&self, purpose: &[u8]) -> Vec<u8> {
        [purpose, &[0], self.channel.name(), &self.exporter].concat()
    }
}

/// A client's connection before anything is heard or said.
#[must_use]
#[derive(Debug)]
pub struct Dialled(());

impl Dialled {
    /// A new connection.
    pub const fn new() -> Self {
        Self(())
    }

    /// With TLS: nothing needs to be heard.
    pub const fn secured(self, exporter: [u8; 32]) -> Greeter {
        Greeter { binding: Binding { channel: Channel::Tls, exporter } }
    }

    /// In plaintext: the server speaks first.
    ///
    /// # Errors
    /// A frame that may not stand here.
    pub fn challenged<P>(self, frame: Frame<P>) -> Result<Answer<Greeter>, Violation> {
        let channel = Channel::Plaintext;
        answer(frame, |frame| match frame {
            Frame::Challenge(exporter) => Some(Greeter { binding: Binding { channel, exporter } }),
            _ => None,
        })
    }
}

impl Default for Dialled {
    fn default() -> Self {
        Self::new()
    }
}

/// What a client is answered at a step.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer<T> {
    /// On to the next step.
    Next(T),
    /// Come back after so long.
    Busy(Micros),
    /// The server ends the connection.
    Closed(Option<Fault>),
}

fn answer<P, T>(
    frame: Frame<P>,
    next: impl FnOnce(Frame<P>) -> Option<T>,
) -> Result<Answer<T>, Violation> {
    match frame {
        Frame::Busy(after) => Ok(Answer::Busy(after)),
        Frame::Close(fault) => Ok(Answer::Closed(fault)),
        other => next(other)
            .map(Answer::Next)
            .ok_or(Violation { what: "a frame that does not belong to this step of the greeting" }),
    }
}

/// A client that may speak.
#[must_use]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Greeter {
    binding: Binding,
}

impl Greeter {
    /// What is to be signed or MACed.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// Begins a session: send the frame.
    pub fn hello<P>(
        self,
        client: [u8; 16],
        proof: Option<TicketProof>,
        agent: String,
    ) -> (Frame<P>, AwaitWelcome) {
        let abilities = Holes::ABILITY | Packing::ABILITIES;
        (Frame::Hello(Hello { abilities, client, proof, agent }), AwaitWelcome(()))
    }

    /// Joins a session: send the frame.
    pub fn join<P>(self, session: [u8; 16], mac: [u8; 32]) -> (Frame<P>, AwaitJoined) {
        (Frame::Join(Join { session, mac }), AwaitJoined(()))
    }
}

/// A client that said HELLO.
#[must_use]
#[derive(Debug)]
pub struct AwaitWelcome(());

impl AwaitWelcome {
    /// Takes the server's next frame.
    ///
    /// # Errors
    /// A frame that may not stand here.
    pub fn handle<P>(self, frame: Frame<P>) -> Result<Answer<Welcome>, Violation> {
        answer(frame, |frame| match frame {
            Frame::Welcome(welcome) => Some(welcome),
            _ => None,
        })
    }
}

/// A client that said JOIN.
#[must_use]
#[derive(Debug)]
pub struct AwaitJoined(());

impl AwaitJoined {
    /// Takes the server's next frame.
    ///
    /// # Errors
    /// A frame that may not stand here.
    pub fn handle<P>(self, frame: Frame<P>) -> Result<Answer<()>, Violation> {
        answer(frame, |frame| match frame {
            Frame::Joined => Some(()),
            _ => None,
        })
    }
}

/// A server's connection before anything is heard or said.
#[must_use]
#[derive(Debug)]
pub struct Accepted(());

impl Accepted {
    /// A new connection.
    pub const fn new() -> Self {
        Self(())
    }

    /// With TLS: nothing needs to be said.
    pub const fn secured(self, exporter: [u8; 32]) -> AwaitFirst {
        AwaitFirst { binding: Binding { channel: Channel::Tls, exporter } }
    }

    /// In plaintext: send the frame; `random` are 32 fresh random bytes.
    pub const fn challenge<P>(self, random: [u8; 32]) -> (Frame<P>, AwaitFirst) {
        let binding = Binding { channel: Channel::Plaintext, exporter: random };
        (Frame::Challenge(random), AwaitFirst { binding })
    }
}

impl Default for Accepted {
    fn default() -> Self {
        Self::new()
    }
}

/// A server that waits for a client's first frame.
#[must_use]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AwaitFirst {
    binding: Binding,
}

/// What a client asks with its first frame.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ClientGreeting {
    /// A session.
    Hello(HelloClaim),
    /// To join one.
    Join(JoinClaim),
    /// Nothing: it leaves.
    Closed(Option<Fault>),
}

impl AwaitFirst {
    /// Takes the client's first frame.
    ///
    /// # Errors
    /// A frame that may not stand here.
    pub fn handle<P>(self, frame: Frame<P>) -> Result<ClientGreeting, Violation> {
        let binding = self.binding;
        match frame {
            Frame::Hello(hello) => Ok(ClientGreeting::Hello(HelloClaim { hello, binding })),
            Frame::Join(join) => Ok(ClientGreeting::Join(JoinClaim { join, binding })),
            Frame::Close(fault) => Ok(ClientGreeting::Closed(fault)),
            _ => Err(Violation { what: "a first frame that is neither HELLO nor JOIN" }),
        }
    }
}

/// A HELLO that nobody has checked yet.
#[must_use]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HelloClaim {
    hello: Hello,
    binding: Binding,
}

impl HelloClaim {
    /// What the client says.
    #[must_use]
    pub const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The connection it says it on. Its `hello_message` is what the proof must sign.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The proof holds (or anonymous clients are served): the session begins.
    pub fn admit<P>(self, welcome: Welcome) -> (Frame<P>, Hello) {
        (Frame::Welcome(welcome), self.hello)
    }

    /// It does not hold.
    #[must_use]
    pub fn refuse<P>(self, why: Refusal) -> Frame<P> {
        why.frame()
    }
}

/// A JOIN that nobody has checked yet.
#[must_use]
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct JoinClaim {
    join: Join,
    binding: Binding,
}

impl JoinClaim {
    /// What the client says.
    #[must_use]
    pub const fn join(&self) -> &Join {
        &self.join
    }

    /// The connection it says it on. Its `join_message` is what the MAC must be over.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The MAC holds: the stream is up.
    #[must_use]
    pub fn admit<P>(self) -> Frame<P> {
        Frame::Joined
    }

    /// It does not hold, or the session is not here.
    #[must_use]
    pub fn refuse<P>(self, why: Refusal) -> Frame<P> {
        why.frame()
    }
}

/// Why a client is not let in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Not now: come back after so long.
    Busy(Micros),
    /// Not at all.
    Close(Fault),
}

impl Refusal {
    fn frame<P>(self) -> Frame<P> {
        match self {
            Self::Busy(after) => Frame::Busy(after),
            Self::Close(fault) => Frame::Close(Some(fault)),
        }
    }
}
