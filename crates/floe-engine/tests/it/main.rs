//! The engine through its door: real sockets on the loopback interface, real directories.

mod raw; // the article's own wire
