//! Tickets that are bound to a client's key.

use crate::attack::by_hand::{Answer, Link, Peer, Ticket, code, cold, kind, map};
use crate::live_tickets::moving;
use crate::stage::{Ended, Running, Server, Stage, content};
use crate::tickets::ticket;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The fingerprint of a client's own key.
fn own_key(stage: &Stage) -> String {
    let shown = stage.run(&["key", "show", "--client"]).ok().text();
    shown.trim().strip_prefix("client    ").unwrap().to_owned()
}

fn bound(stage: &Stage, name: &str, pin: &str) -> String {
    let made = ticket(stage, &["create", name, "--allow", "all", "--client-key", pin]).ok();
    assert!(made.err.contains(pin), "{}", made.err);
    made.text()
}

/// Another client, with a state directory of its own.
fn elsewhere(stage: &Stage, args: &[&str], ticket: &str) -> Ended {
    let mut command = stage.command();
    command
        .args(args)
        .env("FLOE_STATE", stage.path("state-other"))
        .env("FLOE_TICKET", ticket.trim());
    Running::start(&mut command, b"").end()
}

const SAYS: [&str; 3] = ["needs its client's key", "--own-key", "floe key show --client"];

#[test]
fn a_bound_ticket_is_good_for_its_client_alone() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let pin = own_key(&stage);
    let file = stage.path("state/client.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(own_key(&stage), pin, "made once");
    let text = bound(&stage, "mine", &pin);
    // Not without the flag, and then nothing is kept.
    stage.log_in("mine", &server, &text, &[]).fails(4, &SAYS);
    stage.log_in("mine", &server, &text, &["--own-key"]).ok();
    let hosts = stage.run(&["hosts"]).ok().text();
    assert!(
        hosts.lines().any(|it| it.starts_with("mine\t") && it.ends_with("\town key")),
        "{hosts}"
    );
    // From then on by itself, on all connections, and for what is resumed.
    stage.file("f", 30_000_000);
    let put = ["put", "f", "mine:/f", "--streams", "4", "--json"];
    moving(&stage, &put[..5]).kill();
    assert!(stage.run(&put).ok().event("summary")["streams"].as_u64() > Some(1), "some joined");
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(30_000_000));
    let url = server.url("");
    let text = text.trim();
    stage.run_env(&["ls", &url, "--own-key"], "FLOE_TICKET", text).ok();
    // The text alone is good for nothing, wherever it is.
    stage.run_env(&["ls", &url], "FLOE_TICKET", text).fails(4, &SAYS);
    elsewhere(&stage, &["ls", &url], text).fails(4, &SAYS);
    let other = elsewhere(&stage, &["ls", &url, "--own-key"], text);
    assert!(other.err.contains("log in with the key "), "{}", other.err);
    other.fails(4, &SAYS);
    // What is not bound does not care.
    stage.run(&["ls", "nas:/"]).ok();
    stage.run_env(&["ls", &url, "--own-key"], "FLOE_TICKET", stage.owner_ticket().trim()).ok();
    let shown = ticket(&stage, &["show", "mine"]).ok().text();
    assert!(shown.contains(&format!("client   with the key {pin}\n")), "{shown}");
}

#[test]
fn a_bound_ticket_is_good_for_nothing_in_plaintext() {
    let stage = Stage::new();
    let server = stage.serve(&["--plaintext"]);
    let text = bound(&stage, "mine", &own_key(&stage));
    let args = ["ls", &server.url(""), "--plaintext"];
    stage.run_env(&args, "FLOE_TICKET", text.trim()).fails(4, &SAYS);
    let both = [&args[..], &["--own-key"]].concat();
    stage.run_env(&both, "FLOE_TICKET", text.trim()).fails(2, &["--own-key", "--plaintext"]);
}

#[test]
fn binding_a_ticket_acts_on_what_runs_and_can_be_taken_back() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let pin = own_key(&stage);
    stage.file("f", 9_000_000);
    let plain = ticket(&stage, &["create", "plain", "--allow", "all"]).ok().text();
    let shown = ticket(&stage, &["create", "shown", "--allow", "all"]).ok().text();
    stage.log_in("plain", &server, &plain, &[]).ok();
    stage.log_in("shown", &server, &shown, &["--own-key"]).ok();
    let refused = moving(&stage, &["put", "f", "plain:/a"]);
    let goes_on = moving(&stage, &["put", "f", "shown:/b"]);
    for name in ["plain", "shown"] {
        let set = ticket(&stage, &["set", name, "--client-key", &pin, "--json"]).ok();
        assert_eq!(set.event("ticket")["client_key"], pin.as_str());
    }
    // One came again without its key, the other with it.
    refused.end().fails(4, &["needs its client's key"]);
    assert!(goes_on.end().ok().event("summary")["reconnects"].as_u64() > Some(0));
    stage.run(&["ls", "plain:/"]).fails(4, &SAYS);
    ticket(&stage, &["set", "plain", "--client-key", "none"]).ok();
    stage.run(&["ls", "plain:/"]).ok();
    ticket(&stage, &["set", "shown", "--client-key", "rubbish"]).fails(2, &["64 hex digits"]);
    ticket(&stage, &["create", "x", "--client-key", "07"]).fails(2, &["64 hex digits"]);
}

/// A server with a ticket bound to the key in a file, and somebody else's in another.
fn fort() -> (Stage, Server, Ticket, [PathBuf; 2]) {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let text = bound(&stage, "mine", &own_key(&stage));
    let mut command = stage.command();
    command.args(["key", "show", "--client"]).env("FLOE_STATE", stage.path("state-other"));
    Running::start(&mut command, b"").end().ok();
    let pems = [stage.path("state/client.pem"), stage.path("state-other/client.pem")];
    (stage, server, Ticket::parse(&text), pems)
}

fn closed(code: u64) -> Answer {
    Answer::Close(Some(code))
}

/// What HELLO of a ticket comes to.
fn hello(link: std::io::Result<Link>, ticket: &Ticket) -> Answer {
    let Ok(link) = link else { return Answer::End };
    let hello = ticket.hello(b"floe/1", &link.exporter());
    let mut peer = Peer::over(link);
    peer.say(&cold(kind::HELLO, &hello));
    peer.answer()
}

#[test]
fn a_certificate_without_its_key_lets_nobody_in() {
    let (_stage, server, ticket, [own, other]) = fort();
    let dial = |cert, key| Link::tls_as(server.port, cert, key);
    let welcome = Answer::Frame(kind::WELCOME);
    assert_eq!(hello(dial(&own, &own), &ticket), welcome);
    // Copied, and signed with what the thief has.
    assert_eq!(hello(dial(&own, &other), &ticket), Answer::End);
    assert_eq!(hello(dial(&other, &own), &ticket), Answer::End);
    assert_eq!(hello(dial(&other, &other), &ticket), closed(code::CLIENT_KEY_NEEDED));
    let bare = || Link::tls(server.port, &[b"floe/1"]);
    assert_eq!(hello(bare(), &ticket), closed(code::CLIENT_KEY_NEEDED));
    // To whom does not know its secret it is a ticket like none.
    for link in [bare(), dial(&other, &other), dial(&own, &own)] {
        let link = link.unwrap();
        let exporter = link.exporter();
        let forged = Ticket::forged().sign(b"floe/1", &exporter);
        let says = ticket.hello(b"floe/1", &exporter).with(3, &forged[..]);
        let mut peer = Peer::over(link);
        peer.say(&cold(kind::HELLO, &says));
        assert_eq!(peer.answer(), closed(code::TICKET_UNKNOWN));
    }
}

#[test]
fn no_connection_joins_without_the_key() {
    let (_stage, server, ticket, [own, other]) = fort();
    let dial = |cert, key| Link::tls_as(server.port, cert, key).unwrap();
    let link = dial(&own, &own);
    let says = ticket.hello(b"floe/1", &link.exporter());
    let lead = Peer::over(link).enter(&says);
    let join = |link: Link| {
        let join = lead.join(&link.exporter());
        let mut peer = Peer::over(link);
        peer.say(&cold(kind::JOIN, &join));
        peer.answer()
    };
    let bare = Link::tls(server.port, &[b"floe/1"]).unwrap();
    assert_eq!(join(bare), closed(code::CLIENT_KEY_NEEDED));
    assert_eq!(join(dial(&other, &other)), closed(code::CLIENT_KEY_NEEDED));
    assert_eq!(join(dial(&own, &own)), Answer::Frame(kind::JOINED));
    // The session stands, and who does not know its secret hears nothing of a key.
    let bare = Link::tls(server.port, &[b"floe/1"]).unwrap();
    let mac = map([(0, lead.welcome.as_ref().unwrap().at(1).clone()), (1, (&[9; 32][..]).into())]);
    let mut peer = Peer::over(bare);
    peer.say(&cold(kind::JOIN, &mac));
    assert_eq!(peer.answer(), closed(code::TICKET_UNKNOWN));
}

#[test]
fn a_client_shows_its_key_only_where_it_is_told_to() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let (owner, port) = (stage.owner_ticket(), server.port);
    assert_eq!(server.terminate(), 0);
    let pem = stage.path("state-server/identity.pem");
    let url = format!("floe://127.0.0.1:{port}/");
    for (flags, shows) in [(&[][..], false), (&["--own-key"], true)] {
        let seen = Link::asking(port, &pem);
        stage.run_env(&[&["ls", &url][..], flags].concat(), "FLOE_TICKET", owner.trim());
        assert_eq!(seen.recv_timeout(crate::stage::PATIENCE).unwrap(), shows, "{flags:?}");
    }
    assert!(stage.path("state/client.pem").exists(), "with the flag it is made");
}
