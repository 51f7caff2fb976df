//! `floe completions`: a script that teaches a shell floe's commands and flags.

use crate::fault::Result;
use clap_complete::Shell;
use std::io;

/// Print a completion script for a shell
///
/// Example: floe completions bash > ~/.local/share/bash-completion/completions/floe
#[derive(clap::Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the script on standard output.
pub fn run(args: &CompletionsArgs, mut floe: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut floe, "floe", &mut script);
    crate::output::write_all(&mut io::stdout().lock(), &script)
}
