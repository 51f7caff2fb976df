//! `floe login`: keep a server under a NAME, with its key and a ticket.
//!
//! The ticket comes from the terminal, unseen, or from standard input; never from an argument.
//! Nothing is kept before the server was reached and let the ticket in.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::dial::{Route, connect};
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::prompt;
use crate::remote::{Address, parse_server};
use crate::report::Voice;
use crate::settings::{Reach, Wire, open_state};
use crate::signals::Signals;
use crate::succession;
use floe_engine::client::{Credential, Retry};
use floe_engine::hosts::{Host, Hosts};
use floe_engine::identity::KeyPin;
use floe_engine::secure::{Security, shown_key};
use floe_engine::socket;
use floe_engine::ticket::Ticket;
use floe_proto::command::StreamCount;
use floe_types::{Code, Escaped};
use std::slice;
use std::time::Duration;

/// Remember a server under a name, with a ticket
///
/// Asks for the ticket on the terminal, without showing it, or reads it from standard input. A
/// ticket names the server's key, so nothing else is needed. A server that serves the public can be
/// known without one: then --key FINGERPRINT says whom to trust, or the key it shows is put before
/// you on the terminal. Nothing is kept unless the server lets you in.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct LoginArgs {
    /// The name to use from now on, as in NAME:/path: letters, digits, '.', '_', '-'
    name: String,
    /// The server
    #[arg(value_name = "floe://host[:port]")]
    server: String,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe login nas floe://nas.example.org
  floe login nas floe://10.0.0.7:9000 < owner.ticket
  floe login nas floe://nas.example.org --own-key   (a ticket bound to this client)
  floe login mirror floe://mirror.example.org --key 5f0c...   (a public server)";

/// Runs `floe login` to its end.
///
/// # Errors
/// `Usage`, what the server answers, `State`.
pub async fn run(args: LoginArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(&args.output, Channel::Output);
    let address = parse_server(&args.server)?;
    if !Hosts::is_name(&args.name) {
        let detail = format!("\"{}\"", Escaped(args.name.as_bytes()));
        let hint =
            "a NAME is 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit";
        return Err(Failure::hinted(Code::Usage, detail, hint));
    }
    let reach = Reach::of(&args.connect)?;
    let state = open_state(&args.connect.state)?;
    let ticket = match reach.ticket.clone() {
        Some(ticket) => Some(ticket),
        None => signals.or(ask_ticket(&reach)).await?,
    };
    let security = signals.or(settle(&reach, ticket.as_ref(), &address)).await?;
    let credential = ticket.clone().map_or(Credential::Anonymous, Credential::Ticket);
    let own_key = reach.own_key;
    let route = Route { address: address.clone(), security, credential, own_key };
    let once = Retry { give_up_after: Duration::ZERO };
    let client = signals.or(connect(&state, route, StreamCount::Fixed(1), once)).await?;
    let keys = client.new_keys();
    client.close().await;
    let (name, port) = (address.host.clone(), address.port);
    let mut host = Host { host: name, port, security, ticket, own_key };
    keys.iter().for_each(|key| host.follow(key));
    let (with_ticket, security) = (host.ticket.is_some(), host.security);
    Hosts::new(&state).insert(&args.name, host)?;
    if let Some(key) = keys.last() {
        succession::say(voice, &address, slice::from_ref(&args.name), key);
    }
    let key = match security {
        Security::Tls { pin } => Some(pin.to_string()),
        Security::Plaintext => None,
    };
    voice.say(&format_args!("{name}:/ is {address}/ from now on", name = args.name));
    voice.send(|| {
        Event::new("logged_in")
            .with("name", args.name.as_str())
            .with("url", address.to_string())
            .with("fingerprint", key)
            .with("ticket", with_ticket)
    });
    Ok(())
}

/// The ticket that is typed or piped; nothing where there is none.
async fn ask_ticket(reach: &Reach) -> Result<Option<Ticket>> {
    let text = if prompt::is_terminal() {
        if reach.key.is_some() {
            return Ok(None);
        }
        prompt::secret("ticket (not shown; nothing for a public server): ").await?
    } else {
        prompt::piped().await?
    };
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|fault: floe_types::Fault| {
            Failure::hinted(Code::Usage, fault.detail, "copy the ticket whole: one line, floe1...")
        }),
    }
}

/// Which key to trust.
async fn settle(reach: &Reach, ticket: Option<&Ticket>, address: &Address) -> Result<Security> {
    if reach.wire == Wire::Plaintext {
        return Ok(Security::Plaintext);
    }
    match (ticket, reach.key) {
        (Some(ticket), Some(key)) if ticket.pin() != key => Err(Failure::new(
            Code::ServerKeyMismatch,
            format!("the ticket is for the key {}, asked for is {key}", ticket.pin()),
        )),
        (Some(ticket), _) => Ok(Security::Tls { pin: ticket.pin() }),
        (None, Some(pin)) => Ok(Security::Tls { pin }),
        (None, None) => Ok(Security::Tls { pin: ask_key(address).await? }),
    }
}

async fn ask_key(address: &Address) -> Result<KeyPin> {
    let refused = |detail: String| {
        let hint = "give --key FINGERPRINT as its operator tells it to you, or a ticket";
        Failure::hinted(Code::NotAllowed, detail, hint)
    };
    if !prompt::is_terminal() {
        return Err(refused(format!("{address}: no ticket, and no key to know the server by")));
    }
    let socket = socket::dial(&address.host, address.port, PATIENCE).await?;
    let pin = shown_key(socket, tokio::time::Instant::now() + PATIENCE).await?;
    let question =
        format!("{address} shows the key\n  {pin}\nIs it what its operator told you? Type yes: ");
    match prompt::is_yes(&question).await? {
        true => Ok(pin),
        false => Err(refused(format!("{address}: the key {pin} is not trusted"))),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
