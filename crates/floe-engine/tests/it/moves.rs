//! Put and get: files, trees, many streams, resume.

use crate::house::{House, Plan, content, get, get_with, path, put, put_with};
use floe_engine::client::{Client, LocalSource, Notice};
use floe_proto::command::{StreamCount, TransferOptions};
use floe_proto::frame::{Pace, Reply, Request, RootWish};
use floe_types::{ByteCount, ChunkSize, Code, Precondition, Rate, Root};
use std::fs;
use std::time::{Duration, SystemTime};

const MIB: usize = 1 << 20;

/// A file whose change is long ago, so that its version can be trusted.
fn settle(file: &std::path::Path) {
    // The inode's own stamp cannot be set back; a test that needs it waits for it below.
    let then = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
}

#[tokio::test]
async fn a_file_goes_up_and_comes_down_identical() {
    let house = House::open().await;
    for (len, streams) in [(0, 1), (1, 1), (MIB, 1), (5 * MIB + 17, 1), (33 * MIB + 1, 4)] {
        let bytes = content(len, len as u64);
        let source = house.local("source");
        fs::write(&source, &bytes).unwrap();
        let client = house.client(streams).await;
        let outcome = put(&client, &source, "a/b/object").await;
        assert_eq!(outcome.result, Ok(()), "put {len}");
        assert_eq!(outcome.root, Some((ByteCount(len as u64), Root::of(&bytes))), "put {len}");
        assert!(fs::read(house.served("a/b/object")).unwrap() == bytes, "put {len}");
        let outcome = get(&client, "a/b/object", &house.local("down/file")).await;
        assert_eq!(outcome.result, Ok(()), "get {len}");
        assert_eq!(outcome.root, Some((ByteCount(len as u64), Root::of(&bytes))), "get {len}");
        assert!(fs::read(house.local("down/file")).unwrap() == bytes, "get {len}");
        client.close().await;
    }
    house.close().await;
}

#[tokio::test]
async fn plaintext_and_lockstep_and_auto_streams_carry_the_same_bytes() {
    let house = House::open_as(Plan { tls: false, ..Plan::default() }).await;
    let bytes = content(9 * MIB + 5, 1);
    fs::write(house.local("source"), &bytes).unwrap();
    let mut connect = house.connect(1);
    connect.security = floe_engine::secure::Security::Plaintext;
    let client = Client::connect(connect.clone()).await.unwrap();
    let lockstep = TransferOptions { pace: Pace::Lockstep, ..TransferOptions::default() };
    let outcome = put_with(&client, &house.local("source"), "one", lockstep.clone()).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(fs::read(house.served("one")).unwrap() == bytes);
    let outcome = get_with(&client, "one", &house.local("back"), lockstep).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(fs::read(house.local("back")).unwrap() == bytes);
    client.close().await;
    connect.streams = StreamCount::Auto;
    let client = Client::connect(connect).await.unwrap();
    let chunk = ChunkSize::new(256 << 10).unwrap();
    let options = TransferOptions { chunk, ..TransferOptions::default() };
    let outcome = put_with(&client, &house.local("source"), "two", options).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(fs::read(house.served("two")).unwrap() == bytes);
    client.close().await;
    house.close().await;
}

#[tokio::test]
async fn a_tree_goes_up_and_comes_down_identical() {
    let house = House::open().await;
    let tree = house.local("tree");
    fs::create_dir_all(tree.join("deep/er/empty")).unwrap();
    for nth in 0..300_usize {
        let len = (nth * 997) % 70_000;
        fs::write(tree.join(format!("deep/f{nth}")), content(len, nth as u64)).unwrap();
    }
    fs::write(tree.join("big"), content(7 * MIB, 9)).unwrap();
    std::os::unix::fs::symlink("deep/f1", tree.join("link")).unwrap();
    let client = house.client(2).await;
    let outcome = put(&client, &tree, "up").await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.summary.entries_failed.0, 0);
    let outcome = get(&client, "up", &house.local("down")).await;
    assert_eq!(outcome.result, Ok(()));
    for at in [house.served("up"), house.local("down")] {
        assert!(at.join("deep/er/empty").is_dir());
        assert_eq!(fs::read_link(at.join("link")).unwrap().to_str(), Some("deep/f1"));
        assert!(fs::read(at.join("big")).unwrap() == content(7 * MIB, 9));
        for nth in 0..300_usize {
            let bytes = fs::read(at.join(format!("deep/f{nth}"))).unwrap();
            assert!(bytes == content((nth * 997) % 70_000, nth as u64), "f{nth}");
        }
    }
    client.close().await;
    assert!(!house.local(".floe").exists(), "the last stage takes it away");
    house.close().await;
}

#[tokio::test]
async fn a_client_that_vanished_half_way_continues() {
    let house = House::open().await;
    let bytes = content(48 * MIB, 3);
    let source = house.local("source");
    fs::write(&source, &bytes).unwrap();
    settle(&source);
    let window = ByteCount(8 << 20);
    let slow = TransferOptions { window, rate: Rate::new(24 << 20), ..TransferOptions::default() };
    let client = house.client(1).await;
    let (watch, mut notices) = floe_engine::client::watch();
    let from = LocalSource::Path(source.clone());
    let half = async {
        let put = client.put(from, path("x"), slow, watch);
        tokio::pin!(put);
        // Until a third is stored; then the client is gone without a word.
        loop {
            tokio::select! {
                outcome = &mut put => panic!("done too soon: {outcome:?}"),
                notice = notices.recv() => match notice {
                    Some(Notice::Progress(summary)) if summary.bytes_stored.0 > 16 << 20 => break,
                    _ => {}
                }
            }
        }
    };
    half.await;
    drop(client);
    assert!(!house.served("x").exists(), "nothing partial is visible");
    let client = house.client(1).await;
    let options = TransferOptions { window, ..TransferOptions::default() };
    let outcome = put_with(&client, &source, "x", options).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.summary.bytes_resumed.0 >= 16 << 20, "{:?}", outcome.summary);
    assert!(fs::read(house.served("x")).unwrap() == bytes);
    client.close().await;
    house.close().await;
}

#[tokio::test]
async fn a_second_put_of_the_same_file_sends_nothing() {
    let house = House::open().await;
    let source = house.local("source");
    fs::write(&source, content(3 * MIB, 3)).unwrap();
    let client = house.client(1).await;
    assert_eq!(put(&client, &source, "x").await.result, Ok(()));
    let outcome = put(&client, &source, "x").await;
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.summary.bytes_sent, ByteCount(0));
    client.close().await;
    house.close().await;
}

#[tokio::test]
async fn a_transfer_goes_on_when_the_server_comes_back() {
    let house = House::open().await;
    let bytes = content(40 * MIB, 5);
    let source = house.local("source");
    fs::write(&source, &bytes).unwrap();
    settle(&source);
    let options = TransferOptions { rate: Rate::new(16 << 20), ..TransferOptions::default() };
    let client = house.client(2).await;
    let (watch, mut notices) = floe_engine::client::watch();
    let task = tokio::spawn(async move {
        let outcome = client.put(LocalSource::Path(source), path("x"), options, watch).await;
        client.close().await;
        outcome
    });
    loop {
        match notices.recv().await.unwrap() {
            Notice::Progress(summary) if summary.bytes_stored.0 > 8 << 20 => break,
            _ => {}
        }
    }
    let house = house.abort_and_reopen().await;
    let outcome = task.await.unwrap().unwrap();
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.reconnects >= 1);
    assert!(fs::read(house.served("x")).unwrap() == bytes);
    house.close().await;
}

#[tokio::test]
async fn an_interrupted_transfer_keeps_its_stage() {
    let house = House::open().await;
    let source = house.local("source");
    fs::write(&source, content(40 * MIB, 5)).unwrap();
    let options = TransferOptions { rate: Rate::new(8 << 20), ..TransferOptions::default() };
    let client = house.client(1).await;
    let (watch, mut notices) = floe_engine::client::watch();
    let putting = client.put(LocalSource::Path(source), path("x"), options, watch);
    let stop = async {
        loop {
            match notices.recv().await.unwrap() {
                Notice::Progress(summary) if summary.bytes_stored.0 > 2 << 20 => break,
                _ => {}
            }
        }
        client.interrupt();
    };
    let (outcome, ()) = tokio::join!(putting, stop);
    assert_eq!(outcome.unwrap().result.unwrap_err().code, Code::Interrupted);
    assert!(!house.served("x").exists());
    assert!(house.served(".floe").is_dir());
    client.close().await;
    house.close().await;
}

#[tokio::test]
async fn requests_are_answered() {
    let house = House::open().await;
    fs::write(house.served("a"), "1234").unwrap();
    let client = house.client(1).await;
    client.request(Request::MakeDirectory { path: path("d/e") }).await.unwrap();
    let to = Request::Rename {
        from: path("a"),
        to: path("d/b"),
        replace: floe_proto::frame::Replace::Refused,
    };
    assert_eq!(client.request(to).await, Ok(Reply::Done));
    let stat = Request::Stat { path: path("d/b"), root: RootWish::Computed };
    match client.request(stat).await.unwrap() {
        Reply::Stat(stat) => assert_eq!(stat.root, Some(Root::of(b"1234"))),
        other => panic!("{other:?}"),
    }
    let list = Request::List { path: path("d"), after: None, max: floe_types::EntryCount(10) };
    match client.request(list).await.unwrap() {
        Reply::Page { names, next: None } => assert_eq!(names.len(), 2),
        other => panic!("{other:?}"),
    }
    let gone = Request::Stat { path: path("a"), root: RootWish::IfKnown };
    assert_eq!(client.request(gone).await.unwrap_err().code, Code::NotFound);
    client.close().await;
    house.close().await;
}

#[tokio::test]
async fn what_is_missing_or_in_the_way_is_said() {
    let house = House::open().await;
    fs::create_dir(house.served("dir")).unwrap();
    fs::write(house.served("file"), "old").unwrap();
    fs::write(house.local("source"), "new").unwrap();
    let client = house.client(1).await;
    let code = |outcome: floe_engine::client::Outcome| outcome.result.unwrap_err().code;
    assert_eq!(code(put(&client, &house.local("source"), "dir").await), Code::IsDirectory);
    assert_eq!(code(put(&client, &house.local("source"), "file/x").await), Code::NotDirectory);
    assert_eq!(code(get(&client, "nothing", &house.local("y")).await), Code::NotFound);
    let clobber =
        TransferOptions { precondition: Precondition::Absent, ..TransferOptions::default() };
    let outcome = put_with(&client, &house.local("source"), "file", clobber).await;
    assert_eq!(code(outcome), Code::Exists);
    assert_eq!(fs::read(house.served("file")).unwrap(), b"old");
    client.close().await;
    house.close().await;
}
