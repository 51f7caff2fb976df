//! A server over a temporary directory, and clients of it.

use floe_engine::audit::{Auditing, FILE_BYTES};
use floe_engine::buffer::Pool;
use floe_engine::client::{Client, Connect, Credential, LocalSink, LocalSource, Outcome, Retry};
use floe_engine::identity::{Identity, KeyPin};
use floe_engine::rules::Rules;
use floe_engine::secure::Security;
use floe_engine::server::{Access, Confine, Public, ReadOnly, Serve, ServeSecurity, Server};
use floe_engine::state::State;
use floe_engine::ticket::Ticket;
use floe_proto::command::{StreamCount, TransferOptions};
use floe_types::{ByteCount, Fault, Limits, Mode, ObjectPath};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A server that runs.
pub struct House {
    pub dir: TempDir,
    pub address: SocketAddr,
    pub pin: KeyPin,
    pub ticket: Ticket,
    pub pool: Pool,
    stop: watch::Sender<bool>,
    served: JoinHandle<Result<(), Fault>>,
}

/// What a house is like.
pub struct Plan {
    pub tls: bool,
    pub access: Access,
    pub listen: SocketAddr,
    pub memory: ByteCount,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            tls: true,
            access: Access { read_only: ReadOnly::No, public: Public::No, umask: Mode::NONE },
            listen: "127.0.0.1:0".parse().unwrap(),
            memory: ByteCount(256 << 20),
        }
    }
}

impl House {
    pub async fn open() -> Self {
        Self::open_as(Plan::default()).await
    }

    pub async fn open_as(plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        Self::open_in(dir, plan).await
    }

    async fn open_in(dir: TempDir, plan: Plan) -> Self {
        let state = State::open(&dir.path().join("state")).unwrap();
        let identity = Identity::load_or_create(&state).unwrap();
        let pin = identity.pin();
        let security =
            if plan.tls { ServeSecurity::Tls(identity) } else { ServeSecurity::Plaintext };
        let server = Server::bind(Serve {
            root: dir.path().join("root"),
            listen: vec![plan.listen],
            bound: vec![],
            state,
            security,
            access: plan.access,
            rules: Rules::default(),
            memory: plan.memory,
            confine: Confine::Nothing,
            audit: Auditing::Log(FILE_BYTES),
            metrics: None,
        })
        .await
        .unwrap();
        let address = server.addresses()[0];
        let pool = server.pool();
        let text = std::fs::read_to_string(&server.owner_ticket().path).unwrap();
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(server.run(stopped));
        Self { dir, address, pin, ticket: text.parse().unwrap(), pool, stop, served }
    }

    /// Ends the server in good order; its directory stays.
    pub async fn close(self) -> TempDir {
        self.stop.send_replace(true);
        self.served.await.unwrap().unwrap();
        self.dir
    }

    /// Ends it as a crash would, as far as one process can, and starts another in its place.
    pub async fn abort_and_reopen(self) -> Self {
        let Self { dir, address, stop, served, .. } = self;
        served.abort();
        let _ = served.await;
        drop(stop);
        Self::open_in(dir, Plan { listen: address, ..Plan::default() }).await
    }

    pub fn served(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    pub fn local(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn connect(&self, streams: u32) -> Connect {
        Connect {
            host: self.address.ip().to_string(),
            port: self.address.port(),
            security: Security::Tls { pin: self.pin },
            credential: Credential::Ticket(self.ticket.clone()),
            streams: StreamCount::Fixed(streams),
            own_key: None,
            client_id: [7; 16],
            limits: Limits::default(),
            retry: Retry { give_up_after: Duration::from_secs(20) },
        }
    }

    pub async fn client(&self, streams: u32) -> Client {
        Client::connect(self.connect(streams)).await.unwrap()
    }
}

/// Bytes that are a function of their place.
pub fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_be_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

pub async fn put(client: &Client, from: &Path, to: &str) -> Outcome {
    put_with(client, from, to, TransferOptions::default()).await
}

pub async fn put_with(client: &Client, from: &Path, to: &str, options: TransferOptions) -> Outcome {
    let (watch, _notices) = floe_engine::client::watch();
    let from = LocalSource::Path(from.to_path_buf());
    client.put(from, path(to), options, watch).await.unwrap()
}

pub async fn get(client: &Client, from: &str, to: &Path) -> Outcome {
    get_with(client, from, to, TransferOptions::default()).await
}

pub async fn get_with(client: &Client, from: &str, to: &Path, options: TransferOptions) -> Outcome {
    let (watch, _notices) = floe_engine::client::watch();
    let to = LocalSink::Path(to.to_path_buf());
    client.get(path(from), to, options, watch).await.unwrap()
}
