//! Files of the state directory: known servers, tickets of a server, its key and certificate, the
//! keys it had, what a ticket brought in and how often it was used, the audit log.
//!
//! Checked: nothing panics; what is read is written in bytes that read as the same, and those are
//! written the same again; what is said of a file that does not read holds no secret of it; a
//! ticket's file stays in its directory. Of the audit log: lines that follow each other do so
//! when they stand alone, and no byte of them can be another without the chain showing it.
//!
//! ```text
//! input: 0 known servers, 1 tickets, 2 certificate and key, 3 what was brought in, 4 uses
//!        | the bytes of the file
//!        5 audit log | which byte is another 4 | the bytes of the file
//!        6 keys of a server that go and went | the bytes of the file
//! ```

use floe_engine::audit::{Ended, Walk, record_of, walk};
use floe_engine::grant::{Usage, Uses};
use floe_engine::hosts;
use floe_engine::identity::{Identity, KeyBook};
use floe_engine::ticket::{format_entries, parse_entries};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    match what % 7 {
        0 => known_servers(bytes),
        1 => tickets(bytes),
        2 => identity(bytes),
        3 => usage(bytes),
        4 => uses(bytes),
        5 => audit(bytes),
        _ => keys(bytes),
    }
}

fn keys(bytes: &[u8]) {
    match KeyBook::parse(bytes) {
        Ok(book) => {
            let written = book.format();
            let again = KeyBook::parse(&written);
            assert_eq!(again.as_ref().map(|again| again.format()), Ok(written));
            let shown = format!("{book:?}");
            assert!(!shown.contains("BEGIN"), "a key is shown: {shown}");
        }
        Err(why) => assert!(why.len() < 60, "{why}"),
    }
}

fn usage(bytes: &[u8]) {
    let Ok(usage) = Usage::parse(bytes) else { return };
    let written = usage.format();
    let again = Usage::parse(&written);
    assert_eq!(again.as_ref(), Ok(&usage));
    assert_eq!(again.map(|again| again.format()), Ok(written));
}

fn uses(bytes: &[u8]) {
    let Some(uses) = Uses::parse(bytes) else { return };
    let written = uses.format();
    let again = Uses::parse(&written);
    assert_eq!(again.as_ref(), Some(&uses));
    assert_eq!(again.map(|again| again.format()), Some(written));
}

fn audit(bytes: &[u8]) {
    let Some((place, log)) = bytes.split_first_chunk() else { return };
    let mut shown = 0;
    let whole = walked(log, |line| {
        shown += 1;
        assert!(!line.contains(&b'\n'));
        let _record = record_of(line);
    });
    assert_eq!(whole.lines, shown);
    let good = usize::try_from(whole.bytes).ok().and_then(|bytes| log.get(..bytes));
    let Some(good) = good else { panic!("{} bytes of {}", whole.bytes, log.len()) };
    let alone = walked(good, |_| {});
    assert_eq!((alone.ended, alone.lines, alone.head), (Ended::Whole, whole.lines, whole.head));
    if good.is_empty() {
        return;
    }
    let mut other = good.to_vec();
    let at = u32::from_le_bytes(*place) as usize % other.len();
    other[at] ^= 1;
    let changed = walked(&other, |_| {});
    assert!(changed.ended != Ended::Whole || changed.head != whole.head, "byte {at} is another");
}

fn walked(log: &[u8], mut each: impl FnMut(&[u8])) -> Walk {
    let walked = walk(log, None, |line, _| each(line));
    walked.unwrap_or_else(|error| panic!("bytes in memory can be read: {error}"))
}

fn known_servers(bytes: &[u8]) {
    let hosts = match hosts::parse(bytes) {
        Ok(hosts) => hosts,
        Err(why) => return says_no_ticket(&why, &String::from_utf8_lossy(bytes)),
    };
    let Some(written) = hosts::format(&hosts) else { panic!("it is written: {hosts:?}") };
    assert_eq!(hosts::parse(&written).as_ref(), Ok(&hosts));
    let names = hosts.keys().all(|name| hosts::Hosts::is_name(name));
    assert!(names, "{hosts:?}");
    let shown = format!("{hosts:?}");
    for ticket in hosts.values().filter_map(|host| host.ticket.as_ref()) {
        let text = ticket.reveal();
        // A server may be called as a ticket, or be at such an address.
        let is_name = hosts
            .iter()
            .any(|(name, host)| [name, &host.host].iter().any(|said| said.contains(text.as_str())));
        assert!(is_name || !shown.contains(text.as_str()), "a ticket is shown");
    }
}

/// Of a file that does not read: what stands for a ticket there, and for nothing else, is not said.
///
/// A ticket is letters and digits; with anything else it is the program's own sentence.
fn says_no_ticket(why: &str, text: &str) {
    let tickets = text.split("\"ticket\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_word = |ticket: &&str| ticket.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_long = |ticket: &&str| ticket.len() >= 16 && text.matches(*ticket).count() == 1;
    for ticket in tickets.filter(is_word).filter(is_long) {
        assert!(!why.contains(ticket), "it says too much: {why}");
    }
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
