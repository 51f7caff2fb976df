//! Whether a commit is wanted yet, asked before each thing that can be seen.
//!
//! What was stuck at a disk may come behind what the next session of a command has committed, of
//! another version: whose peer is gone gives its entries up. A stage stays, and goes on.

use crate::api::Wanted;
use crate::disk::{DiskError, DiskResult};
use floe_types::Code;

/// # Errors
/// `Interrupted`: nobody wants it any more.
pub(super) fn still(wanted: Wanted<'_>) -> DiskResult<()> {
    if wanted() { Ok(()) } else { Err(DiskError::new(Code::Interrupted)) }
}
