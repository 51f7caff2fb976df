//! `--keep-free` at the door: many writers at once, and a server that is killed under them.

use crate::bad_place::may_mount;
use crate::stage::{Ended, Running, Server, Stage, content, wait_until};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A file system of its own over `srv`, which outlives the servers on it.
struct Mounted {
    holder: Child,
    /// Where it is seen from outside.
    seen: PathBuf,
}

impl Mounted {
    /// So large; nothing where this system does not let us.
    fn new(stage: &Stage, size: &str) -> Option<Self> {
        if !may_mount() {
            crate::stage::skip("no mounts of our own here");
            return None;
        }
        let script = format!("mount -t tmpfs -o size={size} none srv && echo up && exec sleep 600");
        let mut holder = Command::new("unshare");
        holder.args(["-rm", "sh", "-c", &script]).current_dir(stage.path(""));
        let mut holder = holder.stdout(Stdio::piped()).spawn().unwrap();
        let mut up = [0; 3];
        holder.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let seen = root.join(stage.path("srv").strip_prefix("/").unwrap());
        Some(Self { holder, seen })
    }

    fn serve(&self, stage: &Stage, listen: &str) -> Server {
        let script = "cd \"$1\" && exec \"$0\" serve srv --state state-server --keep-free 16Mi \
                      --listen \"$2\"";
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-U", "-m", "--preserve-credentials"]);
        command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_floe")]);
        Server::start(command.arg(stage.path("")).arg(listen))
    }

    fn free(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.seen).unwrap();
        space.f_bavail * space.f_frsize
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn eight_writers_leave_free_what_is_kept_free_also_after_a_kill() {
    let stage = Stage::new();
    let Some(disk) = Mounted::new(&stage, "64m") else { return };
    let server = disk.serve(&stage, "127.0.0.1:0");
    let listen = server.url("").trim_start_matches("floe://").trim_end_matches('/').to_owned();
    stage.log_in_as_owner(&server, &[]);
    // Four fit.
    let (size, whole) = (10_000_000, disk.free());
    let input = content(size);
    stage.file("f", size);
    let start = |nth: usize| {
        let (from, name) = (if nth.is_multiple_of(2) { "f" } else { "-" }, format!("nas:/f{nth}"));
        let mut command = stage.command();
        let flags = ["--limit", "2M", "--json"];
        Running::start(command.args(["put", from, &name]).args(flags), &input)
    };
    let writers: Vec<_> = (0..8).map(start).collect();
    // Whoever comes to a server that is not there gives up at once.
    for writer in &writers {
        writer.wait_for("\"event\":");
    }
    wait_until("half of it is staged", || disk.free() < whole - (24 << 20));
    server.kill();
    let server = disk.serve(&stage, &listen);
    let ends = writers.into_iter().map(|writer| thread::spawn(move || writer.end()));
    let ends: Vec<_> = ends.collect();
    let mut least = disk.free();
    while ends.iter().any(|end| !end.is_finished()) {
        least = least.min(disk.free());
    }
    let ends: Vec<_> = ends.into_iter().map(|end| end.join().unwrap()).collect();
    // Journals are not counted: a few pages each.
    assert!(least + 8 * 3 * 4096 >= 16 << 20, "{least} free");
    let said: Vec<_> = ends.iter().map(Ended::text).collect();
    assert!(ends.iter().all(|end| [0, 7].contains(&end.status)), "{said:?}");
    assert!(ends.iter().any(|end| end.status == 7), "eight fit");
    for (nth, end) in ends.iter().enumerate() {
        let stands = fs::read(disk.seen.join(format!("f{nth}"))).ok();
        assert_eq!(stands.as_ref(), (end.status == 0).then_some(&input), "{nth}: {}", said[nth]);
    }
    drop(server);
}

#[test]
fn links_directories_and_journals_take_nothing_of_what_is_kept_free() {
    let stage = Stage::new();
    let Some(disk) = Mounted::new(&stage, "20m") else { return };
    let server = disk.serve(&stage, "127.0.0.1:0");
    stage.log_in_as_owner(&server, &[]);
    stage.file("f", 10);
    stage.run(&["put", "f", "nas:/f"]).ok();
    let (kept, over) = (16 << 20, 256 << 10);
    let filling = disk.free() - kept - over;
    fs::write(disk.seen.join("filling"), vec![0; usize::try_from(filling).unwrap()]).unwrap();
    // A link of a long text takes a page of a tmpfs, a directory none.
    let tree = stage.path("here/tree");
    fs::create_dir(&tree).unwrap();
    for nth in 0..100 {
        std::os::unix::fs::symlink("t".repeat(4000), tree.join(nth.to_string())).unwrap();
    }
    let ended = stage.run(&["put", "tree", "nas:/tree"]);
    assert!(ended.status == 10 && ended.err.contains("no space left"), "{}", ended.err);
    assert!(disk.free() >= kept, "{} free", disk.free());
    let made = fs::read_dir(disk.seen.join("tree")).unwrap().count();
    assert!((50..70).contains(&made), "{made} of 64 fit");
    stage.run(&["mkdir", "nas:/d"]).fails(7, &["no space left"]);
    stage.run(&["mkdir", "nas:/tree"]).ok();
    // Holes take nothing but the records of them.
    fs::remove_dir_all(disk.seen.join("tree")).unwrap();
    stage.run(&["mkdir", "nas:/d"]).ok();
    fs::File::create(stage.path("here/sparse")).unwrap().set_len(60 << 30).unwrap();
    stage.run(&["put", "sparse", "nas:/s"]).fails(7, &["no space left"]);
    assert!(disk.free() + 3 * 4096 >= kept, "{} free", disk.free());
}
