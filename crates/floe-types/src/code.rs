//! Error codes: one table for the wire, the exit status, the words and the hint.
//!
//! Code never branches on text; a layer converts its own failure to a `Fault` in its own file.

use alloc::string::String;
use core::fmt;

/// Who can mend it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Blame {
    /// What the person asked.
    User,
    /// This machine: its disk, its memory, its limits.
    Local,
    /// What lies between, or around: the network, the clock.
    Environment,
    /// The other end broke the protocol.
    Peer,
}

macro_rules! codes {
    ($($(#[$doc:meta])*
        $name:ident = $wire:literal, exit $exit:literal, $blame:ident, $text:literal,
            $hint:literal;)*) => {
        /// What went wrong; the number is the one on the wire (PROTOCOL.md, error codes).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, ascending by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Whether the network or the server's state is to blame, and another session may do
            /// better.
            #[must_use]
            pub const fn is_lost(self) -> bool {
                matches!(
                    self,
                    Self::ConnectionLost
                        | Self::TimedOut
                        | Self::Unreachable
                        | Self::Busy
                        | Self::ShuttingDown
                        | Self::Elsewhere
                        | Self::TicketChanged
                )
            }

            /// The number on the wire.
            #[must_use]
            pub const fn wire(self) -> u16 {
                match self { $(Self::$name => $wire,)* }
            }

            /// The code of a number on the wire; a number from a later version reads as `Other`.
            #[must_use]
            pub const fn from_wire(number: u16) -> Self {
                match number { $($wire => Self::$name,)* _ => Self::Other }
            }

            /// The exit status of a command that ends with it (README.md).
            #[must_use]
            pub const fn exit_status(self) -> u8 {
                match self { $(Self::$name => $exit,)* }
            }

            /// Who can mend it.
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self { $(Self::$name => Blame::$blame,)* }
            }

            /// A few words, lower case.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What to do about it; empty where nothing general can be said.
            #[must_use]
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)* }
            }
        }
    };
}

codes! {
    /// Nothing more exact is known.
    Other = 0, exit 1, Environment, "failed", "";
    /// The command line or a request makes no sense.
    Usage = 1, exit 2, User, "not a valid request", "see --help";
    /// A name that no path may have.
    BadPath = 2, exit 2, User, "not a valid name",
        "names are 1 to 255 bytes, without '/' or NUL, and not '.', '..' or '.floe'";
    /// Nothing stands there.
    NotFound = 3, exit 3, User, "not found", "check the name; floe ls shows what a server has";
    /// The file system refuses.
    PermissionDenied = 4, exit 4, User, "permission denied",
        "the user that runs floe there needs access to it";
    /// The ticket does not allow it, or there is none.
    NotAllowed = 5, exit 4, User, "not allowed",
        "it takes a ticket that allows it: floe ticket create on the server makes one, floe login \
        uses it";
    /// No such ticket, or not its secret.
    TicketUnknown = 6, exit 4, User, "the ticket is not known here",
        "floe login again with a ticket of this server";
    /// The ticket's time is over.
    TicketExpired = 7, exit 4, User, "the ticket has expired",
        "ask for a new one (floe ticket create)";
    /// The server's key is not the pinned one.
    ServerKeyMismatch = 8, exit 4, Peer, "the server's key is not the one expected",
        "either this is another server, or its key was replaced: ask its operator whether that is \
        its key (floe key show there), then log in again with a ticket made now (floe ticket \
        create)";
    /// The file system is mounted read-only, or the server serves read-only.
    ReadOnly = 9, exit 4, User, "read-only",
        "its disk is mounted read-only, or floe serve runs with --read-only: write to another \
        place";
    /// A directory where a file must be.
    IsDirectory = 10, exit 1, User, "is a directory",
        "choose another name, or one inside it";
    /// A file where a directory must be.
    NotDirectory = 11, exit 1, User, "is not a directory",
        "nothing is removed to make room: move it away first";
    /// Not a file, directory or link.
    NotRegular = 12, exit 1, User, "is not a regular file",
        "devices, sockets and FIFOs are not transferred; use '-' with a pipe";
    /// A directory with something in it.
    NotEmpty = 13, exit 1, User, "the directory is not empty",
        "remove what is in it first, and let nothing write there meanwhile";
    /// The ticket was taken back while a session ran.
    TicketRevoked = 14, exit 4, User, "the ticket was revoked",
        "ask for a new one (floe ticket create)";
    /// What the ticket allows was changed while a session ran: another begins under what it is now.
    TicketChanged = 15, exit 4, User, "what the ticket allows was changed",
        "run the same command again: it continues with what is allowed now";
    /// The ticket is good only on connections of the client whose key it names.
    ClientKeyNeeded = 16, exit 4, User, "the ticket needs its client's key",
        "use it where that key is, with --own-key ('floe key show --client' shows it there); on \
        the server, floe ticket set --client-key binds it to another";
    /// The server's operator ended it (floe status end).
    Ended = 17, exit 4, User, "ended by the server's operator",
        "ask them; the same command continues";
    /// A digest did not agree after every retry.
    Integrity = 20, exit 5, Environment, "the bytes do not match their digest",
        "run the same command again; if it stays, check memory, disk and network hardware";
    /// No connection could be made.
    Unreachable = 30, exit 6, Environment, "cannot reach the server",
        "check address and port, and that floe serve runs there";
    /// The connection ended before the end.
    ConnectionLost = 31, exit 6, Environment, "the connection was lost",
        "run the same command again: it continues";
    /// Nothing was heard for too long.
    TimedOut = 32, exit 6, Environment, "the other side does not answer",
        "run the same command again: it continues";
    /// The other end does not speak this protocol or version.
    ProtocolMismatch = 33, exit 6, Peer, "the other side does not speak floe/1",
        "check the port, and that both ends run a matching floe";
    /// The other end broke the protocol.
    Violation = 34, exit 6, Peer, "the other side broke the protocol",
        "report it with the output of -v";
    /// TLS failed.
    Tls = 35, exit 6, Peer, "no secure connection",
        "check that both ends use TLS, or both --plaintext";
    /// No room for another client now.
    Busy = 36, exit 6, Environment, "the server is busy", "try again later";
    /// The server is ending.
    ShuttingDown = 37, exit 6, Environment, "the server is shutting down",
        "run the same command again when it is back: it continues";
    /// Another process holds the session.
    Elsewhere = 38, exit 6, Environment, "the session is not here",
        "run the same command again: it continues";
    /// Another run of the same command took the transfer over.
    TakenOver = 39, exit 6, User, "another run of the same command took over",
        "let the newer one finish";
    /// The file system is full.
    NoSpace = 40, exit 7, Local, "no space left",
        "free some space (beyond what --keep-free of a server keeps) and run the same command \
        again: it continues";
    /// A quota is used up.
    Quota = 41, exit 7, Local, "quota exceeded",
        "on the server, floe ticket set --quota raises a ticket's; on a file system that has one, \
        free some space; then run the same command again: it continues";
    /// The source changed while it was read.
    SourceChanged = 50, exit 8, User, "the source changed while it was sent",
        "run the same command again when nothing writes to it";
    /// A retransmission needs bytes that cannot be read again.
    SourceGone = 51, exit 8, User, "the source cannot be read again", "run the same command again";
    /// Something stands there and may not be replaced.
    Exists = 60, exit 9, User, "exists already", "use another name, or leave --no-clobber out";
    /// A second identical command runs.
    AlreadyRunning = 61, exit 9, User, "already running", "let the first one finish, or stop it";
    /// What stood there already was changed in place, or removed, while it was to be kept.
    Conflict = 62, exit 9, User, "something else changed it meanwhile",
        "run the same command again when nothing else writes there";
    /// Some entries failed, the rest are committed.
    Partial = 70, exit 10, User, "some entries failed",
        "each has its line above; run the same command again for the rest";
    /// The name is too long for the file system.
    NameTooLong = 71, exit 1, User, "the name is too long", "shorten it";
    /// Too many files open, too many entries, a limit of this build.
    LimitExceeded = 72, exit 1, Local, "a limit was exceeded", "";
    /// The device failed.
    Io = 73, exit 1, Local, "input/output error",
        "check the disk (dmesg), then run the same command again";
    /// The system does not offer what is needed.
    Unsupported = 74, exit 1, Local, "not supported here", "";
    /// The state directory cannot be used.
    State = 75, exit 1, Local, "the state directory cannot be used",
        "set --state DIR or FLOE_STATE to a directory of your own";
    /// The address is in use.
    AddressInUse = 76, exit 1, Local, "the address is in use",
        "stop what listens there, or choose another --listen";
    /// The person stopped it.
    Interrupted = 130, exit 130, User, "interrupted", "run the same command again: it continues";
}

/// A failure as it crosses layers and the wire: the code, and one line that says what happened to
/// what.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// What kind.
    pub code: Code,
    /// Operation and thing, lower case, no full stop; already escaped.
    pub detail: String,
}

impl Fault {
    /// A fault with its line.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The longest line that the wire carries, in bytes.
    pub const DETAIL_BYTES_MAX: usize = 512;

    /// As it is said, and kept to be said again: its line is no longer than the wire carries, and
    /// takes no memory beyond that. A path as it is shown may take six times its bytes.
    #[must_use]
    pub fn told(mut self) -> Self {
        if self.detail.len() > Self::DETAIL_BYTES_MAX {
            let fits = |end: &usize| self.detail.is_char_boundary(*end);
            let end = (0..=Self::DETAIL_BYTES_MAX).rev().find(fits).unwrap_or(0);
            self.detail = String::from(&self.detail[..end]);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            f.write_str(self.code.text())
        } else {
            write!(f, "{}: {}", self.detail, self.code.text())
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::{Code, Fault};

    #[test]
    fn numbers_are_unique_ascending_and_read_back() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].wire() < pair[1].wire()));
        for code in Code::ALL {
            assert_eq!(Code::from_wire(code.wire()), *code);
            assert!(code.exit_status() != 0);
        }
        assert_eq!(Code::from_wire(60_000), Code::Other);
    }

    #[test]
    fn what_is_told_is_cut_between_characters_and_keeps_no_more() {
        let short = Fault::new(Code::Io, "x".repeat(512));
        assert_eq!(short.clone().told(), short);
        let long = Fault::new(Code::Io, alloc::format!("x{}", "\u{e4}".repeat(400))).told();
        assert_eq!((long.detail.len(), long.detail.capacity()), (511, 511));
    }
}
