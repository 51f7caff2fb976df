//! `floe receipt verify`.

use super::local::Proven;
use crate::args::{OutputFlags, after_help};
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result, Shown};
use crate::output;
use crate::report::{Form, Voice};
use floe_engine::identity::KeyPin;
use floe_engine::receipt::{Lines, Receipt, Wrong};
use floe_types::{Code, Escaped, Timestamp, Utc};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Say what receipts prove, or where they do not hold
///
/// Without --server the signatures are checked with the key that stands in the file, and its
/// fingerprint is printed: compare it with the one that 'floe serve' shows, or nobody knows whose
/// key it is. A receipt says what stood there at its time, not what stands there now.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub(super) struct VerifyArgs {
    /// The file of 'floe put --receipt'
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file that must be one of those, or a directory each file of which must be one, under its
    /// name in it
    #[arg(value_name = "LOCAL")]
    local: Option<PathBuf>,
    /// Fail unless the server with this key fingerprint signed them all; may be repeated, for a
    /// server whose key was replaced ('floe key show' there lists those it had)
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    server: Vec<KeyPin>,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe put photos nas:/backup/photos --receipt photos.receipts
  floe receipt verify photos.receipts --server 5f0c0e6b...
  floe receipt verify photos.receipts photos      and whether the files here are still those

Exit status 5: a line is damaged or not signed, another server signed it, or a file is not the one \
that was put.";

fn fingerprint(text: &str) -> std::result::Result<KeyPin, String> {
    text.parse().map_err(|_| "a fingerprint is 64 hex digits".to_owned())
}

/// What was found.
#[derive(Default)]
struct Found {
    receipts: u64,
    proven: Proven,
    /// How many each server signed.
    servers: BTreeMap<String, u64>,
    first: Option<u64>,
    last: Option<u64>,
}

/// Runs `floe receipt verify`.
///
/// # Errors
/// `Integrity` where one does not hold; the system's.
pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let mut found = Found::default();
    let mut lines =
        Lines::open(&args.file).map_err(|fault| Failure::from(fault).of_this_machine())?;
    let mut nth = 0_u64;
    while let Some(line) = lines.read()? {
        nth += 1;
        let receipt = line
            .and_then(|receipt| receipt.verify().map(|()| receipt))
            .map_err(|wrong| broken(args, nth, wrong.why(), hint_of(wrong)))?;
        let server = receipt.server();
        if !args.server.is_empty() && !args.server.contains(&server) {
            let why = format!("signed with another key ({server})");
            return Err(broken(args, nth, &why, FORGED));
        }
        if args.local.is_some() {
            found.proven.add(&receipt.statement);
        }
        found.count(&receipt);
        show(voice, &args.output, nth, &receipt)?;
    }
    if found.receipts == 0 {
        return Err(broken(args, 1, "there is no receipt", NOTHING));
    }
    let files = args.local.as_deref().map(|local| found.proven.look_at(local)).transpose()?;
    match voice.form {
        Form::Json(channel) => {
            let servers: Vec<_> = found.servers.keys().cloned().collect();
            Event::new("verified")
                .with("receipts", found.receipts)
                .with("servers", servers)
                .with("server_given", !args.server.is_empty())
                .with("files", files)
                .send(channel);
        }
        Form::Text => {
            for line in found.lines(!args.server.is_empty(), files) {
                output::line(&line)?;
            }
        }
    }
    Ok(())
}

fn broken(args: &VerifyArgs, nth: u64, why: &str, hint: &str) -> Failure {
    let detail = format!("verify {}: line {nth}: {why}", Shown(&args.file));
    Failure::hinted(Code::Integrity, detail, hint)
}

const fn hint_of(wrong: Wrong) -> &'static str {
    match wrong {
        Wrong::NoReceipt => {
            "the file was damaged, changed or cut, or is another; the lines before hold"
        }
        Wrong::Unknown => "a later floe can read it",
        Wrong::NotSigned => FORGED,
    }
}

impl Found {
    fn count(&mut self, receipt: &Receipt) {
        let time = receipt.statement.time;
        self.receipts += 1;
        *self.servers.entry(receipt.server().to_string()).or_default() += 1;
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.last = Some(self.last.map_or(time, |last| last.max(time)));
    }

    fn lines(&self, is_given: bool, files: Option<u64>) -> Vec<String> {
        let mut lines = vec![format!("signed  {} receipts", self.receipts)];
        for (server, count) in &self.servers {
            lines.push(match is_given {
                true => format!("by      the server {server} ({count})"),
                false => format!("by      {server} ({count}; compare with the server's own)"),
            });
        }
        if let (Some(first), Some(last)) = (self.first, self.last) {
            lines.push(format!("time    {} to {}", utc(first), utc(last)));
        }
        lines.extend(files.map(|files| format!("local   {files} files are those of receipts")));
        lines
    }
}

/// Each receipt: what the line is signed for, not what else may seem to stand there.
fn show(voice: Voice, flags: &OutputFlags, nth: u64, receipt: &Receipt) -> Result<()> {
    let it = &receipt.statement;
    match voice.form {
        Form::Json(channel) => {
            Event::new("receipt")
                .with("line", nth)
                .with_path(&it.path)
                .with("size", it.size.0)
                .with("root", it.root.to_string())
                .with("ticket", it.ticket.as_str())
                .with("time", utc(it.time))
                .with("server", receipt.server().to_string())
                .send(channel);
            Ok(())
        }
        Form::Text if flags.verbose > 0 => {
            let (time, ticket) = (utc(it.time), Escaped(it.ticket.as_bytes()));
            let (path, size, root) = (&it.path, it.size.0, it.root);
            let server = receipt.server();
            let said = format!("{time} \"{path}\" {size} bytes {root} by \"{ticket}\"");
            output::line(&format!("{said} signed {server}"))
        }
        Form::Text if flags.quiet => Ok(()),
        Form::Text => output::line(&format_args!("holds   {:?} {} bytes", it.path, it.size.0)),
    }
}

fn utc(secs: u64) -> String {
    let stamp = i64::try_from(secs).ok().and_then(|secs| Timestamp::new(secs, 0));
    stamp.map_or_else(|| format!("{secs} s after 1970"), |stamp| Utc(stamp).to_string())
}

const FORGED: &str = "somebody changed the line, or this is not that server";
const NOTHING: &str = "'floe put --receipt' makes them";
