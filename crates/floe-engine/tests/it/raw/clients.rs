//! `send` and `fetch` against peers made by hand, and against each other's listeners.

use super::{Face, content, read_to_end, reset, terms, visible};
use floe_engine::raw::{
    FetchInto, Fetched, Framing, Happening, Inbox, PeerClose, SendFrom, Stop, Terms, Work, fetch,
    send, split_file,
};
use floe_types::{Code, Fault, Precondition, Root};
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Runs `work` against a peer that does this with its one connection.
fn with_peer<T: Send, W: Send>(
    peer: impl FnOnce(TcpStream) -> T + Send,
    work: impl FnOnce(String) -> W + Send,
) -> (T, W) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        let peer = scope.spawn(move || peer(listener.accept().unwrap().0));
        let worked = work(address);
        (peer.join().unwrap(), worked)
    })
}

fn fetch_to(
    address: &str,
    file: &Path,
    terms: &Terms,
    precondition: Precondition,
) -> Result<Fetched, Fault> {
    let (directory, path) = split_file(file).unwrap();
    let into = FetchInto::File { inbox: Inbox::open(&directory).unwrap(), path, precondition };
    fetch(address, &into, terms, &Stop::new().unwrap())
}

fn send_file(path: &Path, address: &str, terms: &Terms) -> Result<floe_engine::raw::Sent, Fault> {
    send(&SendFrom::Path(path.to_owned()), address, terms, &Stop::new().unwrap())
}

#[test]
fn sends_the_bytes_then_closes_and_waits_for_the_peer() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    for (framing, len) in [(Framing::Open, 0), (Framing::Open, 700_001), (Framing::Sized, 5)] {
        let bytes = content(1, len);
        fs::write(&path, &bytes).unwrap();
        let (got, sent) = with_peer(
            |stream| read_to_end(&stream).unwrap(),
            |address| send_file(&path, &address, &terms(framing)).unwrap(),
        );
        let head = if framing == Framing::Sized { 8 } else { 0 };
        assert_eq!(got[..head], (len as u64).to_be_bytes()[..head]);
        assert_eq!(got[head..], bytes);
        assert_eq!((sent.size.0, sent.root), (len as u64, Root::of(&bytes)));
        assert_eq!(sent.close, PeerClose::Seen);
    }
}

#[test]
fn a_peer_that_resets_is_a_failure_of_send() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, content(1, 16 << 20)).unwrap();
    let (_, sent) = with_peer(reset, |address| send_file(&path, &address, &terms(Framing::Open)));
    assert_eq!(sent.unwrap_err().code, Code::ConnectionLost);
}

#[test]
fn a_peer_that_does_not_close_is_told_of() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"bytes").unwrap();
    let terms = Terms { idle: Duration::from_millis(50), ..terms(Framing::Open) };
    let (_held, sent) =
        with_peer(|stream| stream, |address| send_file(&path, &address, &terms).unwrap());
    assert_eq!(sent.close, PeerClose::NotSeen);
}

#[test]
fn fetched_bytes_replace_the_file_when_the_peer_closes() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"old").unwrap();
    let bytes = content(3, 1_000_001);
    let serve = |mut stream: TcpStream| stream.write_all(&bytes).unwrap();
    let (_, fetched) = with_peer(serve, |address| {
        fetch_to(&address, &file, &terms(Framing::Open), Precondition::None).unwrap()
    });
    assert_eq!(fs::read(&file).unwrap(), bytes);
    assert_eq!((fetched.size.0, fetched.root), (1_000_001, Root::of(&bytes)));
    assert_eq!(visible(directory.path()), ["file"]);
}

#[test]
fn what_is_not_whole_leaves_the_old_file() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"old").unwrap();
    let head = 1_000_000_u64.to_be_bytes();
    let bytes = content(1, 1_000_001);
    type Peer<'a> = &'a (dyn Fn(TcpStream) + Sync);
    let cases: [(Framing, Code, Peer<'_>); 5] = [
        (Framing::Open, Code::ConnectionLost, &|mut stream| {
            stream.write_all(&bytes).unwrap();
            reset(stream);
        }),
        (Framing::Sized, Code::ConnectionLost, &|mut stream| {
            stream.write_all(&head).unwrap();
            stream.write_all(&bytes[..999_999]).unwrap();
        }),
        (Framing::Sized, Code::Violation, &|mut stream| {
            stream.write_all(&head).unwrap();
            stream.write_all(&bytes).unwrap();
        }),
        (Framing::Sized, Code::ConnectionLost, &|mut stream| {
            stream.write_all(&head[..7]).unwrap();
        }),
        (Framing::Sized, Code::NoSpace, &|mut stream| {
            stream.write_all(&(1_u64 << 62).to_be_bytes()).unwrap();
        }),
    ];
    for (framing, code, peer) in cases {
        let (_, fetched) = with_peer(peer, |address| {
            fetch_to(&address, &file, &terms(framing), Precondition::None)
        });
        assert_eq!(fetched.unwrap_err().code, code);
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(visible(directory.path()), ["file"]);
    }
}

#[test]
fn nothing_is_replaced_where_that_is_not_wanted() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"old").unwrap();
    let (_, fetched) = with_peer(drop, |address| {
        fetch_to(&address, &file, &terms(Framing::Open), Precondition::Absent)
    });
    assert_eq!(fetched.unwrap_err().code, Code::Exists);
    assert_eq!(fs::read(&file).unwrap(), b"old");
}

#[test]
fn both_halves_of_floe_agree() {
    let directory = TempDir::new().unwrap();
    let (source, received, back) = (
        directory.path().join("source"),
        directory.path().join("received"),
        directory.path().join("back"),
    );
    fs::create_dir(&received).unwrap();
    let bytes = content(9, 5_000_000);
    fs::write(&source, &bytes).unwrap();
    for framing in [Framing::Open, Framing::Sized] {
        let face = Face::start(Work::Serve(source.clone()), terms(framing));
        fetch_to(&face.address.to_string(), &back, &terms(framing), Precondition::None).unwrap();
        assert_eq!(fs::read(&back).unwrap(), bytes);
        let inbox = Work::Receive(Inbox::open(&received).unwrap());
        let face = Face::start(inbox, terms(framing));
        let sent = send_file(&source, &face.address.to_string(), &terms(framing)).unwrap();
        assert_eq!(sent.close, PeerClose::Seen);
        let Happening::Received { root, .. } = face.next() else { panic!("it failed") };
        assert_eq!(root, sent.root);
    }
}

#[test]
fn an_interruption_leaves_nothing_and_says_so() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    let stop = Stop::new().unwrap();
    let asked = stop.clone();
    let (directory_path, path) = split_file(&file).unwrap();
    let inbox = Inbox::open(&directory_path).unwrap();
    let into = FetchInto::File { inbox, path, precondition: Precondition::None };
    let (_, fetched) = with_peer(
        move |mut stream| {
            stream.write_all(&content(1, 600_000)).unwrap();
            asked.cut();
            read_to_end(&stream)
        },
        |address| fetch(&address, &into, &terms(Framing::Open), &stop),
    );
    assert_eq!(fetched.unwrap_err().code, Code::Interrupted);
    assert_eq!(visible(directory.path()), [""; 0]);
}

#[test]
fn an_address_nobody_listens_at_is_unreachable() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, b"bytes").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let code = |address: &str| send_file(&path, address, &terms(Framing::Open)).unwrap_err().code;
    assert_eq!(code(&address), Code::Unreachable);
    assert_eq!(code("no port"), Code::Usage);
}

#[test]
fn a_name_that_is_no_file_is_refused() {
    for (name, code) in [
        ("", Code::IsDirectory),
        ("/", Code::IsDirectory),
        ("a/", Code::IsDirectory),
        ("a/..", Code::IsDirectory),
        ("a/.", Code::IsDirectory),
        (".floe", Code::BadPath),
    ] {
        assert_eq!(split_file(Path::new(name)).unwrap_err().code, code, "{name}");
    }
    let (directory, path) = split_file(Path::new("a/b")).unwrap();
    assert_eq!((directory.as_path(), path.to_string()), (Path::new("a"), "b".to_owned()));
}
