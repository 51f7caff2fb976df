//! The server, a transfer through the link, and the plain connection that it meets there.

use crate::Result;
use crate::accounts;
use crate::content::Content;
use crate::process::{Process, await_that};
use crate::session::Way;
use crate::site::{End, Site};
use floe_types::ByteCount;
use std::fs;
use std::ops::Sub;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);
const PORT: u16 = 25_000;
const RIVAL_PORT: u16 = 25_001;

/// Two ends with a file that takes longer than anybody watches.
pub struct Bed {
    // Ends in this order.
    rival: Vec<Process>,
    client: Option<Process>,
    _server: Process,
    dir: TempDir,
    site: Site,
    program: std::path::PathBuf,
    way: Way,
    ticket: String,
}

/// Bytes so far.
#[derive(Clone, Copy)]
pub struct Moved {
    /// That the interface carried this way,
    pub all: u64,
    /// and of them the other's, without headers.
    pub rival: u64,
}

impl Sub for Moved {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { all: self.all - earlier.all, rival: self.rival - earlier.rival }
    }
}

impl Bed {
    /// Makes it, with a server that listens.
    pub fn make(within: &Path, program: &Path, site: Site, way: Way, size: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("floe-bench-beside-").tempdir_in(within);
        let dir = dir.map_err(|e| format!("make a directory in {}: {e}", within.display()))?;
        let served = dir.path().join("served");
        fs::create_dir(&served).map_err(|e| format!("make {}: {e}", served.display()))?;
        let from = if way == Way::Put { dir.path() } else { &served };
        Content::File(ByteCount(size)).make(&from.join("file"))?;
        let server = site.serve(program, dir.path(), PORT)?;
        let ticket = dir.path().join("server/owner.ticket");
        let ticket = fs::read_to_string(&ticket)
            .map_err(|error| format!("read {}: {error}", ticket.display()))?;
        let (ticket, program) = (ticket.trim().to_owned(), program.to_owned());
        let (rival, client) = (Vec::new(), None);
        Ok(Self { rival, client, _server: server, dir, site, program, way, ticket })
    }

    /// Begins the transfer, with options in one text.
    pub fn transfer(&mut self, how: &str) -> Result<()> {
        let script = match self.way {
            Way::Put => r#"exec "$FLOE" put $HOW --compress never file "floe://$ADDRESS/file""#,
            Way::Get => {
                r#"exec "$FLOE" get $HOW --compress never "floe://$ADDRESS/file" - > /dev/null"#
            }
        };
        let mut command = self.site.command(End::Near, script, self.dir.path());
        command.env("FLOE", &self.program).env("ADDRESS", format!("{}:{PORT}", self.site.host));
        command.env("HOW", how);
        command.env("FLOE_TICKET", &self.ticket).env("FLOE_STATE", "client");
        let said = self.dir.path().join("client.log");
        self.client = Some(Process::start(&mut command, "floe", &said)?);
        Ok(())
    }

    /// Begins what it competes with: one connection the same way.
    pub fn compete(&mut self) -> Result<()> {
        let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        // Who is at the far end listens, and so comes first.
        let ends = match self.way {
            Way::Put => [(End::Far, "drain"), (End::Near, "flood")],
            Way::Get => [(End::Far, "flood"), (End::Near, "drain")],
        };
        for (end, what) in ends {
            let how = if end == End::Far { "--listen" } else { "" };
            let script = r#"exec "$BENCH" plain "$WHAT" "$ADDRESS" $HOW"#;
            let mut command = self.site.command(end, script, self.dir.path());
            command.env("BENCH", &own).env("WHAT", what).env("HOW", how);
            command.env("ADDRESS", format!("{}:{RIVAL_PORT}", self.site.host));
            let said = self.dir.path().join(what);
            let process = Process::start(&mut command, what, &said)?;
            if end == End::Far {
                process.listening(RIVAL_PORT, START)?;
            }
            self.rival.push(process);
        }
        let said = self.dir.path().join("drain");
        await_that(START, || told(&said) > 0);
        Ok(())
    }

    /// Ends it.
    pub fn end_rival(&mut self) -> Result<()> {
        for process in std::mem::take(&mut self.rival) {
            process.kill()?;
        }
        Ok(())
    }

    /// Whether the transfer is over; it must have ended well.
    pub fn is_over(&mut self) -> Result<bool> {
        match self.client.take_if(|client| client.is_over()) {
            Some(client) => client.finish().map(|_| true),
            None => Ok(false),
        }
    }

    /// What was moved this way.
    pub fn moved(&mut self) -> Result<Moved> {
        if let Some(client) = self.client.as_ref().filter(|client| client.is_over()) {
            return Err(format!("the transfer is over: {}", client.words()));
        }
        let none = || format!("no counters of {}", self.site.interface);
        let (watched, interface) = (self.site.watched, self.site.interface);
        let received = accounts::received(watched, interface).ok_or_else(none)?;
        let both = accounts::carried(watched, interface).ok_or_else(none)?;
        let all = if self.way == Way::Get { received.0 } else { both.0 - received.0 };
        Ok(Moved { all, rival: told(&self.dir.path().join("drain")) })
    }
}

/// The last number that the receiving end said.
fn told(said: &Path) -> u64 {
    let text = fs::read_to_string(said).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.rsplit('\n').next().and_then(|line| line.parse().ok()).unwrap_or(0)
}
