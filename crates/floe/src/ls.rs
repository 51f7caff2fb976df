//! `floe ls`: the names in a directory on a server.
//!
//! Pages are printed as they come, so a directory of any size costs the memory of one page.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::civil;
use crate::dial::Dialer;
use crate::event::{Channel, Event, path_bytes};
use crate::fault::{Failure, Result};
use crate::output;
use crate::place::must_be_remote;
use crate::remote::{Remote, Spot};
use crate::report::{Form, Voice};
use crate::signals::Signals;
use floe_proto::command::StreamCount;
use floe_proto::frame::{Reply, Request, RootWish, Stat};
use floe_types::{Code, Component, EntryCount, EntryKind, Escaped, Limits, ObjectPath};
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

/// List what is in a directory on a server
///
/// Names come one a line: escaped on a terminal, byte for byte into a pipe. Names within a page are
/// sorted by bytes. A name that is a file is listed itself.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct LsArgs {
    /// The directories: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    /// Also kind and mode, size in bytes, and time of last change (UTC)
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe ls nas:/
  floe ls -l floe://host/images";

/// Runs `floe ls` to its end.
///
/// # Errors
/// What the server answers; the first path that fails ends it.
pub async fn run(args: LsArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(&args.output, Channel::Output);
    let mut dialer = Dialer::new(&args.connect, StreamCount::Fixed(1), voice)?;
    let paths = args
        .paths
        .iter()
        .map(|text| must_be_remote(Spot::parse(text, |name| dialer.knows(name))?, "PATH"))
        .collect::<Result<Vec<_>>>()?;
    let style = match (voice.form, args.long) {
        (Form::Json(_), _) => Style::Json,
        (Form::Text, true) => Style::Long,
        (Form::Text, false) if io::stdout().is_terminal() => Style::Escaped,
        (Form::Text, false) => Style::Plain,
    };
    for remote in paths {
        if args.paths.len() > 1 && style != Style::Plain && voice.form == Form::Text {
            output::line(&format_args!("{remote}:"))?;
        }
        signals.or(list(&mut dialer, &remote, style)).await?;
    }
    dialer.close().await;
    Ok(())
}

/// A page of which all names were left out, or removed meanwhile, has none; a server without an end
/// has no others.
const EMPTY_PAGES_MAX: u32 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    Plain,
    Escaped,
    Long,
    Json,
}

async fn list(dialer: &mut Dialer, remote: &Remote, style: Style) -> Result<()> {
    let (mut after, mut empty) = (None, 0);
    loop {
        let max = EntryCount(Limits::default().page_entries_max);
        let request = Request::List { path: remote.path.clone(), after: after.take(), max };
        match dialer.request(remote, request).await {
            Ok(Reply::Page { names, next }) => {
                empty = if names.is_empty() { empty + 1 } else { 0 };
                if empty > EMPTY_PAGES_MAX {
                    let detail = format!("{remote}: {empty} pages without a name");
                    return Err(Failure::new(Code::Violation, detail));
                }
                print_page(remote, &names, style)?;
                match next {
                    Some(next) => after = Some(next),
                    None => return Ok(()),
                }
            }
            Ok(_) => return Err(unexpected(remote)),
            Err(failure) if failure.code() == Code::NotDirectory => {
                return list_itself(dialer, remote, style).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn list_itself(dialer: &mut Dialer, remote: &Remote, style: Style) -> Result<()> {
    let request = Request::Stat { path: remote.path.clone(), root: RootWish::IfKnown };
    let Reply::Stat(stat) = dialer.request(remote, request).await? else {
        return Err(unexpected(remote));
    };
    let Some((parent, name)) = remote.path.split_last() else { return Err(unexpected(remote)) };
    print_page(&remote.at(parent), &[(name.clone(), Some(stat))], style)
}

/// An answer to another question.
pub fn unexpected(remote: &Remote) -> Failure {
    Failure::new(Code::Violation, format!("{remote}: an answer to another question"))
}

fn print_page(dir: &Remote, names: &[(Component, Option<Stat>)], style: Style) -> Result<()> {
    let mut page = Vec::new();
    for (name, stat) in names {
        match style {
            Style::Plain => {
                page.extend_from_slice(name.as_bytes());
                page.push(b'\n');
            }
            Style::Escaped => writeln!(page, "{name}").unwrap_or_default(),
            Style::Long => writeln!(page, "{}", long_line(name, stat.as_ref())).unwrap_or_default(),
            Style::Json => {
                let path = dir.path.join(name.clone()).unwrap_or_else(|_| ObjectPath::root());
                let event = stat_event("listed", &path, stat.as_ref());
                writeln!(page, "{event}").unwrap_or_default();
            }
        }
    }
    output::write_all(&mut io::stdout().lock(), &page)
}

fn long_line(name: &Component, stat: Option<&Stat>) -> String {
    let Some(stat) = stat else {
        return format!("?????????? {:>14} {:20} {name}", "?", "?");
    };
    let target = match &stat.target {
        Some(target) => format!(" -> {}", Escaped(target)),
        None => String::new(),
    };
    format!(
        "{} {:>14} {} {name}{target}",
        mode_text(stat),
        stat.size.0,
        civil::utc(stat.metadata.mtime)
    )
}

/// `drwxr-xr-x`.
pub fn mode_text(stat: &Stat) -> String {
    let bits = stat.metadata.mode.bits();
    let kind = match stat.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Link => 'l',
    };
    let letters = (0..9u32).map(|nth| {
        let letter = ['r', 'w', 'x'][nth as usize % 3];
        if bits & (0o400 >> nth) == 0 { '-' } else { letter }
    });
    std::iter::once(kind).chain(letters).collect()
}

/// A kind in one word.
pub const fn kind_text(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Link => "link",
    }
}

/// What stands at a path, as an event.
pub fn stat_event(event: &str, path: &ObjectPath, stat: Option<&Stat>) -> Event {
    let event = Event::new(event).with_name("path", &path_bytes(path));
    let Some(stat) = stat else { return event.with("kind", serde_json::Value::Null) };
    let mtime = stat.metadata.mtime;
    let event = event
        .with("kind", kind_text(stat.kind))
        .with("size", stat.size.0)
        .with("mode", format!("{:04o}", stat.metadata.mode.bits()))
        .with("mtime", civil::utc(mtime))
        .with("mtime_secs", mtime.secs())
        .with("mtime_nanos", mtime.nanos())
        .with("root", stat.root.map(|root| root.to_string()));
    match &stat.target {
        Some(target) => event.with_name("target", target),
        None => event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{ByteCount, Metadata, Mode, Timestamp};

    fn stat(kind: EntryKind, bits: u32, target: Option<&[u8]>) -> Stat {
        let metadata = Metadata { mode: Mode::from_bits(bits), mtime: Timestamp::default() };
        let target = target.map(<[u8]>::to_vec);
        Stat { kind, size: ByteCount(5), metadata, target, root: None }
    }

    #[test]
    fn long_lines_show_mode_size_time_and_target() {
        let name = Component::new(b"a\x1bb").unwrap();
        let link = stat(EntryKind::Link, 0o777, Some(b"../\n"));
        assert_eq!(
            long_line(&name, Some(&link)),
            "lrwxrwxrwx              5 1970-01-01T00:00:00Z a\\u{1b}b -> ../\\u{a}"
        );
        assert_eq!(mode_text(&stat(EntryKind::Directory, 0o750, None)), "drwxr-x---");
        assert_eq!(mode_text(&stat(EntryKind::File, 0o604, None)), "-rw----r--");
        assert!(long_line(&name, None).starts_with("??????????"));
    }
}
