//! Connections that get a file.

use super::{Face, content, read_to_end, reset, terms};
use floe_engine::raw::{Framing, Happening, Work, check_readable};
use floe_types::Code;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::thread;
use tempfile::TempDir;

/// More than the buffers of a socket hold.
const LARGE: usize = 24 << 20;

fn serving(path: &Path, framing: Framing) -> Face {
    Face::start(Work::Serve(path.to_owned()), terms(framing))
}

#[test]
fn every_connection_gets_the_whole_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let bytes = content(1, 3_000_001);
    fs::write(&path, &bytes).unwrap();
    let face = serving(&path, Framing::Open);
    thread::scope(|scope| {
        for _ in 0..50 {
            let stream = face.connect();
            let bytes = &bytes;
            scope.spawn(move || assert_eq!(&read_to_end(&stream).unwrap(), bytes));
        }
    });
    for _ in 0..50 {
        assert!(matches!(face.next(), Happening::Served { size, .. } if size.0 == 3_000_001));
    }
}

#[test]
fn the_size_goes_ahead_where_it_is_asked_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let face = serving(&path, Framing::Sized);
    for len in [0, 1, 70_000] {
        let bytes = content(1, len);
        fs::write(&path, &bytes).unwrap();
        let got = read_to_end(&face.connect()).unwrap();
        assert_eq!(got[..8], (len as u64).to_be_bytes());
        assert_eq!(got[8..], bytes);
    }
}

#[test]
fn a_replaced_file_is_served_whole_the_old_or_the_new() {
    let directory = TempDir::new().unwrap();
    let (path, other) = (directory.path().join("file"), directory.path().join("other"));
    let (old, new) = (content(1, LARGE), content(2, 1_000_000));
    fs::write(&path, &old).unwrap();
    fs::write(&other, &new).unwrap();
    let face = serving(&path, Framing::Open);
    let mut early = face.connect();
    let mut first = vec![0; 1000];
    early.read_exact(&mut first).unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(read_to_end(&face.connect()).unwrap(), new);
    assert_eq!(first, old[..1000]);
    assert_eq!(read_to_end(&early).unwrap(), old[1000..]);
}

#[test]
fn a_file_that_changes_ends_in_a_reset() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let truncate = |path: &Path| OpenOptions::new().write(true).open(path)?.set_len(5);
    let append = |path: &Path| OpenOptions::new().append(true).open(path)?.write_all(b"more");
    let changes: [fn(&Path) -> std::io::Result<()>; 2] = [truncate, append];
    for change in changes {
        fs::write(&path, content(1, LARGE)).unwrap();
        let face = serving(&path, Framing::Open);
        let mut stream = face.connect();
        stream.read_exact(&mut [0; 1000]).unwrap();
        change(&path).unwrap();
        assert!(read_to_end(&stream).is_err());
        let Happening::Failed { fault, .. } = face.next() else { panic!("it was served") };
        assert_eq!(fault.code, Code::SourceChanged);
    }
}

#[test]
fn a_peer_that_talks_or_leaves_harms_nobody() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let bytes = content(1, LARGE);
    fs::write(&path, &bytes).unwrap();
    let face = serving(&path, Framing::Open);
    reset(face.connect());
    let mut talker = face.connect();
    talker.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(read_to_end(&talker).unwrap(), bytes);
    talker.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    talker.shutdown(Shutdown::Both).unwrap();
    let half_closed = face.connect();
    half_closed.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&half_closed).unwrap(), bytes);
}

#[test]
fn a_file_that_is_gone_fails_its_connection_only() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("file");
    let face = serving(&path, Framing::Open);
    assert!(read_to_end(&face.connect()).is_err());
    let Happening::Failed { fault, .. } = face.next() else { panic!("it was served") };
    assert_eq!(fault.code, Code::NotFound);
    fs::write(&path, b"here").unwrap();
    assert_eq!(read_to_end(&face.connect()).unwrap(), b"here");
}

#[test]
fn only_regular_files_are_served() {
    let directory = TempDir::new().unwrap();
    let code = |path: &Path| check_readable(path).unwrap_err().code;
    assert_eq!(code(directory.path()), Code::IsDirectory);
    assert_eq!(code(Path::new("/dev/null")), Code::NotRegular);
    assert_eq!(code(&directory.path().join("none")), Code::NotFound);
}
