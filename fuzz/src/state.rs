//! Files of the state directory: known servers, tickets of a server, its key and certificate.
//!
//! Checked: nothing panics; what is read is written in bytes that read as the same, and those are
//! written the same again; what is said of a file that does not read holds no secret of it; a
//! ticket's file stays in its directory.
//!
//! ```text
//! input: 0 known servers, 1 tickets, 2 certificate and key | the bytes of the file
//! ```

use floe_engine::hosts;
use floe_engine::identity::Identity;
use floe_engine::ticket::{format_entries, parse_entries};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    match what % 3 {
        0 => known_servers(bytes),
        1 => tickets(bytes),
        _ => identity(bytes),
    }
}

fn known_servers(bytes: &[u8]) {
    let hosts = match hosts::parse(bytes) {
        Ok(hosts) => hosts,
        Err(why) => return assert!(!why.contains("floe1"), "it says too much: {why}"),
    };
    let Some(written) = hosts::format(&hosts) else { panic!("it is written: {hosts:?}") };
    assert_eq!(hosts::parse(&written).as_ref(), Ok(&hosts));
    let names = hosts.keys().all(|name| hosts::Hosts::is_name(name));
    assert!(names, "{hosts:?}");
    assert!(!format!("{hosts:?}").contains("floe1"), "a ticket is shown");
}

fn tickets(bytes: &[u8]) {
    let Ok(entries) = parse_entries(bytes) else { return };
    let written = format_entries(&entries);
    let again = parse_entries(&written);
    assert_eq!(again.as_ref(), Ok(&entries));
    assert_eq!(again.map(|again| format_entries(&again)).as_ref(), Ok(&written));
}

fn identity(bytes: &[u8]) {
    match Identity::parse(bytes, bytes) {
        Ok(identity) => {
            let shown = format!("{identity:?}");
            assert!(shown.contains(&identity.pin().to_string()) && shown.len() < 120, "{shown}");
        }
        Err(why) => assert!(why.len() < 60, "{why}"),
    }
}
