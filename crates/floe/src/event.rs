//! Events for programs: one JSON object a line, each with a member `event`.
//!
//! Names are bytes: `path` is their escaped text, and where they are not UTF-8 `path_bytes` carries
//! them in base64. Numbers are bytes, microseconds or counts; `elapsed` is in seconds.

use crate::fault::Failure;
use crate::{output, packed};
use data_encoding::BASE64;
use floe_proto::command::{Summary, Walk};
use floe_proto::frame::Causes;
use floe_types::{Code, Escaped, Fault, Micros, ObjectPath, escape};
use serde_json::{Value, json};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::OnceLock;

/// Where events go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Standard output.
    Output,
    /// Standard error: standard output carries data.
    Error,
}

/// One event being built; its members keep their order, `event` stands first.
#[derive(Clone, Debug)]
pub struct Event(Vec<(String, Value)>);

impl Event {
    /// An event of this kind.
    pub fn new(kind: &str) -> Self {
        Self(Vec::new()).with("event", kind)
    }

    /// With one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// With a name that is bytes: escaped text, and the bytes themselves if they are not UTF-8.
    #[must_use]
    pub fn with_name(self, name: &str, bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.with(name, text),
            Err(_) => self
                .with(name, Escaped(bytes).to_string())
                .with(&format!("{name}_bytes"), BASE64.encode(bytes)),
        }
    }

    /// With a path in a server's root.
    #[must_use]
    pub fn with_path(self, path: &ObjectPath) -> Self {
        self.with_name("path", &path_bytes(path))
    }

    /// With a path beneath a transfer; what was named itself is `.`.
    #[must_use]
    pub fn with_entry(self, path: &ObjectPath) -> Self {
        if path.is_root() { self.with("path", ".") } else { self.with_path(path) }
    }

    /// With what went wrong.
    #[must_use]
    pub fn with_fault(self, fault: &Fault) -> Self {
        self.with_fault_and_hint(fault, fault.code.hint())
    }

    /// With what went wrong, and what to do about it here.
    #[must_use]
    pub fn with_fault_and_hint(self, fault: &Fault, hint: &str) -> Self {
        self.with("error", fault.to_string()).with("code", code_name(fault.code)).with("hint", hint)
    }

    /// With all sums of a transfer.
    #[must_use]
    pub fn with_sums(self, sums: &Summary) -> Self {
        self.with("bytes_total", sums.bytes_total.0)
            .with("bytes_sent", sums.bytes_sent.0)
            .with("bytes_on_wire", packed::on_wire(sums).0)
            .with("bytes_resumed", sums.bytes_resumed.0)
            .with("bytes_stored", sums.bytes_stored.0)
            .with("bytes_repeated", sums.bytes_repeated.0)
            .with("window_bytes_max", sums.window_bytes_max.0)
            .with("entries_found", sums.entries_found.0)
            .with("entries_committed", sums.entries_committed.0)
            .with("entries_failed", sums.entries_failed.0)
            .with("entries_skipped", sums.entries_skipped.0)
            .with("walk_ended", sums.walk == Walk::Ended)
    }

    /// Writes it as one line. A reader that went away is no failure of the command; one that gets
    /// less than was said is, and `unsaid` tells it.
    pub fn send(self, channel: Channel) {
        let line = format!("{self}\n");
        let written = match channel {
            Channel::Output => {
                let mut out = io::stdout().lock();
                out.write_all(line.as_bytes()).and_then(|()| out.flush())
            }
            Channel::Error => io::stderr().lock().write_all(line.as_bytes()),
        };
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let _first = UNSAID.set(output::failure_of("write events", &error));
        }
    }
}

static UNSAID: OnceLock<Failure> = OnceLock::new();

/// Why events are missing, if any are.
pub fn unsaid() -> Option<Failure> {
    UNSAID.get().cloned()
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (name, value)) in self.0.iter().enumerate() {
            let before = if nth == 0 { '{' } else { ',' };
            write!(f, "{before}{}:", Value::from(name.as_str()))?;
            write_shown(f, &value.to_string())?;
        }
        f.write_str("}")
    }
}

/// JSON as it is, but for what a terminal may obey: JSON leaves only what is below a space out of
/// its texts, and the same value can be said without the rest.
fn write_shown(f: &mut fmt::Formatter<'_>, json: &str) -> fmt::Result {
    for c in json.chars() {
        if escape::is_hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(f, "\\u{unit:04x}")?;
            }
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// The bytes of a path, with `/` between names; the root is `/`.
pub fn path_bytes(path: &ObjectPath) -> Vec<u8> {
    if path.is_root() { b"/".to_vec() } else { path.to_bytes() }
}

/// A code's name for programs: `NotFound` is `not_found`.
pub fn code_name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// Stream-time by cause, in microseconds.
pub fn causes(causes: &Causes) -> Value {
    let micros = |time: Micros| time.0;
    json!({
        "source_disk": micros(causes.source_disk),
        "cpu": micros(causes.cpu),
        "network": micros(causes.network),
        "window": micros(causes.window),
        "limiter": micros(causes.limiter),
        "starved": micros(causes.starved),
        "sink_disk": micros(causes.sink_disk),
        "sync": micros(causes.sync),
        "memory": micros(causes.memory),
        "idle": micros(causes.idle),
        "loss": micros(causes.loss),
        "peer_socket": micros(causes.peer_socket),
        "sink_cpu": micros(causes.sink_cpu),
    })
}

/// This process's peak resident memory in bytes (VmHWM), if the system says.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    parse_peak(&status)
}

pub fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(event: Event) -> String {
        let text = event.to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        assert!(text.starts_with("{\"event\":"), "{text}");
        text
    }

    #[test]
    fn names_that_are_not_text_keep_their_bytes() {
        let path = ObjectPath::parse(b"a/caf\xe9").unwrap();
        let event = text(Event::new("entry").with_path(&path));
        assert!(event.contains(r#""path":"a/caf\\xe9""#), "{event}");
        assert!(event.contains(r#""path_bytes":"YS9jYWbp""#), "{event}");
        let plain = text(Event::new("entry").with_path(&ObjectPath::parse(b"a\nb").unwrap()));
        assert!(plain.contains(r#""path":"a\nb""#) && !plain.contains("bytes"), "{plain}");
    }

    #[test]
    fn faults_have_a_name_for_programs() {
        assert_eq!(code_name(Code::ServerKeyMismatch), "server_key_mismatch");
        assert_eq!(code_name(Code::Io), "io");
        let event = text(Event::new("failed").with_fault(&Fault::new(Code::NotFound, "open x")));
        assert!(event.contains(r#""error":"open x: not found""#), "{event}");
    }

    #[test]
    fn reads_the_peak_of_resident_memory() {
        assert_eq!(parse_peak("VmPeak:\t9 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_peak("VmPeak:\t9 kB\n"), None);
        assert!(peak_rss_bytes().unwrap_or(1) > 0);
    }
}
