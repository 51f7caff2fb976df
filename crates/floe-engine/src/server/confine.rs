//! What the process of a server may touch from here on: the served root and its state.
//!
//! Paths are resolved beneath the root's handle anyway, by the kernel (`floe_store::kernel`). This
//! is the second fence, for the mistake nobody has found: Landlock refuses the thread that asks for
//! it, and every thread that it starts, all other files, whoever the process runs as. It cannot be
//! taken back. TCP is not touched. Without it (a kernel before 5.13, or one that has it switched
//! off) a server serves all the same, and says so.

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::Path;

/// Whether a server confines its process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confine {
    /// The thread that binds, and all that come from it, for good.
    Process,
    /// It does not: others share the process.
    Nothing,
}

/// How far a process is confined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confinement {
    /// To the served root and the state.
    Full,
    /// As far as this kernel can: some accesses it does not know.
    Partial,
    /// Not at all: this kernel cannot (it has no Landlock, or the first one), or nobody asked.
    None,
}

/// What confinement was written for. A kernel that knows less does what it can.
const NEWEST: ABI = ABI::V6;

/// Confines this thread, and every one it starts.
pub(super) fn confine(root: &Path, state: &Path, change: Change) -> Confinement {
    match restrict(root, state, change) {
        Ok(RulesetStatus::FullyEnforced) => Confinement::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Confinement::Partial,
        Ok(RulesetStatus::NotEnforced) => Confinement::None,
        Err(why) => {
            tracing::warn!(why, "the process is not confined");
            Confinement::None
        }
    }
}

/// Whether what is served may be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Allowed,
    Refused,
}

impl From<super::ReadOnly> for Change {
    fn from(read_only: super::ReadOnly) -> Self {
        match read_only {
            super::ReadOnly::Yes => Self::Refused,
            super::ReadOnly::No => Self::Allowed,
        }
    }
}

fn restrict(root: &Path, state: &Path, change: Change) -> Result<RulesetStatus, String> {
    let beneath_root = if change == Change::Allowed { written() } else { read() };
    let mut rules = Ruleset::default();
    if change == Change::Allowed {
        // The first Landlock refuses every rename from a stage to its place: rather none than that.
        rules = rules
            .set_compatibility(CompatLevel::SoftRequirement)
            .handle_access(AccessFs::Refer)
            .map_err(told)?;
    }
    let mut rules = rules
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .map_err(told)?
        .scope(Scope::from_all(NEWEST))
        .map_err(told)?
        .create()
        .map_err(told)?;
    for (path, access) in [(root, beneath_root), (state, written())] {
        let path = PathFd::new(path).map_err(|why| why.to_string())?;
        rules = rules.add_rule(PathBeneath::new(path, access)).map_err(told)?;
    }
    Ok(rules.restrict_self().map_err(told)?.ruleset)
}

fn told(error: impl Into<RulesetError>) -> String {
    error.into().to_string()
}

fn read() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

/// All that a store does; no program is run, and nothing is made but files, directories and links.
fn written() -> BitFlags<AccessFs> {
    read()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::Refer
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;

    /// In a thread of its own: it cannot be taken back.
    fn confined<R: Send>(change: Change, then: impl FnOnce(&Path) -> R + Send) -> Option<R> {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(root.join("old"), "old").unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let done = confine(&root, &state, change);
                (done != Confinement::None).then(|| then(dir.path()))
            });
            thread.join().unwrap()
        })
    }

    fn denied<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn nothing_outside_can_be_read_made_or_reached_by_a_link() {
        // A kernel without Landlock cannot show it.
        let _ = confined(Change::Allowed, |dir| {
            assert!(denied(fs::read(dir.join("outside"))));
            assert!(denied(fs::write(dir.join("new"), "x")));
            assert!(denied(fs::read_dir("/etc")));
            std::os::unix::fs::symlink(dir.join("outside"), dir.join("root/link")).unwrap();
            assert!(denied(fs::read(dir.join("root/link"))));
            let thread = std::thread::spawn({
                let outside = dir.join("outside");
                move || fs::read(outside)
            });
            assert!(denied(thread.join().unwrap()), "a thread that is started later");
            fs::write(dir.join("root/new"), "x").unwrap();
            fs::create_dir(dir.join("root/d")).unwrap();
            fs::rename(dir.join("root/new"), dir.join("root/d/new")).unwrap();
            fs::write(dir.join("state/ticket"), "x").unwrap();
        });
    }

    #[test]
    fn what_is_served_read_only_cannot_be_changed() {
        let _ = confined(Change::Refused, |dir| {
            assert_eq!(fs::read_to_string(dir.join("root/old")).unwrap(), "old");
            assert!(denied(fs::write(dir.join("root/old"), "x")));
            assert!(denied(fs::remove_file(dir.join("root/old"))));
            fs::write(dir.join("state/ticket"), "x").unwrap();
        });
    }
}
