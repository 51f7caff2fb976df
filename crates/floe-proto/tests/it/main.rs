//! floe-proto through its door.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod codec;
mod codec_frames; // any frame, as strategies
mod golden;
mod golden_text; // PROTOCOL.md against the code
