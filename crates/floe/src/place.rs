//! Where a SRC goes: the rules for DEST.
//!
//! DEST ending in `/`, or `.`, or more than one SRC: into it, under its own name. Otherwise DEST is
//! the final name; only a file goes into a directory that stands there. A directory is always DEST
//! itself, so that a second run means the same. Nothing here asks a server: `Rule::Ask` says when
//! to.

use crate::fault::{Failure, Result, Shown, of_path};
use crate::remote::{Ending, Remote, Spot};
use floe_types::{Code, Component, Escaped, ObjectPath, PathFault};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a SRC is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceKind {
    /// One file (or a link that leads to one).
    File,
    /// A directory, with all it holds.
    Directory,
}

/// Whether a SRC goes into DEST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// Into it, under its own name.
    Into,
    /// DEST is the final name.
    Itself,
    /// Into it if a directory stands there, else itself.
    Ask,
}

/// How many SRC the command has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sources {
    /// One.
    One,
    /// More.
    Several,
}

/// A SRC on this machine that can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalTree {
    /// Its path, as it was given.
    pub path: PathBuf,
    /// What it is.
    pub kind: SourceKind,
}

/// The rule for a SRC of that kind and a DEST that ended so.
pub fn rule(ending: Ending, sources: Sources, kind: SourceKind) -> Rule {
    match (ending, sources, kind) {
        (Ending::Directory, ..) | (_, Sources::Several, _) => Rule::Into,
        (Ending::Name, Sources::One, SourceKind::File) => Rule::Ask,
        (Ending::Name, Sources::One, SourceKind::Directory) => Rule::Itself,
    }
}

impl Sources {
    /// Of so many arguments.
    pub const fn of(count: usize) -> Self {
        if count > 1 { Self::Several } else { Self::One }
    }
}

/// Looks at a SRC of `put` before anything is sent: it must be there, and be a file or a directory.
///
/// # Errors
/// `NotFound`, `PermissionDenied`, `NotRegular`, `BadPath` (beneath `.floe`), the system's.
pub fn look_at_source(path: &Path) -> Result<LocalTree> {
    refuse_reserved(path)?;
    let found = fs::metadata(path).map_err(|error| of_path("open", path, &error))?;
    let kind = if found.is_dir() {
        SourceKind::Directory
    } else if found.is_file() {
        SourceKind::File
    } else {
        return Err(Failure::new(Code::NotRegular, format!("open {}", Shown(path))));
    };
    Ok(LocalTree { path: path.to_owned(), kind })
}

/// Refuses a local path with the reserved name in it, however it is spelled, also where the working
/// directory or a link brings it in.
///
/// # Errors
/// `BadPath`.
pub fn refuse_reserved(path: &Path) -> Result<()> {
    let reserved = |name: &[u8]| Component::new(name) == Err(PathFault::Reserved);
    let holds = |path: &Path| path.iter().any(|name| reserved(name.as_bytes()));
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = absolute.ancestors().find_map(|above| fs::canonicalize(above).ok());
    if holds(path) || real.is_some_and(|real| holds(&real)) {
        let detail = format!("{}: {}", Shown(path), PathFault::Reserved);
        return Err(Failure::new(Code::BadPath, detail));
    }
    Ok(())
}

/// The name a local SRC has of its own: `.` and `..` have that of the directory they lead to.
///
/// # Errors
/// `Usage` for `/`, `BadPath` for a name that no object can have, the system's.
pub fn own_name(path: &Path) -> Result<Component> {
    let resolved;
    let name = match path.file_name() {
        Some(name) if !path.as_os_str().as_bytes().ends_with(b"/.") => name,
        _ => {
            resolved = fs::canonicalize(path).map_err(|error| of_path("open", path, &error))?;
            resolved.file_name().ok_or_else(|| nameless(&Shown(path)))?
        }
    };
    Component::new(name.as_bytes())
        .map_err(|fault| Failure::new(Code::BadPath, format!("{}: {fault}", Shown(path))))
}

/// The name a remote SRC has of its own.
///
/// # Errors
/// `Usage` for the root.
pub fn own_remote_name(source: &Remote) -> Result<&Component> {
    source.path.name().ok_or_else(|| nameless(source))
}

fn nameless(what: &dyn std::fmt::Display) -> Failure {
    Failure::hinted(
        Code::Usage,
        format!("{what} has no name of its own"),
        "give the final name as DEST, without '/' at its end",
    )
}

/// The final remote path of a SRC that goes into `dest`.
///
/// # Errors
/// `BadPath` where it is too long or too deep.
pub fn into_remote(dest: &Remote, name: Component) -> Result<ObjectPath> {
    let shown = name.to_string();
    dest.path
        .join(name)
        .map_err(|fault| Failure::new(Code::BadPath, format!("\"{dest}/{shown}\": {fault}")))
}

/// The final local path of a SRC that goes into `dest`.
pub fn into_local(dest: &Path, name: &Component) -> PathBuf {
    dest.join(std::ffi::OsString::from_vec(name.as_bytes().to_vec()))
}

/// The final local path where DEST is the name itself: `..` and the like are resolved, so that it
/// has a last name.
///
/// # Errors
/// `Usage` for `/`, the system's.
pub fn itself_local(dest: &Path) -> Result<PathBuf> {
    refuse_reserved(dest)?;
    if dest.file_name().is_some() {
        return Ok(dest.to_owned());
    }
    let resolved = fs::canonicalize(dest).map_err(|error| of_path("open", dest, &error))?;
    match resolved.file_name() {
        Some(_) => Ok(resolved),
        None => Err(Failure::hinted(
            Code::Usage,
            format!("{} cannot be replaced by a tree", Shown(dest)),
            "name a directory beneath it",
        )),
    }
}

/// Refuses two SRC that would get one final name.
///
/// # Errors
/// `Usage`.
pub fn refuse_same_names<'a>(names: impl Iterator<Item = &'a Component>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Failure::hinted(
                Code::Usage,
                format!("two SRC have the name \"{name}\""),
                "they would replace each other: run floe once for each",
            ));
        }
    }
    Ok(())
}

/// Refuses to move a tree to a place within itself.
///
/// # Errors
/// `Usage`.
pub fn refuse_inside(from: &Remote, to: &ObjectPath) -> Result<()> {
    if from.path.contains(to) && from.path != *to {
        return Err(Failure::hinted(
            Code::Usage,
            format!("\"{to}\" is inside \"{}\"", from.path),
            "DEST must lie outside of SRC",
        ));
    }
    Ok(())
}

/// The argument as an object on a server.
///
/// # Errors
/// `Usage` where it is none; `role` says which argument it is.
pub fn must_be_remote(spot: Spot, role: &str) -> Result<Remote> {
    match spot {
        Spot::Remote(remote) => Ok(remote),
        other => Err(Failure::hinted(
            Code::Usage,
            format!("{role} \"{other}\" is not on a server"),
            "write floe://host[:port]/path, or NAME:/path with a NAME of 'floe hosts'",
        )),
    }
}

/// Refuses a remote name where only a local one may stand.
pub fn must_not_be_remote(remote: &Remote, role: &str) -> Failure {
    let shown = remote.to_string();
    Failure::hinted(
        Code::Usage,
        format!("{role} \"{}\" is on a server", Escaped(shown.as_bytes())),
        "one end of a transfer is this machine: put sends there, get brings here",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::ServerName;

    fn remote(path: &str) -> Remote {
        Remote {
            server: ServerName::Known("nas".into()),
            path: ObjectPath::parse(path.as_bytes()).unwrap(),
            ending: Ending::Name,
        }
    }

    #[test]
    fn dest_rules_are_the_documented_ones() {
        use SourceKind::{Directory, File};
        for (ending, sources, kind, expected) in [
            (Ending::Directory, Sources::One, File, Rule::Into),
            (Ending::Directory, Sources::One, Directory, Rule::Into),
            (Ending::Name, Sources::Several, Directory, Rule::Into),
            (Ending::Name, Sources::Several, File, Rule::Into),
            (Ending::Name, Sources::One, File, Rule::Ask),
            (Ending::Name, Sources::One, Directory, Rule::Itself),
        ] {
            assert_eq!(rule(ending, sources, kind), expected, "{ending:?} {sources:?} {kind:?}");
        }
    }

    #[test]
    fn own_names_resolve_dots() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("deep")).unwrap();
        let name = |path: &Path| own_name(path).unwrap().to_string();
        assert_eq!(name(&tree), "tree");
        assert_eq!(name(&tree.join(".")), "tree");
        assert_eq!(name(&tree.join("deep/..")), "tree");
        assert_eq!(own_name(Path::new("/")).unwrap_err().code(), Code::Usage);
        assert_eq!(itself_local(&tree.join("deep/..")).unwrap(), fs::canonicalize(&tree).unwrap());
        assert_eq!(own_remote_name(&remote("")).unwrap_err().code(), Code::Usage);
    }

    #[test]
    fn sources_are_looked_at_before_anything_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let missing = look_at_source(&dir.path().join("none")).unwrap_err();
        assert_eq!(missing.code(), Code::NotFound);
        assert_eq!(look_at_source(Path::new("/dev/null")).unwrap_err().code(), Code::NotRegular);
        let reserved = look_at_source(&dir.path().join(".floe/x")).unwrap_err();
        assert_eq!(reserved.code(), Code::BadPath);
        assert_eq!(look_at_source(dir.path()).unwrap().kind, SourceKind::Directory);
    }

    #[test]
    fn refuses_clashes_and_loops() {
        let name = |text: &[u8]| Component::new(text).unwrap();
        let names = [name(b"a"), name(b"b"), name(b"a")];
        assert!(refuse_same_names(names[..2].iter()).is_ok());
        assert_eq!(refuse_same_names(names.iter()).unwrap_err().code(), Code::Usage);
        let from = remote("a/b");
        assert!(refuse_inside(&from, &remote("a/b/c").path).is_err());
        assert!(refuse_inside(&from, &remote("a/bc").path).is_ok());
        assert!(refuse_inside(&from, &remote("a/b").path).is_ok());
    }
}
