//! The wire as PROTOCOL.md says it, and as it must not be said: frames and CBOR by hand.
//!
//! Nothing here is floe's codec. What is written may be anything; what is read is cut at frames'
//! bounds and taken apart no further than an attack has to look.

pub mod kind {
    pub const CHALLENGE: u8 = 0x01;
    pub const HELLO: u8 = 0x02;
    pub const WELCOME: u8 = 0x03;
    pub const JOIN: u8 = 0x04;
    pub const JOINED: u8 = 0x05;
    pub const BUSY: u8 = 0x06;
    pub const CLOSE: u8 = 0x07;
    pub const PING: u8 = 0x08;
    pub const PONG: u8 = 0x09;
    pub const OPEN: u8 = 0x10;
    pub const OPENED: u8 = 0x11;
    pub const ENTRIES: u8 = 0x12;
    pub const WANT: u8 = 0x13;
    pub const DROP: u8 = 0x14;
    pub const HEADER: u8 = 0x15;
    pub const VERDICT: u8 = 0x16;
    pub const DATA: u8 = 0x17;
    pub const SEAL: u8 = 0x18;
    pub const STORED: u8 = 0x19;
    pub const CORRUPT: u8 = 0x1a;
    pub const DONE: u8 = 0x1b;
    pub const COMMITTED: u8 = 0x1c;
    pub const FAILED: u8 = 0x1d;
    pub const COMPLETE: u8 = 0x1e;
    pub const COMPLETED: u8 = 0x1f;
    pub const CANCEL: u8 = 0x20;
    pub const RECEIPT: u8 = 0x21;
    pub const PACKED: u8 = 0x22;
    pub const PACKED_ENTRIES: u8 = 0x23;
    pub const REQUEST: u8 = 0x30;
    pub const REPLY: u8 = 0x31;
    pub const STATS: u8 = 0x32;
}

/// The codes of section 18 that attacks are answered with.
pub mod code {
    pub const USAGE: u64 = 1;
    pub const NOT_FOUND: u64 = 3;
    pub const PERMISSION_DENIED: u64 = 4;
    pub const NOT_ALLOWED: u64 = 5;
    pub const TICKET_UNKNOWN: u64 = 6;
    pub const TICKET_EXPIRED: u64 = 7;
    pub const READ_ONLY: u64 = 9;
    pub const NOT_DIRECTORY: u64 = 11;
    pub const NOT_REGULAR: u64 = 12;
    pub const CLIENT_KEY_NEEDED: u64 = 16;
    pub const INTEGRITY: u64 = 20;
    /// What says it does not look like floe at all.
    pub const MISMATCH: u64 = 33;
    pub const VIOLATION: u64 = 34;
    pub const BUSY: u64 = 36;
    pub const ELSEWHERE: u64 = 38;
    pub const TAKEN_OVER: u64 = 39;
    pub const LIMIT_EXCEEDED: u64 = 72;
}

/// A frame: its head says what is given here, true or not.
pub fn head(len: u32, kind: u8, flags: u8, reserved: u16) -> Vec<u8> {
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(reserved.to_be_bytes());
    bytes
}

/// A frame with a body of any bytes.
pub fn hot(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = head(u32::try_from(body.len()).unwrap(), kind, flags, 0);
    bytes.extend(body);
    bytes
}

/// A frame with a CBOR body.
pub fn cold(kind: u8, body: &Cbor) -> Vec<u8> {
    hot(kind, 0, &body.bytes())
}

/// One item of CBOR.
#[derive(Clone, Debug, PartialEq)]
pub enum Cbor {
    Uint(u64),
    /// -1 - it.
    Negative(u64),
    Bytes(Vec<u8>),
    Text(Vec<u8>),
    Array(Vec<Cbor>),
    Map(Vec<(u64, Cbor)>),
    /// Whatever the bytes are.
    Raw(Vec<u8>),
}

pub const NULL: &[u8] = &[0xf6];

impl Cbor {
    pub fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    pub fn raw(bytes: &[u8]) -> Self {
        Self::Raw(bytes.to_vec())
    }

    /// The map with a key set to another value.
    pub fn with(mut self, key: u64, value: impl Into<Cbor>) -> Self {
        let Self::Map(pairs) = &mut self else { panic!("no map: {self:?}") };
        let value = value.into();
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => pairs.push((key, value)),
        }
        self
    }

    /// The map without a key.
    pub fn without(mut self, key: u64) -> Self {
        let Self::Map(pairs) = &mut self else { panic!("no map: {self:?}") };
        pairs.retain(|(known, _)| *known != key);
        self
    }

    /// The map with a pair more, though its key stands there.
    pub fn twice(mut self, key: u64) -> Self {
        let again = self.at(key).clone();
        let Self::Map(pairs) = &mut self else { panic!("no map: {self:?}") };
        pairs.push((key, again));
        self
    }

    #[track_caller]
    pub fn at(&self, key: u64) -> &Self {
        self.find(key).unwrap_or_else(|| panic!("no key {key} in {self:?}"))
    }

    pub fn find(&self, key: u64) -> Option<&Self> {
        let Self::Map(pairs) = self else { panic!("no map: {self:?}") };
        pairs.iter().find_map(|(known, value)| (*known == key).then_some(value))
    }

    #[track_caller]
    pub fn uint(&self) -> u64 {
        let Self::Uint(number) = self else { panic!("no number: {self:?}") };
        *number
    }

    #[track_caller]
    pub fn items(&self) -> &[Self] {
        let Self::Array(items) = self else { panic!("no array: {self:?}") };
        items
    }

    #[track_caller]
    pub fn string(&self) -> &[u8] {
        let (Self::Bytes(bytes) | Self::Text(bytes)) = self else { panic!("no string: {self:?}") };
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut into = Vec::new();
        self.write(&mut into);
        into
    }

    fn write(&self, into: &mut Vec<u8>) {
        match self {
            Self::Uint(number) => initial(into, 0, *number),
            Self::Negative(number) => initial(into, 1, *number),
            Self::Bytes(bytes) => {
                initial(into, 2, bytes.len() as u64);
                into.extend(bytes);
            }
            Self::Text(bytes) => {
                initial(into, 3, bytes.len() as u64);
                into.extend(bytes);
            }
            Self::Array(items) => {
                initial(into, 4, items.len() as u64);
                items.iter().for_each(|item| item.write(into));
            }
            Self::Map(pairs) => {
                initial(into, 5, pairs.len() as u64);
                for (key, value) in pairs {
                    initial(into, 0, *key);
                    value.write(into);
                }
            }
            Self::Raw(bytes) => into.extend(bytes),
        }
    }

    /// Reads what the other end said: definite lengths, and numbers, strings, arrays and maps only.
    #[track_caller]
    pub fn read(bytes: &mut &[u8]) -> Self {
        let [first, rest @ ..] = *bytes else { panic!("CBOR that ends too soon") };
        let wide = match first & 0x1f {
            short @ 0..24 => (u64::from(short), 0),
            wide @ 24..28 => {
                let len = 1 << (wide - 24);
                (rest[..len].iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), len)
            }
            other => panic!("a length of kind {other}"),
        };
        *bytes = &rest[wide.1..];
        let number = wide.0;
        let mut string = || {
            let (string, rest) = bytes.split_at(usize::try_from(number).unwrap());
            *bytes = rest;
            string.to_vec()
        };
        match first >> 5 {
            0 => Self::Uint(number),
            1 => Self::Negative(number),
            2 => Self::Bytes(string()),
            3 => Self::Text(string()),
            4 => Self::Array((0..number).map(|_| Self::read(bytes)).collect()),
            5 => Self::Map(
                (0..number).map(|_| (Self::read(bytes).uint(), Self::read(bytes))).collect(),
            ),
            other => panic!("an item of kind {other}"),
        }
    }
}

/// The first bytes of an item: its kind, and a number in the shortest form.
pub fn initial(into: &mut Vec<u8>, major: u8, number: u64) {
    let (short, wide) = match number {
        0..24 => (number.to_be_bytes()[7], 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    into.push(major << 5 | short);
    into.extend(&number.to_be_bytes()[8 - wide..]);
}

impl From<u64> for Cbor {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<Vec<Cbor>> for Cbor {
    fn from(items: Vec<Cbor>) -> Self {
        Self::Array(items)
    }
}

impl From<&[u8]> for Cbor {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

/// A map of pairs.
pub fn map<const N: usize>(pairs: [(u64, Cbor); N]) -> Cbor {
    Cbor::Map(pairs.into())
}

/// A path of any names, as CBOR.
pub fn path(names: &[&[u8]]) -> Cbor {
    Cbor::Array(names.iter().map(|name| Cbor::from(*name)).collect())
}

/// A path of a text, cut at `/`.
pub fn at(text: &str) -> Cbor {
    let names: Vec<_> = text.split('/').filter(|it| !it.is_empty()).map(str::as_bytes).collect();
    path(&names)
}

/// Metadata that anything may have.
pub fn metadata() -> Cbor {
    vec![0o644.into(), 1_700_000_000.into(), 0.into()].into()
}

/// OPEN of a put (0) or get (1).
pub fn open(transfer: u64, direction: u64, path: Cbor) -> Cbor {
    map([
        (0, transfer.into()),
        (1, direction.into()),
        (2, path),
        (3, 1_048_576.into()),
        (4, (64 << 20).into()),
        (5, 0.into()),
        (6, 0.into()),
        (7, 0.into()),
        (8, 0.into()),
    ])
}

/// The entry of a file.
pub fn file(index: u64, path: Cbor, size: u64) -> Cbor {
    map([(0, index.into()), (1, path), (2, 0.into()), (3, size.into())])
        .with(5, 0)
        .with(6, metadata())
}

/// The entry of a directory.
pub fn dir(index: u64, path: Cbor) -> Cbor {
    map([(0, index.into()), (1, path), (2, 1.into())])
}

/// The end of the directory with an index.
pub fn end(index: u64, path: Cbor, of: u64) -> Cbor {
    map([(0, index.into()), (1, path), (2, 2.into()), (6, metadata()), (7, of.into())])
}

/// The entry of a symbolic link.
pub fn link(index: u64, path: Cbor, text: &[u8]) -> Cbor {
    map([(0, index.into()), (1, path), (2, 3.into()), (6, metadata()), (8, text.into())])
}

/// ENTRIES of a transfer.
pub fn entries(transfer: u64, all: &[Cbor]) -> Vec<u8> {
    cold(kind::ENTRIES, &map([(0, transfer.into()), (1, all.to_vec().into())]))
}

/// A REQUEST of a kind for a path, with what else it takes.
pub fn request(id: u64, what: u64, path: Cbor) -> Cbor {
    let plain = map([(0, id.into()), (1, what.into()), (2, path)]);
    match what {
        LIST => plain.with(4, 256),
        STAT => plain.with(5, 0),
        REMOVE => plain.with(6, 0),
        RENAME => plain.with(7, at("elsewhere")).with(8, 0),
        _ => plain,
    }
}

pub const LIST: u64 = 0;
pub const STAT: u64 = 1;
pub const REMOVE: u64 = 2;
pub const RENAME: u64 = 3;
pub const MKDIR: u64 = 4;
pub const MEASURE: u64 = 5;

/// A fault.
pub fn fault(code: u64, detail: &str) -> Cbor {
    map([(0, code.into()), (1, Cbor::text(detail))])
}

/// HEADER of a chunk with its length.
pub fn header(seq: u64, transfer: u32, index: u64, offset: u64, len: u32) -> Vec<u8> {
    let mut body = [seq, index, offset].map(u64::to_be_bytes).concat();
    body.extend(transfer.to_be_bytes());
    body.extend(len.to_be_bytes());
    hot(kind::HEADER, 0x02, &body)
}

/// DATA of a chunk.
pub fn data(seq: u64, at: u64, piece: &[u8]) -> Vec<u8> {
    let mut body = [seq, at].map(u64::to_be_bytes).concat();
    body.extend(piece);
    hot(kind::DATA, 0, &body)
}

/// SEAL of a chunk at offset 0, by what its bytes should be.
pub fn seal(seq: u64, len: u32, value: [u8; 32], root: Option<[u8; 32]>) -> Vec<u8> {
    let mut body = seq.to_be_bytes().to_vec();
    body.extend(len.to_be_bytes());
    body.extend(value);
    body.extend(root.iter().flatten());
    hot(kind::SEAL, if root.is_some() { 0x08 } else { 0 }, &body)
}

/// The chaining value of a chunk's bytes at its offset.
pub fn value(offset: u64, bytes: &[u8]) -> [u8; 32] {
    use blake3::hazmat::HasherExt;
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset).update(bytes);
    hasher.finalize_non_root()
}
