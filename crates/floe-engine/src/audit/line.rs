//! One line of the audit log: a JSON object whose first members chain it to the line before.
//!
//! ```text
//! {"n":17,"prev":"<64 hex digits>","time":"2025-01-31T09:05:00.123456Z","event":"commit",...}\n
//! ```
//! `n` counts lines from 1, `prev` is the BLAKE3 hash of the line before without its line feed (of
//! the first one: zeros). Whatever a peer named is escaped before it comes here, so that a line is
//! one line on any terminal; JSON escapes it once more.

use crate::clock::timestamp;
use blake3::Hash;
use floe_types::{Code, Fault, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The event of the line that a server's run begins with.
pub(super) const BEGINS: &str = "start";

/// What a line says, behind what chains it. What does not apply to an event is left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When, UTC.
    pub time: Arc<str>,
    /// What happened: ARCHITECTURE.md lists the events.
    pub event: String,
    /// The session's id, 32 hex digits; logs show the first eight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// The transfer's number in its session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<u32>,
    /// The ticket's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Arc<str>>,
    /// The ticket's id; of a session that was refused, the one that was claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_id: Option<Arc<str>>,
    /// The client's address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Arc<str>>,
    /// The path beneath the served directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where a rename went, or a link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// An object's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Its BLAKE3 root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// How many: lines that are missing, sessions refused beside, bytes cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Which version, which key, which file, what for: of an event of the log itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// `ok`, or why not, in the words of the code.
    pub result: String,
    /// The code on the wire, where it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

impl Record {
    /// What happened just now, well.
    pub(super) fn now(event: &str) -> Self {
        Self::at(&now(), event)
    }

    /// What happened then, well.
    pub(super) fn at(time: &Arc<str>, event: &str) -> Self {
        let time = Arc::clone(time);
        Self { time, event: event.to_owned(), result: "ok".to_owned(), ..Self::default() }
    }

    /// How it ended.
    pub(super) fn ending(mut self, result: &Result<(), Fault>) -> Self {
        if let Err(fault) = result {
            self.fail(fault.code);
        }
        self
    }

    fn fail(&mut self, code: Code) {
        self.result = code.text().to_owned();
        self.code = Some(code.wire());
    }

    /// A line that has no place in the chain yet.
    pub(super) fn draft(&self) -> Draft {
        // A value of plain fields always has a text.
        let text = serde_json::to_string(self).unwrap_or_default();
        Draft(in_ascii(text.strip_prefix('{').unwrap_or("}")))
    }
}

/// The time that lines say now.
pub(super) fn now() -> Arc<str> {
    format!("{:.6}", Utc(timestamp())).into()
}

/// JSON of the same meaning without any byte but those of printable ASCII: a line that holds
/// another was not written so.
fn in_ascii(json: &str) -> String {
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return json.to_owned();
    }
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if matches!(letter, ' '..='~') {
            text.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

/// A line that has no place in the chain yet: all of it but what chains it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Draft(String);

impl Draft {
    /// The most that its line can take.
    pub(super) fn bytes_max(&self) -> u64 {
        (self.0.len() + LINK_BYTES_MAX) as u64
    }
}

/// Where a chain goes on: the next line's number, and the hash of the line before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The number of the next line.
    pub n: u64,
    /// The hash of the line before it.
    pub prev: Hash,
}

impl Head {
    /// Before the first line.
    pub const START: Self = Self { n: 1, prev: Hash::from_bytes([0; 32]) };

    /// Behind a line, which stands without its line feed.
    #[must_use]
    pub(super) fn after(n: u64, line: &[u8]) -> Self {
        Self { n: n.saturating_add(1), prev: blake3::hash(line) }
    }

    /// Appends a line to a text; where the chain goes on.
    #[must_use]
    pub(super) fn write(self, draft: &Draft, into: &mut String) -> Self {
        let line = format!("{{\"n\":{},\"prev\":\"{}\",{}", self.n, self.prev.to_hex(), draft.0);
        into.push_str(&line);
        into.push('\n');
        Self::after(self.n, line.as_bytes())
    }
}

/// What chains a line.
#[derive(Deserialize)]
struct Link {
    n: u64,
    prev: String,
}

/// Reads what chains a line; `None` for what is no line of the log.
pub(super) fn link_of(line: &[u8]) -> Option<Head> {
    let link: Link = serde_json::from_slice(line).ok()?;
    Some(Head { n: link.n, prev: Hash::from_hex(link.prev).ok()? })
}

/// Reads what a line says; `None` for what is no line of the log.
#[must_use]
pub fn record_of(line: &[u8]) -> Option<(u64, Record)> {
    let head = link_of(line)?;
    Some((head.n, serde_json::from_slice(line).ok()?))
}

/// `{"n":18446744073709551615,"prev":"...",` and the line feed.
const LINK_BYTES_MAX: usize = 112;

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::ObjectPath;

    #[test]
    fn lines_are_chained_and_stay_one_line() {
        let path = ObjectPath::parse(b"a\n\x1b[31m\"\\\xff\xe2\x80\xae").unwrap();
        let record = Record { path: Some(path.to_string()), ..Record::now("commit") };
        let draft = record.draft();
        let mut text = String::new();
        let head = Head::START.write(&draft, &mut text);
        let head = head.write(&draft, &mut text);
        assert_eq!(head.n, 3);
        assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..0x7f).contains(&byte)), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(link_of(lines[0].as_bytes()), Some(Head::START));
        let second = link_of(lines[1].as_bytes()).unwrap();
        assert_eq!((second.n, second.prev), (2, blake3::hash(lines[0].as_bytes())));
        assert_eq!(record_of(lines[1].as_bytes()), Some((2, record)));
        assert!(text.len() as u64 <= 2 * draft.bytes_max());
    }

    #[test]
    fn a_result_says_the_code_in_words_and_on_the_wire() {
        let fault = Fault::new(Code::NoSpace, "x");
        let record = Record::now("remove").ending(&Err(fault));
        assert_eq!((record.result.as_str(), record.code), ("no space left", Some(40)));
        assert!(!Record::now("remove").ending(&Ok(())).draft().0.contains("code"));
    }

    #[test]
    fn what_is_no_line_is_not_taken_for_one() {
        let zeros = "0".repeat(64);
        for bad in
            ["", "{}", "[]", "{\"n\":1}", "{\"n\":-1,\"prev\":\"\"}", "{\"n\":1,\"prev\":\"\"}"]
        {
            assert_eq!(link_of(bad.as_bytes()), None, "{bad}");
        }
        assert!(link_of(format!("{{\"n\":1,\"prev\":\"{zeros}\"}}").as_bytes()).is_some());
    }
}
