//! `--compress`: fewer bytes on the wire, the same bytes at the end.

use crate::link::{FAST, Link};
use crate::stage::{Ended, Running, Server, Stage, census, root_of, wait_until};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Lines that differ, and shrink to a fifth or so.
fn text(size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 64);
    let mut state = 1_u32;
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let line = format!("{:08} the quick brown fox of {}\n", bytes.len(), state >> 20);
        bytes.extend_from_slice(line.as_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn write(stage: &Stage, name: &str, bytes: &[u8]) -> PathBuf {
    let path = stage.path("here").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// A server behind a link, and who is let in.
struct Place {
    stage: Stage,
    server: Server,
    link: Link,
}

impl Place {
    fn new(flags: &[&str], bytes_per_sec: u64) -> Self {
        let stage = Stage::new();
        let server = stage.serve(flags);
        let link = Link::start(&server, bytes_per_sec);
        Self { stage, server, link }
    }

    /// Arguments in which `URL` stands for the link's.
    fn args(&self, args: &[&str]) -> Vec<String> {
        let url = self.link.url("");
        args.iter().map(|arg| arg.replace("URL/", &url)).collect()
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.stage.command();
        command.args(self.args(args)).env("FLOE_TICKET", self.stage.owner_ticket().trim());
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ended {
        Running::start(&mut self.command(args), b"").end().ok()
    }

    /// The summary, with what passed up and down meanwhile.
    #[track_caller]
    fn moves(&self, args: &[&str]) -> (Value, u64, u64) {
        let before = (self.link.up(), self.link.down());
        let summary = self.run(&[args, &["--json"]].concat()).event("summary");
        (summary, self.link.up() - before.0, self.link.down() - before.1)
    }

    fn same(&self, there: &str, here: &Path) {
        assert!(fs::read(self.stage.path("srv").join(there)).unwrap() == fs::read(here).unwrap());
    }
}

fn number(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("no {name} in {summary}"))
}

/// What greeting, TLS and frames take beside the bytes of files.
const BESIDE: u64 = 256 << 10;

#[test]
fn text_takes_fewer_bytes_on_the_wire_and_arrives_as_it_was() {
    const SIZE: usize = 8_000_001;
    const BYTES: u64 = SIZE as u64;
    let place = Place::new(&[], FAST);
    let file = write(&place.stage, "f", &text(SIZE));
    let (put, up, _) = place.moves(&["put", "f", "URL/f", "--compress", "3"]);
    place.same("f", &file);
    let (get, _, down) = place.moves(&["get", "URL/f", "g", "--compress", "19"]);
    assert_eq!(root_of(&place.stage.path("here/g")), root_of(&file));
    for (summary, passed) in [(put, up), (get, down)] {
        let wire = number(&summary, "bytes_on_wire");
        assert_eq!(number(&summary, "bytes_sent"), BYTES, "{summary}");
        assert!(wire < BYTES / 3 && passed < wire + BESIDE && passed > wire, "{passed}: {summary}");
    }
    let said = place.run(&["put", "f", "URL/h", "--compress", "19", "-v"]).err;
    assert!(said.contains("7.62 MiB went as ") && said.contains("all of it compressed"), "{said}");
}

#[test]
fn what_does_not_shrink_goes_as_it_is() {
    const SIZE: usize = 8_000_001;
    const BYTES: u64 = SIZE as u64;
    let place = Place::new(&[], FAST);
    let file = place.stage.file("f", SIZE);
    let (put, up, _) = place.moves(&["put", "f", "URL/f", "--compress", "1"]);
    place.same("f", &file);
    let (get, _, down) = place.moves(&["get", "URL/f", "g", "--compress", "3"]);
    for (summary, passed) in [(put, up), (get, down)] {
        assert_eq!(number(&summary, "bytes_on_wire"), BYTES, "{summary}");
        assert!(passed < BYTES + BESIDE, "{passed}: {summary}");
    }
    let said = place.run(&["put", "f", "URL/h", "--compress", "1", "-v"]).err;
    assert!(said.contains("7.62 MiB were tried and did not shrink"), "{said}");
}

#[test]
fn unasked_a_slow_link_has_text_compressed_and_nothing_else() {
    let place = Place::new(&[], 6_000_000);
    let file = write(&place.stage, "text", &text(30_000_000));
    place.stage.file("noise", 18_000_000);
    let (put, up, _) = place.moves(&["put", "text", "URL/text", "--streams", "2"]);
    place.same("text", &file);
    let wire = number(&put, "bytes_on_wire");
    assert!(wire < 22_000_000 && up < wire + BESIDE, "{up}: {put}");
    let said = place.run(&["put", "noise", "URL/noise", "-v"]).err;
    assert!(said.contains("were tried and did not shrink"), "{said}");
    let (get, _, down) = place.moves(&["get", "URL/text", "again", "--compress", "never"]);
    assert_eq!(number(&get, "bytes_on_wire"), 30_000_000, "{get}");
    assert!(down > 30_000_000, "{down}");
}

#[test]
fn unasked_nothing_is_compressed_on_one_machine() {
    const SIZE: usize = 64 << 20;
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    write(&stage, "f", &text(SIZE));
    for args in [&["put", "f", "nas:/f"][..], &["get", "nas:/f", "g"]] {
        let summary = stage.run(&[args, &["--json"]].concat()).ok().event("summary");
        assert_eq!(number(&summary, "bytes_on_wire"), SIZE as u64, "{summary}");
    }
    let said = stage.run(&["put", "f", "nas:/again", "-v"]).ok().err;
    assert!(said.contains("not compressed: the network was not the limit"), "{said}");
}

#[test]
fn a_compressed_put_goes_on_after_a_kill() {
    const SIZE: usize = 24_000_000;
    const BYTES: u64 = SIZE as u64;
    let place = Place::new(&[], 4_000_000);
    let file = write(&place.stage, "f", &text(SIZE));
    let args = ["put", "f", "URL/f", "--compress", "3", "--streams", "2"];
    let running = Running::start(&mut place.command(&args), b"");
    wait_until("some of it is there", || place.link.up() > 2_000_000);
    running.kill();
    let (again, _, _) = place.moves(&args);
    assert!(number(&again, "bytes_resumed") > 1_000_000, "{again}");
    let sent = number(&again, "bytes_sent");
    assert!(sent < BYTES && number(&again, "bytes_on_wire") < sent / 2, "{again}");
    assert_eq!(again["root"], root_of(&file));
    place.same("f", &file);
}

#[test]
fn a_server_that_does_not_compress_is_sent_and_sends_what_there_is() {
    const SIZE: usize = 2_000_000;
    const BYTES: u64 = SIZE as u64;
    let place = Place::new(&["--compress", "never"], FAST);
    let file = write(&place.stage, "f", &text(SIZE));
    let (put, up, _) = place.moves(&["put", "f", "URL/f", "--compress", "19"]);
    place.same("f", &file);
    let (get, _, down) = place.moves(&["get", "URL/f", "g", "--compress", "19"]);
    for (summary, passed) in [(put, up), (get, down)] {
        assert_eq!(number(&summary, "bytes_on_wire"), BYTES, "{summary}");
        assert!(passed > BYTES, "{passed}: {summary}");
    }
    assert_eq!(place.server.terminate(), 0);
}

#[test]
fn a_stream_and_a_sparse_file_are_compressed_too() {
    let place = Place::new(&[], FAST);
    let bytes = text(5_000_003);
    let mut command = place.command(&["put", "-", "URL/in", "--compress", "3", "--json"]);
    let put = Running::start(&mut command, &bytes).end().ok().event("summary");
    assert!(number(&put, "bytes_on_wire") < 2_000_000, "{put}");
    let (before, get) = (place.link.down(), place.run(&["get", "URL/in", "-", "--compress", "1"]));
    assert!(get.out == bytes && place.link.down() - before < 2_500_000);
    let sparse = place.stage.path("here/sparse");
    let file = fs::File::create(&sparse).unwrap();
    file.set_len(40_000_000).unwrap();
    file.write_all_at(&bytes[..1_000_000], 8 << 20).unwrap();
    file.write_all_at(&bytes[..1_000_000], 32 << 20).unwrap();
    let (put, up, _) = place.moves(&["put", "sparse", "URL/sparse", "--compress", "3"]);
    place.same("sparse", &sparse);
    assert!(number(&put, "bytes_sent") < 4_000_000 && up < 1_500_000, "{up}: {put}");
}

#[test]
fn a_mixed_tree_arrives_as_it_was_both_ways() {
    let place = Place::new(&["--compress", "9"], FAST);
    for nth in 0..200 {
        let name = format!("t/d{}/f{nth}", nth % 7);
        write(&place.stage, &name, &text(nth * 97));
        place.stage.file(&format!("t/noise{nth}"), nth * 41);
    }
    write(&place.stage, "t/large", &text(3_000_000));
    let (put, up, _) = place.moves(&["put", "t", "URL/t", "--compress", "6"]);
    let total = number(&put, "bytes_total");
    assert!(number(&put, "bytes_on_wire") < total / 2 && up < total / 2 + BESIDE, "{up}: {put}");
    for way in ["never", "1", "9", "19", "auto"] {
        let dest = format!("back-{way}");
        let (get, _, down) = place.moves(&["get", "URL/t", &dest, "--compress", way]);
        let wire = number(&get, "bytes_on_wire");
        let packs = !["never", "auto"].contains(&way);
        assert_eq!(wire < total / 2, packs, "{way}, {down}: {get}");
        let here = |name: &str| {
            let dir = place.stage.path("here").join(name);
            let all = census(&dir).into_iter();
            all.map(|(path, it)| (path.strip_prefix(&dir).unwrap().to_owned(), it.2))
                .collect::<Vec<_>>()
        };
        assert!(here("t") == here(&dest), "{way}");
    }
}

#[test]
fn names_take_fewer_bytes_on_the_wire_both_ways() {
    let place = Place::new(&[], FAST);
    for nth in 0..3000 {
        write(&place.stage, &format!("t/directory-{}/file-{nth:05}.txt", nth % 9), b"");
    }
    place.run(&["put", "t", "URL/t"]);
    let (_, plain, _) = place.moves(&["put", "t", "URL/t", "--compress", "never"]);
    let (_, packed, _) = place.moves(&["put", "t", "URL/t"]);
    assert!(packed < plain * 2 / 3, "{packed} of {plain}");
    let (_, _, plain) = place.moves(&["get", "URL/t", "g", "--compress", "never"]);
    let (_, _, packed) = place.moves(&["get", "URL/t", "h"]);
    assert!(packed < plain, "{packed} of {plain}");
    let here = |name: &str| census(&place.stage.path("here").join(name)).len();
    assert_eq!((here("g"), here("h")), (here("t"), here("t")));
}

#[test]
fn a_file_of_settings_says_how_a_server_compresses() {
    let stage = Stage::new();
    let file = stage.path("floe.toml");
    fs::write(&file, "compress = \"never\"\n").unwrap();
    let server = stage.serve_and_log_in(&["--config", file.to_str().unwrap()]);
    write(&stage, "f", &text(1_000_000));
    let put = stage.run(&["put", "f", "nas:/f", "--compress", "3", "--json"]).ok();
    assert_eq!(number(&put.event("summary"), "bytes_on_wire"), 1_000_000);
    // Read again, it holds for who comes next.
    fs::write(&file, "compress = \"3\"\n").unwrap();
    server.signal(rustix::process::Signal::HUP);
    let read = || server.errors.lock().unwrap().contains("were read again");
    wait_until("it is read again", read);
    let get = stage.run(&["get", "nas:/f", "g", "--compress", "3", "--json"]).ok();
    assert!(number(&get.event("summary"), "bytes_on_wire") < 500_000);
    stage.run(&["put", "f", "nas:/g", "--compress", "0"]).fails(2, &["a level from 1 to 19"]);
}
