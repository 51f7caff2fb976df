//! `floe hosts`: the servers that are known by name.

use crate::args::{AFTER_HELP, OutputFlags, StateFlag};
use crate::event::{Channel, Event};
use crate::fault::Result;
use crate::output;
use crate::remote::Address;
use crate::report::{Form, Voice};
use crate::settings::find_state;
use floe_engine::hosts::{Host, Hosts, OwnKey};
use floe_engine::secure::Security;
use floe_types::Code;

/// List the servers that are known by name
///
/// One a line: the name, the address, whether a ticket is kept, the key fingerprint that is
/// trusted, and 'own key' where the server is shown this client's.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct HostsArgs {
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Runs `floe hosts`.
///
/// # Errors
/// `State`.
pub fn run(args: &HostsArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let known = match find_state(&args.state) {
        Err(failure) if failure.code() == Code::NotFound => return Ok(()),
        state => Hosts::new(&state?).list()?,
    };
    for (name, host) in known {
        match voice.form {
            Form::Json(channel) => event(&name, &host).send(channel),
            Form::Text => output::line(&line(&name, &host))?,
        }
    }
    Ok(())
}

fn url(host: &Host) -> String {
    Address { host: host.host.clone(), port: host.port }.to_string()
}

fn key(host: &Host) -> Option<String> {
    match host.security {
        Security::Tls { pin } => Some(pin.to_string()),
        Security::Plaintext => None,
    }
}

fn line(name: &str, host: &Host) -> String {
    let ticket = if host.ticket.is_some() { "ticket" } else { "public" };
    let key = key(host).unwrap_or_else(|| "plaintext".to_owned());
    let own = if host.own_key == OwnKey::Shown { "\town key" } else { "" };
    format!("{name}\t{}\t{ticket}\t{key}{own}", url(host))
}

fn event(name: &str, host: &Host) -> Event {
    Event::new("host")
        .with("name", name)
        .with("url", url(host))
        .with("ticket", host.ticket.is_some())
        .with("fingerprint", key(host))
        .with("own_key", host.own_key == OwnKey::Shown)
}
