//! Many at once from one address: all of them are served.

use crate::stage::{Stage, content};
use std::fs;

#[test]
fn two_hundred_clients_of_one_address_all_get_the_file() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(100_000)).unwrap();
    let clients: Vec<_> = (0..200).map(|_| stage.start(&["get", "nas:/f", "-"])).collect();
    for client in clients {
        let got = client.end().ok();
        assert!(got.out == content(100_000));
    }
}
