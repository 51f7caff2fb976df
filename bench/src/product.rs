//! floe as a person runs it: one server for all runs, one client process a transfer, TLS and a
//! ticket.

use crate::Result;
use crate::peer::same_size;
use crate::process::Process;
use crate::table::{Peak, Sample};
use floe_types::ByteCount;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// To the server.
    Put,
    /// From it.
    Get,
}

/// A server, and what its clients need.
pub struct Product {
    program: PathBuf,
    server: Process,
    address: String,
    ticket: String,
    dir: PathBuf,
    served: PathBuf,
    root: Option<String>,
}

impl Product {
    /// Starts a server in `dir`. The file that clients get is put by the first one.
    pub fn start(program: &Path, dir: &Path) -> Result<Self> {
        let (served, state) = (dir.join("served"), dir.join("server-state"));
        fs::create_dir(&served).map_err(|error| format!("make {}: {error}", served.display()))?;
        let mut command = Command::new(program);
        command.arg("serve").arg(&served).args(["--listen", "127.0.0.1:0", "--state"]).arg(&state);
        let log = dir.join("server.log");
        let log = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut server = Process::start(command.stderr(log))?;
        let address = server.listening()?;
        let ticket = fs::read_to_string(state.join("owner.ticket"))
            .map_err(|error| format!("read the owner's ticket: {error}"))?;
        Ok(Self {
            program: program.to_owned(),
            server,
            address,
            ticket: ticket.trim().to_owned(),
            dir: dir.to_owned(),
            served,
            root: None,
        })
    }

    /// Moves `source` one way and removes what arrived.
    pub fn measure(&mut self, way: Way, source: &Path, streams: &str) -> Result<(Sample, Peak)> {
        let kept = self.served.join("kept");
        if way == Way::Get && !kept.exists() {
            self.client(&["put".as_ref(), source.as_os_str(), self.url("kept").as_ref()], "1")?;
        }
        let (arrived, measured) = match way {
            Way::Put => {
                let url = self.url("new");
                let args = ["put".as_ref(), source.as_os_str(), url.as_ref()];
                (self.served.join("new"), self.client(&args, streams)?)
            }
            Way::Get => {
                let (url, target) = (self.url("kept"), self.dir.join("back"));
                let args = ["get".as_ref(), url.as_ref(), target.as_os_str()];
                let measured = self.client(&args, streams)?;
                (target, measured)
            }
        };
        same_size(source, &arrived)?;
        fs::remove_file(&arrived).map_err(|error| format!("{}: {error}", arrived.display()))?;
        Ok(measured)
    }

    /// Ends the server.
    pub fn end(self) -> Result<()> {
        self.server.end()
    }

    fn url(&self, path: &str) -> String {
        format!("floe://{}/{path}", self.address)
    }

    fn client(&mut self, args: &[&std::ffi::OsStr], streams: &str) -> Result<(Sample, Peak)> {
        let before = self.server.cpu()?;
        let begun = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(args).args(["--json", "--streams", streams]);
        command.env("FLOE_TICKET", &self.ticket).env("FLOE_STATE", self.dir.join("client-state"));
        let (said, cpu) = Process::start(&mut command)?.finish()?;
        let wall = begun.elapsed();
        let cpu = cpu + self.server.cpu()?.saturating_sub(before);
        let summary = said
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find(|event| event["event"] == "summary")
            .ok_or("a client without a summary")?;
        self.check_root(&summary)?;
        let client = ByteCount(summary["peak_rss_bytes"].as_u64().unwrap_or(0));
        let server = self.server.peak().unwrap_or_default();
        Ok((Sample { wall, cpu }, Peak { server, client }))
    }

    /// Every transfer is of the same bytes.
    fn check_root(&mut self, summary: &Value) -> Result<()> {
        let root = summary["root"].as_str().ok_or("a summary without a root")?;
        match &self.root {
            Some(first) if first != root => Err(format!("root {root}, the first was {first}")),
            _ => {
                self.root = Some(root.to_owned());
                Ok(())
            }
        }
    }
}
