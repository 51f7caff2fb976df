//! What a test needs: a temporary directory, a server on a free port, clients that end in time.

use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing in these tests takes longer; what does is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The directories of one test.
pub struct Stage {
    dir: tempfile::TempDir,
}

/// A running `floe serve`.
pub struct Server {
    child: Child,
    pub port: u16,
    pub errors: Arc<Mutex<String>>,
}

/// What a command came to.
pub struct Ended {
    pub status: i32,
    pub out: Vec<u8>,
    pub err: String,
}

/// A command that may still run.
pub struct Running {
    pub child: Child,
    done: Receiver<()>,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
}

impl Stage {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["srv", "here"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// A path of the test's directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file in `here`, its content a function of the offset.
    pub fn file(&self, name: &str, size: usize) -> PathBuf {
        let path = self.path("here").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content(size)).unwrap();
        path
    }

    /// A server over `srv`.
    pub fn serve(&self, flags: &[&str]) -> Server {
        Server::start(&mut self.serving(flags))
    }

    /// The same, where it may open so many files and sockets.
    pub fn serve_with(&self, flags: &[&str], descriptors: u32) -> Server {
        Server::start(&mut with_few(&self.serving(flags), descriptors))
    }

    pub fn serving(&self, flags: &[&str]) -> Command {
        let mut command = self.command();
        command.arg("serve").arg(self.path("srv")).arg("--state").arg(self.path("state-server"));
        command.args(["--listen", "127.0.0.1:0"]).args(flags);
        command
    }

    /// A server, and `nas` logged in to it with the owner ticket.
    pub fn serve_and_log_in(&self, flags: &[&str]) -> Server {
        let server = self.serve(flags);
        self.log_in_as_owner(&server, flags);
        server
    }

    /// `nas` is the server that has these flags.
    pub fn log_in_as_owner(&self, server: &Server, flags: &[&str]) {
        let plain = if flags.contains(&"--plaintext") { &["--plaintext"][..] } else { &[] };
        self.log_in("nas", server, &self.owner_ticket(), plain).ok();
    }

    pub fn owner_ticket(&self) -> String {
        fs::read_to_string(self.path("state-server/owner.ticket")).unwrap()
    }

    pub fn log_in(&self, name: &str, server: &Server, ticket: &str, flags: &[&str]) -> Ended {
        let url = server.url("");
        let mut args = vec!["login", name, url.trim_end_matches('/')];
        args.extend(flags);
        self.run_with(&args, ticket.as_bytes())
    }

    /// The binary, in `here`, with a state directory of its own and nothing else of the
    /// environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
        for name in ["FLOE_TICKET", "FLOE_KEY", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.env("FLOE_STATE", self.path("state")).env("HOME", self.path("home"));
        command.current_dir(self.path("here"));
        command
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Ended {
        self.run_with(args, b"")
    }

    pub fn run_with<A: AsRef<OsStr>>(&self, args: &[A], input: &[u8]) -> Ended {
        let mut command = self.command();
        command.args(args);
        Running::start(&mut command, input).end()
    }

    /// Runs a command with a variable set.
    pub fn run_env(&self, args: &[&str], name: &str, value: impl AsRef<OsStr>) -> Ended {
        let mut command = self.command();
        command.args(args).env(name, value);
        Running::start(&mut command, b"").end()
    }

    /// Starts a command with nothing on standard input.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut command = self.command();
        Running::start(command.args(args), b"")
    }
}

impl Server {
    /// Starts a prepared `serve` and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        Self::start_telling(command, Stdio::piped())
    }

    /// The same, with another standard error.
    pub fn start_telling(command: &mut Command, errors: Stdio) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().unwrap();
        let errors = child.stderr.take().map(collect_errors).unwrap_or_default();
        let line = first_line(child.stdout.take().unwrap());
        let Some(port) = line.trim().rsplit(':').next().and_then(|port| port.parse().ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("no address in {line:?}; {}", errors.lock().unwrap());
        };
        Self { child, port, errors }
    }

    pub fn url(&self, path: &str) -> String {
        format!("floe://127.0.0.1:{}/{path}", self.port)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        send(&self.child, signal);
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as an operator does; the status.
    pub fn terminate(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        status(&mut self.child)
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A stopped process dies of a kill, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn start(command: &mut Command, input: &[u8]) -> Self {
        let (running, mut stdin) = Self::start_fed(command);
        let input = input.to_vec();
        // A command that reads nothing of it is none of our business.
        thread::spawn(move || drop(stdin.write_all(&input)));
        running
    }

    /// Starts a command whose standard input the test writes itself.
    pub fn start_fed(command: &mut Command) -> (Self, ChildStdin) {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let (told, done) = channel();
        let out = drain(child.stdout.take().unwrap(), told.clone());
        let err = drain(child.stderr.take().unwrap(), told);
        (Self { child, done, out, err }, stdin)
    }

    /// The events that have come on standard output so far.
    pub fn events(&self) -> Vec<serde_json::Value> {
        let out = self.out.lock().unwrap();
        let whole = out.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = String::from_utf8_lossy(&out[..whole]).into_owned();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        send(&self.child, signal);
    }

    /// Waits until its standard error or output holds a text.
    pub fn wait_for(&self, text: &str) {
        let holds = |bytes: &Arc<Mutex<Vec<u8>>>| {
            String::from_utf8_lossy(&bytes.lock().unwrap()).contains(text)
        };
        wait_until(text, || holds(&self.out) || holds(&self.err));
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        for _ in 0..2 {
            if self.done.recv_timeout(until - Instant::now()).is_err() {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let err = String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned();
                panic!("a command did not end: {err}");
            }
        }
        let status = status(&mut self.child);
        let out = std::mem::take(&mut *self.out.lock().unwrap());
        let err = String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned();
        Ended { status, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// It succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{}", self.err);
        self
    }

    /// It failed with this status, and one line that holds each text.
    #[track_caller]
    pub fn fails(self, status: i32, texts: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}", self.err);
        let lines: Vec<_> = self.err.lines().filter(|line| line.starts_with("floe: ")).collect();
        assert_eq!(lines.len(), 1, "{}", self.err);
        for text in texts {
            assert!(lines[0].contains(text), "{text:?} is not in {:?}", lines[0]);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// The events on standard output.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one event of a kind.
    #[track_caller]
    pub fn event(&self, kind: &str) -> serde_json::Value {
        let mut found: Vec<_> =
            self.events().into_iter().filter(|event| event["event"] == kind).collect();
        assert_eq!(found.len(), 1, "{kind} in {}", self.text());
        found.remove(0)
    }
}

/// Bytes that do not repeat at chunk boundaries.
pub fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// The 64 digits that b3sum prints.
pub fn root_of(path: &Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
}

/// Says that this machine cannot show something, also to the file that `.ci/run` reads.
pub fn skip(why: &str) {
    let line = format!("{}: {why}\n", thread::current().name().unwrap_or("a test"));
    eprint!("skipped {line}");
    if let Some(path) = std::env::var_os("FLOE_SKIPPED") {
        let file = fs::File::options().create(true).append(true).open(path);
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// What the system says of each thread of a process, but of those that end just then.
pub fn threads_of(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = |task: PathBuf| match fs::read_to_string(task.join("status")) {
        Ok(status) => Some(status),
        Err(error) => {
            let gone = [Errno::NOENT, Errno::SRCH].map(|gone| Some(gone.raw_os_error()));
            assert!(gone.contains(&error.raw_os_error()), "{}: {error}", task.display());
            None
        }
    };
    tasks.filter_map(|task| status(task.unwrap().path())).collect()
}

/// Waits for a condition that something else brings about.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// The same command, with so many descriptors at most.
pub fn with_few(command: &Command, descriptors: u32) -> Command {
    let mut few = Command::new("sh");
    few.arg("-c").arg(format!("ulimit -n {descriptors} && exec \"$0\" \"$@\""));
    few.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => few.env(name, value),
            None => few.env_remove(name),
        };
    }
    few.current_dir(command.get_current_dir().unwrap());
    few
}

/// Arguments of different kinds.
pub fn words<const N: usize>(words: [&dyn AsRef<OsStr>; N]) -> Vec<OsString> {
    words.iter().map(|word| word.as_ref().to_owned()).collect()
}

fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

fn status(child: &mut Child) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
}

fn first_line(out: ChildStdout) -> String {
    let (told, heard) = channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(out);
        let mut line = String::new();
        let _ = lines.read_line(&mut line);
        let _ = told.send(line);
        // What comes later must not fill the pipe.
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    });
    heard.recv_timeout(PATIENCE).unwrap_or_default()
}

fn collect_errors(err: ChildStderr) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&text);
    thread::spawn(move || {
        for line in BufReader::new(err).lines().map_while(Result::ok) {
            let mut text = into.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
        }
    });
    text
}

fn drain(
    mut from: impl Read + Send + 'static,
    told: std::sync::mpsc::Sender<()>,
) -> Arc<Mutex<Vec<u8>>> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&all);
    thread::spawn(move || {
        let mut part = vec![0; 64 << 10];
        while let Ok(len) = from.read(&mut part) {
            if len == 0 {
                break;
            }
            into.lock().unwrap().extend_from_slice(&part[..len]);
        }
        let _ = told.send(());
    });
    all
}

pub type Census = BTreeMap<PathBuf, (u32, u64, Vec<u8>, i64, i64)>;

/// Everything beneath a directory: what it is, its links, its content, its times.
pub fn census(dir: &Path) -> Census {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(at) = left.pop() {
        let meta = fs::symlink_metadata(&at).unwrap();
        let content = if meta.is_file() { fs::read(&at).unwrap() } else { Vec::new() };
        if meta.is_dir() {
            left.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
        }
        all.insert(at, (meta.mode(), meta.nlink(), content, meta.mtime(), meta.mtime_nsec()));
    }
    all
}
