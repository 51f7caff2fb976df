//! floe-proto through its door.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod codec;
mod codec_frames; // any frame, as strategies
mod codec_greeting;
mod golden;
mod golden_asked;
mod golden_text; // PROTOCOL.md against the code
mod disk; // a disk for the core alone
mod world; // two cores in virtual time
mod hand; // one end, driven by hand
mod chunks; // what is verified is never written over
mod reach; // where chunks may be
mod answers; // verdicts, refusals, and frames that contradict each other
mod endings; // entries that fail, are replaced, or are stopped
mod bounds; // what a peer can cause is bounded
mod memory; // and what it can have a session remember
mod holes;
mod packed; // pieces that travel packed
mod liars; // peers that lie about what they were told
mod stray; // frames about what never was
mod causes; // where the time goes
mod stalls; // nobody has anything left to do
mod transfers;
mod yields; // transfers that give way
mod receipts; // what a server signs
mod unasked; // a small get before WANT
mod probes; // bytes that are nobody's
mod matrix;
