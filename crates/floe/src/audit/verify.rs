//! `floe audit verify`.

use super::LogFlags;
use crate::args::{OutputFlags, after_help};
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result, Shown};
use crate::output;
use crate::report::{Form, Voice};
use floe_engine::audit::{Ended, Head, Record, Torn, Volume, record_of};
use floe_types::{Code, Escaped};
use serde_json::{Value, json};

/// Say whether the log is whole, or where its chain breaks
///
/// Whole means: every line carries the hash of the line before, none was taken out between the
/// first and the last, and nothing was changed. What this cannot see is whether the last line was
/// changed, lines at the end were cut off, or the whole log was written anew, by somebody who may
/// write there: keep the last hash that it prints somewhere else, and give it with --seen the next
/// time. What a server found behind the end when it began, and moved to a file of its own, is told
/// as cut: a crash leaves such, and so may somebody. Lines that a server could not write, and
/// counted, are told as gap.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    log: LogFlags,
    /// Fail unless the line with this hash is among them: one that was printed before
    #[arg(long, value_name = "HASH", value_parser = hash)]
    seen: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe audit verify --state /var/lib/floe
  floe audit verify --seen 5f0c0e6b... /backup/audit.3.jsonl

Exit status 5: the chain breaks, or the line of --seen is not there.";

fn hash(text: &str) -> std::result::Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text),
        false => Err("a hash is 64 hex digits".to_owned()),
    }
}

/// What was found in all files.
#[derive(Default)]
struct Found {
    files: u64,
    lines: u64,
    first: Option<u64>,
    head: Option<Head>,
    torn: u64,
    cuts: Vec<Cut>,
    gaps: Vec<Gap>,
    seen: bool,
}

/// What a server moved away when it began.
struct Cut {
    line: u64,
    bytes: u64,
    /// The file that it is in, and its hash.
    about: String,
}

/// Lines that a server never wrote.
struct Gap {
    /// The line that says so, and what it counts.
    line: u64,
    count: u64,
}

/// Runs `floe audit verify`.
///
/// # Errors
/// `Integrity` where the chain breaks; the system's.
pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let shelf = args.log.open()?;
    let mut found = Found::default();
    let last = shelf.volumes().len().saturating_sub(1);
    for (nth, volume) in shelf.volumes().iter().enumerate() {
        read(volume, args.seen.as_deref(), nth == last, &mut found)?;
        if found.torn > 0 && nth < last {
            let detail = format!("verify {}: its end is torn", Shown(volume.path()));
            return Err(Failure::hinted(Code::Integrity, detail, CHANGED));
        }
    }
    if let Some(hash) = args.seen.as_ref().filter(|_| !found.seen) {
        let detail = format!("verify: no line has the hash {hash}");
        return Err(Failure::hinted(Code::Integrity, detail, NOT_SEEN));
    }
    match voice.form {
        Form::Json(channel) => event(&found).send(channel),
        Form::Text => {
            for line in lines(&found) {
                output::line(&line)?;
            }
        }
    }
    Ok(())
}

fn read(volume: &Volume, seen: Option<&str>, is_last: bool, found: &mut Found) -> Result<()> {
    let mut met = false;
    let (cuts, gaps) = (&mut found.cuts, &mut found.gaps);
    let walked = volume.walk(found.head, |line, head| {
        met |= seen.is_some_and(|seen| head.prev.to_hex().as_str() == seen);
        cuts.extend(Cut::of(line));
        gaps.extend(Gap::of(line));
    })?;
    if let Ended::Broken(at) = walked.ended {
        let detail = format!("verify {}: line {}: {}", Shown(volume.path()), at.line, at.why);
        return Err(Failure::hinted(Code::Integrity, detail, CHANGED));
    }
    if let Ended::Torn(Torn { bytes, lines }) = walked.ended {
        if lines > 0 {
            let (path, line) = (Shown(volume.path()), walked.lines + 1);
            let detail = format!("verify {path}: line {line} is torn, and {lines} stand behind it");
            let hint = if is_last { HOLE } else { CHANGED };
            return Err(Failure::hinted(Code::Integrity, detail, hint));
        }
        found.torn = bytes;
    }
    found.files += 1;
    found.lines += walked.lines;
    found.first = found.first.or(walked.first.map(|first| first.n));
    found.head = walked.head;
    found.seen |= met;
    Ok(())
}

/// What a line says, if it is of that event.
fn record_of_event(line: &[u8], event: &str) -> Option<(u64, Record)> {
    // Not every line is read whole.
    let member = [b"\"event\":\"", event.as_bytes(), b"\""].concat();
    line.windows(member.len()).any(|part| part == member).then_some(())?;
    record_of(line).filter(|(_, record)| record.event == event)
}

fn lines(found: &Found) -> Vec<String> {
    let mut lines = vec![format!("whole  {} lines in {} files", found.lines, found.files)];
    if let (Some(first), Some(head)) = (found.first, found.head) {
        let before = if first > 1 { "; what came before is not here" } else { "" };
        lines.push(format!("lines  {first} to {}{before}", head.n - 1));
        lines.push(format!("last   {}", head.prev.to_hex()));
    }
    for Cut { line, bytes, about } in &found.cuts {
        let file = Escaped(about.split(' ').next().unwrap_or_default().as_bytes());
        let from = line.saturating_sub(1);
        lines.push(format!(
            "cut    {bytes} bytes behind line {from}, now in {file}: after a crash?"
        ));
    }
    for Gap { line, count } in &found.gaps {
        lines.push(format!("gap    {count} lines before line {line} could not be written"));
    }
    if found.torn > 0 {
        lines.push(format!("torn   {} bytes behind it: a crash, or being written", found.torn));
    }
    lines
}

fn event(found: &Found) -> Event {
    Event::new("verified")
        .with("files", found.files)
        .with("lines", found.lines)
        .with("first", found.first)
        .with("last", found.head.map(|head| head.n - 1))
        .with("hash", found.head.map(|head| head.prev.to_hex().to_string()))
        .with("torn_bytes", found.torn)
        .with("cuts", found.cuts.iter().map(Cut::event).collect::<Vec<_>>())
        .with("gaps", found.gaps.iter().map(Gap::event).collect::<Vec<_>>())
}

impl Cut {
    fn of(line: &[u8]) -> Option<Self> {
        let (line, record) = record_of_event(line, "cut")?;
        let (bytes, about) = (record.count.unwrap_or_default(), record.about.unwrap_or_default());
        Some(Self { line, bytes, about })
    }

    fn event(&self) -> Value {
        json!({ "line": self.line, "bytes": self.bytes, "about": self.about })
    }
}

impl Gap {
    fn of(line: &[u8]) -> Option<Self> {
        let (line, record) = record_of_event(line, "gap")?;
        Some(Self { line, count: record.count.unwrap_or_default() })
    }

    fn event(&self) -> Value {
        json!({ "line": self.line, "count": self.count })
    }
}

const HOLE: &str = "after a power loss start the server, which moves what cannot be vouched for to \
                    a file of its own; else somebody changed that line";
const CHANGED: &str = "somebody changed, removed or inserted lines, or the disk did: compare with \
                       a copy that is kept elsewhere";
const NOT_SEEN: &str = "lines were cut off, or this is another log; a log's last hash is that of \
                        its last line";
