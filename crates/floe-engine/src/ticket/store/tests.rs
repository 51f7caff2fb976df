use super::*;
use crate::grant::Quota;
use aws_lc_rs::signature::Ed25519KeyPair;
use floe_types::{ByteCount, EntryCount, ObjectPath};
use std::time::Duration;

const PIN: KeyPin = KeyPin([1; 32]);
const ROOT: RootId = RootId([2; 16]);
const OTHER_ROOT: RootId = RootId([3; 16]);

fn fresh() -> (tempfile::TempDir, TicketStore) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(dir.path()).unwrap();
    let store = TicketStore::open(&state).unwrap();
    (dir, store)
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

fn new(name: &str) -> NewTicket {
    let bounds = Bounds {
        expires: Timestamp::new(1000, 0),
        prefix: ObjectPath::parse(b"team/a").unwrap(),
        quota: Quota { bytes: Some(ByteCount(u64::MAX)), entries: Some(EntryCount(3)) },
        client_key: Some(KeyPin([8; 32])),
        ..Bounds::of(Verbs::READ.and(Verbs::LIST))
    };
    NewTicket { name: name.into(), bounds, root: ROOT, pin: PIN }
}

fn proof(ticket: &Ticket, message: &[u8]) -> TicketProof {
    TicketProof { ticket: ticket.id().0, signature: ticket.sign(message).unwrap() }
}

fn code(result: Result<Grant, Fault>) -> Code {
    result.unwrap_err().code
}

#[test]
fn a_created_ticket_is_let_in_until_it_expires() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    let proof = proof(&ticket, b"m");
    let grant = store.verify(&proof, b"m", ROOT, at(999)).unwrap();
    assert_eq!((grant.id, grant.name.as_str()), (ticket.id(), "ci"));
    assert_eq!(grant.bounds, new("ci").bounds);
    assert_eq!(code(store.verify(&proof, b"m", ROOT, at(1000))), Code::TicketExpired);
    assert!(store.verify(&proof, b"m", ROOT, at(0)).is_ok(), "a clock set back locks nobody out");
    assert_eq!(code(store.verify(&proof, b"other", ROOT, at(11))), Code::TicketUnknown);
    assert_eq!(code(store.verify(&proof, b"m", OTHER_ROOT, at(11))), Code::NotAllowed);
}

#[test]
fn an_unknown_ticket_is_told_nothing_more_than_a_wrong_signature() {
    let (_dir, store) = fresh();
    let known = store.create(new("ci"), at(10)).unwrap();
    let stranger = Ticket::generate(PIN).unwrap();
    let mut forged = proof(&stranger, b"m");
    let unknown = store.verify(&forged, b"m", ROOT, at(11)).unwrap_err();
    forged.ticket = known.id().0;
    assert_eq!(store.verify(&forged, b"m", ROOT, at(11)).unwrap_err(), unknown);
    assert_eq!(unknown.code, Code::TicketUnknown);
}

#[test]
fn a_running_server_sees_what_another_process_changes() {
    let (_dir, server) = fresh();
    let command = TicketStore::open(&server.state).unwrap();
    let ticket = command.create(new("late"), at(10)).unwrap();
    let proof = proof(&ticket, b"m");
    server.refresh().unwrap();
    assert!(server.verify(&proof, b"m", ROOT, at(11)).is_ok());
    assert_eq!(command.revoke(ROOT, "late").unwrap().id, ticket.id());
    server.refresh().unwrap();
    assert_eq!(code(server.verify(&proof, b"m", ROOT, at(11))), Code::TicketUnknown);
    assert_eq!(command.revoke(ROOT, "late").unwrap_err().code, Code::NotFound);
}

#[test]
fn revokes_by_id_and_only_in_its_own_root() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("a"), at(10)).unwrap();
    let id = ticket.id().to_string();
    assert_eq!(store.revoke(OTHER_ROOT, &id).unwrap_err().code, Code::NotFound);
    store.revoke(ROOT, &id).unwrap();
    assert_eq!(store.list(ROOT).unwrap(), []);
}

#[test]
fn a_ticket_is_revoked_once_that_is_durable_however_often_it_is_asked() {
    let (_dir, store) = fresh();
    store.create(new("a"), at(10)).unwrap();
    let unsynced = TicketStore::open(&store.state.without_syncs()).unwrap();
    for _ in 0..2 {
        assert_eq!(unsynced.revoke(ROOT, "a").unwrap_err().code, Code::State);
    }
    assert_eq!(store.revoke(ROOT, "a").unwrap_err().code, Code::NotFound);
}

#[test]
fn a_change_counts_for_sessions_that_run_and_leaves_the_secret() {
    let (_dir, server) = fresh();
    let command = TicketStore::open(&server.state).unwrap();
    let ticket = command.create(new("ci"), at(10)).unwrap();
    let now = |secs| {
        server.refresh().unwrap();
        server.bounds_now(ticket.id(), ROOT, at(secs)).map_err(|fault| fault.code)
    };
    assert_eq!(now(999), Ok(new("ci").bounds));
    assert_eq!(now(1000), Err(Code::TicketExpired));
    let later = |bounds: &mut Bounds| {
        bounds.expires = Timestamp::new(2000, 0);
        bounds.prefix = ObjectPath::root();
    };
    command.change_bounds(ROOT, "ci", at(1500), later).unwrap();
    let renewed = Bounds { expires: Timestamp::new(2000, 0), ..new("ci").bounds };
    assert_eq!(now(1500), Ok(renewed), "the prefix stays");
    assert!(server.verify(&proof(&ticket, b"m"), b"m", ROOT, at(1500)).is_ok());
    let nothing = |bounds: &mut Bounds| bounds.verbs = Verbs::default();
    assert_eq!(command.change_bounds(ROOT, "ci", at(1500), nothing).unwrap_err().code, Code::Usage);
    command.revoke(ROOT, "ci").unwrap();
    assert_eq!(now(11), Err(Code::TicketRevoked));
    let owner = command.owner(ROOT, PIN, at(10)).unwrap().id.to_string();
    let answer = command.change_bounds(ROOT, &owner, at(11), nothing);
    assert_eq!(answer.unwrap_err().code, Code::Usage);
}

#[test]
fn refuses_names_and_tickets_that_make_no_sense() {
    let (_dir, store) = fresh();
    let long = "x".repeat(65);
    for name in ["", "owner", "a\nb", " a", "\u{202e}a", &long] {
        assert_eq!(store.create(new(name), at(10)).unwrap_err().code, Code::Usage, "{name:?}");
    }
    let nothing = NewTicket { bounds: Bounds::of(Verbs::default()), ..new("a") };
    assert_eq!(store.create(nothing, at(10)).unwrap_err().code, Code::Usage);
    assert_eq!(store.create(new("a"), at(1000)).unwrap_err().code, Code::Usage);
    store.create(new("a"), at(10)).unwrap();
    assert_eq!(store.create(new("a"), at(10)).unwrap_err().code, Code::Exists);
    store.create(NewTicket { root: OTHER_ROOT, ..new("a") }, at(10)).unwrap();
    assert_eq!(store.list(ROOT).unwrap().len(), 1);
}

#[test]
fn the_file_holds_no_secret_and_survives_a_reload() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    let text = std::fs::read_to_string(store.state.path().join(FILE)).unwrap();
    let secret = ticket.reveal();
    assert!(!text.contains(&secret[5..]));
    let again = TicketStore::open(&store.state).unwrap();
    assert_eq!(again.list(ROOT).unwrap(), store.list(ROOT).unwrap());
    assert_eq!(again.list(ROOT).unwrap()[0].bounds, new("ci").bounds);
}

#[test]
fn a_damaged_file_lets_nobody_in_and_tells_the_peer_no_path() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    let good = std::fs::read_to_string(store.state.path().join(FILE)).unwrap();
    let later = good.replace("\"version\": 2", "\"version\": 3");
    let unknown = good.replace("\"created\"", "\"hours\": \"9-17\", \"created\"");
    assert!(later != good && unknown != good);
    for bad in ["{", &later, &unknown, &good.replace("read", "fly"), ""] {
        store.state.replace(FILE, bad.as_bytes()).unwrap();
        assert_eq!(store.refresh().unwrap_err().code, Code::State);
        let fault = store.verify(&proof(&ticket, b"m"), b"m", ROOT, at(11)).unwrap_err();
        assert_eq!(fault.code, Code::Busy);
        assert!(!fault.detail.contains('/'), "{fault}");
        assert_eq!(store.list(ROOT).unwrap_err().code, Code::State);
        assert_eq!(store.create(new("b"), at(11)).unwrap_err().code, Code::State);
    }
    store.state.replace(FILE, good.as_bytes()).unwrap();
    store.refresh().unwrap();
    assert!(store.verify(&proof(&ticket, b"m"), b"m", ROOT, at(11)).is_ok());
}

#[test]
fn a_damaged_file_lets_what_runs_go_on_until_it_expires() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    store.state.replace(FILE, b"{").unwrap();
    let now = |secs| {
        assert_eq!(store.refresh().unwrap_err().code, Code::State);
        store.bounds_now(ticket.id(), ROOT, at(secs)).map_err(|fault| fault.code)
    };
    assert_eq!(now(999), Ok(new("ci").bounds));
    assert_eq!(now(1000), Err(Code::TicketExpired));
}

#[test]
fn what_cannot_be_read_for_long_may_revoke_what_runs() {
    let (_dir, server) = fresh();
    let command = TicketStore::open(&server.state).unwrap();
    let ticket = command.create(new("ci"), at(10)).unwrap();
    server.refresh().unwrap();
    let begun = Instant::now();
    let look = |secs| server.refresh_at(begun + Duration::from_secs(secs)).is_ok();
    let now = || server.bounds_now(ticket.id(), ROOT, at(11)).map_err(|fault| fault.code);
    let file = server.state.path().join(FILE);
    let aside = server.state.path().join("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    for secs in [0, 9] {
        assert!(!look(secs) && now().is_ok(), "{secs}");
    }
    assert!(!look(10));
    assert_eq!(now(), Err(Code::Busy));
    // The very file that is known needs no reading, and the time begins anew.
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    assert!(look(11) && now().is_ok());
    command.revoke(ROOT, "ci").unwrap();
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(!look(12) && now().is_ok());
    assert!(!look(22));
    assert_eq!(now(), Err(Code::Busy));
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    assert!(look(23));
    assert_eq!(now(), Err(Code::TicketRevoked));
}

#[test]
fn a_lost_file_lets_nobody_in() {
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    std::fs::remove_file(store.state.path().join(FILE)).unwrap();
    store.refresh().unwrap();
    assert_eq!(code(store.verify(&proof(&ticket, b"m"), b"m", ROOT, at(11))), Code::TicketUnknown);
}

#[test]
fn a_ticket_that_stands_twice_in_the_file_is_refused() {
    let (_dir, store) = fresh();
    store.create(new("ci"), at(10)).unwrap();
    let entry = store.list(ROOT).unwrap().remove(0);
    let one = std::slice::from_ref(&entry);
    assert_eq!(parse_entries(&format_entries(one)).unwrap(), one);
    let wider = Entry { bounds: Bounds::of(Verbs::ALL), ..entry.clone() };
    assert!(parse_entries(&format_entries(&[entry, wider])).unwrap_err().contains("twice"));
}

#[test]
fn what_the_file_holds_opens_nothing() {
    // Whoever steals the file has ids and public halves: neither signs.
    let (_dir, store) = fresh();
    let ticket = store.create(new("ci"), at(10)).unwrap();
    let stolen = std::fs::read_to_string(store.state.path().join(FILE)).unwrap();
    let entries = parse_entries(stolen.as_bytes()).unwrap();
    let shown = format!("{}{}", hex(&entries[0].public), entries[0].id);
    for secret in [&ticket.reveal()[5..], &hex(&*ticket.secret), &hex(&ticket.seed()[..])] {
        assert!(!stolen.contains(secret) && !shown.contains(secret));
    }
    for guess in [entries[0].public, blake3::hash(&entries[0].public).into()] {
        let key = Ed25519KeyPair::from_seed_unchecked(&guess).unwrap();
        let signature = key.sign(b"m").as_ref().try_into().unwrap();
        let proof = TicketProof { ticket: entries[0].id.0, signature };
        assert_eq!(code(store.verify(&proof, b"m", ROOT, at(11))), Code::TicketUnknown);
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn a_file_of_version_1_is_read_with_the_verbs_it_knew() {
    let (_dir, store) = fresh();
    store.create(new("ci"), at(10)).unwrap();
    let now = std::fs::read_to_string(store.state.path().join(FILE)).unwrap();
    let old = now.replace("\"version\": 2", "\"version\": 1").replace("\"list\"", "\"write\"");
    let verbs = parse_entries(old.as_bytes()).unwrap()[0].bounds.verbs;
    assert_eq!(verbs, Verbs::READ.and(Verbs::WRITE_NEW).and(Verbs::MAKE_DIRECTORY));
    let wrong = now.replace("\"list\"", "\"write\"");
    assert!(parse_entries(wrong.as_bytes()).is_err(), "a later file does not know that verb");
}

#[test]
fn many_processes_lose_no_ticket() {
    let (_dir, store) = fresh();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = TicketStore::open(&store.state).unwrap();
            scope.spawn(move || {
                for nth in 0..8 {
                    store.create(new(&format!("{thread}-{nth}")), at(10)).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list(ROOT).unwrap().len(), 32);
}

#[test]
fn owner_ticket_is_made_once_a_root_and_opens_only_that() {
    let (_dir, store) = fresh();
    let first = store.owner(ROOT, PIN, at(10)).unwrap();
    assert_eq!(store.owner(ROOT, PIN, at(20)).unwrap(), first);
    assert!(first.path.ends_with("owner.ticket"));
    let other = store.owner(OTHER_ROOT, PIN, at(10)).unwrap();
    assert_ne!(other.path, first.path);
    let ticket: Ticket = std::fs::read_to_string(&first.path).unwrap().parse().unwrap();
    let grant = store.verify(&proof(&ticket, b"m"), b"m", ROOT, at(u64::from(u32::MAX))).unwrap();
    assert_eq!((grant.bounds, grant.id), (Bounds::of(Verbs::ALL), first.id));
    let elsewhere = store.verify(&proof(&ticket, b"m"), b"m", OTHER_ROOT, at(11));
    assert_eq!(code(elsewhere), Code::NotAllowed);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&first.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn owner_text_follows_the_servers_key_and_returns_only_after_revocation() {
    let (_dir, store) = fresh();
    let first = store.owner(ROOT, PIN, at(10)).unwrap();
    let renewed = store.owner(ROOT, KeyPin([9; 32]), at(10)).unwrap();
    let ticket: Ticket = std::fs::read_to_string(&first.path).unwrap().parse().unwrap();
    assert_eq!((renewed.id, ticket.id(), ticket.pin()), (first.id, first.id, KeyPin([9; 32])));
    std::fs::remove_file(&first.path).unwrap();
    store.owner(ROOT, PIN, at(10)).unwrap();
    assert!(!first.path.exists(), "a text that was taken away stays away");
    store.revoke(ROOT, "owner").unwrap();
    let second = store.owner(ROOT, PIN, at(10)).unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(code(store.verify(&proof(&ticket, b"m"), b"m", ROOT, at(11))), Code::TicketUnknown);
}
