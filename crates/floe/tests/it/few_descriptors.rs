//! Little is there: a tree of more files than either end may have open goes through all the same.

use crate::stage::{Running, Stage, content, with_few};
use std::fs;

#[test]
fn a_tree_of_more_files_than_descriptors_goes_up_and_comes_down() {
    let stage = Stage::new();
    let server = stage.serve_with(&[], 100);
    stage.log_in_as_owner(&server, &[]);
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
