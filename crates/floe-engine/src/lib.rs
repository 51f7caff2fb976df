//! floe's engine: lanes, sockets, TLS, disk threads and buffers around the pure core and the store.
//!
//! A module imports only modules listed above it.

pub mod clock; // monotonic time as the core counts it
pub mod speed; // how fast this machine is, stage by stage
pub mod customer; // whom work is done for
pub mod descriptors; // how many there are, and what open files take of them
pub mod buffer; // pooled buffers of pieces
pub mod pack; // pieces packed and unpacked
pub mod socket; // the one place that makes and configures sockets
pub mod small_file; // files that an operator names
pub mod state; // the state directory: private files, client id, locks
pub mod identity; // a server's key and certificate, and the pin clients know it by
pub mod receipt; // what a server signs of objects, and who keeps and checks it
pub mod grant; // what a ticket allows, and the store behind it
pub mod ticket; // tickets: the client's secret, the server's list of public halves
pub mod secure; // TLS 1.3 or plaintext as a byte transport that never waits
pub mod hosts; // the servers a person has logged in to
pub mod greeting; // HELLO and JOIN, said, heard and checked
pub mod disk_threads; // threads that may block, so that no lane does
pub mod lane; // OS threads that serve streams
pub mod audit; // who moved what, in a chain of lines
pub mod pipe; // standard input as a source, standard output as a sink
pub mod rules; // a server's bounds, which can be changed
pub mod files; // what a session has open; disk operations as calls of the store
pub mod line; // a stream's reads and writes: hashed and given back in order
pub mod port; // which thread runs an operation, and how its end comes back
pub mod running; // a session that runs: rounds, wakes, timers
pub mod stream; // a stream's loop
pub mod registry; // a server's sessions, and who owns which stage
pub mod control; // what an operator asks a server that runs
pub mod server; // the server API: accept, greet, serve, drain
pub mod client; // the client API: connect, put, get, ask, come back
pub mod raw; // the article's own wire, beside floe/1

/// Name and version, as told to peers.
const AGENT: &str = concat!("floe/", env!("CARGO_PKG_VERSION"));
