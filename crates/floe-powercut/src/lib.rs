//! Power cuts under the real binary.
//!
//! A file system in memory knows two forms of its tree: what is seen now, and what is durable. What
//! lies between, unsynced, survives a cut or does not, by a seed. It is mounted through FUSE; the
//! real `floe serve`, `floe put` and `floe get` run on it, are cut, and must keep the crash
//! contract on what remains. docs/crash-contract.md says what that shows and what it cannot.

pub mod dice; // one seed, many draws
pub mod file; // bytes and attributes of one inode: seen, durable, and effects between the two
pub mod tree; // inodes and names, the calls that change them, and the cut
pub mod mounted; // the tree behind a mount point of this machine
pub mod content; // what files hold, told by a number
pub mod program; // the real binary, run
pub mod staged; // what the journals on the mount say is checkpointed
pub mod round; // one story: a transfer, its cuts, the look at what remains
