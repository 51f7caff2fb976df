//! PROTOCOL.md against the code: its worked example, its vectors and its tables are true.

use crate::codec::{bytes_of, decode};
use floe_proto::codec::{
    AGENT_BYTES_MAX, CURSOR_BYTES_MAX, DETAIL_BYTES_MAX, FRAME_BYTES_MAX, HANDLE_BYTES_MAX,
    HEAD_LEN, Kind, LINK_BYTES_MAX,
};
use floe_proto::frame::*;
use floe_proto::greeting::{Binding, Channel};
use floe_types::digest::ChunkHasher;
use floe_types::*;

const TEXT: &str = include_str!("../../../../PROTOCOL.md");
const BYTES: &[u8] = b"hello";
/// Ed25519 by the ticket of the example over `hello_message`; made by another implementation.
const SIGNATURE: &str = "fbc5ba8d4e13ee811bd44f7e41b045b6db21dee13884e3005b7df7e8f200659f\
                         38750580f5085b49ecda00f2280ce382d6b51993c60887467c7303a732d1d50c";
/// The public key of the example's ticket; made by another implementation.
const PUBLIC: &str = "deff35e9d3bb1f5c2938f11d3967b9a7c1b6fe002a071a9d8af1964997cbc57a";

#[test]
fn the_worked_put_is_what_the_code_writes() {
    let mut block = String::new();
    for (who, frame) in worked_put() {
        let mut bytes = bytes_of(&frame);
        if let Frame::Data(_) = frame {
            bytes.extend_from_slice(BYTES);
        } else {
            assert_eq!(decode(&bytes).as_ref(), Ok(&frame));
        }
        let (head, body) = bytes.split_at(HEAD_LEN);
        let head = [&head[..4], &head[4..5], &head[5..6], &head[6..]].map(hex).join(" ");
        block.push_str(format!("{who} {:<10} {head}", Kind::of(&frame).name()).trim_end());
        block.push('\n');
        for line in body.chunks(32) {
            block.push_str(&format!("    {}\n", hex(line)));
        }
    }
    assert!(
        TEXT.contains(&block),
        "PROTOCOL.md has another worked put; this is the true one:\n{block}"
    );
}

#[test]
fn the_vectors_are_true() {
    let secret: Vec<u8> = (0..16).collect();
    let ticket = ticket_text(&[&[0xf1; 32][..], &secret].concat());
    assert_eq!(ticket.len(), 89);
    let seed = hex(&blake3::derive_key("floe/1 ticket signing key", &secret));
    let tls = Binding { channel: Channel::Tls, exporter: challenge() };
    let plain = Binding { channel: Channel::Plaintext, exporter: challenge() };
    let vectors = [
        ticket,
        seed,
        PUBLIC.to_owned(),
        hex(&ticket_id()),
        hex(&tls.hello_message()),
        hex(&plain.hello_message()),
        hex(&tls.join_message()),
        hex(&plain.join_message()),
        hex(&tls.successor_message()),
        SIGNATURE.to_owned(),
    ];
    for vector in vectors {
        assert!(TEXT.contains(&vector), "PROTOCOL.md lacks {vector}");
    }
}

#[test]
fn the_chunk_example_is_true() {
    let bytes = vec![0u8; (2 << 20) + 5];
    let (left, right) = (2usize << 20, bytes.len());
    let mut trees = Subtrees::new();
    let mut lines = Vec::new();
    for (start, end) in [(0, 1 << 20), (1 << 20, left), (left, right)] {
        let mut hasher = ChunkHasher::new(Offset(start as u64));
        hasher.update(&bytes[start..end]);
        let digest = hasher.finish().unwrap();
        lines.push(digest.value.to_string());
        lines.extend(digest.root.map(|root| root.to_string()));
        let range = Range::new(Offset(start as u64), Offset(end as u64));
        assert!(trees.insert(Subtree { range, digest }));
    }
    let first = Range::new(Offset(0), Offset(left as u64));
    lines.push(trees.value(first).unwrap().to_string());
    let root = trees.root(ByteCount(right as u64)).unwrap();
    assert_eq!(root, Root::of(&bytes));
    lines.push(root.to_string());
    lines.push(Root::of_nothing().to_string());
    for line in lines {
        assert!(TEXT.contains(&line), "PROTOCOL.md lacks {line}");
    }
}

#[test]
fn the_tables_are_complete() {
    for kind in Kind::ALL {
        let row = format!("| 0x{:02x} | {} |", kind.wire(), kind.name());
        assert!(TEXT.contains(&row), "PROTOCOL.md lacks {row}");
    }
    for code in Code::ALL {
        let row = format!("| {} | {code:?} | {} |", code.wire(), code.text());
        assert!(TEXT.contains(&row), "PROTOCOL.md lacks {row}");
    }
    let limits = Limits::default();
    let numbers = [
        ("frame but DATA", FRAME_BYTES_MAX as u64),
        ("frame before the greeting is over", limits.greeting_bytes_max.into()),
        ("piece, unless WELCOME says less", limits.piece_bytes_max.into()),
        ("agent", AGENT_BYTES_MAX as u64),
        ("detail of a fault", DETAIL_BYTES_MAX as u64),
        ("handle", HANDLE_BYTES_MAX as u64),
        ("cursor", CURSOR_BYTES_MAX as u64),
        ("link text", LINK_BYTES_MAX as u64),
        ("ranges of one WANT or DROP", limits.want_ranges_max.into()),
        ("ranges of all WANT of one entry", limits.have_ranges_max.into()),
        ("names of one page", limits.page_entries_max.into()),
        ("entries of one frame, and not ended in a transfer", limits.entries_ahead_max.into()),
        ("bytes announced and not ended in a session", limits.announced_bytes_max.0),
        ("transfers at once", limits.transfers_max.into()),
        ("requests at once", limits.requests_max.into()),
        ("attempts of one chunk", limits.chunk_attempts_max.into()),
    ];
    for (what, number) in numbers {
        let row = format!("| {what} | {number} |");
        assert!(TEXT.contains(&row), "PROTOCOL.md lacks {row}");
    }
    assert_eq!(FRAME_BYTES_MAX, limits.frame_bytes_max as usize);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn ticket_text(body: &[u8]) -> String {
    let check = blake3::hash(body);
    format!("floe1{}", base32(&[body, &check.as_bytes()[..4]].concat()))
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |nth: usize| bytes.get(nth / 8).map_or(0, |byte| byte >> (7 - nth % 8) & 1);
    let letters = (0..bytes.len() * 8).step_by(5);
    letters
        .map(|at| (at..at + 5).fold(0, |letter, nth| letter << 1 | bit(nth)))
        .map(|letter| char::from(ALPHABET[usize::from(letter)]))
        .collect()
}

fn challenge() -> [u8; 32] {
    core::array::from_fn(|nth| u8::try_from(nth).unwrap())
}

fn ticket_id() -> [u8; 16] {
    let id = blake3::derive_key("floe/1 ticket id", &bytes(PUBLIC));
    id[..16].try_into().unwrap()
}

fn hello_digest() -> ChunkDigest {
    let mut hasher = ChunkHasher::new(Offset::ZERO);
    hasher.update(BYTES);
    hasher.finish().unwrap()
}

/// A put of five bytes in plaintext. C: the client says it, S: the server.
fn worked_put() -> Vec<(char, Frame<()>)> {
    let (transfer, index) = (TransferId(1), EntryIndex(0));
    let (size, seq) = (ByteCount(5), Seq(0));
    let digest = hello_digest();
    let root = digest.root.unwrap();
    let entry = EntryId { transfer, index };
    let done = DoneEntry { index, size, root };
    let committed = CommittedEntry { index, root: Some(root) };
    let header = Header {
        seq,
        entry,
        offset: Offset::ZERO,
        len: Some(size),
        awaits: Await::Implied,
        digest: None,
        content: Content::Bytes,
    };
    let want =
        Want { entry, basis: Basis::Version, have: Vec::new(), finished: None, more: More::Last };
    let mut dialogue = worked_greeting();
    dialogue.extend(worked_opening(transfer, index, size));
    dialogue.extend([
        ('S', Frame::Want(want)),
        ('C', Frame::Header(header)),
        ('C', Frame::Data(Data { seq, at: ByteCount::ZERO, len: size, bytes: () })),
        ('C', Frame::Seal(Seal { seq, len: size, digest })),
        ('C', Frame::Done(transfer, vec![done])),
        ('S', Frame::Committed(transfer, vec![committed])),
        ('C', Frame::Complete(transfer, EntryCount(1))),
        ('S', Frame::Completed(transfer)),
        ('C', Frame::Close(None)),
    ]);
    dialogue
}

fn worked_greeting() -> Vec<(char, Frame<()>)> {
    let signature = bytes(SIGNATURE).try_into().unwrap();
    let hello = Hello {
        abilities: 0,
        client: [0xc1; 16],
        proof: Some(TicketProof { ticket: ticket_id(), signature }),
        agent: "example/1".into(),
    };
    let welcome = Welcome {
        abilities: 0,
        session: [0x5e; 16],
        secret: [0x77; 32],
        verbs: Verbs::ALL,
        piece_bytes_max: 1 << 20,
        streams_max: 64,
        entries_ahead_max: 4096,
        agent: "floe/0.1.0".into(),
        successor: None,
    };
    vec![
        ('S', Frame::Challenge(challenge())),
        ('C', Frame::Hello(hello)),
        ('S', Frame::Welcome(welcome)),
    ]
}

fn worked_opening(
    transfer: TransferId,
    index: EntryIndex,
    size: ByteCount,
) -> Vec<(char, Frame<()>)> {
    let mtime = Timestamp::new(1_700_000_000, 0).unwrap();
    let metadata = Metadata { mode: Mode::from_bits(0o644), mtime };
    let open = Open {
        transfer,
        direction: Direction::Put,
        path: ObjectPath::parse(b"hello.txt").unwrap(),
        chunk: ChunkSize::DEFAULT,
        window: Limits::WINDOW_BYTES,
        pace: Pace::Streaming,
        precondition: Precondition::None,
        resume: ResumeWish::Continue,
        recognise: RecogniseWish::ByVersion,
        unasked: Unasked::Refused,
        receipts: ReceiptWish::None,
        probe: None,
        packing: Packing::Auto,
        priority: Priority::Normal,
        rate: None,
    };
    let opened = Opened { transfer, handle: vec![0xab; 4], window: Limits::WINDOW_BYTES };
    let body = EntryBody::File {
        size: Some(size),
        holes: ByteCount::ZERO,
        version: Some(SourceVersion { inode: 42, size, mtime, ctime: mtime }),
        freshness: Freshness::Settled,
        metadata,
    };
    let entry = Entry { index, path: ObjectPath::root(), replaces: None, body };
    vec![
        ('C', Frame::Open(open)),
        ('S', Frame::Opened(opened)),
        ('C', Frame::Entries(transfer, vec![entry])),
    ]
}
