//! `floe torture`: whether this disk and floe keep the crash contract here.
//!
//! Arguments and words; what is done and how it is judged is in floe-torture, which runs this very
//! program as a person would.

use crate::args::{OutputFlags, after_help};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result, Shown, of_path, say};
use crate::output;
use crate::report::{Form, Voice};
use crate::signals::Signals;
use floe_torture::{Account, Findings, Options, Torture};
use floe_types::{ByteCount, Code};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Torture floe on a disk: break everything at random, and see whether the crash contract holds
///
/// In a directory of its own in DIR this starts servers and clients of this very program on this
/// machine, moves random files and trees through a network that cuts, stalls, throttles and
/// corrupts, kills and stops either side at any moment, changes files while they are read, and
/// fills a small disk. Meanwhile it looks at the final names: each must hold the old version,
/// nothing, or the new one whole. What ended with status 0 must stand there; the same command, run
/// again, must finish; at most a window is sent again; nothing is left behind; memory stays within
/// 128 MiB.
///
/// Nothing outside that directory is touched, and it is removed in the end. If a promise broke it
/// is kept, and the last line is the command that does the same again. Who kills this very command
/// (SIGKILL) finds that directory with what ran in it, and perhaps a mount: end those servers,
/// unmount, remove. What is not shown here: what a loss of power does to this disk.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(AFTER))]
pub struct TortureArgs {
    /// A directory on the disk to torture
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What every decision comes from; printed first [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Begin no round later than this, as in 90s, 20m or 2h; what has begun is finished, within
    /// two minutes
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = civil::parse_span)]
    time: Duration,
    /// Only this round of the seed
    #[arg(long, value_name = "N", conflicts_with = "time")]
    round: Option<u64>,
    /// No file is larger; a job needs twelve times as much room
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = size)]
    size: ByteCount,
    /// Rounds at once, from 1 to 16
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=16))]
    jobs: u32,
    #[command(flatten)]
    pub output: OutputFlags,
}

const AFTER: &str = "\
Status 0 says that nothing broke, 5 that a promise did; other failures are those of the test \
itself, as 7 where there is not enough room. Decisions come from the seed, the moments at which \
they fall from the machine: the same seed breaks the same things at about the same time.

Examples:
  floe torture /srv                         a minute on the disk of /srv
  floe torture /srv --time 2h --jobs 4      longer and harder
  floe torture /srv --seed 7 --round 12     one round again";

/// How much room a job needs, in files of the largest size.
const ROOM: u64 = 12;

/// How long an interrupted run may take to end.
const PATIENCE: Duration = Duration::from_secs(4);

/// Runs `floe torture` to its end.
///
/// # Errors
/// `Told` with `Integrity` where a promise broke; what keeps the test from being done;
/// `Interrupted`.
pub async fn run(args: TortureArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(&args.output, Channel::Output);
    check_room(&args)?;
    let seed = args.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32);
    voice.say(&format_args!("seed {seed}"));
    voice.send(|| Event::new("seed").with("seed", seed));
    let options = Options {
        program: std::env::current_exe()
            .map_err(|error| Failure::new(Code::Other, format!("find this program: {error}")))?,
        dir: args.dir.clone(),
        seed,
        time: args.time,
        only: args.round,
        jobs: if args.round.is_some() { 1 } else { args.jobs },
        size_max: args.size.0,
    };
    let torture = Arc::new(Torture::new(options));
    let begun = Instant::now();
    let (told, mut ended) = oneshot::channel();
    let work = Arc::clone(&torture);
    thread::Builder::new()
        .name("torture".to_owned())
        .spawn(move || {
            let last = Mutex::new(begun);
            // Nobody listens any more only where the process ends.
            let _ = told.send(work.run(&|account| tell(voice, account, &last)));
        })
        .map_err(|error| Failure::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
    let found = tokio::select! {
        found = &mut ended => found,
        () = signals.next() => {
            torture.stop();
            let hint = match tokio::time::timeout(PATIENCE, ended).await {
                Ok(_) => "nothing of it is left",
                Err(_) => "not all could be removed: see floe-torture-* in DIR",
            };
            return Err(Failure::hinted(Code::Interrupted, "", hint));
        }
    };
    let lost = |_| Failure::new(Code::Other, "a thread ended without an answer");
    let found = found.map_err(lost)?.map_err(|error| own_failure(&args, &error))?;
    report(voice, &args, seed, &found, begun.elapsed())?;
    match found.breaches.is_empty() {
        true => Ok(()),
        false => Err(Failure::Told(Code::Integrity)),
    }
}

fn own_failure(args: &TortureArgs, error: &io::Error) -> Failure {
    of_path("torture", &args.dir, error)
}

/// Refuses to begin what would fill the disk.
fn check_room(args: &TortureArgs) -> Result<()> {
    let stat = rustix::fs::statvfs(&args.dir)
        .map_err(|errno| of_path("open", &args.dir, &errno.into()))?;
    let free = ByteCount(stat.f_bavail.saturating_mul(stat.f_frsize));
    let jobs = if args.round.is_some() { 1 } else { u64::from(args.jobs) };
    let wanted = ByteCount(args.size.0.saturating_mul(ROOM).saturating_mul(jobs));
    if free < wanted {
        let (free, wanted) = (civil::bytes(free), civil::bytes(wanted));
        let detail = format!("{} has {free} free, {wanted} are needed", Shown(&args.dir));
        return Err(Failure::hinted(Code::NoSpace, detail, "set --size or --jobs smaller"));
    }
    Ok(())
}

/// How far it is, now and then.
fn tell(voice: Voice, account: &Account, last: &Mutex<Instant>) {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if last.elapsed() >= EVERY {
        *last = Instant::now();
        let of = |name| account.sum(name);
        let (rounds, done, run) = (of("rounds"), of("transfers done"), of("commands run"));
        voice.say(&format_args!("{rounds} rounds, {done} transfers of {run} commands"));
        voice.send(|| account_event("progress", account));
    }
}

const EVERY: Duration = Duration::from_secs(10);

fn account_event(kind: &str, account: &Account) -> Event {
    let value = |map: &BTreeMap<&'static str, u64>| {
        map.iter().map(|(name, count)| ((*name).to_owned(), Value::from(*count))).collect()
    };
    let (sums, peaks): (serde_json::Map<_, _>, serde_json::Map<_, _>) =
        (value(&account.sums), value(&account.peaks));
    Event::new(kind).with("counts", sums).with("largest", peaks)
}

fn report(
    voice: Voice,
    args: &TortureArgs,
    seed: u64,
    found: &Findings,
    took: Duration,
) -> Result<()> {
    let again = found.breaches.first().map(|first| replay(args, seed, first.round));
    let status = if again.is_some() { Code::Integrity.exit_status() } else { 0 };
    if let Form::Json(channel) = voice.form {
        for breach in &found.breaches {
            Event::new("broken")
                .with("round", breach.round)
                .with("promise", breach.promise.text())
                .with("seen", breach.seen.as_str())
                .send(channel);
        }
        account_event("summary", &found.account)
            .with("seed", seed)
            .with("elapsed", took.as_secs_f64())
            .with("skipped", found.skipped.iter().map(|one| one.text()).collect::<Vec<_>>())
            .with("broken", found.breaches.len())
            .with("kept", found.kept.as_ref().map(|dir| dir.display().to_string()))
            .with("again", again)
            .with("exit_status", status)
            .send(channel);
        return Ok(());
    }
    if args.output.quiet && again.is_none() {
        return Ok(());
    }
    if !args.output.quiet {
        output::line(&text(found, took))?;
    }
    for breach in &found.breaches {
        say(&format_args!("BROKEN: {breach}"));
    }
    if let (Some(again), Some(kept)) = (again, &found.kept) {
        say(&format_args!(
            "floe: {} promises broken; kept in {}; again: {again}",
            found.breaches.len(),
            Shown(kept)
        ));
    }
    Ok(())
}

/// The command that does the same again.
fn replay(args: &TortureArgs, seed: u64, round: u64) -> String {
    let dir = Shown(&args.dir);
    format!("floe torture {dir} --seed {seed} --round {round} --size {}", args.size.0)
}

/// What was done, for people.
fn text(found: &Findings, took: Duration) -> String {
    let account = &found.account;
    let mut lines = vec![format!("torture of {}", civil::span(took))];
    let width = account.sums.keys().chain(account.peaks.keys()).map(|name| name.len()).max();
    let width = width.unwrap_or(0);
    let shown = |name: &str, count: u64| match name.contains("bytes") || name.contains("memory") {
        true => civil::bytes(ByteCount(count)),
        false => count.to_string(),
    };
    for (name, count) in account.sums.iter().chain(&account.peaks) {
        lines.push(format!("  {name:width$}  {}", shown(name, *count)));
    }
    for one in &found.skipped {
        lines.push(format!("  skipped: {}", one.text()));
    }
    lines.push(match found.breaches.len() {
        0 => "nothing broke".to_owned(),
        broken => format!("BROKEN: {broken}"),
    });
    lines.join("\n")
}

fn size(text: &str) -> std::result::Result<ByteCount, String> {
    match civil::parse_bytes(text)? {
        ByteCount::ZERO => Err("a size that is not zero".to_owned()),
        size => Ok(size),
    }
}
