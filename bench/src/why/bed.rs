//! Where a limit is made: directories in memory, the server and its clients, with a slow disk or
//! processor where one is needed.

use super::disk::{Moves, SlowDisk, slow};
use super::quota::Quota;
use super::{Bottleneck, Made, Side, Way};
use crate::Result;
use crate::content::Content;
use crate::figure::number;
use crate::process::Process;
use crate::ready::make_ready;
use crate::site::{End, Site};
use floe_types::ByteCount;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);
const PORT: u16 = 23_000;
/// How long a transfer is to take whose rate doctor foretells,
const LONG_SECONDS: u64 = 10;
/// within these sizes.
const LONG_BYTES_MIN: u64 = 16 << 20;
const LONG_BYTES_MAX: u64 = 2 << 30;

/// A server and what is moved.
pub struct Bed {
    // Ends in this order.
    server: Process,
    _disk: Option<SlowDisk>,
    quota: Option<Quota>,
    dir: TempDir,
    site: Site,
    program: PathBuf,
    way: Way,
    /// Whose processor or disk is slow.
    held: Option<Side>,
    /// What a slow disk moves a second.
    rate: Option<ByteCount>,
    /// Where the sender's file is, and where it arrives.
    from: PathBuf,
    to: PathBuf,
    ticket: String,
}

/// What a client is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `--json`.
    Events,
    /// What people read.
    Text,
}

impl Bed {
    /// Makes it, with a server that listens.
    pub fn make(
        within: &Path,
        program: &Path,
        site: Site,
        bottleneck: &Bottleneck,
        way: Way,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("floe-bench-why-").tempdir_in(within);
        let dir = dir.map_err(|e| format!("make a directory in {}: {e}", within.display()))?;
        let (mut rate, mut quota, mut held) = (None, None, None);
        let plain = |name: &str| dir.path().join(name);
        let (from, to) = (plain("from"), plain("to"));
        match bottleneck.made {
            Made::Disk(side, moved) => (rate, held) = (Some(moved), Some(side)),
            Made::Processor(side, micros) => {
                (quota, held) = (Some(Quota::make(micros)?), Some(side));
            }
            Made::Path { .. } => {}
        }
        for one in [&from, &to] {
            fs::create_dir(one).map_err(|e| format!("make {}: {e}", one.display()))?;
        }
        Content::File(bottleneck.size).make(&from.join("file"))?;
        let root = if way == Way::Put { &to } else { &from };
        let script = r#"[ -z "$DOOR" ] || echo $$ > "$DOOR"
            exec "$FLOE" serve "$ROOT" --listen "$ADDRESS" --state server"#;
        let address = format!("{}:{PORT}", site.host);
        let mut command = site.command(End::Far, script, dir.path());
        command.env("FLOE", program).env("ROOT", root).env("ADDRESS", address);
        command.env("DOOR", door(quota.as_ref().filter(|_| held == Some(server_is(way)))));
        let slowed = held.filter(|side| *side == server_is(way));
        let (server, disk) = start(&mut command, "serve", &plain("serve.log"), slowed.zip(rate))?;
        server.listening(PORT, START)?;
        let ticket = plain("server/owner.ticket");
        let ticket = fs::read_to_string(&ticket)
            .map_err(|error| format!("read {}: {error}", ticket.display()))?;
        let (ticket, program) = (ticket.trim().to_owned(), program.to_owned());
        let _disk = disk;
        Ok(Self { server, _disk, quota, dir, site, program, way, held, rate, from, to, ticket })
    }

    /// Moves the file; answers what was said to be the limit, and how long it took.
    pub fn transfer(&mut self, form: Form, cap: Duration) -> Result<(String, f64)> {
        let (text, seconds) = self.moved("file", form, cap)?;
        let named = match form {
            Form::Events => named_in_events(&text),
            Form::Text => named_in_text(&text),
        };
        Ok((named.unwrap_or_else(|| "nothing".to_owned()), seconds))
    }

    /// Moves a file of the sender's; answers what was said, and how long it took.
    fn moved(&mut self, file: &str, form: Form, cap: Duration) -> Result<(String, f64)> {
        let script = match self.way {
            Way::Put => r#"exec "$FLOE" put $FORM "$FROM/$FILE" "floe://$ADDRESS/arrived""#,
            Way::Get => r#"exec "$FLOE" get $FORM "floe://$ADDRESS/$FILE" "$TO/arrived""#,
        };
        let form_flag = if form == Form::Events { "--json" } else { "" };
        let source = self.from.join(file);
        let size = fs::metadata(&source).map_err(|e| format!("stat {}: {e}", source.display()))?;
        make_ready(&self.to, ByteCount(size.len()))?;
        let moved = self.client(script, &[("FILE", file), ("FORM", form_flag)], cap)?;
        let arrived = self.to.join("arrived");
        fs::remove_file(&arrived).map_err(|e| format!("remove {}: {e}", arrived.display()))?;
        Ok(moved)
    }

    /// What `floe doctor` foretells, bytes a second, and what a file that takes some time at that
    /// rate comes to.
    pub fn foretold(&mut self, cap: Duration) -> Result<(f64, f64)> {
        let foretold = self.asked_doctor(cap)?;
        let size = ByteCount((foretold * LONG_SECONDS).clamp(LONG_BYTES_MIN, LONG_BYTES_MAX));
        Content::File(size).make(&self.from.join("long"))?;
        let (_, seconds) = self.moved("long", Form::Events, cap)?;
        Ok((number(foretold), number(size.0) / seconds))
    }

    fn asked_doctor(&mut self, cap: Duration) -> Result<u64> {
        let script = r#"exec "$FLOE" doctor --json --dir "$DISK" "floe://$ADDRESS/""#;
        let disk = if self.way == Way::Put { &self.from } else { &self.to };
        let disk = disk.to_string_lossy().into_owned();
        let (text, _) = self.client(script, &[("DISK", &disk)], cap)?;
        foretold_in_events(&text, self.way)
            .ok_or_else(|| format!("doctor foretells nothing: {text}"))
    }

    /// Runs a client; answers what it wrote, and how long it took.
    fn client(
        &mut self,
        script: &str,
        env: &[(&str, &str)],
        cap: Duration,
    ) -> Result<(String, f64)> {
        if self.server.is_over() {
            return Err(format!("the server is gone: {}", self.server.words()));
        }
        let script = format!("[ -z \"$DOOR\" ] || echo $$ > \"$DOOR\"\n{script}");
        let mut command = self.site.command(End::Near, &script, self.dir.path());
        command.env("FLOE", &self.program).env("ADDRESS", format!("{}:{PORT}", self.site.host));
        command.env("FROM", &self.from).env("TO", &self.to).envs(env.iter().copied());
        command.env("FLOE_TICKET", &self.ticket).env("FLOE_STATE", "client");
        let held = self.held.is_some_and(|side| side != server_is(self.way));
        command.env("DOOR", door(self.quota.as_ref().filter(|_| held)));
        let (said, begun) = (self.dir.path().join("client.log"), Instant::now());
        let slowed = self.held.filter(|_| held).zip(self.rate);
        let (client, disk) = start(&mut command, "floe", &said, slowed)?;
        if !client.over_within(cap) {
            return Err(format!("takes longer than {} s: {}", cap.as_secs(), client.words()));
        }
        let seconds = begun.elapsed().as_secs_f64();
        client.finish()?;
        drop(disk);
        let text =
            fs::read_to_string(&said).map_err(|e| format!("read {}: {e}", said.display()))?;
        Ok((text, seconds))
    }
}

/// Starts a program, whose disk may be slow: where it sends from, or where it receives.
fn start(
    command: &mut Command,
    name: &str,
    said: &Path,
    slowed: Option<(Side, ByteCount)>,
) -> Result<(Process, Option<SlowDisk>)> {
    if let Some((side, _)) = slowed {
        slow(command, if side == Side::Sender { Moves::Reads } else { Moves::Writes });
    }
    let process = Process::start(command, name, said)?;
    let disk = slowed.map(|(_, rate)| SlowDisk::behind(&process, rate)).transpose()?;
    Ok((process, disk))
}

/// Which side of a transfer the server is.
const fn server_is(way: Way) -> Side {
    match way {
        Way::Put => Side::Receiver,
        Way::Get => Side::Sender,
    }
}

fn door(quota: Option<&Quota>) -> PathBuf {
    quota.map(Quota::door).unwrap_or_default()
}

/// The limit that the summary names.
fn named_in_events(text: &str) -> Option<String> {
    let mut events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let summary = events.rfind(|event: &serde_json::Value| event["event"] == "summary")?;
    summary["limit"].as_str().map(str::to_owned)
}

/// What doctor's event says of the first ten seconds of a way.
fn foretold_in_events(text: &str, way: Way) -> Option<u64> {
    let mut events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    let doctor = events.find(|event: &serde_json::Value| event["event"] == "doctor")?;
    let way = if way == Way::Put { "put" } else { "get" };
    doctor[way]["early_rate"].as_u64()
}

/// The words behind the percentage in the summary's own line.
fn named_in_text(text: &str) -> Option<String> {
    let words = |line: &str| {
        let (percent, words) = line.strip_prefix("  ")?.split_once(" % ")?;
        percent.parse::<u8>().ok().map(|_| words.to_owned())
    };
    text.lines().filter_map(words).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_is_read_from_events_and_from_lines() {
        let events = "{\"event\":\"progress\"}\n{\"event\":\"summary\",\"limit\":\"loss\"}\n";
        assert_eq!(named_in_events(events).as_deref(), Some("loss"));
        assert_eq!(named_in_events("{\"event\":\"summary\",\"limit\":null}"), None);
        let doctor = "{\"event\":\"doctor\",\"put\":{\"early_rate\":5},\"get\":null}\n";
        assert_eq!(foretold_in_events(doctor, Way::Put), Some(5));
        assert_eq!(foretold_in_events(doctor, Way::Get), None);
        let lines = "a: 1 MiB, 87 % held back by --limit\na: 1 MiB in 2 s\n  87 % waiting for x\n";
        assert_eq!(named_in_text(lines).as_deref(), Some("waiting for x"));
        assert_eq!(named_in_text("a: 1 MiB in 2 s\n  5 skipped\n"), None);
    }
}
