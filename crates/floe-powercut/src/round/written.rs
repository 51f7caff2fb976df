//! The server's audit log after a cut: whoever was told that a file is committed finds its line.

use super::Places;
use crate::content::Planned;
use crate::program::Program;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;

/// The first file of which the log does not say that it was committed.
///
/// # Errors
/// The system's.
pub(super) fn missing(places: &Places, files: &[Planned]) -> io::Result<Option<String>> {
    let text = fs::read(places.server_state.join("audit.jsonl"))?;
    let lines: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|line: &Value| line["event"] == "commit" && line["result"] == "ok")
        .collect();
    let beneath = |file: &Planned| {
        let path = file.beneath(&places.target);
        path.strip_prefix(&places.received).unwrap_or(Path::new("")).to_string_lossy().into_owned()
    };
    let stands = |file: &&Planned| {
        let path = beneath(file);
        lines.iter().any(|line| line["path"] == *path && line["size"] == file.len as u64)
    };
    Ok(files.iter().find(|file| !stands(file)).map(beneath))
}

/// What is wrong with the log's chain, if anything is.
///
/// # Errors
/// The system's.
pub(super) fn broken(program: &Program, places: &Places) -> io::Result<Option<String>> {
    let log = places.log.with_file_name("audit");
    let state = places.server_state.to_string_lossy();
    let mut verify = program.audit(&["verify", "--state", &state], &log)?;
    let status = verify.wait()?;
    Ok((!status.success()).then(|| verify.last_words()))
}
