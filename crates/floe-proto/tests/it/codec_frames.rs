//! Any frame within bounds, as proptest strategies. The payload of DATA is `()`.

use floe_proto::codec::{LINK_BYTES_MAX, OBJECT_BYTES_MAX};
use floe_proto::frame::*;
use floe_types::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub fn frame() -> impl Strategy<Value = Frame<()>> {
    prop_oneof![greeting(), cold(), hot(), request()]
}

pub fn greeting() -> impl Strategy<Value = Frame<()>> {
    let proof = (any::<[u8; 16]>(), any::<[u8; 64]>())
        .prop_map(|(ticket, signature)| TicketProof { ticket, signature });
    prop_oneof![
        any::<[u8; 32]>().prop_map(Frame::Challenge),
        (any::<u64>(), any::<[u8; 16]>(), option::of(proof), agent()).prop_map(
            |(abilities, client, proof, agent)| {
                Frame::Hello(Hello { abilities, client, proof, agent })
            }
        ),
        welcome().prop_map(Frame::Welcome),
        (any::<[u8; 16]>(), any::<[u8; 32]>())
            .prop_map(|(session, mac)| Frame::Join(Join { session, mac })),
        Just(Frame::Joined),
        any::<u64>().prop_map(|n| Frame::Busy(Micros(n))),
        option::of(fault()).prop_map(Frame::Close),
    ]
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let numbers = (0u8..32, 65_536u32..=16 << 20, 1u32.., 1u32..);
    let bytes = |most: usize| vec(any::<u8>(), 0..most);
    let next = (bytes(2048), any::<u16>(), bytes(1024), 0u64..1 << 63)
        .prop_map(|(key, scheme, signature, until)| Successor { key, scheme, signature, until });
    let ids = (any::<[u8; 16]>(), any::<[u8; 32]>());
    (any::<u64>(), ids, numbers, agent(), option::of(next)).prop_map(
        |(abilities, (session, secret), (verbs, piece, streams_max, ahead), agent, successor)| {
            Welcome {
                abilities,
                session,
                secret,
                verbs: Verbs(verbs),
                piece_bytes_max: piece,
                streams_max,
                entries_ahead_max: ahead,
                agent,
                successor,
            }
        },
    )
}

pub fn hot() -> impl Strategy<Value = Frame<()>> {
    let data = (seq(), 0u64..(15 << 20), 1u64..=1 << 20).prop_map(|(seq, at, len)| {
        Frame::Data(Data { seq, at: ByteCount(at), len: ByteCount(len), bytes: () })
    });
    let level = prop_oneof![Just(Level::Recorded), Just(Level::Durable)];
    let verdict = prop_oneof![Just(Verdict::Send), Just(Verdict::Have), Just(Verdict::Refuse)];
    prop_oneof![
        any::<u64>().prop_map(Frame::Ping),
        any::<u64>().prop_map(Frame::Pong),
        header().prop_map(Frame::Header),
        (seq_range(), verdict).prop_map(|(range, verdict)| Frame::Verdict(range, verdict)),
        data,
        (seq(), chunk_len(), digest(), option::of(root())).prop_map(|(seq, len, value, root)| {
            Frame::Seal(Seal { seq, len, digest: ChunkDigest { value, root } })
        }),
        (vec(seq_range(), 1..40), level).prop_map(|(ranges, level)| Frame::Stored(ranges, level)),
        seq().prop_map(Frame::Corrupt),
    ]
}

fn header() -> impl Strategy<Value = Header> {
    let chunks = prop_oneof![Just(0), 0..(OBJECT_BYTES_MAX >> 18) - 64];
    let awaits = prop_oneof![Just(Await::Implied), Just(Await::Verdict)];
    let digest = option::of((digest(), root()));
    (seq(), entry_id(), chunks, option::of(chunk_len()), awaits, digest).prop_map(
        |(seq, entry, chunk, len, awaits, digest)| Header {
            seq,
            entry,
            offset: Offset(chunk << 18),
            len,
            awaits,
            digest: digest
                .map(|(value, root)| ChunkDigest { value, root: (chunk == 0).then_some(root) }),
            content: match (len, awaits, digest) {
                (Some(_), Await::Implied, Some(_)) => Content::Hole,
                _ => Content::Bytes,
            },
        },
    )
}

pub fn cold() -> impl Strategy<Value = Frame<()>> {
    let done =
        (index(), size(), root()).prop_map(|(i, size, root)| DoneEntry { index: i, size, root });
    let committed =
        (index(), option::of(root())).prop_map(|(index, root)| CommittedEntry { index, root });
    prop_oneof![
        open().prop_map(Frame::Open),
        (transfer(), vec(any::<u8>(), 0..300), window()).prop_map(|(transfer, handle, window)| {
            Frame::Opened(Opened { transfer, handle, window })
        }),
        (transfer(), vec(entry(), 1..6)).prop_map(|(t, entries)| Frame::Entries(t, entries)),
        want().prop_map(Frame::Want),
        (entry_id(), vec((1u64..99_999, 1u64..99_999), 0..20)).prop_map(|(entry, steps)| {
            let mut end = 0;
            let ranges = steps.into_iter().map(|(gap, len)| {
                let start = end + gap;
                end = start + len;
                Range::new(Offset(start), Offset(end))
            });
            Frame::Drop(entry, ranges.collect())
        }),
        (transfer(), vec(done, 1..40)).prop_map(|(t, done)| Frame::Done(t, done)),
        (transfer(), vec(committed, 1..40)).prop_map(|(t, list)| Frame::Committed(t, list)),
        (transfer(), receipt()).prop_map(|(t, receipt)| Frame::Receipt(t, receipt)),
        (entry_id(), path(), fault()).prop_map(|(entry, path, fault)| Frame::Failed(Failed {
            entry,
            path,
            fault
        })),
        (transfer(), any::<u32>()).prop_map(|(t, n)| Frame::Complete(t, EntryCount(n))),
        transfer().prop_map(Frame::Completed),
        (transfer(), fault()).prop_map(|(t, fault)| Frame::Cancel(t, fault)),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let bytes = |most| vec(any::<u8>(), 0..most);
    let time = 0..=i64::MAX as u64;
    let leaves = vec(any::<[u8; 32]>(), 1..40);
    (time, "[a-z]{0,60}", bytes(600), any::<u16>(), bytes(600), leaves).prop_map(
        |(time, ticket, key, scheme, signature, leaves)| Receipt {
            time,
            ticket,
            key,
            scheme,
            signature,
            leaves,
        },
    )
}

fn open() -> impl Strategy<Value = Open> {
    let how = (
        prop_oneof![Just(Direction::Put), Just(Direction::Get)],
        prop_oneof![Just(Pace::Streaming), Just(Pace::Lockstep)],
        prop_oneof![Just(Precondition::None), Just(Precondition::Absent)],
        prop_oneof![Just(ResumeWish::Continue), Just(ResumeWish::Discard)],
        prop_oneof![Just(RecogniseWish::ByVersion), Just(RecogniseWish::ByContent)],
        prop_oneof![Just(Unasked::Refused), Just(Unasked::Welcome)],
        prop_oneof![Just(ReceiptWish::None), Just(ReceiptWish::Signed)],
        option::of((0..1_u64 << 63).prop_map(ByteCount)),
        prop_oneof![
            Just(Packing::Auto),
            Just(Packing::Never),
            (1u8..=19).prop_map(|level| Packing::Level(PackLevel::new(level).unwrap())),
        ],
        prop_oneof![Just(Priority::Normal), Just(Priority::Background)],
    );
    let rate = option::of(1..1_u64 << 63);
    (transfer(), path(), 18u32..=24, window(), how, rate).prop_map(
        |(transfer, path, bits, window, how, rate)| Open {
            transfer,
            direction: how.0,
            path,
            chunk: ChunkSize::new(1 << bits).unwrap(),
            window,
            pace: how.1,
            precondition: how.2,
            resume: how.3,
            recognise: how.4,
            unasked: how.5,
            receipts: how.6,
            probe: how.7,
            packing: how.8,
            priority: how.9,
            rate: rate.and_then(Rate::new),
        },
    )
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let replaces = option::of(0u64..1000);
    (1000u64.., path(), replaces, body()).prop_map(|(index, path, replaces, body)| Entry {
        index: EntryIndex(index),
        path,
        replaces: replaces.map(EntryIndex),
        body,
    })
}

fn body() -> impl Strategy<Value = EntryBody> {
    let freshness = prop_oneof![Just(Freshness::Settled), Just(Freshness::Fresh)];
    prop_oneof![
        (option::of(size()), option::of(version()), freshness, metadata(), any::<bool>()).prop_map(
            |(size, version, freshness, metadata, sparse)| EntryBody::File {
                size,
                holes: size.filter(|_| sparse).unwrap_or_default(),
                version,
                freshness,
                metadata
            }
        ),
        Just(EntryBody::Directory),
        (0u64..1000, metadata()).prop_map(|(begun, metadata)| EntryBody::DirectoryEnd {
            begun: EntryIndex(begun),
            metadata
        }),
        (link(), metadata()).prop_map(|(target, metadata)| EntryBody::Link { target, metadata }),
    ]
}

fn want() -> impl Strategy<Value = Want> {
    let basis = prop_oneof![Just(Basis::Version), Just(Basis::Content)];
    let more = prop_oneof![Just(More::Follows), Just(More::Last)];
    let have = (vec((digest(), 1u64..=1 << 18), 0..30), option::of(root()));
    (entry_id(), basis, have, option::of(root()), more).prop_map(
        |(entry, basis, (nodes, first_root), finished, more)| {
            let whole = finished.is_some();
            let have =
                (0u64..).zip(if whole { Vec::new() } else { nodes }).map(|(nth, (value, len))| {
                    let start = Offset(nth << 18);
                    let root = first_root.filter(|_| nth == 0);
                    let range = Range::at(start, ByteCount(len)).unwrap();
                    Subtree { range, digest: ChunkDigest { value, root } }
                });
            let more = if whole { More::Last } else { more };
            Want { entry, basis, have: have.collect(), finished, more }
        },
    )
}

fn speeds() -> impl Strategy<Value = Speeds> {
    let rate = || (0..1_u64 << 63).prop_map(ByteCount);
    let disk = (rate(), rate(), any::<u64>().prop_map(Micros), rate(), rate()).prop_map(
        |(write, read, sync, copied_in, copied_out)| DiskSpeed {
            write,
            read,
            sync,
            copied_in,
            copied_out,
        },
    );
    (disk, rate(), rate()).prop_map(|(disk, hash, cipher)| Speeds { disk, hash, cipher })
}

pub fn request() -> impl Strategy<Value = Frame<()>> {
    let list = (path(), option::of(vec(any::<u8>(), 0..300)), 1u32..)
        .prop_map(|(path, after, max)| Request::List { path, after, max: EntryCount(max) });
    let root = prop_oneof![Just(RootWish::IfKnown), Just(RootWish::Computed)];
    let recursive = prop_oneof![Just(Recursive::Yes), Just(Recursive::No)];
    let replace = prop_oneof![Just(Replace::Allowed), Just(Replace::Refused)];
    let request = prop_oneof![
        list,
        (path(), root).prop_map(|(path, root)| Request::Stat { path, root }),
        (path(), recursive).prop_map(|(path, recursive)| Request::Remove { path, recursive }),
        (path(), path(), replace).prop_map(|(from, to, replace)| Request::Rename {
            from,
            to,
            replace
        }),
        path().prop_map(|path| Request::MakeDirectory { path }),
        path().prop_map(|path| Request::Measure { path }),
    ];
    let next = option::of(vec(any::<u8>(), 0..300));
    let reply = prop_oneof![
        fault().prop_map(Err),
        Just(Ok(Reply::Done)),
        speeds().prop_map(|speeds| Ok(Reply::Measured(speeds))),
        stat().prop_map(|stat| Ok(Reply::Stat(stat))),
        (vec((name(), option::of(stat())), 0..9), next)
            .prop_map(|(names, next)| Ok(Reply::Page { names, next })),
    ];
    prop_oneof![
        (any::<u32>(), request).prop_map(|(id, r)| Frame::Request(RequestId(id), r)),
        (any::<u32>(), reply).prop_map(|(id, answer)| Frame::Reply(RequestId(id), answer)),
        stats().prop_map(Frame::Stats),
    ]
}

fn stats() -> impl Strategy<Value = Stats> {
    let work = option::of(prop_oneof![Just(Work::None), Just(Work::UnderWay)]);
    let sums = (any::<[u64; 13]>(), any::<u64>(), option::of(any::<u64>()), work);
    sums.prop_map(|(c, bytes, trip, work)| {
        let times = c.map(Micros);
        let [source_disk, cpu, network, window, limiter, starved, sink_disk, ..] = times;
        let [.., sync, memory, idle, loss, peer_socket, sink_cpu] = times;
        Stats {
            causes: Causes {
                source_disk,
                cpu,
                network,
                window,
                limiter,
                starved,
                sink_disk,
                sync,
                memory,
                idle,
                loss,
                peer_socket,
                sink_cpu,
            },
            data_bytes: ByteCount(bytes),
            round_trip: trip.map(Micros),
            work,
        }
    })
}

pub fn stat() -> impl Strategy<Value = Stat> {
    let kind =
        prop_oneof![Just(EntryKind::File), Just(EntryKind::Directory), Just(EntryKind::Link)];
    (kind, size(), metadata(), option::of(link()), option::of(root())).prop_map(
        |(kind, size, metadata, target, root)| Stat { kind, size, metadata, target, root },
    )
}

pub fn fault() -> impl Strategy<Value = Fault> {
    (0..Code::ALL.len(), "[ -~äöü≤]{0,128}")
        .prop_map(|(nth, detail)| Fault { code: Code::ALL[nth], detail })
}

fn agent() -> impl Strategy<Value = String> {
    "[ -~]{0,128}"
}

pub fn name() -> impl Strategy<Value = Component> {
    let bytes = prop_oneof![
        8 => vec(any::<u8>(), 1..20),
        1 => vec(128u8.., 255),
    ];
    bytes.prop_map(|mut bytes| {
        bytes.iter_mut().filter(|byte| matches!(byte, 0 | b'/')).for_each(|byte| *byte = b'x');
        if bytes[0] == b'.' {
            bytes[0] = b'y';
        }
        Component::new(&bytes).unwrap()
    })
}

pub fn path() -> impl Strategy<Value = ObjectPath> {
    let names = prop_oneof![4 => vec(name(), 0..5), 1 => vec(name(), 200..255)];
    names.prop_filter_map("not a path", |names| ObjectPath::from_components(names).ok())
}

fn link() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(1u8.., 1..40), 1 => vec(1u8.., LINK_BYTES_MAX)]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (0u32..=0o777, timestamp())
        .prop_map(|(mode, mtime)| Metadata { mode: Mode::from_bits(mode), mtime })
}

fn version() -> impl Strategy<Value = SourceVersion> {
    (any::<u64>(), size(), timestamp(), timestamp())
        .prop_map(|(inode, size, mtime, ctime)| SourceVersion { inode, size, mtime, ctime })
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0u32..1_000_000_000).prop_map(|(s, n)| Timestamp::new(s, n).unwrap())
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u64>().prop_map(Seq)
}

fn seq_range() -> impl Strategy<Value = SeqRange> {
    (any::<u32>(), any::<u32>()).prop_map(|(first, more)| SeqRange {
        first: Seq(first.into()),
        last: Seq(u64::from(first) + u64::from(more)),
    })
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (transfer(), index()).prop_map(|(transfer, index)| EntryId { transfer, index })
}

fn transfer() -> impl Strategy<Value = TransferId> {
    any::<u32>().prop_map(TransferId)
}

fn index() -> impl Strategy<Value = EntryIndex> {
    any::<u64>().prop_map(EntryIndex)
}

fn size() -> impl Strategy<Value = ByteCount> {
    (0..=OBJECT_BYTES_MAX).prop_map(ByteCount)
}

fn window() -> impl Strategy<Value = ByteCount> {
    (1..=OBJECT_BYTES_MAX).prop_map(ByteCount)
}

fn chunk_len() -> impl Strategy<Value = ByteCount> {
    (1u64..=16 << 20).prop_map(ByteCount)
}

fn digest() -> impl Strategy<Value = ChainingValue> {
    any::<[u8; 32]>().prop_map(ChainingValue)
}

pub fn root() -> impl Strategy<Value = Root> {
    any::<[u8; 32]>().prop_map(Root)
}
