//! Sparse files: holes are neither read nor sent, and are holes where they arrive.

use crate::stage::{Stage, content, root_of};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 128 * MIB + 7;
/// Where a MiB of bytes stands.
const FULL: [u64; 4] = [3 * MIB, 50 * MIB, 51 * MIB, 127 * MIB];
const FULL_BYTES: u64 = 4 * MIB;

/// A sparse file in `here`; false where the file system fills holes.
fn sparse(stage: &Stage, name: &str) -> Option<PathBuf> {
    let path = stage.path("here").join(name);
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    let bytes = content(1 << 20);
    FULL.iter().for_each(|at| file.write_all_at(&bytes, *at).unwrap());
    file.sync_all().unwrap();
    if space(&path) > 2 * FULL_BYTES {
        crate::stage::skip("this file system has no holes");
        return None;
    }
    Some(path)
}

fn space(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks() * 512
}

#[track_caller]
fn assert_copied(of: &Path, copy: &Path) {
    assert_eq!(fs::metadata(copy).unwrap().len(), SIZE);
    let space = space(copy);
    assert!((FULL_BYTES..FULL_BYTES + MIB).contains(&space), "{space} bytes of disk");
    assert_eq!(root_of(copy), root_of(of));
}

/// Passes one connection after the other on, and counts what goes through.
fn counted(to: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&count);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (from, into) in [(&client, &server), (&server, &client)] {
                let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                let count = Arc::clone(&shared);
                thread::spawn(move || pass(from, into, &count));
            }
        }
    });
    (port, count)
}

fn pass(mut from: TcpStream, mut into: TcpStream, count: &AtomicU64) {
    let mut part = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut part) {
        count.fetch_add(len as u64, Ordering::SeqCst);
        if into.write_all(&part[..len]).is_err() {
            return;
        }
    }
    let _ = into.shutdown(std::net::Shutdown::Write);
}

#[test]
fn a_sparse_file_goes_up_and_comes_down_with_its_holes() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let Some(file) = sparse(&stage, "f") else { return };
    let (port, passed) = counted(server.port);
    let url = format!("floe://127.0.0.1:{port}/copy");
    for (nth, verb) in [["put", "f", &url], ["get", &url, "back"]].iter().enumerate() {
        let mut command = stage.command();
        command.args(verb).arg("--json").env("FLOE_TICKET", stage.owner_ticket().trim());
        let ended = crate::stage::Running::start(&mut command, b"").end().ok();
        let summary = ended.event("summary");
        assert_eq!(summary["bytes_sent"], FULL_BYTES, "{summary}");
        assert_eq!(summary["bytes_stored"], SIZE, "{summary}");
        assert_eq!(summary["root"], root_of(&file).as_str());
        assert_copied(&file, &stage.path(["srv/copy", "here/back"][nth]));
        let on_the_wire = passed.swap(0, Ordering::SeqCst);
        assert!(on_the_wire < FULL_BYTES + 256 * 1024, "{on_the_wire} bytes on the wire");
    }
}

#[test]
fn every_way_to_send_keeps_the_holes() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let Some(file) = sparse(&stage, "f") else { return };
    for (nth, flags) in
        [&["--lockstep"][..], &["--streams", "4"], &["--chunk", "16Mi"], &["--chunk", "256Ki"]]
            .iter()
            .enumerate()
    {
        let (there, here) = (format!("nas:/{nth}"), format!("back{nth}"));
        stage.run(&[&["put", "f", &there], *flags].concat()).ok();
        stage.run(&[&["get", &there, &here], *flags].concat()).ok();
        assert_copied(&file, &stage.path("srv").join(nth.to_string()));
        assert_copied(&file, &stage.path("here").join(here));
    }
    let put = stage.run(&["put", "f", "nas:/0", "--checksum", "--json"]).ok();
    assert_eq!(put.event("summary")["bytes_sent"], 0);
}

#[test]
fn standard_output_gets_zeros_and_standard_input_is_sent_as_it_is() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let path = stage.path("here/small");
    let file = File::create(&path).unwrap();
    file.set_len(40 * MIB + 3).unwrap();
    file.write_all_at(&content(1 << 20), 20 * MIB).unwrap();
    let bytes = fs::read(&path).unwrap();
    stage.run(&["put", "small", "nas:/small"]).ok();
    let get = stage.run(&["get", "nas:/small", "-"]).ok();
    assert!(get.out == bytes, "{} bytes", get.out.len());
    let put = stage.run_with(&["put", "-", "nas:/stream", "--json"], &bytes).ok();
    assert_eq!(put.event("summary")["bytes_sent"], 40 * MIB + 3);
    assert!(fs::read(stage.path("srv/stream")).unwrap() == bytes);
}

#[test]
fn a_killed_transfer_of_a_sparse_file_goes_on() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let Some(file) = sparse(&stage, "f") else { return };
    for (verb, copy) in [(["put", "f", "nas:/f"], "srv/f"), (["get", "nas:/f", "b"], "here/b")] {
        let slow = stage.start(&[&verb[..], &["--limit", "1M", "--json"]].concat());
        slow.wait_for(r#""event":"progress""#);
        slow.kill();
        let again = stage.run(&[&verb[..], &["--json"]].concat()).ok();
        let summary = again.event("summary");
        assert!(summary["bytes_sent"].as_u64().unwrap() <= FULL_BYTES, "{summary}");
        assert_copied(&file, &stage.path(copy));
    }
}

#[test]
fn holes_take_the_place_of_what_an_earlier_version_left() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let dense = stage.path("here/f");
    let bytes = content(64 << 20);
    fs::write(&dense, &bytes).unwrap();
    let slow = stage.start(&["put", "f", "nas:/f", "--limit", "20M", "--json"]);
    slow.wait_for(r#""event":"progress""#);
    slow.kill();
    fs::remove_file(&dense).unwrap();
    let Some(file) = sparse(&stage, "f") else { return };
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_copied(&file, &stage.path("srv/f"));
}
