//! `floe raw` as a program: what it prints, its exit statuses, its memory, and nc at the other end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use tempfile::TempDir;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn floe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
    command.arg("raw").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    floe(args).output().unwrap()
}

fn fed(args: &[&str], bytes: &[u8]) -> Output {
    let command = &mut floe(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input: ChildStdin = child.stdin.take().unwrap();
    // One that fails early does not read.
    let _ = input.write_all(bytes);
    drop(input);
    child.wait_with_output().unwrap()
}

/// A listener; killed when it goes.
struct Face {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Face {
    fn start(args: &[&str]) -> Self {
        let mut command = floe(args);
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = match serde_json::from_str::<serde_json::Value>(&line) {
            Ok(event) => event["address"].as_str().unwrap().to_owned(),
            Err(_) => line.trim_end().strip_prefix("listening on ").unwrap().to_owned(),
        };
        Self { child, output, address }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sparse(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The number of a member of the last line of JSON.
fn number(output: &[u8], name: &str) -> u64 {
    let last = std::str::from_utf8(output).unwrap().lines().last().unwrap();
    let event: serde_json::Value = serde_json::from_str(last).unwrap();
    event[name].as_u64().unwrap()
}

#[test]
fn received_files_are_told_line_by_line() {
    let directory = TempDir::new().unwrap();
    let mut face = Face::start(&["recv", text(directory.path())]);
    for bytes in [&b"first"[..], b"", b"third"] {
        assert!(fed(&["send", "-", &face.address], bytes).status.success());
        let line = face.line();
        let words: Vec<_> = line.split(' ').collect();
        let [verb, name, size, root] = words[..] else { panic!("{line}") };
        assert_eq!((verb, size), ("received", bytes.len().to_string().as_str()));
        assert_eq!(fs::read(directory.path().join(name)).unwrap(), bytes);
        assert_eq!(root, blake3::hash(bytes).to_hex().as_str());
    }
}

#[test]
fn standard_input_and_output_are_ends_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"bytes of a file").unwrap();
    let face = Face::start(&["serve", text(&path)]);
    let fetched = run(&["fetch", &face.address, "-"]);
    assert_eq!((fetched.status.code(), &fetched.stdout[..]), (Some(0), &b"bytes of a file"[..]));
    let sized = Face::start(&["recv", text(directory.path()), "--sized"]);
    let piped = fed(&["send", "-", &sized.address, "--sized"], b"a pipe has no size");
    assert_eq!(piped.status.code(), Some(2));
    let mut redirected = floe(&["send", "-", &sized.address, "--sized"]);
    assert!(redirected.stdin(File::open(&path).unwrap()).status().unwrap().success());
}

#[test]
fn failures_have_their_status_and_one_line() {
    let directory = TempDir::new().unwrap();
    let (path, none) = (directory.path().join("file"), directory.path().join("none"));
    fs::write(&path, b"old").unwrap();
    let face = Face::start(&["serve", text(&path)]);
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (file, dir) = (text(&path), text(directory.path()));
    for (args, status) in [
        (&["serve", text(&none)][..], 3),
        (&["serve", dir], 1),
        (&["serve", "/dev/null"], 1),
        (&["serve", "-"], 2),
        (&["serve", file, "--listen", &face.address], 1),
        (&["recv", text(&none)], 3),
        (&["recv", file], 1),
        (&["send", text(&none), &face.address], 3),
        (&["send", file, &dead], 6),
        (&["send", file, "nowhere"], 2),
        (&["fetch", &dead, file], 6),
        (&["fetch", &face.address, dir], 1),
        (&["fetch", &face.address, "/proc/none/file"], 3),
        (&["fetch", &face.address, file, "--no-clobber"], 9),
        (&["fetch", &face.address, file, "--sized"], 6),
        (&["serve"], 2),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
        assert!(status == 2 || said.lines().count() == 1, "{args:?}: {said}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_sender_that_is_killed_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let mut face = Face::start(&["recv", text(directory.path()), "--json"]);
    let mut command = floe(&["send", "-", &face.address]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&vec![7; 3 << 20]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let event: serde_json::Value = serde_json::from_str(&face.line()).unwrap();
    assert_eq!(event["event"], "failed", "a killed sender's end is a reset: {event}");
}

#[test]
fn a_large_file_costs_no_memory() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("sparse");
    sparse(&path, 2 * GIB);
    let face = Face::start(&["serve", text(&path)]);
    let mut stream = face.connect();
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            count => total += count as u64,
        }
    }
    assert_eq!(total, 2 * GIB);
    assert!(face.peak() < 32 * MIB, "{}", face.peak());
    let output = floe(&["fetch", &face.address, "-", "--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(number(&output.stderr, "bytes"), 2 * GIB);
    assert!(number(&output.stderr, "peak_rss_bytes") < 32 * MIB);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let drain = thread::spawn(move || {
        std::io::copy(&mut listener.accept().unwrap().0, &mut std::io::sink()).unwrap()
    });
    let output = run(&["send", text(&path), &address, "--json"]);
    assert_eq!(drain.join().unwrap(), 2 * GIB);
    assert!(number(&output.stdout, "peak_rss_bytes") < 32 * MIB);
}

#[test]
fn many_receivers_cost_a_buffer_each() {
    let directory = TempDir::new().unwrap();
    let mut face = Face::start(&["recv", text(directory.path())]);
    let bytes = vec![9; 5 << 20];
    let streams: Vec<_> = (0..50).map(|_| face.connect()).collect();
    thread::scope(|scope| {
        for mut stream in streams {
            let bytes = &bytes;
            scope.spawn(move || {
                stream.write_all(bytes).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
        }
    });
    for _ in 0..50 {
        assert!(face.line().starts_with("received "));
    }
    assert!(face.peak() < 64 * MIB, "{}", face.peak());
}

#[test]
fn netcat_speaks_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251).to_le_bytes()[0]).collect();
    fs::write(&path, &bytes).unwrap();
    let Ok(probe) = Command::new("nc").arg("-h").output() else { return };
    let help = String::from_utf8_lossy(&[probe.stdout, probe.stderr].concat()).into_owned();
    let Some(end) = ["-N", "-q"].into_iter().find(|flag| help.contains(flag)) else { return };
    let served = Face::start(&["serve", text(&path)]);
    let mut received = Face::start(&["recv", text(directory.path())]);
    let nc = |face: &Face| {
        let (host, port) = face.address.rsplit_once(':').unwrap();
        let mut command = Command::new("nc");
        command.args(if end == "-q" { &["-q", "0"][..] } else { &["-N"] }).args([host, port]);
        command
    };
    let got = nc(&served).stdin(Stdio::null()).output().unwrap();
    assert_eq!(got.stdout, bytes);
    assert!(nc(&received).stdin(File::open(&path).unwrap()).status().unwrap().success());
    assert!(received.line().ends_with(blake3::hash(&bytes).to_hex().as_str()));
}

#[test]
fn help_says_what_this_wire_lacks() {
    for args in [&["--help"][..], &["serve", "--help"], &["recv", "-h"], &["fetch", "--help"]] {
        let help = String::from_utf8(run(args).stdout).unwrap().replace('\n', " ");
        for word in ["no encryption", "no authentication", "truncation"] {
            assert!(help.contains(word), "{args:?}: {help}");
        }
    }
}
