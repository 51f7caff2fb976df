//! `floe doctor`: each stage of a path measured alone, what a put and a get will come to, and what
//! would help.
//!
//! Bytes that are moved are nobody's: they are made where they are read and are nowhere when they
//! came. A disk is measured by a file without a name: the system takes it back however this ends.

mod findings; // what the figures say
mod measure; // the stages

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::dial::Dialer;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result, Shown, code_of, say};
use crate::output;
use crate::remote::{Remote, ServerName, Spot};
use crate::report::{Form, Level, Voice};
use crate::signals::Signals;
use findings::{Figures, Forecast, Measured};
use floe_proto::command::StreamCount;
use floe_types::{Code, Escaped, ObjectPath};
use measure::Bench;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Measure a path to a server, stage by stage, and say what limits it
///
/// Takes 10 to 20 seconds, up to a minute where the path or a disk is slow, and as much of the
/// network, the processors and the disks as it finds. Moves bytes that are nobody's, at most 16 GiB
/// over the network and 252 MiB on each disk, and leaves nothing behind here or there. What a
/// ticket does not allow is not measured: the way to the server and its disks take one that may
/// write, the way from it one that may read; with one whose uses are counted nothing is. A server
/// measures its disks once a minute: who asks sooner is told the same.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct DoctorArgs {
    /// The server: NAME, NAME:/path or floe://host[:port][/path]; the disk that is measured is that
    /// of the path
    #[arg(value_name = "REMOTE")]
    remote: OsString,
    /// The directory on this machine whose disk is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe doctor nas
  floe doctor floe://host/backups --dir /data";

/// Runs `floe doctor` to its end.
///
/// # Errors
/// `Unsupported` where the server takes no probes, `NotAllowed` where it takes none from who comes
/// without a ticket or may neither read nor write; what the path or the server comes to.
pub async fn run(args: DoctorArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    a_directory(&args.dir)?;
    let voice = Voice::of(&args.output, Channel::Output);
    let mut dialer = Dialer::new(&args.connect, StreamCount::Fixed(1), voice)?;
    let (server, path) = server_of(&args.remote, |name| dialer.knows(name))?;
    let tell = |stage: &str| {
        if voice.level >= Level::Normal && voice.form == Form::Text {
            say(&format_args!("measuring {stage}"));
        }
    };
    let mut bench = Bench { dialer: &mut dialer, server: &server, path, dir: args.dir };
    let figures = signals.or(bench.all(tell)).await?;
    dialer.close().await;
    match voice.form {
        Form::Json(channel) => event(&figures).send(channel),
        Form::Text => output::line(&findings::table(&figures))?,
    }
    Ok(())
}

/// A name that was mistyped is not found out at the end.
fn a_directory(dir: &Path) -> Result<()> {
    let fault = |code| Failure::new(code, format!("measure the disk of {}", Shown(dir)));
    match dir.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(fault(Code::NotDirectory)),
        Err(error) => Err(fault(code_of(error.kind()))),
    }
}

/// A NAME may stand alone here: nothing local can be meant.
fn server_of(text: &OsStr, knows: impl Fn(&str) -> bool) -> Result<(ServerName, ObjectPath)> {
    if let Some(name) = text.to_str().filter(|name| knows(name)) {
        return Ok((ServerName::Known(name.to_owned()), ObjectPath::root()));
    }
    match Spot::parse(text, knows)? {
        Spot::Remote(Remote { server, path, .. }) => Ok((server, path)),
        Spot::Local(_) | Spot::Standard => Err(Failure::hinted(
            Code::Usage,
            format!("\"{}\" is no server", Escaped(text.as_bytes())),
            "name one: NAME as floe hosts shows it, or floe://host[:port]",
        )),
    }
}

fn event(figures: &Figures) -> Event {
    let stages = findings::stages(figures).into_iter().map(|stage| {
        let (rate, micros) = match stage.measured {
            Measured::Rate(rate) => (Some(rate), None),
            Measured::Time(time) => (None, Some(time.0)),
            Measured::Nothing => (None, None),
        };
        json!({ "stage": stage.id, "rate": rate, "micros": micros, "note": stage.note })
    });
    let found = |forecast: Option<Forecast>| {
        forecast.map_or(Value::Null, |forecast| {
            json!({
                "rate": forecast.rate,
                "early_rate": forecast.early,
                "limit": forecast.limit,
                "helps": forecast.helps,
                "missing": forecast.missing,
            })
        })
    };
    Event::new("doctor")
        .with("stages", stages.collect::<Vec<_>>())
        .with("put", found(findings::put(figures)))
        .with("get", found(findings::get(figures)))
}
