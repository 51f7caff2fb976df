//! A server and a client in one process, over loopback: put a file, get it back, compare.
//!
//! `cargo run -p floe-engine --example put_and_get`

use floe_engine::audit::{Auditing, FILE_BYTES};
use floe_engine::client::{Client, Connect, Credential, LocalSink, LocalSource, Retry};
use floe_engine::identity::Identity;
use floe_engine::rules::Rules;
use floe_engine::secure::Security;
use floe_engine::server::{
    Access, Confine, MEMORY_BYTES, Public, ReadOnly, Serve, ServeSecurity, Server,
};
use floe_engine::state::State;
use floe_proto::command::{StreamCount, TransferOptions};
use floe_types::{Limits, Mode, ObjectPath};
use std::error::Error;
use tokio::sync::watch;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("served"))?;
    std::fs::write(dir.path().join("source"), vec![7; 10 << 20])?;

    // The server: its identity and tickets are in its state directory.
    let state = State::open(&dir.path().join("state"))?;
    let identity = Identity::load_or_create(&state)?;
    let pin = identity.pin();
    let server = Server::bind(Serve {
        root: dir.path().join("served"),
        listen: vec!["127.0.0.1:0".parse()?],
        bound: vec![],
        state,
        security: ServeSecurity::Tls(identity),
        access: Access { read_only: ReadOnly::No, public: Public::No, umask: Mode::NONE },
        rules: Rules::default(),
        memory: MEMORY_BYTES,
        confine: Confine::Nothing,
        audit: Auditing::Log(FILE_BYTES),
        metrics: None,
    })
    .await?;
    let address = server.addresses()[0];
    let ticket = std::fs::read_to_string(&server.owner_ticket().path)?.parse()?;
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped));

    // The client: a ticket says which server key to trust, and proves who it is.
    let client = Client::connect(Connect {
        host: address.ip().to_string(),
        port: address.port(),
        security: Security::Tls { pin },
        credential: Credential::Ticket(ticket),
        streams: StreamCount::Fixed(2),
        own_key: None,
        client_id: [1; 16],
        limits: Limits::default(),
        retry: Retry::default(),
    })
    .await?;
    let (watch, _notices) = floe_engine::client::watch();
    let object = ObjectPath::parse(b"some/object").map_err(|why| why.to_string())?;
    let options = TransferOptions::default();
    let from = LocalSource::Path(dir.path().join("source"));
    let put = client.put(from, object.clone(), options.clone(), watch.clone()).await?;
    put.result?;
    let to = LocalSink::Path(dir.path().join("copy"));
    let got = client.get(object, to, options, watch).await?;
    got.result?;
    client.close().await;

    assert_eq!(put.root, got.root);
    if let Some((size, root)) = got.root {
        println!("{root}  {size} bytes, put in {:?}, got in {:?}", put.elapsed, got.elapsed);
    }
    stop.send_replace(true);
    serving.await??;
    Ok(())
}
