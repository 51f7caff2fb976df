//! floe's engine: lanes, sockets, TLS, disk threads and buffers around the pure core and the store.
//!
//! A module imports only modules listed above it.

pub mod clock; // monotonic time as the core counts it
pub mod buffer; // pooled buffers of pieces
pub mod socket; // the one place that makes and configures sockets
pub mod state; // the state directory: private files, client id, locks
pub mod identity; // a server's key and certificate, and the pin clients know it by
pub mod ticket; // tickets: the client's secret, the server's list of public halves
pub mod secure; // TLS 1.3 or plaintext as a byte transport that never waits
pub mod greeting; // HELLO and JOIN, said, heard and checked
pub mod disk_threads; // threads that may block, so that no lane does
pub mod lane; // OS threads that serve streams
pub mod pipe; // standard input as a source, standard output as a sink
pub mod files; // what a session has open; disk operations as calls of the store
pub mod port; // which thread runs an operation, and how its end comes back
pub mod raw; // the article's own wire, beside floe/1
