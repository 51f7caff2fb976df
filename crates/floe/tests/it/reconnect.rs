//! Connections that are lost in mid-transfer, and servers that come back: the command goes on.

use crate::stage::{Running, Server, Stage, content, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ChildStdin;
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy that cuts every connection through it each time so many bytes have passed one way.
struct Proxy {
    port: u16,
    line: Arc<Mutex<Line>>,
}

/// Which way bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

#[derive(Default)]
struct Line {
    passed: u64,
    /// The counts at which it is cut, the next one last.
    cuts: Vec<u64>,
    open: Vec<TcpStream>,
}

impl Proxy {
    fn start(server: &Server, counted: Way, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cuts = cuts.iter().rev().copied().collect();
        let line = Arc::new(Mutex::new(Line { cuts, ..Line::default() }));
        let (shared, to) = (Arc::clone(&line), server.port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for (from, into, way) in
                    [(&client, &server, Way::Up), (&server, &client, Way::Down)]
                {
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let line = Arc::clone(&shared);
                    line.lock().unwrap().open.push(from.try_clone().unwrap());
                    thread::spawn(move || pass(from, into, way == counted, &line));
                }
            }
        });
        Self { port, line }
    }

    fn url(&self, path: &str) -> String {
        format!("floe://127.0.0.1:{}/{path}", self.port)
    }

    fn is_through(&self) -> bool {
        self.line.lock().unwrap().cuts.is_empty()
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream, counts: bool, line: &Mutex<Line>) {
    let mut part = vec![0; 16 << 10];
    while let Ok(len) = from.read(&mut part) {
        if len == 0 || into.write_all(&part[..len]).is_err() {
            break;
        }
        if counts {
            line.lock().unwrap().count(len as u64);
        }
    }
    let _ = into.shutdown(Shutdown::Both);
}

impl Line {
    fn count(&mut self, len: u64) {
        self.passed += len;
        if self.cuts.last().is_some_and(|cut| self.passed >= *cut) {
            self.cuts.pop();
            for socket in self.open.drain(..) {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }
}

const SIZE: usize = 24_000_001;

fn reconnects(summary: &serde_json::Value) -> u64 {
    summary["reconnects"].as_u64().unwrap()
}

#[test]
fn a_put_from_a_pipe_goes_on_after_its_connections_are_cut() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let bytes = content(SIZE);
    for flags in [
        &["--streams", "1"][..],
        &["--streams", "4"],
        &["--chunk", "256Ki"],
        &["--no-resume", "--streams", "2"],
    ] {
        let proxy = Proxy::start(&server, Way::Up, &[3 << 20, 9 << 20, 20 << 20]);
        let mut command = stage.command();
        command.args(["put", "-", &proxy.url("f"), "--json"]).args(flags);
        command.env("FLOE_TICKET", stage.owner_ticket().trim());
        let ended = Running::start(&mut command, &bytes).end().ok();
        assert!(proxy.is_through());
        let summary = ended.event("summary");
        assert!(reconnects(&summary) >= 1, "{flags:?}: {summary}");
        assert_eq!(summary["root"], blake3::hash(&bytes).to_hex().as_str(), "{flags:?}");
        assert!(fs::read(stage.path("srv/f")).unwrap() == bytes, "{flags:?}");
        fs::remove_file(stage.path("srv/f")).unwrap();
    }
}

#[test]
fn a_get_to_standard_output_goes_on_after_its_connections_are_cut() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let bytes = content(SIZE);
    fs::write(stage.path("srv/f"), &bytes).unwrap();
    for flags in [&["--streams", "1"][..], &["--streams", "4"], &["--chunk", "256Ki"]] {
        let proxy = Proxy::start(&server, Way::Down, &[3 << 20, 9 << 20, 20 << 20]);
        let mut command = stage.command();
        command.args(["get", &proxy.url("f"), "-", "--json"]).args(flags);
        command.env("FLOE_TICKET", stage.owner_ticket().trim());
        let ended = Running::start(&mut command, b"").end().ok();
        assert!(proxy.is_through());
        assert!(ended.err.contains(r#""event":"reconnected""#), "{flags:?}: {}", ended.err);
        assert!(ended.out == bytes, "{flags:?}: {} bytes", ended.out.len());
    }
}

#[test]
fn a_put_from_a_quiet_pipe_notices_that_its_server_died_and_finishes_with_the_next() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let bytes = content(6_000_000);
    let (first, rest) = bytes.split_at(3_500_000);
    let mut command = stage.command();
    command.args(["put", "-", "nas:/f", "--json"]);
    let (put, mut producer) = Running::start_fed(&mut command);
    feed(&mut producer, first);
    // Three chunks of a MiB are whole; the rest of what came waits for its own.
    wait_until("something is stored", || {
        put.events().iter().any(|event| event["bytes_stored"].as_u64() >= Some(3 << 20))
    });
    let port = server.port;
    server.kill();
    // The producer says nothing at all meanwhile.
    put.wait_for("\"reconnecting\"");
    let _server = restart(&stage, port);
    put.wait_for("\"reconnected\"");
    feed(&mut producer, rest);
    drop(producer);
    let ended = put.end().ok();
    let summary = ended.event("summary");
    assert!(reconnects(&summary) >= 1, "{summary}");
    assert!(fs::read(stage.path("srv/f")).unwrap() == bytes);
}

/// A plain network that is cut once, right behind the first frame of a kind from the server.
fn cut_behind(server: &Server, kind: u8) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), server.port);
    thread::spawn(move || {
        let cut = Arc::new(Mutex::new(false));
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let (from, into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(from, into, false, &Mutex::default()));
            let cut = Arc::clone(&cut);
            thread::spawn(move || {
                let _ = pass_frames(&server, &client, kind, &cut);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

fn pass_frames(
    mut from: &TcpStream,
    mut into: &TcpStream,
    kind: u8,
    cut: &Mutex<bool>,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 8];
        from.read_exact(&mut head)?;
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut body = vec![0; len as usize];
        from.read_exact(&mut body)?;
        into.write_all(&[&head[..], &body].concat())?;
        let mut cut = cut.lock().unwrap();
        if head[4] == kind && !std::mem::replace(&mut *cut, true) {
            return Ok(());
        }
    }
}

#[test]
fn what_is_committed_from_a_pipe_is_done_even_if_the_connection_is_lost_right_then() {
    const COMMITTED: u8 = 0x1c;
    let stage = Stage::new();
    let server = stage.serve(&["--plaintext"]);
    for size in [0, 652, 3_000_000] {
        let url = format!("floe://127.0.0.1:{}/f-{size}", cut_behind(&server, COMMITTED));
        let mut command = stage.command();
        command.args(["put", "-", &url, "--plaintext", "--json", "--streams", "1"]);
        command.env("FLOE_TICKET", stage.owner_ticket().trim());
        let ended = Running::start(&mut command, &content(size)).end().ok();
        let summary = ended.event("summary");
        assert_eq!(summary["bytes_stored"], size, "{summary}");
        assert_eq!(summary["entries_committed"], 1, "{summary}");
        assert_eq!(fs::read(stage.path(format!("srv/f-{size}"))).unwrap(), content(size));
    }
}

#[test]
fn a_source_that_changes_under_a_get_to_standard_output_ends_it() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(SIZE)).unwrap();
    for streams in ["1", "4"] {
        let get = ["get", "nas:/f", "-", "--limit", "5M", "--json", "--streams", streams];
        let get = stage.start(&get);
        get.wait_for("\"progress\"");
        let now = std::time::SystemTime::now();
        fs::File::options()
            .write(true)
            .open(stage.path("srv/f"))
            .unwrap()
            .set_modified(now)
            .unwrap();
        let ended = get.end();
        assert_eq!(ended.status, 8, "{}", ended.err);
        assert!(content(SIZE).starts_with(&ended.out));
    }
}

/// A server on the port of one that was killed, over the same directory.
pub fn restart(stage: &Stage, port: u16) -> Server {
    let mut again = stage.command();
    again.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    Server::start(again.args(["--listen", &format!("127.0.0.1:{port}")]))
}

/// Found by torture, seed 777, round 159.
#[test]
fn a_stage_that_a_draining_server_still_holds_is_waited_for() {
    let stage = Stage::new();
    let old = stage.serve(&[]);
    stage.log_in("nas", &old, &stage.owner_ticket(), &[]).ok();
    stage.file("f", SIZE);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "5M", "--json"]);
    put.wait_for("\"progress\"");
    old.signal(Signal::STOP);
    put.kill();
    let new = restart(&stage, 0);
    stage.log_in("nas", &new, &stage.owner_ticket(), &[]).ok();
    let put = stage.start(&["put", "f", "nas:/f", "--json"]);
    put.wait_for("\"progress\"");
    old.signal(Signal::CONT);
    let summary = put.end().ok().event("summary");
    assert_eq!(summary["reconnects"], 0, "{summary}");
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(SIZE));
}

fn feed(producer: &mut ChildStdin, bytes: &[u8]) {
    producer.write_all(bytes).unwrap();
    producer.flush().unwrap();
}

/// Passes whole frames down, and cuts everything at the first of a kind.
fn pass_frames_until(mut from: TcpStream, mut into: TcpStream, kind: u8, line: &Mutex<Line>) {
    let mut head = [0; 8];
    while from.read_exact(&mut head).is_ok() {
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mut body = vec![0; len];
        if from.read_exact(&mut body).is_err() {
            break;
        }
        let mut line = line.lock().unwrap();
        if head[4] == kind && line.cuts.pop().is_some() {
            line.open.drain(..).for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
            return;
        }
        drop(line);
        if into.write_all(&head).and_then(|()| into.write_all(&body)).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
}

/// A proxy that loses the first COMMITTED, and every connection with it.
fn lose_committed(server: &Server) -> Proxy {
    const COMMITTED: u8 = 0x1c;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = Arc::new(Mutex::new(Line { cuts: vec![0], ..Line::default() }));
    let (shared, to) = (Arc::clone(&line), server.port);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
            let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
            shared.lock().unwrap().open.extend(ends);
            let (line, up) = (Arc::clone(&shared), Arc::clone(&shared));
            let (from, into) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || pass_frames_until(from, into, COMMITTED, &line));
            thread::spawn(move || pass(client, server, false, &up));
        }
    });
    Proxy { port, line }
}

#[test]
fn a_put_from_a_pipe_whose_committed_was_lost_is_known_to_be_done() {
    let stage = Stage::new();
    let server = stage.serve(&["--plaintext"]);
    let sizes = [(0, "1"), (1, "1"), (3_000_001, "1"), (SIZE, "4")];
    for ((size, streams), alone) in sizes.iter().flat_map(|size| [(*size, false), (*size, true)]) {
        let bytes = content(size);
        let proxy = lose_committed(&server);
        let mut command = stage.command();
        command.args(["put", "-", &proxy.url("f"), "--json", "--plaintext", "--streams", streams]);
        match alone {
            true => {
                command.arg("--no-clobber");
                fs::remove_file(stage.path("srv/f")).unwrap();
            }
            false => fs::write(stage.path("srv/f"), "what stood there before").unwrap(),
        }
        command.env("FLOE_TICKET", stage.owner_ticket().trim());
        let ended = Running::start(&mut command, &bytes).end().ok();
        assert!(proxy.is_through());
        let summary = ended.event("summary");
        assert_eq!(summary["root"], blake3::hash(&bytes).to_hex().as_str(), "{size}");
        assert!(summary["bytes_sent"].as_u64().unwrap() <= size as u64, "{size}: {summary}");
        assert!(fs::read(stage.path("srv/f")).unwrap() == bytes, "{size}");
        assert!(!stage.path("srv/.floe").read_dir().is_ok_and(|dir| {
            dir.flatten().any(|entry| entry.path().extension().is_some_and(|end| end == "journal"))
        }));
    }
}

#[test]
fn a_first_contact_that_is_cut_is_made_again() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    fs::write(stage.path("srv/f"), content(1000)).unwrap();
    let proxy = Proxy::start(&server, Way::Up, &[1, 200, 400]);
    let mut command = stage.command();
    command.args(["get", &proxy.url("f"), "-"]);
    command.env("FLOE_TICKET", stage.owner_ticket().trim());
    let ended = Running::start(&mut command, b"").end().ok();
    assert!(proxy.is_through() && ended.out == content(1000));
}
