//! What the end of a run says about the promises.

use crate::breach::Promise;
use crate::case::Phase;
use crate::client::{Run, Said, number};
use crate::entry::{Compare, Entry};
use crate::plan::{Shape, Verb};
use crate::process::Ended;
use crate::server::MEMORY_BYTES;
use crate::task::Task;
use crate::tree::Tree;
use rustix::process::Signal;
use std::io;
use std::sync::atomic::Ordering;

/// What is to be done after a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The same command runs again.
    Again,
    /// It is through.
    Done,
}

/// Judges a run by how it ended and by what it said.
pub(crate) fn judge(task: &Task, run: &Run, ended: &Ended, phase: Phase) -> io::Result<Verdict> {
    let said = run.said();
    let case = &task.case;
    if let Some(line) = &said.panic {
        case.breach(Promise::Told, format!("{} said {line}", task.name()));
    }
    if run.process.peak_bytes() > MEMORY_BYTES {
        let seen = format!("{} came to {} bytes", task.name(), run.process.peak_bytes());
        case.breach(Promise::Bounded, seen);
    }
    let drawn = match run.drawn() {
        Ok(bytes) => bytes,
        Err(bytes) => {
            let seen =
                format!("{}: of {bytes} bytes on standard output some are wrong", task.name());
            case.breach(Promise::Whole, seen);
            bytes
        }
    };
    match ended {
        Ended::Killed => {
            task.note_stored(&said.progress);
            Ok(Verdict::Again)
        }
        // Before a command listens to them, signals that ask end it at once.
        Ended::Died(signal) if was_asked(run, *signal) => Ok(Verdict::Again),
        Ended::Died(signal) => {
            case.breach(Promise::Told, format!("{} died of signal {signal}", task.name()));
            Ok(Verdict::Again)
        }
        Ended::Status(0) => succeeded(task, &said, phase, drawn),
        Ended::Status(status) => failed(task, run, &said, phase, *status),
    }
}

fn was_asked(run: &Run, signal: i32) -> bool {
    let asked = |one: Signal| one.as_raw() == signal && run.process.was_sent(&[one]);
    asked(Signal::TERM) || asked(Signal::INT)
}

/// Status 0: it must be there, and it is not begun again.
fn succeeded(task: &Task, said: &Said, phase: Phase, drawn: u64) -> io::Result<Verdict> {
    let case = &task.case;
    case.count("transfers done");
    let before = task.history.succeeded.swap(true, Ordering::AcqRel);
    let versions = task.source.end();
    let bytes: Vec<u64> = versions.iter().map(bytes_of).collect();
    if !task.is_drawn() {
        case.add("bytes moved", bytes.last().copied().unwrap_or(0));
        if task.plan.flags.no_clobber && task.plan.older && !task.rivalled {
            case.breach(Promise::Whole, format!("{} replaced what stood there", task.name()));
        }
        match task.rivalled {
            true => task.place.leave(&task.standing),
            false => task.place.settle(&versions.iter().collect::<Vec<_>>()),
        }
        for wrong in task.place.look(task.compare(Compare::Files))? {
            case.breach(Promise::Kept, format!("{} ended with status 0, but {wrong}", task.name()));
        }
    } else if !bytes.contains(&drawn) {
        let seen = format!("{} ended with status 0 after {drawn} bytes", task.name());
        case.breach(Promise::Kept, seen);
    }
    let roots: Vec<String> = versions.iter().filter_map(root_of).collect();
    let root = said.summary["root"].as_str().unwrap_or_default();
    if !roots.is_empty() && !roots.iter().any(|one| one == root) {
        let seen = format!("{} said root {root:?}, and it is {roots:?}", task.name());
        case.breach(Promise::Kept, seen);
    }
    if versions.len() > 1 {
        return Ok(Verdict::Again);
    }
    // What a rival replaced meanwhile is sent once more.
    if before && task.rivalled {
        return Ok(Verdict::Done);
    }
    if phase == Phase::Calm {
        check_calm(task, said);
    }
    check_sums(task, said, bytes[0])?;
    Ok(Verdict::Done)
}

/// A run with nothing in its way sends what is missing, and nothing else.
fn check_calm(task: &Task, said: &Said) {
    let of = |name| number(&said.summary, name);
    let (total, sent, resumed) = (of("bytes_total"), of("bytes_sent"), of("bytes_resumed"));
    if sent > total.saturating_sub(resumed) {
        let seen =
            format!("{} sent {sent} of {total} bytes although {resumed} were there", task.name());
        task.case.breach(Promise::Continues, seen);
    }
    let stored = task.history.stored.load(Ordering::Acquire);
    let journaled = matches!(task.plan.shape, Shape::File(bytes) if bytes > task.plan.flags.chunk);
    let lasting = is_lasting(task) && number(&said.summary, "reconnects") == 0;
    if journaled && lasting && sent > total.saturating_sub(stored) {
        let seen = format!(
            "{}: {stored} of {total} bytes were stored before a kill, and {sent} were sent",
            task.name()
        );
        task.case.breach(Promise::Continues, seen);
    }
}

/// All runs together send everything once, and at most a window again for everything that was
/// taken away.
fn check_sums(task: &Task, said: &Said, bytes: u64) -> io::Result<()> {
    let passed = task.proxy.passed();
    task.case.add("connections", passed.accepted);
    if !is_lasting(task) || task.is_drawn() || task.history.twins.load(Ordering::Acquire) > 0 {
        return Ok(());
    }
    let moved = match task.plan.verb {
        Verb::Put => passed.up,
        Verb::Get => passed.down,
    };
    let flags = &task.plan.flags;
    let window = if flags.lockstep { flags.chunk } else { flags.window };
    let disruptions = task.history.disruptions.load(Ordering::Acquire) + passed.disturbed;
    let entries = task.source.present().len() as u64;
    let talk = passed.accepted * (TALK_BYTES + entries * ENTRY_BYTES);
    let bytes = bytes * task.whole_sends()?;
    let most = bytes + bytes / 50 + window * disruptions + talk;
    if moved > most {
        let seen = format!(
            "{}: {moved} bytes went over the wire for {bytes}, with a window of {window} and \
             {disruptions} disruptions; at most {most} should have ({})",
            task.name(),
            said.summary
        );
        task.case.breach(Promise::Continues, seen);
    }
    let again = moved.saturating_sub(bytes + bytes / 50 + talk);
    task.case.add("bytes sent again", again);
    Ok(())
}

/// What a connection says beside data.
const TALK_BYTES: u64 = 64 << 10;
/// And for each entry.
const ENTRY_BYTES: u64 = 2 << 10;

/// Whether nothing happened that a stage need not outlive.
fn is_lasting(task: &Task) -> bool {
    let filled = task.history.filled.load(Ordering::Acquire);
    task.source.changes() == 0 && !filled && task.proxy.passed().corrupted == 0
}

/// Another status than 0: it must be one that what happened explains, and be said.
fn failed(task: &Task, run: &Run, said: &Said, phase: Phase, status: u8) -> io::Result<Verdict> {
    let case = &task.case;
    task.note_stored(&said.progress);
    let code = [&said.summary, &said.error]
        .iter()
        .find_map(|event| event["code"].as_str())
        .unwrap_or("none");
    let told =
        [&said.summary, &said.error].iter().any(|event| event["exit_status"] == u64::from(status));
    case.note(&format_args!("task {}: {code}: {}", task.nth, said.error["error"]));
    let interrupted = run.process.was_sent(&[Signal::TERM, Signal::INT]);
    if !told && !interrupted {
        let seen = format!("{} ended with status {status} and no event says so", task.name());
        case.breach(Promise::Told, seen);
    }
    if code == "exists" && status == EXISTS && task.plan.flags.no_clobber {
        return refused(task);
    }
    if !explains(task, interrupted, phase, status, code) {
        let line = if said.error.is_null() { said.line.clone() } else { said.error.to_string() };
        let seen = format!("{} ended with status {status} ({code}): {line}", task.name());
        let promise = if phase == Phase::Calm { Promise::Continues } else { Promise::Told };
        case.breach(promise, seen);
    }
    Ok(Verdict::Again)
}

/// `--no-clobber` found something: what stood there before, a rival's, a twin's, or its own, which
/// nobody heard of. That may be of a version before; looks tell whether it is one of them.
fn refused(task: &Task) -> io::Result<Verdict> {
    let mine = task.source.present();
    let own = task.place.holds(&mine, Compare::Bytes)?;
    let before = task.history.succeeded.load(Ordering::Acquire);
    let twins = task.history.twins.load(Ordering::Acquire) > 0;
    let own = own || task.source.changes() > 0;
    if !task.plan.older && !task.rivalled && !own && !before && !twins {
        let seen = format!("{} found something where nothing is", task.name());
        task.case.breach(Promise::Told, seen);
    }
    task.case.count("refused by --no-clobber");
    task.history.refused.store(true, Ordering::Release);
    Ok(Verdict::Done)
}

/// Whether what happened to a task explains a status.
fn explains(task: &Task, interrupted: bool, phase: Phase, status: u8, code: &str) -> bool {
    let corrupted = task.proxy.passed().corrupted > 0;
    let changed = task.source.changes() > 0;
    let filled = task.history.filled.load(Ordering::Acquire);
    let twins = task.history.twins.load(Ordering::Acquire) > 0;
    // A rival set mode and time of what stood there already while it was to be kept.
    let conflict = status == EXISTS && code == "conflict" && task.rivalled;
    if phase == Phase::Calm {
        return conflict;
    }
    match status {
        130 => interrupted,
        INTEGRITY => corrupted,
        NETWORK => match code {
            "violation" | "protocol_mismatch" | "tls" => corrupted,
            "taken_over" => twins,
            _ => true,
        },
        NO_SPACE => filled,
        CHANGED => changed,
        EXISTS => twins || conflict,
        PARTIAL => filled && matches!(task.plan.shape, Shape::Tree { .. }),
        _ => false,
    }
}

// The exit statuses of docs and help.
const INTEGRITY: u8 = 5;
const NETWORK: u8 = 6;
const NO_SPACE: u8 = 7;
const CHANGED: u8 = 8;
const EXISTS: u8 = 9;
const PARTIAL: u8 = 10;

fn bytes_of(tree: &Tree) -> u64 {
    tree.values().map(Entry::size).sum()
}

/// The root of a single file.
fn root_of(tree: &Tree) -> Option<String> {
    match tree.get(&Vec::new()) {
        Some(Entry::File { root, .. }) => Some(root.to_hex().to_string()),
        _ => None,
    }
}
