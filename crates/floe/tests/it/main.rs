//! The binary through its door: spawned, spoken to over loopback, judged by what it prints, how it
//! exits and what lies on disk.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod stage; // directories, servers and clients of one test
mod link; // a path that is slow, or counts
mod transfer; // put and get
mod tree; // directories
mod sparse; // files with holes
mod compress; // fewer bytes on the wire
mod crowd; // many clients at once
mod few_descriptors; // what a small limit of open files does not break
mod names; // ls, stat, rm, mv, mkdir
mod trust; // login, keys, tickets
mod keys; // another key for a server
mod client_keys; // tickets bound to a client's key
mod tickets; // what tickets allow
mod live_tickets; // what becomes of sessions when tickets change
mod quotas; // how much a ticket may bring in
mod bounded; // how often, how fast, over how many connections
mod races; // names that change under every verb
mod status; // what runs on a server
mod as_whom; // users and permissions
mod reload;
mod reserve; // bounds from a file, and changes while a server runs
mod surface; // help, completions, manual, JSON
mod spoken; // events, hints, standard output
mod advice; // what a line says to do
mod bad_input; // what is wrong with arguments and local files
mod bad_place; // what is wrong with the place a file goes to
mod bad_peer; // what is wrong with the server or the network
mod reconnect; // connections that are cut, servers that come back
mod signals; // Ctrl-C, SIGTERM, kills
mod raw; // floe raw
mod try_command; // floe try
mod torture; // floe torture
mod audit; // the log of who moved what
mod metrics; // numbers and health
mod receipts; // what servers sign
mod doctor; // floe doctor
mod attack; // peers that speak the wire by hand, and mean harm
