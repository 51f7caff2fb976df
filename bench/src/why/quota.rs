//! A slow processor: a control group that may run so long of each period, and is gone with the
//! value that stands for it.

use crate::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// Microseconds.
const PERIOD: u32 = 20_000;
const TOP: &str = "/sys/fs/cgroup";

/// A control group of programs that have little of a processor.
pub struct Quota {
    dir: PathBuf,
}

impl Quota {
    /// A group beside this process's own, which may run so many microseconds of each 20,000.
    pub fn make(micros: u32) -> Result<Self> {
        let dir = home()?.join(format!("floe-bench-{}", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("make {}: {error}", dir.display()))?;
        let quota = Self { dir };
        let one = |name: &str, text: String| {
            let file = quota.dir.join(name);
            fs::write(&file, text).map_err(|error| format!("write {}: {error}", file.display()))
        };
        if quota.dir.join("cpu.max").exists() {
            one("cpu.max", format!("{micros} {PERIOD}"))?;
        } else {
            one("cpu.cfs_period_us", PERIOD.to_string())?;
            one("cpu.cfs_quota_us", micros.to_string())?;
        }
        Ok(quota)
    }

    /// What a program writes its id to, to be in it.
    pub fn door(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Where this process's group of processors is: of version 1, where that is mounted, else of 2.
fn home() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")
        .map_err(|error| format!("read /proc/self/cgroup: {error}"))?;
    let own = |wanted: &dyn Fn(&str) -> bool| {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let first = Path::new(TOP).join("cpu");
    if first.is_dir()
        && let Some(path) = own(&|controllers| controllers.split(',').any(|one| one == "cpu"))
    {
        return Ok(first.join(path));
    }
    // A group with processes of its own may have no groups with limits: beside it, at the top.
    own(&str::is_empty).map(|_| PathBuf::from(TOP)).ok_or_else(|| "no control groups".to_owned())
}
