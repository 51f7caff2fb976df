//! floe's engine: lanes, sockets, TLS, disk threads and buffers around the pure core and the store.
//!
//! A module imports only modules listed above it.
