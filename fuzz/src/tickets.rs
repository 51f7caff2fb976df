//! Tickets and key fingerprints as text.
//!
//! Checked: nothing panics; a ticket reads back from what it reveals, in any case and with white
//! space around; a text with any other character in it is refused; what is shown of a ticket, and
//! what is said of one that does not read, holds no part of its secret.
//!
//! ```text
//! input: 0 | any text
//!        1 | key 32 | secret 16 | edits of its text, two bytes each: where, what
//! ```

use data_encoding::BASE32_NOPAD;
use floe_engine::identity::KeyPin;
use floe_engine::ticket::Ticket;
use floe_types::Root;

/// Runs one input.
pub fn run(data: &[u8]) {
    match data {
        [how, text @ ..] if how % 2 == 0 => {
            let text = String::from_utf8_lossy(text);
            check(&text);
            if let Ok(pin) = text.parse::<KeyPin>() {
                assert_eq!(pin.to_string().parse::<KeyPin>().as_ref(), Ok(&pin));
                let name = pin.server_name();
                assert_eq!(name.strip_suffix(".floe.invalid"), Some(&pin.to_string()[..32]));
            }
        }
        [_, rest @ ..] => {
            let Some((body, edits)) = rest.split_first_chunk::<48>() else { return };
            check_made(body, edits);
        }
        [] => {}
    }
}

/// Any text: a ticket, or a refusal that does not repeat it.
fn check(text: &str) {
    match text.parse::<Ticket>() {
        Ok(ticket) => {
            let revealed = ticket.reveal();
            let plain = text.trim().to_ascii_lowercase();
            assert_eq!(revealed.as_str(), plain, "a ticket has one text");
            assert_eq!(revealed.parse::<Ticket>().as_ref(), Ok(&ticket));
            assert_silent(&format!("{ticket:?}"), &plain);
        }
        Err(fault) => assert_silent(&fault.to_string(), text.trim()),
    }
}

/// A ticket made of its parts, by what PROTOCOL.md says.
fn check_made(body: &[u8; 48], edits: &[u8]) {
    let check_bytes = &Root::of(body).0[..4];
    let digits = BASE32_NOPAD.encode(&[body, check_bytes].concat());
    let text = format!("floe1{}", digits.to_ascii_lowercase());
    let made = text.parse::<Ticket>();
    let Ok(ticket) = made else { panic!("it is a ticket: {text}: {made:?}") };
    assert_eq!(ticket.pin(), KeyPin(*body.first_chunk().unwrap_or(&[0; 32])));
    assert_eq!(ticket.reveal().as_str(), text);
    let spaced = format!(" {}\r\n", text.to_ascii_uppercase());
    assert_eq!(spaced.parse::<Ticket>().as_ref(), Ok(&ticket));
    let shown = format!("{ticket:?}");
    assert_silent(&shown, &text);
    assert!(!shown.contains(&data_encoding::HEXLOWER.encode(&body[32..])), "{shown}");
    let mut changed = text.clone().into_bytes();
    for edit in edits.chunks_exact(2).take(4) {
        let at = usize::from(edit[0]) % changed.len();
        changed[at] = edit[1];
    }
    let Ok(changed) = String::from_utf8(changed) else { return };
    if !changed.trim().eq_ignore_ascii_case(&text) {
        assert!(changed.parse::<Ticket>().is_err(), "{changed} is taken for {text}");
    }
    check(&changed);
}

/// What is shown repeats nothing that is long enough to be a secret.
fn assert_silent(shown: &str, secret: &str) {
    let shown = shown.to_ascii_lowercase();
    let secret = secret.to_ascii_lowercase().into_bytes();
    let rest = secret.strip_prefix(b"floe1").unwrap_or(&secret);
    for part in rest.windows(SECRET_CHARACTERS) {
        // A secret is letters and digits; with anything else it is the program's own sentence.
        let is_word = part.iter().all(u8::is_ascii_alphanumeric);
        let Some(part) = std::str::from_utf8(part).ok().filter(|_| is_word) else { continue };
        let is_said = WORDS.iter().any(|word| word.contains(part));
        assert!(is_said || !shown.contains(part), "\"{part}\" is shown in \"{shown}\"");
    }
}

/// So many characters of a ticket are 40 of the bits of its secret.
const SECRET_CHARACTERS: usize = 8;
/// What the program itself says of tickets that do not read.
const WORDS: &[&str] = &["characters", "character", "finish_non_exhaustive"];
