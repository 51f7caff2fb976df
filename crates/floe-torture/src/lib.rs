//! Torture: the real floe on a real disk, broken at random, and held against the crash contract.
//!
//! Knows the program under test by its command line only: starts servers and clients, puts a
//! network of its own between them, kills, stops and cuts, and looks at final names all the time.
//! What a round does is a function of a seed; when exactly it happens is up to the machine. A
//! module imports only modules listed above it.

mod dice; // numbers of a seed
mod breach; // a promise that did not hold
mod case; // what the parts of a round share
mod content; // bytes and their roots
mod entry; // what stands at a name
mod names; // names that are hard to get right
mod tree; // files and trees on disk
mod place; // a final name, looked at all the time
mod room; // a disk that can be filled
mod process; // one child
mod proxy; // the network between
mod server; // floe serve, again and again
mod client; // one run of a command
mod plan; // what a round will do
mod source; // what is sent, and changed meanwhile
mod task; // one command
mod judge; // what the end of a run says
mod drive; // its runs until it is done
mod trouble; // what goes wrong meanwhile
mod round; // one round
mod run; // many rounds

pub use breach::{Breach, Promise};
pub use case::Account;
pub use run::{Findings, Options, Skipped, Torture};
