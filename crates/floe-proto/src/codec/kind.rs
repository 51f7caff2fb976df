//! The kinds of frames: their numbers on the wire, their group, and the flag bits each may carry.
//!
//! Not here: what a frame holds (`crate::frame`), nor when it may come (the session's matter). A
//! number never changes its meaning within floe/1 (PROTOCOL.md, frame head).

use crate::frame::Frame;

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Layout {
    /// Fixed fields, big-endian.
    Hot,
    /// One CBOR map.
    Cold,
}

macro_rules! kinds {
    ($($name:ident = $wire:literal, $layout:ident, flags $flags:literal, $text:literal;)*) => {
        /// The kind of a frame that floe/1 defines.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind { $(#[doc = $text] $name,)* }

        impl Kind {
            /// Every kind, ascending by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn wire(self) -> u8 {
                match self { $(Self::$name => $wire,)* }
            }

            /// The kind of a number on the wire, if floe/1 defines it.
            #[must_use]
            pub const fn from_wire(number: u8) -> Option<Self> {
                match number { $($wire => Some(Self::$name),)* _ => None }
            }

            /// How its body is written.
            #[must_use]
            pub const fn layout(self) -> Layout {
                match self { $(Self::$name => Layout::$layout,)* }
            }

            /// The flag bits it may carry; any other one is a violation.
            #[must_use]
            pub const fn flags(self) -> u8 {
                match self { $(Self::$name => $flags,)* }
            }

            /// Its name in PROTOCOL.md.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    Challenge = 0x01, Hot, flags 0, "CHALLENGE";
    Hello = 0x02, Cold, flags 0, "HELLO";
    Welcome = 0x03, Cold, flags 0, "WELCOME";
    Join = 0x04, Cold, flags 0, "JOIN";
    Joined = 0x05, Hot, flags 0, "JOINED";
    Busy = 0x06, Cold, flags 0, "BUSY";
    Close = 0x07, Cold, flags 0, "CLOSE";
    Ping = 0x08, Hot, flags 0, "PING";
    Pong = 0x09, Hot, flags 0, "PONG";
    Open = 0x10, Cold, flags 0, "OPEN";
    Opened = 0x11, Cold, flags 0, "OPENED";
    Entries = 0x12, Cold, flags 0, "ENTRIES";
    Want = 0x13, Cold, flags 0, "WANT";
    Drop = 0x14, Cold, flags 0, "DROP";
    Header = 0x15, Hot, flags 0x1f, "HEADER";
    Verdict = 0x16, Hot, flags 0, "VERDICT";
    Data = 0x17, Hot, flags 0, "DATA";
    Seal = 0x18, Hot, flags 0x08, "SEAL";
    Stored = 0x19, Hot, flags 0x01, "STORED";
    Corrupt = 0x1a, Hot, flags 0, "CORRUPT";
    Done = 0x1b, Cold, flags 0, "DONE";
    Committed = 0x1c, Cold, flags 0, "COMMITTED";
    Failed = 0x1d, Cold, flags 0, "FAILED";
    Complete = 0x1e, Cold, flags 0, "COMPLETE";
    Completed = 0x1f, Cold, flags 0, "COMPLETED";
    Cancel = 0x20, Cold, flags 0, "CANCEL";
    Receipt = 0x21, Cold, flags 0, "RECEIPT";
    Packed = 0x22, Hot, flags 0, "PACKED";
    PackedEntries = 0x23, Hot, flags 0, "PACKED_ENTRIES";
    Request = 0x30, Cold, flags 0, "REQUEST";
    Reply = 0x31, Cold, flags 0, "REPLY";
    Stats = 0x32, Cold, flags 0, "STATS";
}

/// The first number whose frames are skipped where they are unknown; below it they are a violation.
pub(super) const SKIPPABLE_FROM: u8 = 0x80;

/// HEADER: the sender waits for a VERDICT.
pub(super) const HEADER_AWAITS: u8 = 0x01;
/// HEADER: the length is there.
pub(super) const HEADER_LEN: u8 = 0x02;
/// HEADER: the chaining value is there.
pub(super) const HEADER_DIGEST: u8 = 0x04;
/// HEADER, SEAL: the root value is there.
pub(super) const WITH_ROOT: u8 = 0x08;
/// HEADER: the chunk is a hole.
pub(super) const HEADER_HOLE: u8 = 0x10;
/// STORED: the chunks survive a power loss.
pub(super) const STORED_DURABLE: u8 = 0x01;

impl Kind {
    /// Whether it may come before the greeting is over.
    #[must_use]
    pub const fn is_greeting(self) -> bool {
        self.wire() <= Self::Close.wire()
    }

    /// The kind of a frame.
    #[must_use]
    pub const fn of<P>(frame: &Frame<P>) -> Self {
        match frame {
            Frame::Challenge(_) => Self::Challenge,
            Frame::Hello(_) => Self::Hello,
            Frame::Welcome(_) => Self::Welcome,
            Frame::Join(_) => Self::Join,
            Frame::Joined => Self::Joined,
            Frame::Busy(_) => Self::Busy,
            Frame::Close(_) => Self::Close,
            Frame::Ping(_) => Self::Ping,
            Frame::Pong(_) => Self::Pong,
            Frame::Open(_) => Self::Open,
            Frame::Opened(_) => Self::Opened,
            Frame::Entries(..) => Self::Entries,
            Frame::Want(_) => Self::Want,
            Frame::Drop(..) => Self::Drop,
            Frame::Header(_) => Self::Header,
            Frame::Verdict(..) => Self::Verdict,
            Frame::Data(_) => Self::Data,
            Frame::Seal(_) => Self::Seal,
            Frame::Stored(..) => Self::Stored,
            Frame::Corrupt(_) => Self::Corrupt,
            Frame::Done(..) => Self::Done,
            Frame::Receipt(..) => Self::Receipt,
            Frame::Committed(..) => Self::Committed,
            Frame::Failed(_) => Self::Failed,
            Frame::Complete(..) => Self::Complete,
            Frame::Completed(_) => Self::Completed,
            Frame::Cancel(..) => Self::Cancel,
            Frame::Request(..) => Self::Request,
            Frame::Reply(..) => Self::Reply,
            Frame::Stats(_) => Self::Stats,
        }
    }
}
