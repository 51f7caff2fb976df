//! What a person or a program is told of transfers: entries, failures, progress, the summary.
//!
//! Standard output carries only events (`--json`) or data ('-'); everything for people goes to
//! standard error. Failures are never silent, not even with `-q`; the first ten stand again at the
//! end of a tree.

use crate::args::OutputFlags;
use crate::civil;
use crate::event::{self, Channel, Event};
use crate::packed::{self, Detail};
use crate::progress::{Audience, Progress};
use crate::why::Why;
use floe_proto::causes::Limited;
use floe_proto::command::Summary;
use floe_proto::frame::{Packing, Priority};
use floe_types::{ByteCount, Code, Fault, ObjectPath, Root};
use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// How a command speaks, settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Voice {
    /// For whom.
    pub form: Form,
    /// How much.
    pub level: Level,
}

/// For whom the output is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// People.
    Text,
    /// Programs.
    Json(Channel),
}

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Errors.
    Quiet,
    /// And progress and a summary.
    Normal,
    /// And each entry.
    Verbose,
}

/// One transfer as its end is told.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub result: Result<(), Fault>,
    /// Its sums.
    pub summary: Summary,
    /// Of a single file: size and root.
    pub object: Option<(ByteCount, Root)>,
    /// How what was sent could be compressed.
    pub packing: Packing,
    /// Wall time.
    pub elapsed: Duration,
    /// How often the connection was made anew.
    pub reconnects: u32,
}

/// Tells of one transfer.
pub struct Report {
    voice: Voice,
    name: Name,
    why: Why,
    progress: Progress,
    failures: Vec<String>,
    untold_failed: u64,
    last: Option<Fault>,
    streams_max: u32,
    next_event: Instant,
}

/// What is transferred, in words.
#[derive(Clone, Debug)]
pub struct Name {
    /// `put` or `get`.
    pub verb: &'static str,
    /// SRC as shown, escaped.
    pub source: String,
    /// The final name as shown, escaped.
    pub dest: String,
    /// The final name's bytes, as a program can use them.
    pub dest_bytes: Vec<u8>,
    /// What to do where the table of codes cannot know it.
    pub hints: Hints,
}

/// What to do about codes.
pub type Hints = &'static [(Code, &'static str)];

impl Voice {
    /// What the flags ask for; events go to `channel`.
    pub fn of(flags: &OutputFlags, channel: Channel) -> Self {
        let form = if flags.json { Form::Json(channel) } else { Form::Text };
        let level = match (flags.quiet, flags.verbose) {
            (true, _) => Level::Quiet,
            (false, 0) => Level::Normal,
            (false, _) => Level::Verbose,
        };
        Self { form, level }
    }

    /// Says a line for people, unless programs listen or `-q` was given.
    pub fn say(self, line: &dyn fmt::Display) {
        if self.form == Form::Text && self.level > Level::Quiet {
            crate::fault::say(line);
        }
    }

    /// Sends an event, if programs listen.
    pub fn send(self, event: impl FnOnce() -> Event) {
        if let Form::Json(channel) = self.form {
            event().send(channel);
        }
    }

    fn detail(self) -> Detail {
        if self.level == Level::Verbose { Detail::Full } else { Detail::Short }
    }

    fn audience(self) -> Audience {
        match (self.form, self.level) {
            (Form::Json(_), _) | (_, Level::Quiet) => Audience::Nobody,
            _ if io::stderr().is_terminal() => Audience::Terminal,
            _ => Audience::Log,
        }
    }
}

impl Report {
    /// Begins to tell of a transfer.
    pub fn new(voice: Voice, name: Name, priority: Priority, now: Instant) -> Self {
        let why = match name.verb {
            "get" => Why::of_get(&name.dest),
            _ => Why::of_put(&name.source),
        };
        let why = why.with(priority);
        let progress = Progress::new(voice.audience(), name.source.clone(), why, now);
        Self {
            voice,
            name,
            why,
            progress,
            failures: Vec::new(),
            untold_failed: 0,
            last: None,
            streams_max: 0,
            next_event: now + EVERY,
        }
    }

    /// An entry is committed.
    pub fn entry(&self, path: &ObjectPath, object: Option<(ByteCount, Root)>) {
        self.voice.send(|| {
            let event = Event::new("entry").with_entry(path);
            match object {
                Some((size, root)) => event.with("size", size.0).with("root", root.to_string()),
                None => event,
            }
        });
        if self.voice.form == Form::Text && self.voice.level == Level::Verbose {
            let shown = if path.is_root() { self.name.dest.clone() } else { path.to_string() };
            match object {
                Some((size, _)) => {
                    self.progress.say(&format_args!("{shown}: {}", civil::bytes(size)));
                }
                None => self.progress.say(&shown),
            }
        }
    }

    /// An entry failed.
    pub fn failed(&mut self, path: &ObjectPath, fault: &Fault) {
        let hint = self.hint(fault.code);
        self.voice.send(|| Event::new("failed").with_entry(path).with_fault_and_hint(fault, hint));
        let line = failure_line(path, fault, hint);
        self.progress.say(&format_args!("floe: {line}"));
        if self.failures.len() < FAILURES_AGAIN {
            self.failures.push(line);
        }
        self.last = Some(fault.clone());
    }

    /// Whether this very failure was told as that of an entry: one line is enough.
    pub fn has_told(&self, fault: &Fault) -> bool {
        self.last.as_ref() == Some(fault)
    }

    /// An entry was passed over.
    pub fn skipped(&self, path: &ObjectPath, fault: &Fault) {
        self.voice.send(|| Event::new("skipped").with_entry(path).with_fault(fault));
        if self.voice.form == Form::Text {
            let line = failure_line(path, fault, fault.code.hint());
            self.progress.say(&format_args!("floe: skipped: {line}"));
        }
    }

    /// What to do about a code in this transfer.
    fn hint(&self, code: Code) -> &'static str {
        let own = self.name.hints.iter().find(|(known, _)| *known == code);
        own.map_or(code.hint(), |(_, hint)| hint)
    }

    /// Entries that cannot be told one by one: this end of the telling was too slow for them.
    pub fn untold(&mut self, finished: u64, failed: u64, skipped: u64) {
        self.untold_failed = self.untold_failed.saturating_add(failed);
        self.voice.send(|| {
            Event::new("untold")
                .with("entries_committed", finished)
                .with("entries_failed", failed)
                .with("entries_skipped", skipped)
        });
        // What is finished is told one by one only where it was asked for.
        let asked = self.voice.level == Level::Verbose;
        if self.voice.form == Form::Text && (asked || failed > 0 || skipped > 0) {
            self.progress.say(&format_args!(
                "floe: too much to tell as slowly as it is read: {finished} entries finished, \
                 {failed} failed and {skipped} skipped without a line of their own"
            ));
        }
    }

    /// The connection was lost and is being made again.
    pub fn reconnecting(&self, why: &Fault, after: Duration) {
        self.voice
            .send(|| Event::new("reconnecting").with_fault(why).with("after", after.as_secs_f64()));
        if self.voice.form == Form::Text && self.voice.level > Level::Quiet {
            let wait = civil::span(after);
            self.progress.say(&format_args!("floe: {why}; connecting again in {wait}"));
        }
    }

    /// It is made.
    pub fn reconnected(&self) {
        self.voice.send(|| Event::new("reconnected"));
        if self.voice.form == Form::Text && self.voice.level > Level::Quiet {
            self.progress.say(&"floe: connected again");
        }
    }

    /// How far it is.
    pub fn progress(&mut self, summary: &Summary, now: Instant) {
        self.streams_max = self.streams_max.max(summary.streams);
        self.progress.update(summary, now);
        if now >= self.next_event {
            self.next_event = now + EVERY;
            let limit = self.progress.limit();
            self.voice.send(|| {
                Event::new("progress")
                    .with_sums(summary)
                    .with("streams", summary.streams)
                    .with("causes", event::causes(&summary.causes))
                    .with("limit", limit.map(|limited| self.why.name(limited.by)))
                    .with("limit_percent", limit.map(|limited| limited.percent))
            });
        }
    }

    /// The first Ctrl-C was heard.
    pub fn interrupting(&self) {
        self.progress.say(
            &"floe: stopping; what has arrived is being made safe (Ctrl-C again ends at once)",
        );
    }

    /// It is over: the summary. The failure itself is told by the caller.
    pub fn finish(&mut self, finished: &Finished) {
        self.streams_max = self.streams_max.max(finished.summary.streams);
        self.progress.end();
        self.voice.send(|| self.summary_event(finished));
        if self.voice.form == Form::Text {
            self.repeat_failures(finished);
            let begun = finished.summary.bytes_sent > ByteCount::ZERO
                || finished.summary.entries_committed.0 > 0;
            // Of a single object that failed, its line says everything.
            let tree = finished.summary.entries_found.0 > 1;
            let stopped = matches!(&finished.result, Err(fault) if fault.code.exit_status()
                == Code::Interrupted.exit_status());
            let worth = finished.result.is_ok() || (begun && (tree || stopped));
            if self.voice.level > Level::Quiet && worth {
                self.summary_lines(finished).iter().for_each(|line| crate::fault::say(line));
            }
        }
    }

    fn repeat_failures(&self, finished: &Finished) {
        let failed = finished.summary.entries_failed.0;
        // One failure that ended it all has its line already.
        let many = matches!(&finished.result, Err(fault) if fault.code == Code::Partial);
        if !many || self.failures.is_empty() {
            return;
        }
        crate::fault::say(&format_args!("{} failed:", entries(failed)));
        self.failures.iter().for_each(|line| crate::fault::say(&format_args!("  {line}")));
        let left = u64::from(failed).saturating_sub(self.failures.len() as u64);
        if left > 0 {
            let where_told =
                if self.untold_failed == 0 { ", each with its line above" } else { "" };
            crate::fault::say(&format_args!("  and {left} more{where_told}"));
        }
    }

    fn summary_lines(&self, finished: &Finished) -> Vec<String> {
        let sums = &finished.summary;
        let size = finished.object.map_or(sums.bytes_stored, |(size, _)| size);
        let time = civil::span(finished.elapsed);
        let rate = civil::rate(sums.bytes_sent, finished.elapsed);
        let mut what = civil::bytes(size);
        if finished.object.is_none() {
            let count = match sums.entries_failed.0 {
                0 => format!("{} of {} entries", sums.entries_committed, sums.entries_found),
                failed => {
                    format!("{} committed, {failed} failed", entries(sums.entries_committed.0))
                }
            };
            what = format!("{count}, {what}");
        }
        let streams = match self.streams_max {
            0 => String::new(),
            1 => ", 1 stream".to_owned(),
            many => format!(", {many} streams"),
        };
        let state = if finished.result.is_ok() { "" } else { "not finished: " };
        let mut lines =
            vec![format!("{state}{}: {what} in {time}, {rate}{streams}", self.name.dest)];
        if sums.bytes_resumed > ByteCount::ZERO {
            lines.push(format!(
                "  {} were there already, {} sent",
                civil::bytes(sums.bytes_resumed),
                civil::bytes(sums.bytes_sent)
            ));
        }
        if let Some(packed) = packed::line(sums, finished.packing, self.voice.detail()) {
            lines.push(format!("  {packed}"));
        }
        if sums.entries_skipped.0 > 0 {
            lines.push(format!("  {} skipped", entries(sums.entries_skipped.0)));
        }
        if let Some(why) = self.why_slow(finished) {
            lines.push(format!("  {why}"));
        }
        if let (Ok(()), Some((_, root))) = (&finished.result, finished.object) {
            lines.push(format!("  blake3 {root}"));
        }
        lines
    }

    /// A transfer that took no time to speak of was not slow.
    fn why_slow(&self, finished: &Finished) -> Option<String> {
        self.limit(finished).and_then(|_| self.why.line(&finished.summary.causes))
    }

    fn limit(&self, finished: &Finished) -> Option<Limited> {
        let slow = finished.elapsed >= WHY_FROM;
        slow.then(|| self.why.limit(&finished.summary.causes)).flatten()
    }

    fn summary_event(&self, finished: &Finished) -> Event {
        let sums = &finished.summary;
        let status = finished.result.as_ref().map_or_else(|fault| fault.code.exit_status(), |()| 0);
        let event = Event::new("summary")
            .with("verb", self.name.verb)
            .with("source", self.name.source.as_str())
            .with_name("path", &self.name.dest_bytes)
            .with_sums(sums)
            .with("streams", self.streams_max)
            .with("causes", event::causes(&sums.causes))
            .with("limit", self.limit(finished).map(|limited| self.why.name(limited.by)))
            .with("limit_percent", self.limit(finished).map(|limited| limited.percent))
            .with("why", self.why_slow(finished))
            .with("reconnects", finished.reconnects)
            .with("elapsed", finished.elapsed.as_secs_f64())
            .with("rate", civil::per_second(sums.bytes_sent, finished.elapsed))
            .with("peak_rss_bytes", event::peak_rss_bytes())
            .with("size", finished.object.map(|(size, _)| size.0))
            .with("root", finished.object.map(|(_, root)| root.to_string()))
            .with("exit_status", status);
        match &finished.result {
            Ok(()) => event,
            Err(fault) => event.with_fault_and_hint(fault, self.hint(fault.code)),
        }
    }
}

/// A failure with the path it is about, said once.
fn failure_line(path: &ObjectPath, fault: &Fault, hint: &str) -> String {
    let hint = if fault.code == Code::Partial { "" } else { hint };
    let shown = path.to_string();
    let mut line = if path.is_root() || fault.detail.contains(&shown) {
        fault.to_string()
    } else {
        format!("\"{shown}\": {fault}")
    };
    if !hint.is_empty() {
        line += &format!(" ({hint})");
    }
    line
}

fn entries(count: u32) -> String {
    match count {
        1 => "1 entry".to_owned(),
        many => format!("{many} entries"),
    }
}

const FAILURES_AGAIN: usize = 10;
const EVERY: Duration = Duration::from_secs(1);
const WHY_FROM: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use floe_proto::frame::Causes;
    use floe_types::{EntryCount, Micros};

    fn report(form: Form) -> Report {
        let name = Name {
            verb: "put",
            source: "a".into(),
            dest: "nas:/a".into(),
            dest_bytes: b"nas:/\xff".to_vec(),
            hints: &[],
        };
        Report::new(Voice { form, level: Level::Quiet }, name, Priority::Normal, Instant::now())
    }

    fn finished(object: Option<(ByteCount, Root)>) -> Finished {
        let summary = Summary {
            bytes_total: ByteCount(1 << 30),
            bytes_stored: ByteCount(1 << 30),
            bytes_sent: ByteCount(1 << 29),
            bytes_resumed: ByteCount(1 << 29),
            entries_found: EntryCount(3),
            entries_committed: EntryCount(2),
            entries_failed: EntryCount(1),
            streams: 2,
            ..Summary::default()
        };
        let elapsed = Duration::from_secs(2);
        let packing = Packing::Auto;
        Finished { result: Ok(()), summary, object, packing, elapsed, reconnects: 1 }
    }

    #[test]
    fn a_file_shows_name_size_rate_and_root() {
        let object = Some((ByteCount(1 << 30), Root::of_nothing()));
        let mut report = report(Form::Text);
        report.streams_max = 2;
        let lines = report.summary_lines(&finished(object));
        assert_eq!(lines[0], "nas:/a: 1.00 GiB in 2.00 s, 256.00 MiB/s, 2 streams");
        assert_eq!(lines[1], "  512.00 MiB were there already, 512.00 MiB sent");
        assert_eq!(lines[2], format!("  blake3 {}", Root::of_nothing()));
    }

    #[test]
    fn the_summary_says_why_it_was_slow_if_it_took_a_second() {
        let causes = Causes { network: Micros(7), sink_disk: Micros(7), ..Causes::default() };
        let mut finished = finished(None);
        finished.summary.causes = causes;
        let report = report(Form::Text);
        let line = "  100 % waiting for the receiver's disk; more streams will not help";
        assert!(report.summary_lines(&finished).iter().any(|said| said == line));
        finished.elapsed = Duration::from_millis(999);
        assert!(!report.summary_lines(&finished).iter().any(|said| said == line));
    }

    #[test]
    fn a_tree_counts_entries_and_has_no_root() {
        let lines = report(Form::Text).summary_lines(&finished(None));
        assert_eq!(
            lines[0],
            "nas:/a: 2 entries committed, 1 failed, 1.00 GiB in 2.00 s, 256.00 MiB/s"
        );
        let mut whole = finished(None);
        whole.summary.entries_failed = EntryCount(0);
        let count = &report(Form::Text).summary_lines(&whole)[0];
        assert!(count.starts_with("nas:/a: 2 of 3 entries, 1.00 GiB"), "{count}");
        assert!(!lines.iter().any(|line| line.contains("blake3")));
    }

    #[test]
    fn failures_name_their_path_once() {
        let path = ObjectPath::parse(b"a/b").unwrap();
        let hint = Code::Io.hint();
        let line = failure_line(&path, &Fault::new(Code::Io, "read \"a/b\""), hint);
        assert!(line.starts_with("read \"a/b\": input/output error ("), "{line}");
        let line = failure_line(&path, &Fault::new(Code::Io, "read"), hint);
        assert!(line.starts_with("\"a/b\": read: "), "{line}");
    }
}
