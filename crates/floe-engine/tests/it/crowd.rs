//! Many clients at once.

use crate::house::{House, content, get, put};
use std::fs;

#[tokio::test]
async fn fifty_clients_put_and_get_at_once() {
    let house = std::sync::Arc::new(House::open().await);
    fs::write(house.served("common"), content(2 << 20, 1)).unwrap();
    let mut clients = tokio::task::JoinSet::new();
    for nth in 0..50_u8 {
        let house = std::sync::Arc::clone(&house);
        clients.spawn(async move {
            let mut connect = house.connect(1);
            connect.client_id = [nth; 16];
            let client = floe_engine::client::Client::connect(connect).await.unwrap();
            let to = house.local(&format!("down{nth}"));
            assert_eq!(get(&client, "common", &to).await.result, Ok(()));
            assert!(fs::read(&to).unwrap() == content(2 << 20, 1));
            assert_eq!(put(&client, &to, &format!("up{nth}")).await.result, Ok(()));
            client.close().await;
        });
    }
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    for nth in 0..50 {
        assert!(fs::read(house.served(&format!("up{nth}"))).unwrap() == content(2 << 20, 1));
    }
}

#[tokio::test]
async fn two_clients_that_put_the_same_name_leave_one_whole() {
    let house = House::open().await;
    let (one, two) = (content(8 << 20, 1), content(8 << 20, 2));
    fs::write(house.local("one"), &one).unwrap();
    fs::write(house.local("two"), &two).unwrap();
    let first = house.client(1).await;
    let mut connect = house.connect(1);
    connect.client_id = [8; 16];
    let second = floe_engine::client::Client::connect(connect).await.unwrap();
    let (from_one, from_two) = (house.local("one"), house.local("two"));
    let (a, b) = tokio::join!(put(&first, &from_one, "x"), put(&second, &from_two, "x"));
    assert_eq!((a.result, b.result), (Ok(()), Ok(())));
    let stands = fs::read(house.served("x")).unwrap();
    assert!(stands == one || stands == two);
    first.close().await;
    second.close().await;
    house.close().await;
}
