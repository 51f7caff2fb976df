//! What the process of a server may touch from here on: the served root and its state.
//!
//! Paths are resolved beneath the root's handle anyway, by the kernel (`floe_store::kernel`). This
//! is the second fence, for the mistake nobody has found: Landlock refuses the thread that asks for
//! it, and every thread that it starts, all other files, whoever the process runs as. It cannot be
//! taken back. Nor does a server connect to anybody: where the kernel can refuse TCP (6.7), it
//! does. Without it (a kernel before 5.13, or one that has it switched off) a server serves all the
//! same, and says so.

use super::ReadOnly;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::error::Error;
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
pub(super) fn confine(root: &Path, state: &Path, read_only: ReadOnly) -> Confinement {
    match restrict(root, state, read_only) {
        Ok(RulesetStatus::FullyEnforced) => Confinement::Full,
        Ok(RulesetStatus::PartiallyEnforced) => Confinement::Partial,
        Ok(RulesetStatus::NotEnforced) => Confinement::None,
        Err(error) => {
            tracing::warn!(%error, "the process is not confined");
            Confinement::None
        }
    }
}

fn restrict(
    root: &Path,
    state: &Path,
    read_only: ReadOnly,
) -> Result<RulesetStatus, Box<dyn Error>> {
    let beneath_root = if read_only == ReadOnly::Yes { read() } else { written() };
    let mut rules = Ruleset::default();
    if read_only == ReadOnly::No {
        // The first Landlock refuses every rename from a stage to its place: rather none than that.
        rules =
            rules.set_compatibility(CompatLevel::SoftRequirement).handle_access(AccessFs::Refer)?;
    }
    let mut rules = rules
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for (path, access) in [(root, beneath_root), (state, written())] {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    Ok(rules.restrict_self()?.ruleset)
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
    fn confined<R: Send>(read_only: ReadOnly, then: impl FnOnce(&Path) -> R + Send) -> Option<R> {
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&state).unwrap();
        fs::write(root.join("old"), "old").unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let done = confine(&root, &state, read_only);
                (done != Confinement::None).then(|| then(dir.path()))
            });
            thread.join().unwrap()
        })
    }

    fn denied<T>(result: std::io::Result<T>) -> bool {
        result.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    }

    #[test]
    fn a_server_connects_to_nobody_and_hears_whoever_comes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _ = confined(ReadOnly::No, |_| {
            let connected = std::net::TcpStream::connect(at);
            // A kernel before 6.7 cannot refuse it.
            assert!(denied(connected) || !refuses_tcp());
        });
        let came = std::thread::spawn(move || std::net::TcpStream::connect(at).unwrap());
        listener.accept().unwrap();
        came.join().unwrap();
    }

    fn refuses_tcp() -> bool {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        rules.handle_access(AccessNet::ConnectTcp).is_ok()
    }

    #[test]
    fn nothing_outside_can_be_read_made_or_reached_by_a_link() {
        // A kernel without Landlock cannot show it.
        let _ = confined(ReadOnly::No, |dir| {
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
        let _ = confined(ReadOnly::Yes, |dir| {
            assert_eq!(fs::read_to_string(dir.join("root/old")).unwrap(), "old");
            assert!(denied(fs::write(dir.join("root/old"), "x")));
            assert!(denied(fs::remove_file(dir.join("root/old"))));
            fs::write(dir.join("state/ticket"), "x").unwrap();
        });
    }
}
