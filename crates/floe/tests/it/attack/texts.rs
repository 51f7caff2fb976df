//! What a terminal would obey, in every text that a peer can send: it reaches no terminal, no line
//! of JSON, no log.

use super::fort::Fort;
use super::host::{
    HOSTILE, INJECTED, Victim, challenge, host, opened, send_all, welcome, welcoming,
};
use super::peer::{Answer, Peer};
use super::wire::{self, Cbor, at, cold, dir, end, kind, link, map, path};
use std::os::unix::ffi::OsStrExt;

type Script = fn(&mut Peer);

fn fault() -> Cbor {
    wire::fault(0, HOSTILE)
}

/// What a server says of a transfer that was opened.
const TRANSFERS: &[(&str, Script)] = &[
    ("CLOSE", |peer| peer.say(&cold(kind::CLOSE, &map([(0, fault())])))),
    ("CLOSE, of a code to come", |peer| {
        peer.say(&cold(kind::CLOSE, &map([(0, wire::fault(9999, HOSTILE))])));
    }),
    ("CANCEL", |peer| peer.say(&cold(kind::CANCEL, &map([(0, 0.into()), (1, fault())])))),
    ("FAILED, of a name", |peer| {
        peer.say(&wire::entries(0, &[dir(0, at(""))]));
        let name = path(&[HOSTILE.as_bytes()]);
        let failed = map([(0, 0.into()), (1, 9.into()), (2, name), (3, fault())]);
        peer.say(&cold(kind::FAILED, &failed));
        peer.say(&wire::entries(0, &[end(1, at(""), 0)]));
        send_all(peer, b"", 2, 1);
    }),
    ("names and links", |peer| {
        let name = |more: &'static [u8]| path(&[&[HOSTILE.as_bytes(), more].concat()]);
        let within = path(&[HOSTILE.as_bytes(), HOSTILE.as_bytes()]);
        peer.say(&wire::entries(
            0,
            &[
                dir(0, at("")),
                wire::file(1, name(b"f"), 4),
                link(2, name(b"l"), HOSTILE.as_bytes()),
                dir(3, name(b"")),
                wire::file(4, within, 4),
                end(5, name(b""), 3),
                end(6, at(""), 0),
            ],
        ));
        send_all(peer, b"evil", 7, 5);
    }),
    ("names that fail", |peer| {
        let name = path(&[HOSTILE.as_bytes()]);
        peer.say(&wire::entries(
            0,
            &[
                dir(0, at("")),
                wire::file(1, name.clone(), 4),
                dir(2, name.clone()),
                end(3, name, 2),
                end(4, at(""), 0),
            ],
        ));
        send_all(peer, b"evil", 5, 3);
    }),
];

#[test]
fn no_text_of_a_server_reaches_a_terminal_as_it_is() {
    for (name, script) in TRANSFERS {
        let port = welcoming(|peer| {
            opened(peer);
            script(peer);
        });
        for flags in [&["-v"][..], &["-vvv"], &["--json"]] {
            let victim = Victim::new();
            let get = ["get", "URL/d", "dest", "--streams", "1"];
            let ended = victim.run(port, &[&get, flags].concat());
            let told = !ended.out.is_empty() || !ended.err.is_empty();
            assert!(told, "{name} {flags:?}: nothing was told at all");
            if flags == ["--json"] {
                // Each line is one event, whatever it names.
                assert!(!ended.events().is_empty(), "{name}");
            }
        }
    }
}

/// What stands in the place of WELCOME, and what answers a request.
#[test]
fn no_answer_of_a_server_reaches_a_terminal_as_it_is() {
    let victim = Victim::new();
    let agent = host(|peer| {
        challenge(peer);
        peer.say(&cold(kind::WELCOME, &welcome().with(7, Cbor::text(HOSTILE))));
        peer.say(&cold(kind::CLOSE, &map([(0, fault())])));
    });
    let closed = host(|peer| {
        challenge(peer);
        peer.say(&cold(kind::CLOSE, &map([(0, fault())])));
    });
    let replied = welcoming(|peer| {
        while let Some(frame) = peer.next().filter(|frame| frame.kind == kind::REQUEST) {
            let body = map([(0, frame.map().at(0).clone()), (1, 0.into()), (2, fault())]);
            peer.say(&cold(kind::REPLY, &body));
        }
    });
    let stat = || {
        let stat = map([(0, 2.into()), (1, 3.into()), (2, wire::metadata())]);
        stat.with(3, HOSTILE.as_bytes())
    };
    let listed = welcoming(move |peer| {
        while let Some(frame) = peer.next().filter(|frame| frame.kind == kind::REQUEST) {
            let id = frame.map().at(0).clone();
            let body = match frame.map().at(1).uint() {
                wire::LIST => {
                    let name = vec![Cbor::from(HOSTILE.as_bytes()), stat()];
                    map([(0, id), (1, 3.into()), (4, vec![name.into()].into())])
                }
                _ => map([(0, id), (1, 2.into()), (3, stat())]),
            };
            peer.say(&cold(kind::REPLY, &body));
        }
    });
    for (port, args, status) in [
        (agent, &["ls", "URL/"][..], None),
        (closed, &["ls", "URL/"], None),
        (closed, &["put", "f", "URL/f"], None),
        (replied, &["ls", "URL/x"], None),
        (replied, &["stat", "URL/x", "--json"], None),
        (replied, &["rm", "URL/x"], None),
        (replied, &["mv", "URL/x", "URL/y"], None),
        (replied, &["mkdir", "URL/x"], None),
        (listed, &["ls", "-l", "URL/x"], Some(0)),
        (listed, &["ls", "--json", "URL/x"], Some(0)),
        (listed, &["stat", "URL/x"], Some(0)),
        (listed, &["stat", "--json", "URL/x"], Some(0)),
    ] {
        let ended = victim.run(port, args);
        match status {
            Some(status) => assert_eq!(ended.status, status, "{args:?}: {}", ended.err),
            None => assert_ne!(ended.status, 0, "{args:?}"),
        }
    }
}

/// What a client says of itself and names comes to the server's log and audit as one line each.
#[test]
fn no_text_of_a_client_breaks_a_line_of_the_log() {
    let fort = Fort::with(&["--plaintext", "-v"], "");
    let mut peer =
        Peer::over(super::channel::Link::Plain(super::channel::Link::tcp(fort.server.port)));
    let exporter = peer.hears(kind::CHALLENGE).body.try_into().unwrap();
    let hello = fort.owner.hello(b"floe/1 plaintext", &exporter);
    let mut peer = peer.enter(&hello.with(4, Cbor::text(HOSTILE)));
    let name = || path(&[HOSTILE.as_bytes()]);
    for (what, answer) in [
        (wire::MKDIR, Answer::Done),
        (wire::STAT, Answer::Done),
        (wire::RENAME, Answer::Done),
        (wire::REMOVE, Answer::Fault(3)),
    ] {
        peer.say(&cold(kind::REQUEST, &wire::request(0, what, name())));
        assert_eq!(peer.answer(), answer);
    }
    peer.say(&cold(kind::OPEN, &wire::open(0, 0, name())));
    let l = link(0, at(""), HOSTILE.as_bytes());
    peer.say(&wire::entries(0, &[l]));
    peer.hears(kind::OPENED);
    peer.hears(kind::COMMITTED);
    peer.say(&cold(kind::CANCEL, &map([(0, 0.into()), (1, fault())])));
    peer.say(&cold(kind::CLOSE, &map([(0, fault())])));
    assert_eq!(peer.answer(), Answer::End);
    assert!(fort.served("").join(std::ffi::OsStr::from_bytes(HOSTILE.as_bytes())).is_symlink());
    let audit = fort.stage.path("state-server/audit.jsonl");
    let errors = std::sync::Arc::clone(&fort.server.errors);
    let said = [errors.lock().unwrap().clone(), std::fs::read_to_string(audit).unwrap()];
    fort.stands();
    assert!(said[1].contains("\"mkdir\"") && said[1].contains("\"link\""), "{}", said[1]);
    for said in said {
        let obeyed = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}".contains(c);
        assert!(!said.contains(obeyed), "{said:?}");
        assert!(!said.lines().any(|line| line.starts_with(INJECTED)), "{said}");
    }
}
