//! What a server says when it begins.

use super::{Settled, Wire};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Result, Shown};
use crate::output;
use crate::remote::Address;
use crate::report::{Form, Voice};
use floe_engine::audit::Auditing;
use floe_engine::identity::KeyPin;
use floe_engine::server::{CallFilter, Confinement, Server};
use floe_types::Timestamp;
use std::net::SocketAddr;
use std::path::Path;

/// Says where it listens, and what is worth knowing.
pub(super) fn announce(server: &Server, settled: &Settled) -> Result<()> {
    let voice = settled.voice;
    let addresses = server.addresses();
    for address in addresses {
        match voice.form {
            // Beside a log of JSON standard output says this alone.
            Form::Text | Form::Json(Channel::Error) => {
                output::announce(&format_args!("listening on {address}"))?;
            }
            Form::Json(channel) => {
                Event::new("listening").with("address", address.to_string()).send(channel);
            }
        }
    }
    voice.say(&format_args!("serving       {}", Shown(&settled.dir)));
    if settled.early.is_bare() {
        caution(voice, "running as    root without its capabilities: only what root owns (--user)");
    }
    if let Some(names) = settled.early.gave_up() {
        caution(voice, &format!("running as    a user without {names}, which it was started with"));
    }
    let (files, calls) = server.confinement();
    let programs = match calls {
        CallFilter::Refuses => "; it can run no program",
        CallFilter::None => "",
    };
    let confinement = format!("confined      {}{programs}", confined(files));
    match files {
        Confinement::Full => voice.say(&confinement),
        Confinement::Partial | Confinement::None => caution(voice, &confinement),
    }
    voice.say(&format_args!("audit log     {}", logged(settled.audit, settled.state.path())));
    voice.say(&format_args!("owner ticket  {}", Shown(&server.owner_ticket().path)));
    if let Some(at) = server.metrics_address() {
        voice.say(&format_args!("metrics       http://{at}/metrics, /healthz"));
        voice.send(|| Event::new("metrics").with("address", at.to_string()));
    }
    tell_login(voice, addresses, (settled.wire == Wire::Tls).then(|| server.pins()));
    Ok(())
}

/// Says what somebody should know, also where the log is all that is read.
fn caution(voice: Voice, line: &str) {
    match voice.form {
        Form::Json(Channel::Error) => tracing::warn!("{line}"),
        Form::Text | Form::Json(Channel::Output) => voice.say(&line),
    }
}

/// What a mistake in this program could still touch.
const fn confined(to: Confinement) -> &'static str {
    match to {
        Confinement::Full => "to this directory and the state directory",
        Confinement::Partial => "to both directories, as far as this kernel can (Landlock)",
        Confinement::None => {
            "no (Landlock is not there, or kept from this process by what started it)"
        }
    }
}

/// Where it is written who moved what.
fn logged(audit: Auditing, state_dir: &Path) -> String {
    match audit {
        Auditing::Log(_) => Shown(&state_dir.join("audit.jsonl")).to_string(),
        Auditing::Nothing => "none".to_owned(),
    }
}

/// The key that is shown, and the one that goes, and when.
type Pins = (KeyPin, Option<(KeyPin, Timestamp)>);

/// The line to type on the other machine.
fn tell_login(voice: Voice, addresses: &[SocketAddr], pins: Option<Pins>) {
    let system = rustix::system::uname();
    let this = system.nodename().to_string_lossy().into_owned();
    let Some(first) = addresses.first() else { return };
    let host = if first.ip().is_unspecified() { this.clone() } else { first.ip().to_string() };
    let address = Address { host, port: first.port() };
    let plain = match pins {
        Some((pin, retiring)) => {
            voice.say(&format_args!("fingerprint   {pin}"));
            if let Some((old, until)) = retiring {
                let until = civil::utc(until);
                voice.say(&format_args!("old key       {old} until {until}"));
            }
            ""
        }
        None => {
            caution(voice, "no encryption: whoever is between can read everything");
            " --plaintext"
        }
    };
    voice.say(&"on the other machine (it asks for the ticket):");
    voice.say(&format_args!("  floe login {} {address}{plain}", login_name(&this)));
    voice.send(|| {
        Event::new("serving")
            .with("fingerprint", pins.map(|(pin, _)| pin.to_string()))
            .with("retiring", pins.and_then(|(_, old)| Some(old?.0.to_string())))
            .with("url", address.to_string())
    });
}

/// A NAME made of this machine's.
fn login_name(this: &str) -> &str {
    let first = this.split('.').next().unwrap_or_default();
    if floe_engine::hosts::Hosts::is_name(first) { first } else { "NAME" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_name_is_the_machine_without_its_domain() {
        assert_eq!(login_name("nas.example.org"), "nas");
        assert_eq!(login_name(""), "NAME");
        assert_eq!(login_name("(none)"), "NAME");
    }
}
