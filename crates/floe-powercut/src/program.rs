//! The real binary: built, started, killed, and what it said.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The exit status of a command whose server is gone.
const CONNECTION_LOST: i32 = 6;

/// Where the binary is.
#[derive(Clone, Debug)]
pub struct Program(PathBuf);

/// A running server or client; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where its standard output goes.
    output: PathBuf,
    /// Where its standard error goes.
    errors: PathBuf,
}

/// A server that accepts connections.
#[derive(Debug)]
pub struct Server {
    /// Its process.
    pub running: Running,
    /// Where it listens.
    pub address: String,
    /// What lets a client in.
    pub ticket: String,
}

impl Program {
    /// This one.
    #[must_use]
    pub const fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The one of this repository, built now with the same profile as a release.
    ///
    /// # Errors
    /// The system's; `Other` where it does not build.
    pub fn built() -> io::Result<Self> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let repository = own.ancestors().nth(2).unwrap_or(own);
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--release", "-p", "floe", "--message-format", "json"]);
        let output = build.current_dir(repository).stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let built = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let binary = built
            .filter(|message| message["target"]["name"] == "floe")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        match binary {
            Some(binary) if output.status.success() => Ok(Self(binary)),
            _ => Err(io::Error::other("floe does not build")),
        }
    }

    fn start(&self, args: &[&str], log: &Path, env: &[(&str, &str)]) -> io::Result<Running> {
        let (output, errors) = (log.with_extension("out"), log.with_extension("err"));
        let mut command = Command::new(&self.0);
        command.args(args).stdin(Stdio::null()).env_remove("FLOE_KEY").envs(env.iter().copied());
        command.stdout(File::create(&output)?).stderr(File::create(&errors)?);
        Ok(Running { child: command.spawn()?, output, errors })
    }

    /// A client with these arguments, its state here, at a server.
    ///
    /// # Errors
    /// The system's.
    pub fn client(
        &self,
        args: &[&str],
        state: &Path,
        server: &Server,
        log: &Path,
    ) -> io::Result<Running> {
        let state = state.to_string_lossy();
        self.start(args, log, &[("FLOE_TICKET", &server.ticket), ("FLOE_STATE", &state)])
    }

    /// `floe audit` with these arguments.
    ///
    /// # Errors
    /// The system's.
    pub fn audit(&self, args: &[&str], log: &Path) -> io::Result<Running> {
        self.start(&[&["audit"], args].concat(), log, &[])
    }

    /// A server of a directory; returns when it accepts. `address` may have port 0.
    ///
    /// # Errors
    /// The system's; `Other` with what it said where it does not start.
    pub fn serve(
        &self,
        root: &Path,
        state: &Path,
        address: &str,
        log: &Path,
    ) -> io::Result<Server> {
        let (root, state_text) = (root.to_string_lossy(), state.to_string_lossy());
        let mut command = Command::new(&self.0);
        command.args(["serve", &root, "--listen", address, "--state", &state_text]);
        let errors = log.with_extension("err");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&errors)?);
        let mut child = command.spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let running = Running { child, output: log.with_extension("out"), errors };
        let Some(address) = line.trim_end().strip_prefix("listening on ") else {
            let said = running.last_words();
            return Err(io::Error::other(format!("the server does not start: {said}")));
        };
        let ticket = fs::read_to_string(state.join("owner.ticket"))?.trim().to_owned();
        Ok(Server { running, address: address.to_owned(), ticket })
    }
}

impl Running {
    /// Kills it (SIGKILL) and does not wait: it may be in a call that does not end yet.
    pub fn kill(&self) {
        // One that is over is as good.
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Ends a server as an operator does.
    pub fn terminate(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system's.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Whether a client lost its server before there was a session: the cut fell into the
    /// greeting, and nobody was there again for as long as it asks. It says so; whoever called it
    /// calls again.
    #[must_use]
    pub fn met_nobody(&self, status: ExitStatus) -> bool {
        let said = fs::read_to_string(&self.output).unwrap_or_default();
        status.code() == Some(CONNECTION_LOST) && said.lines().count() == 1
    }

    /// The last line of its standard error.
    #[must_use]
    pub fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        said.lines().last().unwrap_or("nothing").to_owned()
    }

    /// A number of the summary that a client wrote with `--json`.
    #[must_use]
    pub fn summed(&self, member: &str) -> Option<u64> {
        let said = fs::read_to_string(&self.output).ok()?;
        let mut events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = events.rfind(|event| event["event"] == "summary")?;
        summary[member].as_u64()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
