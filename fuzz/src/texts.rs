//! What a person types or writes into a file: names of places, addresses, sizes, rates, spans, and
//! `floe.toml`.
//!
//! Checked: nothing panics; every refusal is one line that a terminal does not obey; a remote name
//! shown is a remote name that reads as the same; numbers keep to their bounds.
//!
//! ```text
//! input: which 1 | the text
//! ```

use floe::remote::{Ending, Remote, ServerName, Spot, parse_server};
use floe::settings::{parse_key, parse_listen, parse_memory, parse_serve_file};
use floe::{civil, fault};
use floe_types::{parse_rate, parse_size};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Runs one input.
pub fn run(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match which % 4 {
        0 => spot(bytes),
        1 => quantities(&text),
        2 => {
            if let Err(why) = parse_serve_file(&text) {
                assert!(why.starts_with("line ") && !why.contains('\n'), "{why:?}");
            }
        }
        _ => addresses(&text),
    }
}

fn spot(bytes: &[u8]) {
    let knows = |name: &str| matches!(name, "lab" | "a.b-c");
    match Spot::parse(OsStr::from_bytes(bytes), knows) {
        Err(failure) => assert_told(&failure),
        Ok(Spot::Standard) => assert_eq!(bytes, b"-"),
        Ok(Spot::Local(local)) => {
            assert!(!bytes.starts_with(b"floe://") && !bytes.is_empty());
            assert!(bytes.starts_with(local.path.as_os_str().as_bytes()));
        }
        Ok(Spot::Remote(remote)) => remote_reads_back(remote),
    }
}

/// What is shown of a remote name reads as the same, where its bytes are text.
fn remote_reads_back(remote: Remote) {
    let shown = Spot::Remote(remote.clone()).to_string();
    assert!(!shown.chars().any(floe_types::escape::is_hidden), "{shown:?}");
    let is_plain = |name: &floe_types::Component| name.to_string().as_bytes() == name.as_bytes();
    let plain = remote.path.components().iter().all(is_plain);
    if matches!(remote.server, ServerName::Known(_)) && !plain {
        return;
    }
    let again = Spot::parse(OsStr::new(&shown), |name| matches!(name, "lab" | "a.b-c"));
    let ending = match remote.path.is_root() {
        true => Ending::Directory,
        false => Ending::Name,
    };
    let expected = Remote { ending, ..remote };
    match again {
        Ok(Spot::Remote(again)) => assert_eq!(again, expected, "{shown}"),
        other => panic!("{shown} reads as {other:?}"),
    }
}

fn quantities(text: &str) {
    if let Ok(size) = parse_size(text) {
        assert_eq!(parse_size(&size.to_string()), Ok(size));
        let shown = civil::bytes(size);
        assert!(shown.len() < 20, "{shown}");
    }
    if let Ok(rate) = parse_rate(text) {
        assert_eq!(parse_rate(&rate.bytes_per_sec().to_string()), Ok(rate));
    }
    if let Ok(span) = civil::parse_span(text) {
        assert!(span.as_secs() <= 100 * 366 * 86_400, "{span:?}");
    }
    if let Ok(memory) = parse_memory(text) {
        assert!(memory.0 >= 32 << 20);
    }
}

fn addresses(text: &str) {
    if let Ok(address) = parse_listen(text) {
        assert_eq!(parse_listen(&address.to_string()), Ok(address));
    }
    match parse_server(text) {
        Ok(address) => {
            let shown = address.to_string();
            assert_eq!(parse_server(&shown).ok(), Some(address), "{shown}");
        }
        Err(failure) => assert_told(&failure),
    }
    match parse_key(text, "--key") {
        Ok(pin) => assert_eq!(parse_key(&pin.to_string(), "--key").ok(), Some(pin)),
        Err(failure) => assert_told(&failure),
    }
}

fn assert_told(failure: &fault::Failure) {
    let told = format!("{failure:?}");
    assert!(!told.contains('\u{1b}') && !told.contains('\n'), "{told}");
    let shown = failure.to_string();
    assert!(!shown.chars().any(floe_types::escape::is_hidden), "{shown:?}");
}
