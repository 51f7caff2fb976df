//! `floe audit show`.

use super::LogFlags;
use crate::args::{OutputFlags, after_help};
use crate::event::Channel;
use crate::fault::Result;
use crate::output;
use crate::report::{Form, Voice};
use floe_engine::audit::{Record, record_of};
use floe_types::Escaped;
use std::io::Write;

/// Print the log for people
///
/// One line each: when, who (ticket, address, the first digits of the session's id, transfer), what
/// happened, to which path, with size, root and result. With --json the lines as they stand. It is
/// not checked whether they follow each other: 'floe audit verify' does.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub(super) struct ShowArgs {
    #[command(flatten)]
    log: LogFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe audit show --state /var/lib/floe
  floe audit show --json | jq 'select(.event == \"commit\")'";

/// Runs `floe audit show`.
///
/// # Errors
/// The system's.
pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let shelf = args.log.open()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for volume in shelf.volumes() {
        let mut ended = Ok(());
        volume.lines(|line| {
            let text = match voice.form {
                Form::Json(_) => as_it_stands(line),
                Form::Text => for_people(line),
            };
            ended = writeln!(out, "{text}").map_err(|error| output::failure(&error));
            ended.is_ok()
        })?;
        ended?;
    }
    out.flush().map_err(|error| output::failure(&error))
}

/// A line of the log, if it is one; what is not is no JSON for anybody to read.
fn as_it_stands(line: &[u8]) -> String {
    match (std::str::from_utf8(line), record_of(line)) {
        (Ok(text), Some(_)) if text.chars().all(|c| !floe_types::escape::is_hidden(c)) => {
            text.to_owned()
        }
        _ => serde_json::json!({ "unreadable": Escaped(line).to_string() }).to_string(),
    }
}

/// Whatever stands there is escaped once more: nobody promises that floe wrote it.
fn for_people(line: &[u8]) -> String {
    let Some((n, record)) = record_of(line) else { return format!("?  {}", Escaped(line)) };
    let text = sentence(n, &record);
    text.chars().map(|c| if floe_types::escape::is_hidden(c) { '?' } else { c }).collect()
}

fn sentence(n: u64, record: &Record) -> String {
    let mut words = vec![format!("{n}"), record.time.to_string(), record.event.clone()];
    let shown = |text: &String| format!("\"{text}\"");
    words.extend(record.path.as_ref().map(shown));
    words.extend(record.to.as_ref().map(|to| format!("-> \"{to}\"")));
    words.extend(record.about.as_ref().map(shown));
    words.extend(record.count.map(|count| format!("count {count}")));
    words.extend(record.size.map(|size| format!("{size} bytes")));
    words.extend(record.root.clone());
    match &record.ticket {
        Some(name) => words.push(format!("by \"{name}\"")),
        None => words.extend(record.ticket_id.as_ref().map(|id| format!("by ticket {id}"))),
    }
    words.extend(record.client.as_ref().map(|client| format!("from {client}")));
    if let Some(session) = &record.session {
        let session: String = session.chars().take(8).collect();
        let transfer = record.transfer.map(|nth| format!("/{nth}")).unwrap_or_default();
        words.push(format!("in {session}{transfer}"));
    }
    words.push(record.result.clone());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_whoever_wrote_it() {
        let zeros = "0".repeat(64);
        let forged = format!(
            "{{\"n\":7,\"prev\":\"{zeros}\",\"event\":\"commit\",\"path\":\"a\\u001b[2J\\u202eb\"}}"
        );
        for line in [forged.as_bytes(), b"\x1b[2J", b"\xff\n"] {
            for text in [for_people(line), as_it_stands(line)] {
                assert!(!text.chars().any(floe_types::escape::is_hidden), "{text:?}");
            }
        }
        assert!(for_people(forged.as_bytes()).starts_with("7 "));
        let raw = format!("{{\"n\":7,\"prev\":\"{zeros}\",\"path\":\"a\u{202e}b\"}}");
        assert!(as_it_stands(raw.as_bytes()).contains("unreadable"));
    }
}
