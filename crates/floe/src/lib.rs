//! floe moves large files between machines: whole, verified, resumable.
//!
//! This is the binary's own library: arguments become settings, settings become one command, and a
//! command ends with an exit status. It promises nothing to other crates. The protocol is in
//! floe-proto, disks are in floe-store, sockets and threads in floe-engine. A module imports only
//! modules listed above it.

// The doc comments of arguments are help texts: what stands in brackets there is no link.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]

pub mod fault; // how a command fails: line, hint, exit status
pub mod civil; // time and quantities as text
mod output; // standard output as data
mod exit; // how the process ends
mod args; // the flags that commands share
pub mod remote; // what an argument names
mod place; // where a SRC goes
pub mod settings; // flags, then environment, then the configuration file
mod packed; // what compression did, in words
mod event; // events for programs
mod why; // why a transfer is as slow as it is
mod progress; // how far a transfer is
mod report; // what is told of transfers
mod signals; // what Ctrl-C means
mod prompt; // asking the person at the terminal
mod succession; // logins that follow a server to another key
mod dial; // reaching servers
mod inside; // whether a tree would be copied into itself
mod transfer; // one transfer after the other
mod change; // requests that change names
mod put; // floe put
mod get; // floe get
mod ls; // floe ls
mod stat; // floe stat
mod rm; // floe rm
mod mv; // floe mv
mod mkdir; // floe mkdir
mod login; // floe login
mod logout; // floe logout
mod hosts; // floe hosts
mod ticket; // floe ticket
mod key; // floe key
mod audit; // floe audit
mod receipt; // floe receipt
mod user; // as whom a server runs
mod serve; // floe serve
mod status; // floe status
mod raw; // floe raw
mod doctor; // floe doctor
mod try_command; // floe try
mod torture; // floe torture
mod completions; // floe completions
mod man; // floe man
mod cli; // the command line as a whole

pub use cli::run;
pub use exit::exit;
