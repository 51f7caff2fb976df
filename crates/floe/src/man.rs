//! `floe man`: the manual, made from the same descriptions as the help.

use crate::fault::{Failure, Result};
use floe_types::Code;
use std::io;

/// Print the manual page (roff), all commands included
///
/// Example: floe man | man -l -
#[derive(clap::Args, Clone, Debug)]
pub struct ManArgs {}

/// Prints a page of `floe` and one of each command on standard output.
pub fn run(_: &ManArgs, mut floe: clap::Command) -> Result<()> {
    floe.build();
    let mut pages = Vec::new();
    render(&floe, &mut pages)
        .map_err(|error| Failure::new(Code::Other, format!("make the manual: {error}")))?;
    crate::output::write_all(&mut io::stdout().lock(), &pages)
}

fn render(command: &clap::Command, into: &mut Vec<u8>) -> io::Result<()> {
    let title = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    clap_mangen::Man::new(command.clone()).title(title).render(into)?;
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        .try_for_each(|sub| render(sub, into))
}
