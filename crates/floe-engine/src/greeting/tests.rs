use super::*;
use crate::grant::Bounds;
use crate::identity::{Identity, KeyPin};
use crate::secure::{TlsServer, client_handshake, plaintext, server_handshake};
use crate::state::State;
use crate::ticket::NewTicket;
use floe_proto::codec::encode;
use floe_proto::frame::Verbs;
use std::io::IoSlice;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const ROOT: RootId = RootId([4; 16]);
const SECRET: [u8; 32] = [6; 32];

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

struct Server {
    _dir: tempfile::TempDir,
    identity: Identity,
    tickets: TicketStore,
}

impl Server {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let identity = Identity::load_or_create(&state).unwrap();
        Self { _dir: dir, identity, tickets: TicketStore::open(&state).unwrap() }
    }

    fn ticket(&self) -> Ticket {
        let pin = self.identity.pin();
        let bounds = Bounds::of(Verbs::READ);
        let new = NewTicket { name: "ci".into(), bounds, root: ROOT, pin };
        self.tickets.create(new, SystemTime::now()).unwrap()
    }

    /// Both ends of a new connection.
    async fn connection(&self, channel: Channel) -> (Secured, Secured) {
        let (dialled, accepted) = sockets().await;
        if channel == Channel::Plaintext {
            return (plaintext(dialled), plaintext(accepted));
        }
        let tls = TlsServer::new(&self.identity).unwrap();
        let (client, server) = tokio::join!(
            client_handshake(dialled, self.identity.pin(), soon()),
            server_handshake(accepted, &tls, soon())
        );
        (client.unwrap(), server.unwrap())
    }

    /// Greets one client as a server does; says what became of it.
    async fn serve(&self, link: &mut Secured) -> Result<Admission, Fault> {
        let limits = Limits::default();
        match receive(link, &limits, soon()).await? {
            Greeted::Hello(claim) => {
                let checked =
                    check_hello(&claim, &self.tickets, ROOT, link.peer_key(), SystemTime::now());
                match &checked {
                    Ok(_) => {
                        let (frame, hello) = claim.admit::<()>(welcome());
                        assert_eq!((hello.client, hello.agent.as_str()), ([8; 16], "test/1"));
                        send(link, &frame, &limits, soon()).await?;
                    }
                    Err(fault) => {
                        refuse(link, Refusal::Close(fault.clone()), &limits, soon()).await;
                    }
                }
                checked
            }
            Greeted::Join(claim) => match check_join(&claim, &SECRET, Channel::Tls) {
                Ok(()) => {
                    send(link, &claim.admit::<()>(), &limits, soon()).await?;
                    Ok(Admission::Anonymous)
                }
                Err(fault) => {
                    refuse(link, Refusal::Close(fault.clone()), &limits, soon()).await;
                    Err(fault)
                }
            },
            Greeted::Left => Ok(Admission::Anonymous),
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        abilities: 0,
        session: [5; 16],
        secret: SECRET,
        verbs: Verbs::READ,
        piece_bytes_max: 1 << 20,
        streams_max: 8,
        entries_ahead_max: 64,
        agent: "test/2".into(),
        successor: None,
    }
}

fn caller(ticket: Option<&Ticket>) -> Caller<'_> {
    Caller { client: [8; 16], ticket, agent: "test/1" }
}

async fn greet(
    server: &Server,
    channel: Channel,
    ticket: Option<&Ticket>,
) -> (Result<Welcome, NotIn>, Result<Admission, Fault>) {
    let (mut dialled, mut accepted) = server.connection(channel).await;
    let limits = Limits::default();
    // The client lets go as soon as it is answered, as a client that is refused does.
    let client = async move { hello(&mut dialled, caller(ticket), &limits, soon()).await };
    tokio::join!(client, server.serve(&mut accepted))
}

fn code(not_in: Result<Welcome, NotIn>) -> Code {
    Fault::from(not_in.unwrap_err()).code
}

#[tokio::test]
async fn a_ticket_is_let_in_over_both_channels() {
    let server = Server::new();
    let ticket = server.ticket();
    for channel in [Channel::Tls, Channel::Plaintext] {
        let (client, admission) = greet(&server, channel, Some(&ticket)).await;
        assert_eq!(client.unwrap(), welcome());
        let Admission::Ticket(grant) = admission.unwrap() else { panic!("anonymous") };
        assert_eq!((grant.id, grant.bounds.verbs), (ticket.id(), Verbs::READ));
        let (client, admission) = greet(&server, channel, None).await;
        assert!(client.is_ok());
        assert_eq!(admission.unwrap(), Admission::Anonymous);
    }
}

#[tokio::test]
async fn a_strange_or_revoked_ticket_is_told_so() {
    let server = Server::new();
    let stranger = Ticket::generate(server.identity.pin()).unwrap();
    for channel in [Channel::Tls, Channel::Plaintext] {
        let (client, _) = greet(&server, channel, Some(&stranger)).await;
        assert_eq!(code(client), Code::TicketUnknown);
    }
    let ticket = server.ticket();
    assert!(greet(&server, Channel::Tls, Some(&ticket)).await.0.is_ok());
    server.tickets.revoke(ROOT, "ci").unwrap();
    assert_eq!(code(greet(&server, Channel::Tls, Some(&ticket)).await.0), Code::TicketUnknown);
}

#[tokio::test]
async fn a_proof_for_one_connection_opens_no_other() {
    // What a client signed for a plaintext challenge is replayed where TLS is spoken.
    let server = Server::new();
    let ticket = server.ticket();
    let (dialled, _accepted) = server.connection(Channel::Tls).await;
    let exporter = dialled.exporter().unwrap().unwrap();
    let frame: Frame<()> = Frame::Challenge(exporter);
    let Ok(Answer::Next(plain)) = Dialled::new().challenged(frame) else { panic!("no step") };
    let signature = ticket.sign(&plain.binding().hello_message()).unwrap();
    let over_tls = Dialled::new().secured(exporter).binding().hello_message();
    let proof = TicketProof { ticket: ticket.id().0, signature };
    let verified = server.tickets.verify(&proof, &over_tls, ROOT, SystemTime::now());
    assert_eq!(verified.unwrap_err().code, Code::TicketUnknown);
}

#[tokio::test]
async fn joins_with_the_sessions_secret_and_not_without() {
    let server = Server::new();
    let limits = Limits::default();
    let (mut dialled, mut accepted) = server.connection(Channel::Tls).await;
    let joining = join(&mut dialled, [5; 16], &SECRET, &limits, soon());
    let (client, admitted) = tokio::join!(joining, server.serve(&mut accepted));
    assert!(client.is_ok() && admitted.is_ok());
    for (channel, secret, expected) in [
        (Channel::Tls, [7; 32], Code::TicketUnknown),
        (Channel::Plaintext, SECRET, Code::NotAllowed),
    ] {
        let (mut dialled, mut accepted) = server.connection(channel).await;
        let client = async move {
            let limits = Limits::default();
            join(&mut dialled, [5; 16], &secret, &limits, soon()).await
        };
        let (client, admitted) = tokio::join!(client, server.serve(&mut accepted));
        assert_eq!(Fault::from(client.unwrap_err()).code, expected);
        assert_eq!(admitted.unwrap_err().code, expected);
    }
}

#[tokio::test]
async fn a_join_needs_the_very_connection_it_was_made_for() {
    let claim = |exporter: [u8; 32], mac: [u8; 32]| {
        let (_, await_first) = Accepted::new().challenge::<()>(exporter);
        let frame: Frame<()> = Dialled::new().secured([0; 32]).join([5; 16], mac).0;
        match await_first.handle(frame) {
            Ok(ClientGreeting::Join(claim)) => claim,
            _ => panic!("no claim"),
        }
    };
    let right = claim([1; 32], [0; 32]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &SECRET);
    let mac: [u8; 32] =
        hmac::sign(&key, &right.binding().join_message()).as_ref().try_into().unwrap();
    assert!(check_join(&claim([1; 32], mac), &SECRET, Channel::Plaintext).is_ok());
    assert!(check_join(&claim([2; 32], mac), &SECRET, Channel::Plaintext).is_err());
    assert!(check_join(&claim([1; 32], mac), &SECRET, Channel::Tls).is_err());
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_back() {
    let server = Server::new();
    let (mut dialled, mut accepted) = server.connection(Channel::Tls).await;
    let limits = Limits::default();
    let refusing = async {
        let Ok(Greeted::Hello(_)) = receive(&mut accepted, &limits, soon()).await else {
            panic!("no HELLO")
        };
        let why = Refusal::Busy(Micros::from_secs(3));
        refuse(&mut accepted, why, &limits, soon()).await;
    };
    let client = async {
        let answer = hello(&mut dialled, caller(None), &limits, soon()).await;
        drop(dialled);
        answer
    };
    let (client, ()) = tokio::join!(client, refusing);
    assert_eq!(client.unwrap_err(), NotIn::Busy(Micros::from_secs(3)));
}

/// What a server says of a client that begins so, in plaintext or beneath TLS.
async fn heard(channel: Channel, first: &[u8]) -> Fault {
    let server = Server::new();
    let (mut dialled, mut accepted) = server.connection(channel).await;
    let client = async move {
        assert_eq!(dialled.write_plain(&[IoSlice::new(first)]).unwrap(), first.len());
        let _ = dialled.close().unwrap();
    };
    let limits = Limits::default();
    tokio::join!(client, receive(&mut accepted, &limits, soon())).1.unwrap_err()
}

#[tokio::test]
async fn a_server_names_strangers_and_refuses_what_is_out_of_place() {
    let mut ping = Vec::new();
    encode(&Frame::<()>::Ping(1), &mut ping).unwrap();
    let mut joined = Vec::new();
    encode(&Frame::<()>::Joined, &mut joined).unwrap();
    for channel in [Channel::Tls, Channel::Plaintext] {
        for (first, code, word) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Code::ProtocolMismatch, "HTTP"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", Code::Tls, "TLS"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Code::ProtocolMismatch, "the client"),
            (b"\0\0", Code::ConnectionLost, "closed"),
            (&ping, Code::Violation, "the client"),
            (&joined, Code::Violation, "neither HELLO nor JOIN"),
        ] {
            let fault = heard(channel, first).await;
            assert_eq!(fault.code, code, "{channel:?} {fault}");
            assert!(fault.detail.contains(word), "{fault}");
        }
    }
}

#[tokio::test]
async fn unknown_frames_are_skipped_but_not_for_ever() {
    let unknown = [0, 0, 0, 1, 0xfe, 0, 0, 0, 42];
    let fault = heard(Channel::Plaintext, &unknown.repeat(100)).await;
    assert_eq!(fault.code, Code::Violation);
    let fault = heard(Channel::Plaintext, &unknown.repeat(3)).await;
    assert_eq!(fault.code, Code::ConnectionLost, "only the end came after them");
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_a_silent_server_wants_it() {
    let (dialled, _accepted) = sockets().await;
    let limits = Limits::default();
    let over = Instant::now();
    let answer = hello(&mut plaintext(dialled), caller(None), &limits, over).await;
    assert_eq!(code(answer), Code::Tls);
    let server = Server::new();
    let (mut dialled, _accepted) = server.connection(Channel::Tls).await;
    assert_eq!(code(hello(&mut dialled, caller(None), &limits, over).await), Code::TimedOut);
}

#[tokio::test]
async fn a_server_that_is_another_is_named_by_a_plaintext_client() {
    for (answer, word) in [(&b"HTTP/1.1 400 Bad\r\n"[..], "HTTP"), (b"SSH-2.0-x\r\n", "SSH")] {
        let (dialled, accepted) = sockets().await;
        assert_eq!(accepted.try_write(answer).unwrap(), answer.len());
        let limits = Limits::default();
        let answer = hello(&mut plaintext(dialled), caller(None), &limits, soon()).await;
        let fault = Fault::from(answer.unwrap_err());
        assert_eq!(fault.code, Code::ProtocolMismatch);
        assert!(fault.detail.contains(word), "{fault}");
    }
}

#[tokio::test]
async fn nothing_is_read_beyond_the_greeting() {
    let server = Server::new();
    let ticket = server.ticket();
    for channel in [Channel::Tls, Channel::Plaintext] {
        let (mut dialled, mut accepted) = server.connection(channel).await;
        let limits = Limits::default();
        let client = async {
            let answer = hello(&mut dialled, caller(Some(&ticket)), &limits, soon()).await;
            assert!(answer.is_ok());
            assert_eq!(dialled.write_plain(&[IoSlice::new(b"frames")]).unwrap(), 6);
            let _ = dialled.flush().unwrap();
        };
        let (_, admitted) = tokio::join!(client, server.serve(&mut accepted));
        assert!(admitted.is_ok());
        let (mut into, mut scratch) = ([0; 64], crate::secure::Scratch::new());
        let len = loop {
            match accepted.read_plain(&mut into, &mut scratch).unwrap() {
                crate::secure::Took::Bytes(len) => break len,
                _ => accepted.socket().readable().await.unwrap(),
            }
        };
        assert_eq!(&into[..len], b"frames");
    }
}

#[test]
fn faults_and_debug_show_no_secret() {
    let ticket = Ticket::generate(KeyPin([0; 32])).unwrap();
    let text = ticket.reveal();
    let shown = format!("{:?}", caller(Some(&ticket)));
    assert!(!shown.contains(&text[57..]), "{shown}");
}
