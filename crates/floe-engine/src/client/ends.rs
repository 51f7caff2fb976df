//! Where a transfer ends on this machine: what a person named, as a store and a path in it.
//!
//! A SRC is followed if it is a link; a directory is its own root, a file's root is its directory.
//! A DEST is the final name; its root is the directory that holds it, which is made now, with its
//! parents, if it is missing: the stage rests there, and the same command must find it again.

use crate::files::LocalEnd;
use crate::pipe::{Input, Output};
use crate::socket::reason;
use floe_proto::frame::Unasked;
use floe_store::Store;
use floe_store::local::LocalStore;
use floe_store::memory::MemoryStore;
use floe_types::escape::Escaped;
use floe_types::{Code, Component, Fault, ObjectPath};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalSource {
    /// A file or a tree.
    Path(PathBuf),
    /// What comes in on standard input.
    StandardInput,
}

/// Where it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LocalSink {
    /// The final name.
    Path(PathBuf),
    /// To standard output.
    StandardOutput,
}

/// One end of a transfer on this machine.
#[derive(Clone)]
pub(super) struct End {
    pub(super) at: LocalEnd,
    /// The transfer's root there.
    pub(super) path: ObjectPath,
    /// Of a sink: `Welcome` where nothing stands there.
    pub(super) unasked: Unasked,
}

/// The end of a probe, which opens nothing there.
pub(super) fn nothing() -> End {
    let at = LocalEnd::Store(Arc::new(MemoryStore::default()));
    End { at, path: ObjectPath::root(), unasked: Unasked::Refused }
}

/// Opens the end of a put. Blocks elsewhere.
pub(super) async fn of_source(source: LocalSource) -> Result<End, Fault> {
    match source {
        LocalSource::Path(path) => elsewhere(move || source_of_path(&path)).await,
        LocalSource::StandardInput => {
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(|error| {
                Fault::new(Code::Io, format!("open standard input: {}", reason(&error)))
            })?;
            Ok(End {
                at: LocalEnd::Input(Input::start(input)?),
                path: ObjectPath::root(),
                unasked: Unasked::Refused,
            })
        }
    }
}

/// Opens the end of a get. Blocks elsewhere.
pub(super) async fn of_sink(sink: LocalSink) -> Result<End, Fault> {
    match sink {
        LocalSink::Path(path) => elsewhere(move || sink_of_path(&path)).await,
        LocalSink::StandardOutput => {
            let output = io::stdout().as_fd().try_clone_to_owned().map_err(|error| {
                Fault::new(Code::Io, format!("open standard output: {}", reason(&error)))
            })?;
            Ok(End {
                at: LocalEnd::Output(Output::start(output)?),
                path: ObjectPath::root(),
                unasked: Unasked::Welcome,
            })
        }
    }
}

async fn elsewhere(
    open: impl FnOnce() -> Result<End, Fault> + Send + 'static,
) -> Result<End, Fault> {
    tokio::task::spawn_blocking(open)
        .await
        .unwrap_or_else(|_| Err(Fault::new(Code::Io, "open the local end")))
}

fn source_of_path(path: &Path) -> Result<End, Fault> {
    let real = path.canonicalize().map_err(|error| fault("open", path, &error))?;
    let is_dir = real.metadata().map_err(|error| fault("open", path, &error))?.is_dir();
    match (real.parent(), real.file_name()) {
        (Some(parent), Some(name)) if !is_dir => end(parent, above(path), &[name]),
        _ => end(&real, path, &[]),
    }
}

fn sink_of_path(path: &Path) -> Result<End, Fault> {
    let stands = path.symlink_metadata().is_ok();
    let unasked = if stands { Unasked::Refused } else { Unasked::Welcome };
    Ok(End { unasked, ..place_of_path(path)? })
}

fn place_of_path(path: &Path) -> Result<End, Fault> {
    let Some(name) = path.file_name() else {
        // "/", "." or "..": no name of its own, so it is there or nothing is.
        let real = path.canonicalize().map_err(|error| fault("open", path, &error))?;
        return end(&real, path, &[]);
    };
    object_path(&[name])?; // before anything is made
    let mut names = vec![name];
    let mut standing = above(path);
    loop {
        let shown = if standing.as_os_str().is_empty() { Path::new(".") } else { standing };
        match shown.canonicalize() {
            Ok(real) => {
                let (last, missing) = (name, names.split_off(1));
                let real = made(real, missing).map_err(|fault| {
                    let shown = Escaped(above(path).as_os_str().as_bytes());
                    Fault::new(fault.code, format!("make directory \"{shown}\""))
                })?;
                return end(&real, above(path), &[last]);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(name), Some(next)) = (standing.file_name(), standing.parent()) else {
                    return Err(fault("open", path, &error));
                };
                names.push(name);
                standing = next;
            }
            Err(error) => return Err(fault("open", shown, &error)),
        }
    }
}

/// The directory with these names beneath `real`, innermost first: made, durably.
fn made(real: PathBuf, mut names: Vec<&OsStr>) -> Result<PathBuf, Fault> {
    if names.is_empty() {
        return Ok(real);
    }
    names.reverse();
    LocalStore::open(&real)?.make_dir(&object_path(&names)?)?;
    Ok(names.iter().fold(real, |path, name| path.join(name)))
}

/// The directory that a person's name leads through, as it was named; empty for the working one.
fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// An end beneath `root`, which the person calls so.
fn end(root: &Path, called: &Path, names: &[&OsStr]) -> Result<End, Fault> {
    let path = object_path(names)?;
    let store = LocalStore::open_own(root, called)?;
    Ok(End { at: LocalEnd::Store(Arc::new(store)), path, unasked: Unasked::Refused })
}

fn object_path(names: &[&OsStr]) -> Result<ObjectPath, Fault> {
    let components = names
        .iter()
        .map(|name| Component::new(name.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
        .and_then(ObjectPath::from_components);
    components.map_err(|why| {
        let shown = names.last().map_or(&b""[..], |name| name.as_bytes());
        Fault::new(Code::BadPath, format!("\"{}\": {why}", Escaped(shown)))
    })
}

fn fault(doing: &str, path: &Path, error: &io::Error) -> Fault {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::NotFound,
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        io::ErrorKind::NotADirectory => Code::NotDirectory,
        io::ErrorKind::InvalidFilename => Code::NameTooLong,
        _ => Code::Io,
    };
    let shown = Escaped(path.as_os_str().as_bytes());
    // Where the code says it all, the system's words would only repeat it.
    let detail = match code {
        Code::Io => format!("{doing} \"{shown}\": {}", reason(error)),
        _ => format!("{doing} \"{shown}\""),
    };
    Fault::new(code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(end: &End) -> String {
        end.path.to_string()
    }

    #[test]
    fn a_file_is_beneath_its_directory_and_a_directory_is_its_own_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "x").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let path = |name: &str| source_of_path(&dir.path().join(name)).map(|end| path_of(&end));
        assert_eq!(path("a").unwrap(), "a");
        assert_eq!(path("link").unwrap(), "a");
        assert_eq!(path("").unwrap(), "/");
        assert_eq!(path("b").unwrap_err().code, Code::NotFound);
        assert_eq!(path("a/b").unwrap_err().code, Code::NotDirectory);
    }

    #[test]
    fn a_destination_is_rooted_where_it_will_stand_and_again_when_the_command_is_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| sink_of_path(&dir.path().join(name)).map(|end| path_of(&end));
        assert_eq!(path("x").unwrap(), "x");
        assert_eq!(path("x/../z").unwrap_err().code, Code::NotFound);
        assert_eq!(path(".floe").unwrap_err().code, Code::BadPath);
        assert_eq!(path("a/.floe/z").unwrap_err().code, Code::BadPath);
        assert_eq!(path("a/b/.floe").unwrap_err().code, Code::BadPath);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is made yet");
        for _ in 0..2 {
            assert_eq!(path("x/y/z").unwrap(), "z", "a stage is looked for where it was made");
        }
        assert!(dir.path().join("x/y").is_dir());
        let unasked = |name: &str| sink_of_path(&dir.path().join(name)).unwrap().unasked;
        assert_eq!(unasked("x/new"), Unasked::Welcome);
        std::os::unix::fs::symlink("nowhere", dir.path().join("x/link")).unwrap();
        assert_eq!((unasked("x/y"), unasked("x/link")), (Unasked::Refused, Unasked::Refused));
    }
}
