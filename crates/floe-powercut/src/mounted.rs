//! A `Tree` behind a mount point of this machine, and the switch of its power.
//!
//! When the power goes, calls are neither done nor answered, as on a machine that stands still: who
//! makes one waits, and is killed meanwhile. Then the calls end, the mount goes, and the same tree
//! is mounted again with what survived. The kernel keeps no unwritten bytes of its own here: each
//! write reaches the tree before it returns.

mod calls; // what the kernel asks

use crate::dice::Dice;
use crate::file::Toll;
use crate::tree::{Fuse, Power, Survivors, Tree};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the mounts of one tree and the one who cuts them share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    stuck: Stuck,
}

/// What becomes of calls without power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stuck {
    /// They wait.
    Waiting,
    /// They fail: nobody is left who could learn it.
    Failing,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mounted tree; unmounted when it is dropped.
#[derive(Debug)]
pub struct Mounted {
    shared: Arc<Shared>,
    at: PathBuf,
    session: Option<fuser::BackgroundSession>,
}

/// Why this machine cannot mount, or nothing: it needs `/dev/fuse` and root.
#[must_use]
pub fn missing() -> Option<&'static str> {
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse");
    }
    if !rustix::process::geteuid().is_root() {
        return Some("only root may mount");
    }
    None
}

impl Mounted {
    /// Mounts an empty tree on a new directory in `dir`, where this machine can. Else a test that
    /// wants it says why it tests nothing, past the capture of its output.
    ///
    /// # Errors
    /// The system's.
    pub fn or_skipped(dir: &Path) -> io::Result<Option<Self>> {
        if let Some(why) = missing() {
            let said = format!("\n*** SKIPPED, NOTHING WAS TESTED on a mounted tree: {why} ***\n");
            io::stderr().write_all(said.as_bytes())?;
            return Ok(None);
        }
        let at = dir.join("mount");
        std::fs::create_dir(&at)?;
        Self::new(&at).map(Some)
    }

    /// Mounts an empty tree.
    ///
    /// # Errors
    /// The system's.
    pub fn new(at: &Path) -> io::Result<Self> {
        let state = State { tree: Tree::new(), stuck: Stuck::Waiting };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let mut mounted = Self { shared, at: at.to_owned(), session: None };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Arms a cut.
    pub fn arm(&self, fuse: Fuse) {
        self.shared.lock().tree.arm(fuse);
    }

    /// Takes the power away, now.
    pub fn switch_off(&self) {
        self.shared.lock().tree.switch_off();
        self.shared.changed.notify_all();
    }

    /// Waits until the power is gone, so long at most.
    #[must_use]
    pub fn wait_for_off(&self, patience: Duration) -> Power {
        let powered = |state: &mut State| state.tree.power() == Power::On;
        let waited = self.shared.changed.wait_timeout_while(self.shared.lock(), patience, powered);
        waited.unwrap_or_else(PoisonError::into_inner).0.tree.power()
    }

    /// How many changing calls were done, and what all cuts took.
    #[must_use]
    pub fn figures(&self) -> (u64, Toll) {
        let state = self.shared.lock();
        (state.tree.calls(), state.tree.toll())
    }

    /// Loses what does not survive, and mounts what does. No process may be left that has anything
    /// open here.
    ///
    /// # Errors
    /// The system's.
    pub fn cut(&mut self, survivors: &Survivors, dice: &mut Dice) -> io::Result<Toll> {
        {
            let mut state = self.shared.lock();
            state.tree.switch_off();
            state.stuck = Stuck::Failing;
        }
        self.shared.changed.notify_all();
        self.unmount()?;
        let toll = {
            let mut state = self.shared.lock();
            state.stuck = Stuck::Waiting;
            state.tree.cut(survivors, dice)
        };
        self.mount()?;
        Ok(toll)
    }

    /// Lets calls that wait end with an error, so that who was killed in one can go.
    pub fn release(&self) {
        self.shared.lock().stuck = Stuck::Failing;
        self.shared.changed.notify_all();
    }

    fn mount(&mut self) -> io::Result<()> {
        let mut config = fuser::Config::default();
        let source = fuser::MountOption::FSName("floe-powercut".to_owned());
        config.mount_options.extend([source, fuser::MountOption::DefaultPermissions]);
        let calls = calls::Calls::new(Arc::clone(&self.shared));
        self.session = Some(fuser::spawn_mount(calls, &self.at, &config)?);
        Ok(())
    }

    fn unmount(&mut self) -> io::Result<()> {
        match self.session.take().map_or(Ok(()), fuser::BackgroundSession::umount_and_join) {
            // How the kernel may end a connection whose mount went with a request under way.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            answer => answer,
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.release();
        if let Err(error) = self.unmount() {
            eprintln!("floe-powercut: unmount {}: {error}", self.at.display());
        }
    }
}

#[cfg(test)]
mod tests;
