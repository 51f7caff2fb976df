//! What a session holds of stages, and when it gives them up.

use crate::house::{House, content, get_with, path, put, put_with};
use floe_engine::client::{LocalSource, Notice, Outcome};
use floe_proto::command::TransferOptions;
use floe_types::{ChunkSize, Precondition, Rate};
use std::fs;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

/// Regular files beneath a directory that this process has open.
fn open_beneath(dir: &Path) -> Vec<PathBuf> {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|link| {
        // One that another test closed meanwhile is none.
        let to = fs::read_link(link.path()).ok()?;
        let regular = fs::metadata(link.path()).is_ok_and(|file| file.is_file());
        (regular && to.starts_with(dir)).then_some(to)
    });
    open.collect()
}

#[tokio::test]
async fn a_committed_tree_holds_no_descriptor() {
    let house = House::open().await;
    let tree = house.local("tree");
    fs::create_dir(&tree).unwrap();
    for nth in 0..20_usize {
        fs::write(tree.join(format!("f{nth}")), content(600_000, nth as u64)).unwrap();
    }
    let client = house.client(2).await;
    let chunk = ChunkSize::new(256 << 10).unwrap();
    let options = TransferOptions { chunk, ..TransferOptions::default() };
    let outcome = put_with(&client, &tree, "up", options.clone()).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(open_beneath(&house.served("")), Vec::<PathBuf>::new(), "at the server");
    let outcome = get_with(&client, "up", &house.local("down"), options).await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(open_beneath(&house.local("down")), Vec::<PathBuf>::new(), "at the client");
    client.close().await;
    house.close().await;
}

type Putting = JoinHandle<Outcome>;

/// A slow put of a tree whose entries `a` and `b` have ended and whose `big` goes on.
async fn half_a_tree(house: &House) -> (Putting, PathBuf) {
    let tree = house.local("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), content(1000, 1)).unwrap();
    fs::write(tree.join("b"), content(1000, 2)).unwrap();
    fs::write(tree.join("big"), content(24 << 20, 3)).unwrap();
    fs::create_dir(house.served("t")).unwrap();
    fs::write(house.served("t/b"), "in the way").unwrap();
    let client = house.client(1).await;
    let (watch, mut notices) = floe_engine::client::watch();
    let from = LocalSource::Path(tree.clone());
    let options = TransferOptions {
        rate: Rate::new(8 << 20),
        precondition: Precondition::Absent,
        ..TransferOptions::default()
    };
    let task = tokio::spawn(async move {
        let outcome = client.put(from, path("t"), options, watch).await.unwrap();
        client.close().await;
        outcome
    });
    let mut ended = 0;
    while ended < 2 {
        match notices.recv().await.expect("the put ended too soon") {
            Notice::EntryFinished { path, .. } | Notice::EntryFailed { path, .. } => {
                assert!(!path.to_string().contains("big"), "ended too soon");
                ended += u32::from(!path.is_root());
            }
            _ => {}
        }
    }
    (task, tree)
}

#[tokio::test]
async fn a_second_command_leaves_one_that_runs_alone_where_its_entries_have_ended() {
    let house = House::open().await;
    let (first, tree) = half_a_tree(&house).await;
    let second = house.client(1).await;
    for name in ["a", "b"] {
        let outcome = put(&second, &tree.join(name), &format!("t/{name}")).await;
        assert_eq!(outcome.result, Ok(()), "{name}");
    }
    second.close().await;
    let outcome = first.await.unwrap();
    assert_eq!(outcome.reconnects, 0);
    assert_eq!(outcome.summary.entries_failed.0, 1, "b was in the way");
    assert_eq!(outcome.result.unwrap_err().code, floe_types::Code::Partial);
    assert!(fs::read(house.served("t/big")).unwrap() == content(24 << 20, 3));
    house.close().await;
}

#[tokio::test]
async fn two_files_put_to_one_name_by_one_client_are_both_carried_to_their_end() {
    let house = House::open().await;
    let slow = TransferOptions { rate: Rate::new(8 << 20), ..TransferOptions::default() };
    let (one, two) = (content(12 << 20, 1), content(12 << 20, 2));
    fs::write(house.local("one"), &one).unwrap();
    fs::write(house.local("two"), &two).unwrap();
    let (first, second) = (house.client(1).await, house.client(1).await);
    let (from_one, from_two) = (house.local("one"), house.local("two"));
    let (a, b) = tokio::join!(
        put_with(&first, &from_one, "x", slow.clone()),
        put_with(&second, &from_two, "x", slow)
    );
    assert_eq!((a.result, b.result), (Ok(()), Ok(())));
    let stands = fs::read(house.served("x")).unwrap();
    assert!(stands == one || stands == two);
    first.close().await;
    second.close().await;
    house.close().await;
}
