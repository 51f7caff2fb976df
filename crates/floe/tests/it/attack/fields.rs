//! Numbers that lie, values of other kinds, keys that are missing or stand twice: in every field of
//! every cold frame that a client says, or both ends.

use super::fort::Fort;
use super::peer::{Answer, VIOLATION};
use super::wire::{self, Cbor, NULL, at, cold, hot, kind, map};

/// What a field takes.
#[derive(Clone, Copy)]
pub enum Takes {
    /// A number from one to another.
    Number(u64, u64),
    /// A number of 64 bits with a sign.
    Signed,
    /// A string of so many bytes.
    Fixed(usize),
    /// A text of at most so many bytes.
    Text(usize),
    /// Bytes, from so many to so many.
    Bytes(usize, usize),
    /// Something with fields, or a list.
    More,
}

use Takes::{Bytes, Fixed, More, Number, Signed, Text};

pub const U32: Takes = Number(0, u32::MAX as u64);
pub const SIZE: Takes = Number(0, i64::MAX as u64);
pub const ANY: Takes = Number(0, u64::MAX);
pub const BIT: Takes = Number(0, 1);

impl Takes {
    /// What it does not take.
    fn lies(self) -> Vec<(String, Cbor)> {
        let mut lies: Vec<(String, Cbor)> = [
            ("-1", Cbor::Negative(0)),
            ("-2^64", Cbor::Negative(u64::MAX)),
            ("null", Cbor::raw(NULL)),
            ("a float", Cbor::raw(&[0xf9, 0x3c, 0x00])),
            ("a tag", Cbor::raw(&[0xc0, 0x00])),
            ("a list that is not ended", Cbor::raw(&[0x9f, 0xff])),
            ("a string that is not ended", Cbor::raw(&[0x5f, 0xff])),
            ("a length that no item has", Cbor::raw(&[0x1c])),
        ]
        .map(|(name, lie)| (name.to_owned(), lie))
        .into();
        if let Signed = self {
            // -1 is one, and so is all that 63 bits hold.
            lies.retain(|(name, _)| name != "-1");
        }
        let mut lie = |name: String, value: Cbor| lies.push((name, value));
        match self {
            Number(from, to) => {
                let above = [to.saturating_add(1), 1 << 32, 1 << 63, u64::MAX];
                for number in above.into_iter().filter(|number| *number > to) {
                    lie(number.to_string(), number.into());
                }
                if from > 0 {
                    lie("0".into(), 0.into());
                }
                lie("a text".into(), Cbor::text("1"));
                lie("bytes".into(), Cbor::from(&[1][..]));
                lie("a list".into(), vec![].into());
            }
            Signed => {
                lie("2^63".into(), (1 << 63).into());
                lie("-2^63-1".into(), Cbor::Negative(1 << 63));
                lie("a text".into(), Cbor::text("1"));
            }
            Fixed(len) => {
                lie("a byte less".into(), Cbor::from(&vec![1; len - 1][..]));
                lie("a byte more".into(), Cbor::from(&vec![1; len + 1][..]));
                lie("a text".into(), Cbor::Text(vec![b'a'; len]));
                lie("2^64-1 bytes".into(), Cbor::raw(&[&[0x5b][..], &[255; 8]].concat()));
            }
            Text(len) => {
                lie("a byte more".into(), Cbor::Text(vec![b'a'; len + 1]));
                lie("not text".into(), Cbor::Text(vec![0xc3, 0x28]));
                lie("bytes".into(), Cbor::from(&b"a"[..]));
                lie("2^64-1 bytes".into(), Cbor::raw(&[&[0x7b][..], &[255; 8]].concat()));
            }
            Bytes(from, to) => {
                lie("a byte more".into(), Cbor::from(&vec![1; to + 1][..]));
                if from > 0 {
                    lie("none".into(), Cbor::from(&[][..]));
                }
                lie("a text".into(), Cbor::text("a"));
            }
            More => {
                lie("a number".into(), 1.into());
                lie("2^64-1 items".into(), Cbor::raw(&[&[0x9b][..], &[255; 8]].concat()));
                lie("2^64-1 pairs".into(), Cbor::raw(&[&[0xbb][..], &[255; 8]].concat()));
            }
        }
        lies
    }
}

pub type Field = (u64, Takes);

/// In place of a frame's kind: the one entry of an ENTRIES, the fault of a CANCEL, the stat of a
/// REPLY.
const ENTRY: u8 = 0;
const FAULT: u8 = 1;
pub const STAT: u8 = 2;

/// A frame as it may be, and what its fields take. Those of `optional` may be missing.
pub struct Shape {
    name: &'static str,
    kind: u8,
    body: Cbor,
    fields: Vec<Field>,
    optional: &'static [u64],
}

pub fn shape(name: &'static str, kind: u8, body: Cbor, fields: &[Field]) -> Shape {
    Shape { name, kind, body, fields: fields.to_vec(), optional: &[] }
}

/// Every cold frame of a client in a session, when `tree` is put and `kept` is got.
fn shapes() -> Vec<Shape> {
    [openings(), sayings(), requests(), entry_shapes()].into_iter().flatten().collect()
}

/// What begins a transfer, and says of it what is there.
fn openings() -> Vec<Shape> {
    let root = || Cbor::from(&[1; 32][..]);
    let none = || Cbor::from(vec![]);
    let bits = [5, 6, 7, 8, 9, 10, 1].map(|key| (key, BIT));
    let open = [
        (0, Number(0, u64::from(u32::MAX) - 1)),
        (2, More),
        (3, Number(262_144, 16_777_216)),
        (4, Number(1, i64::MAX as u64)),
        (12, Number(0, 19)),
    ];
    let opened = wire::open(2, 0, at("x")).with(9, 0).with(10, 0).with(12, 3);
    let entries = map([(0, 0.into()), (1, vec![wire::file(1, at("f"), 3)].into())]);
    let want = map([(0, 1.into()), (1, 0.into()), (2, 1.into()), (3, none()), (5, 0.into())]);
    let wanted = [(0, U32), (1, ANY), (2, BIT), (3, More), (4, Fixed(32)), (5, BIT)];
    let drop = map([(0, 0.into()), (1, 1.into()), (2, none())]);
    let listed = [(0, U32), (1, More)];
    vec![
        shape("OPEN", kind::OPEN, opened, &[&open[..], &bits].concat()).but(&[9, 10, 12]),
        shape("ENTRIES", kind::ENTRIES, entries, &listed),
        shape("WANT", kind::WANT, want.with(4, root()), &wanted).but(&[4]),
        shape("DROP", kind::DROP, drop, &[(0, U32), (1, ANY), (2, More)]),
    ]
}

/// What ends entries, transfers and sessions, and the figures.
fn sayings() -> Vec<Shape> {
    let root = || Cbor::from(&[1; 32][..]);
    let object: Cbor = vec![vec![1.into(), 3.into(), root()].into()].into();
    let done = map([(0, 0.into()), (1, object.clone())]);
    let committed = map([(0, 1.into()), (1, object)]);
    let fault = || wire::fault(0, "x");
    let failed = map([(0, 0.into()), (1, 1.into()), (2, at("f")), (3, fault())]);
    let complete = map([(0, 0.into()), (1, 1.into())]);
    let cancel = map([(0, 0.into()), (1, fault())]);
    let stats = map([(0, map([])), (1, 0.into()), (2, 0.into()), (3, 0.into())]);
    let listed = [(0, U32), (1, More)];
    let faults = [(0, Number(0, 0xffff)), (1, Text(512))];
    vec![
        shape("DONE", kind::DONE, done, &listed),
        shape("COMMITTED", kind::COMMITTED, committed, &listed),
        shape("FAILED", kind::FAILED, failed, &[(0, U32), (1, ANY), (2, More), (3, More)]),
        shape("COMPLETE", kind::COMPLETE, complete, &[(0, U32), (1, U32)]),
        shape("COMPLETED", kind::COMPLETED, map([(0, 1.into())]), &[(0, U32)]),
        shape("CANCEL", kind::CANCEL, cancel, &listed),
        shape("CLOSE", kind::CLOSE, map([(0, fault())]), &[(0, More)]).but(&[0]),
        shape("STATS", kind::STATS, stats, &[(0, More), (1, ANY), (2, ANY), (3, BIT)]).but(&[2, 3]),
        shape("fault", FAULT, fault(), &faults),
    ]
}

fn requests() -> Vec<Shape> {
    let ask = |name, what, fields: &[Field]| {
        let all = [&[(0, U32), (1, Number(0, 5)), (2, More)], fields].concat();
        shape(name, kind::REQUEST, wire::request(0, what, at("kept")), &all)
    };
    let names = Number(1, u64::from(u32::MAX));
    vec![
        ask("LIST", wire::LIST, &[(4, names), (3, Bytes(0, 512))]).but(&[3]),
        ask("STAT", wire::STAT, &[(5, BIT)]),
        ask("REMOVE", wire::REMOVE, &[(6, BIT)]),
        ask("RENAME", wire::RENAME, &[(7, More), (8, BIT)]),
        ask("MKDIR", wire::MKDIR, &[]),
        ask("MEASURE", wire::MEASURE, &[]),
    ]
}

/// The kinds of entries, as the one of an ENTRIES.
fn entry_shapes() -> Vec<Shape> {
    let version: Cbor = [9_u64, 3, 0, 0, 0, 0].map(Cbor::from).to_vec().into();
    let file = wire::file(1, at("f"), 3).with(4, version).with(9, 0).with(10, 0);
    let common = [(0, ANY), (1, More), (2, Number(0, 3))];
    let with = |fields: &[Field]| [&common[..], fields].concat();
    let (sizes, metadata) = ([(3, SIZE), (10, SIZE)], (6, More));
    let of_file = [&sizes[..], &[metadata, (4, More), (5, BIT), (9, ANY)]].concat();
    let link = wire::link(1, at("l"), b"x");
    vec![
        shape("file", ENTRY, file, &with(&of_file)).but(&[3, 4, 9, 10]),
        shape("directory", ENTRY, wire::dir(1, at("d")), &with(&[])),
        shape("end", ENTRY, wire::end(1, at(""), 0), &with(&[metadata, (7, ANY)])),
        shape("link", ENTRY, link, &with(&[metadata, (8, Bytes(1, 4095))])),
    ]
}

impl Shape {
    /// These may be missing.
    pub fn but(self, optional: &'static [u64]) -> Self {
        Self { optional, ..self }
    }

    fn said(&self, body: &Cbor) -> Vec<u8> {
        match self.kind {
            ENTRY => wire::entries(0, std::slice::from_ref(body)),
            FAULT => cold(kind::CANCEL, &map([(0, 0.into()), (1, body.clone())])),
            STAT => cold(kind::REPLY, &map([(0, 0.into()), (1, 2.into()), (3, body.clone())])),
            kind => cold(kind, body),
        }
    }

    /// Everything that is wrong with it, by name.
    pub fn wrong(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut wrong = |name: String, body: &Cbor| all.push((name, self.said(body)));
        for (key, takes) in &self.fields {
            for (name, lie) in takes.lies() {
                wrong(format!("{} {key} is {name}", self.name), &self.body.clone().with(*key, lie));
            }
            if self.body.find(*key).is_none() {
                continue;
            }
            wrong(format!("{} {key} twice", self.name), &self.body.clone().twice(*key));
            if !self.optional.contains(key) {
                wrong(format!("{} without {key}", self.name), &self.body.clone().without(*key));
            }
        }
        let deep = [&[0xa1, 0x18, 200][..], &[0x81; 9], &[0]].concat();
        wrong(format!("{}: nested too deep", self.name), &Cbor::Raw(deep));
        let open = Cbor::raw(&[0xbf, 0xff]);
        wrong(format!("{}: a map that is not ended", self.name), &open);
        wrong(
            format!("{}: an unknown key that is not ended", self.name),
            &self.body.clone().with(200, Cbor::raw(&[0x5f, 0x41, 0, 0xff])),
        );
        wrong(format!("{}: more pairs than are there", self.name), &Cbor::raw(&[0xb8, 0xff]));
        wrong(
            format!("{}: 2^64-1 pairs", self.name),
            &Cbor::Raw([&[0xbb][..], &[255; 8]].concat()),
        );
        if ![ENTRY, FAULT, STAT].contains(&self.kind) {
            let body = self.body.bytes();
            let cut = hot(self.kind, 0, &body[..body.len() - 1]);
            let more = hot(self.kind, 0, &[&body[..], &[0]].concat());
            all.push((format!("{}: cut short", self.name), cut));
            all.push((format!("{}: a byte behind it", self.name), more));
            all.push((format!("{}: nothing", self.name), hot(self.kind, 0, b"")));
            all.push((format!("{}: a flag", self.name), hot(self.kind, 1, &body)));
        }
        all
    }
}

/// A list whose places have a meaning each: as it may be, what each takes, and a frame with it.
struct Tuple {
    name: &'static str,
    items: Vec<Cbor>,
    /// So many of them must be there.
    least: usize,
    takes: Vec<Takes>,
    said: fn(Cbor) -> Vec<u8>,
}

fn tuples() -> Vec<Tuple> {
    let root = || Cbor::from(&[1; 32][..]);
    let stamp = [Signed, Number(0, 999_999_999)];
    let length = Number(1, i64::MAX as u64);
    vec![
        Tuple {
            name: "metadata",
            items: wire::metadata().items().to_vec(),
            least: 3,
            takes: [&[Number(0, 511)][..], &stamp].concat(),
            said: |it| wire::entries(0, &[wire::file(1, at("f"), 3).with(6, it)]),
        },
        Tuple {
            name: "version",
            items: [9_u64, 3, 0, 0, 0, 0].map(Cbor::from).to_vec(),
            least: 6,
            takes: [&[ANY, SIZE][..], &stamp, &stamp].concat(),
            said: |it| wire::entries(0, &[wire::file(1, at("f"), 3).with(4, it)]),
        },
        Tuple {
            name: "range of DROP",
            items: vec![0.into(), 1.into()],
            least: 2,
            takes: vec![SIZE, length],
            said: |it| {
                let body = map([(0, 0.into()), (1, 0.into()), (2, vec![it].into())]);
                cold(kind::DROP, &body)
            },
        },
        Tuple {
            name: "subtree of WANT",
            items: vec![0.into(), 100_000.into(), root(), root()],
            least: 3,
            takes: vec![SIZE, length, Fixed(32), Fixed(32)],
            said: |it| {
                let body = map([(0, 1.into()), (1, 0.into()), (2, 1.into())]);
                cold(kind::WANT, &body.with(3, vec![it]).with(5, 0))
            },
        },
        Tuple {
            name: "object of DONE",
            items: vec![0.into(), 3.into(), root()],
            least: 3,
            takes: vec![ANY, SIZE, Fixed(32)],
            said: |it| cold(kind::DONE, &map([(0, 0.into()), (1, vec![it].into())])),
        },
        Tuple {
            name: "object of COMMITTED",
            items: vec![0.into(), root()],
            least: 1,
            takes: vec![ANY, Fixed(32)],
            said: |it| cold(kind::COMMITTED, &map([(0, 1.into()), (1, vec![it].into())])),
        },
    ]
}

impl Tuple {
    fn wrong(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        let mut wrong = |name: String, items: Vec<Cbor>| {
            all.push((format!("{}: {name}", self.name), (self.said)(items.into())));
        };
        for (nth, takes) in self.takes.iter().enumerate() {
            for (name, lie) in takes.lies() {
                let mut items = self.items.clone();
                items[nth] = lie;
                wrong(format!("{nth} is {name}"), items);
            }
        }
        wrong("nothing".into(), vec![]);
        wrong("one less".into(), self.items[..self.least - 1].to_vec());
        wrong("one more".into(), [&self.items[..], &[0.into(), 0.into()]].concat());
        all
    }
}

/// All that is wrong with what either end may say in a session, by name.
pub fn wrong_of_both() -> Vec<(String, Vec<u8>)> {
    let entries = openings().into_iter().filter(|shape| shape.kind != kind::OPEN);
    let shapes = entries.chain(sayings()).chain(entry_shapes());
    let mut wrong: Vec<_> = shapes.flat_map(|shape| shape.wrong()).collect();
    wrong.extend(tuples().iter().flat_map(Tuple::wrong));
    wrong
}

#[test]
fn no_field_takes_what_it_should_not() {
    let fort = Fort::plain();
    let opens = [
        cold(kind::OPEN, &wire::open(0, 0, at("tree"))),
        wire::entries(0, &[wire::dir(0, at(""))]),
        cold(kind::OPEN, &wire::open(1, 1, at("kept"))),
    ];
    let mut wrong: Vec<_> = shapes().iter().flat_map(Shape::wrong).collect();
    wrong.extend(tuples().iter().flat_map(Tuple::wrong));
    assert!(wrong.len() > 700, "{}", wrong.len());
    for (name, bytes) in &wrong {
        let mut peer = fort.peer();
        peer.say(&[&opens.concat()[..], bytes].concat());
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
    }
    fort.stands();
}
