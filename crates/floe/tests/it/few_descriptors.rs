//! Little is there: a tree of more files than either end may have open goes through all the same.

use crate::stage::{Running, Server, Stage, content};
use std::fs;
use std::process::Command;

/// The same command, with so few descriptors.
fn with_few(command: &Command, descriptors: u32) -> Command {
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

#[test]
fn a_tree_of_more_files_than_descriptors_goes_up_and_comes_down() {
    let stage = Stage::new();
    let mut serve = stage.command();
    serve.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    serve.args(["--listen", "127.0.0.1:0"]);
    let server = Server::start(&mut with_few(&serve, 100));
    stage.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
    // Two chunks each: every stage has a journal, and takes two descriptors.
    for nth in 0..150 {
        stage.file(&format!("tree/f{nth}"), 300_000);
    }
    for args in [
        ["put", "tree", "nas:/up", "--chunk", "256Ki", "--streams", "2"],
        ["get", "nas:/up", "down", "--chunk", "256Ki", "--streams", "2"],
    ] {
        let mut command = stage.command();
        command.args(args);
        Running::start(&mut with_few(&command, 100), b"").end().ok();
    }
    for nth in 0..150 {
        let bytes = fs::read(stage.path("here/down").join(format!("f{nth}"))).unwrap();
        assert!(bytes == content(300_000), "f{nth}");
    }
}
