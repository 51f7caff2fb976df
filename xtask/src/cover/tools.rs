//! LLVM's tools that read the counts: `llvm-profdata` and `llvm-cov`.
//!
//! They have to be of the compiler's own LLVM, by its major number, since the format of the counts
//! changes with it. Looked at, in this order: `LLVM_PROFDATA` and `LLVM_COV`, the toolchain's own
//! (`rustup component add llvm-tools`), a distribution's package of that LLVM, and PATH.

use super::perform;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Both tools.
#[derive(Debug)]
pub struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

/// Finds them.
///
/// # Errors
/// One that is missing or of another LLVM: what to install.
pub fn find() -> Result<Tools, String> {
    let rustc = Rustc::ask()?;
    Ok(Tools {
        profdata: rustc.tool("llvm-profdata", "LLVM_PROFDATA")?,
        cov: rustc.tool("llvm-cov", "LLVM_COV")?,
    })
}

impl Tools {
    /// Adds up all counts of a directory.
    pub fn merge(&self, counts: &Path, merged: &Path) -> Result<(), String> {
        let blame = |why| format!("list {}: {why}", counts.display());
        let mut command = Command::new(&self.profdata);
        command.args(["merge", "--sparse", "--output"]).arg(merged);
        for entry in fs::read_dir(counts).map_err(blame)? {
            command.arg(entry.map_err(blame)?.path());
        }
        perform(&mut command)
    }

    /// Writes the counts by line of the sources, over all programs, to a file.
    pub fn export(
        &self,
        merged: &Path,
        programs: &[PathBuf],
        sources: &[PathBuf],
        into: &Path,
    ) -> Result<(), String> {
        let file =
            fs::File::create(into).map_err(|why| format!("make {}: {why}", into.display()))?;
        let mut command = Command::new(&self.cov);
        command.args(["export", "--format=lcov", "--instr-profile"]).arg(merged);
        for program in programs {
            command.arg("--object").arg(program);
        }
        command.arg("--sources").args(sources).stdout(Stdio::from(file));
        perform(&mut command)
    }
}

/// What the compiler says of itself.
struct Rustc {
    sysroot: PathBuf,
    host: String,
    llvm: String,
}

impl Rustc {
    fn ask() -> Result<Self, String> {
        let (version, sysroot) = (rustc(&["-vV"])?, rustc(&["--print", "sysroot"])?);
        let field = |name: &str| {
            let found = version.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            found.ok_or_else(|| format!("rustc does not name its {name}"))
        };
        let llvm = field("LLVM version:")?;
        Ok(Self {
            sysroot: PathBuf::from(sysroot.trim()),
            host: field("host:")?.to_owned(),
            llvm: llvm.split('.').next().unwrap_or(llvm).to_owned(),
        })
    }

    fn tool(&self, name: &str, variable: &str) -> Result<PathBuf, String> {
        let llvm = &self.llvm;
        let said = std::env::var_os(variable).map(PathBuf::from);
        let own = self.sysroot.join("lib/rustlib").join(&self.host).join("bin").join(name);
        let packaged = PathBuf::from(format!("/usr/lib/llvm-{llvm}/bin/{name}"));
        let numbered = PathBuf::from(format!("{name}-{llvm}"));
        let places = said.into_iter().chain([own, packaged, numbered, PathBuf::from(name)]);
        places.into_iter().find(|tool| version(tool).as_deref() == Some(llvm)).ok_or_else(|| {
            format!(
                "no {name} of LLVM {llvm}: rustup component add llvm-tools, or install the \
                 package llvm-{llvm}, or name it in {variable}"
            )
        })
    }
}

fn rustc(words: &[&str]) -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(words).output();
    let output = output.map_err(|why| format!("run rustc: {why}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The major number of a tool's LLVM, if there is such a tool.
fn version(tool: &Path) -> Option<String> {
    let output = Command::new(tool).arg("--version").stderr(Stdio::null()).output().ok()?;
    major(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned)
}

fn major(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("LLVM version ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next().filter(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_number_is_read_from_any_vendor() {
        assert_eq!(major("Debian LLVM version 22.1.8\n  Optimized build.\n"), Some("22"));
        assert_eq!(major("LLVM (http://llvm.org/):\n  LLVM version 21.0.0-rust\n"), Some("21"));
        assert_eq!(major("USAGE: llvm-profdata <merge|show>"), None);
    }

    #[test]
    fn the_compiler_says_whose_tools_are_needed() {
        let rustc = Rustc::ask().unwrap();
        assert!(rustc.llvm.parse::<u32>().is_ok() && rustc.sysroot.is_dir());
        let missing = rustc.tool("llvm-no-such-tool", "FLOE_NO_SUCH_VARIABLE").unwrap_err();
        assert!(missing.contains("llvm-tools") && missing.contains("FLOE_NO_SUCH_VARIABLE"));
    }
}
