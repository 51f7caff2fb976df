//! Reaching servers: which address, key and ticket a name stands for, and one connection at a time.
//!
//! A saved login gives key and ticket of its NAME, and of its address for `floe://` names; for
//! those FLOE_TICKET and FLOE_KEY come first. `--key` holds for every name: a login with another
//! key is refused. There is no way to accept whatever key a server
//! shows, and plaintext is never a fallback.

use crate::args::ConnectFlags;
use crate::fault::{Failure, Result};
use crate::remote::{Address, Remote, ServerName};
use crate::report::Voice;
use crate::settings::{Reach, Wire, open_state};
use crate::succession;
use floe_engine::client::{Client, Connect, Credential, Retry};
use floe_engine::hosts::{Host, Hosts, OwnKey};
use floe_engine::identity::Identity;
use floe_engine::secure::Security;
use floe_engine::state::{Lock, State};
use floe_proto::command::StreamCount;
use floe_proto::frame::{Reply, Request};
use floe_types::{Code, Limits};
use std::sync::Arc;
use std::time::Duration;

/// Connects where names lead, and keeps the last connection.
pub struct Dialer {
    state: State,
    hosts: Vec<(String, Host)>,
    reach: Reach,
    streams: StreamCount,
    voice: Voice,
    open: Option<Open>,
}

/// A connection that is kept.
struct Open {
    server: ServerName,
    address: Address,
    client: Client,
    /// Keys of its server that were kept.
    followed: usize,
}

/// Where a server is and how it is trusted.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its address.
    pub address: Address,
    /// How the connection is secured.
    pub security: Security,
    /// As whom.
    pub credential: Credential,
    /// Whether the server is shown the client's own key.
    pub own_key: OwnKey,
}

impl Dialer {
    /// With what flags, environment and state directory say.
    ///
    /// # Errors
    /// `State`, `Usage`.
    pub fn new(flags: &ConnectFlags, streams: StreamCount, voice: Voice) -> Result<Self> {
        let reach = Reach::of(flags)?;
        let state = open_state(&flags.state)?;
        let hosts = Hosts::new(&state).list()?;
        Ok(Self { state, hosts, reach, streams, voice, open: None })
    }

    /// Whether a NAME was logged in.
    pub fn knows(&self, name: &str) -> bool {
        self.hosts.iter().any(|(known, _)| known == name)
    }

    /// The connection to a server: the one that is open, or a new one.
    ///
    /// # Errors
    /// As `Client::connect`; `NotAllowed` where nothing says which key to trust.
    pub async fn client(&mut self, server: &ServerName) -> Result<&Client> {
        if self.open.as_ref().is_none_or(|open| open.server != *server) {
            self.close().await;
            let route = self.route(server)?;
            let address = route.address.clone();
            let client = connect(&self.state, route, self.streams, Retry::default()).await?;
            self.open = Some(Open { server: server.clone(), address, client, followed: 0 });
        }
        self.follow();
        match &self.open {
            Some(open) => Ok(&open.client),
            None => Err(Failure::new(Code::Unreachable, format!("connect to {server}"))),
        }
    }

    /// A connection of its own, which is not made again when it is lost.
    ///
    /// # Errors
    /// As `client`.
    pub async fn fresh(&self, server: &ServerName, streams: StreamCount) -> Result<Client> {
        let retry = Retry { give_up_after: Duration::ZERO };
        connect(&self.state, self.route(server)?, streams, retry).await
    }

    /// Asks something of the server of `remote`.
    ///
    /// # Errors
    /// As `client`, and what the server answers.
    pub async fn request(&mut self, remote: &Remote, request: Request) -> Result<Reply> {
        Ok(self.client(&remote.server).await?.request(request).await?)
    }

    /// Holds what makes two commands identical, so that a second one fails at once.
    ///
    /// # Errors
    /// `AlreadyRunning` with the other's pid; `State`.
    pub fn lock(&self, key: &[u8]) -> Result<Lock> {
        Ok(self.state.lock_transfer(key)?)
    }

    /// The address behind a server's name.
    ///
    /// # Errors
    /// `Usage` for a name that is not known any more.
    pub fn address(&self, server: &ServerName) -> Result<Address> {
        match server {
            ServerName::Url(address) => Ok(address.clone()),
            ServerName::Known(name) => Ok(address_of(self.host(name)?)),
        }
    }

    /// Ends the connection in good order.
    pub async fn close(&mut self) {
        self.follow();
        if let Some(open) = self.open.take() {
            open.client.close().await;
        }
    }

    /// Keeps what the server said of its keys meanwhile.
    fn follow(&mut self) {
        let Some(open) = &mut self.open else { return };
        let keys = open.client.new_keys();
        let fresh = &keys[open.followed.min(keys.len())..];
        if fresh.is_empty() {
            return;
        }
        open.followed = keys.len();
        succession::follow(&self.state, &open.address, fresh, self.voice);
        // What cannot be read now was read before.
        self.hosts = Hosts::new(&self.state).list().unwrap_or(std::mem::take(&mut self.hosts));
    }

    fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.iter().find(|(known, _)| known == name).map(|(_, host)| host).ok_or_else(|| {
            let hint = format!("floe login {name} floe://HOST");
            Failure::hinted(Code::Usage, format!("\"{name}\" is not logged in"), hint)
        })
    }

    /// How a server is reached, and as whom.
    ///
    /// # Errors
    /// As `client`, before anything is connected.
    pub fn route(&self, server: &ServerName) -> Result<Route> {
        match server {
            ServerName::Known(name) => {
                let host = self.host(name)?;
                self.refuse_other_key(name, host)?;
                Ok(self.route_of_host(host))
            }
            ServerName::Url(address) => {
                if self.reach.ticket.is_some() {
                    return self.route_of_reach(address.clone());
                }
                // A key alone says whom to trust, not as whom to come.
                let fits = |host: &Host| {
                    let security = self.reach.key.map(|pin| Security::Tls { pin });
                    security.is_none_or(|security| security == host.security)
                };
                let mut saved = self.hosts.iter().filter(|(_, host)| address_of(host) == *address);
                match saved.find(|(_, host)| fits(host)) {
                    Some((_, host)) => Ok(self.route_of_host(host)),
                    None => self.route_of_reach(address.clone()),
                }
            }
        }
    }

    fn refuse_other_key(&self, name: &str, host: &Host) -> Result<()> {
        match self.reach.key_asked {
            Some(pin) if host.security != (Security::Tls { pin }) => Err(Failure::hinted(
                Code::ServerKeyMismatch,
                format!("\"{name}\" was logged in with another key than --key"),
                format!("leave --key out, or log in again: floe login {name} {}", address_of(host)),
            )),
            _ => Ok(()),
        }
    }

    fn route_of_host(&self, host: &Host) -> Route {
        let credential = host.ticket.clone().map_or(Credential::Anonymous, Credential::Ticket);
        let security = match self.reach.wire {
            Wire::Plaintext => Security::Plaintext,
            Wire::Tls => host.security,
        };
        let own_key = match (host.own_key, self.reach.own_key) {
            (OwnKey::Hidden, OwnKey::Hidden) => OwnKey::Hidden,
            _ => OwnKey::Shown,
        };
        Route { address: address_of(host), security, credential, own_key }
    }

    fn route_of_reach(&self, address: Address) -> Result<Route> {
        let own = self.reach.ticket.as_ref().map(|ticket| ticket.pin());
        if self.reach.wire == Wire::Tls && own.zip(self.reach.key).is_some_and(|(a, b)| a != b) {
            return Err(Failure::hinted(
                Code::ServerKeyMismatch,
                format!("{address}: --key (or FLOE_KEY) is not the key that the ticket names"),
                "leave it out: the ticket says which key is the server's",
            ));
        }
        let pin = self.reach.key.or(own);
        let security = match (self.reach.wire, pin) {
            (Wire::Plaintext, _) => Security::Plaintext,
            (Wire::Tls, Some(pin)) => Security::Tls { pin },
            (Wire::Tls, None) => {
                return Err(Failure::hinted(
                    Code::NotAllowed,
                    format!("{address}: no ticket, and no key to know the server by"),
                    format!(
                        "log in once: floe login NAME {address}; a script sets FLOE_TICKET, or for \
                        a public server FLOE_KEY"
                    ),
                ));
            }
        };
        let credential =
            self.reach.ticket.clone().map_or(Credential::Anonymous, Credential::Ticket);
        Ok(Route { address, security, credential, own_key: self.reach.own_key })
    }
}

/// Connects, and so proves that server and ticket are what they should be.
///
/// # Errors
/// As `Client::connect`.
pub async fn connect(
    state: &State,
    route: Route,
    streams: StreamCount,
    retry: Retry,
) -> Result<Client> {
    let own_key = match route.own_key {
        OwnKey::Shown => Some(Arc::new(Identity::of_client(state)?)),
        OwnKey::Hidden => None,
    };
    let connect = Connect {
        host: route.address.host,
        port: route.address.port,
        security: route.security,
        credential: route.credential,
        own_key,
        streams,
        client_id: state.client_id()?,
        limits: Limits::default(),
        retry,
    };
    Ok(Client::connect(connect).await?)
}

fn address_of(host: &Host) -> Address {
    Address { host: host.host.clone(), port: host.port }
}
