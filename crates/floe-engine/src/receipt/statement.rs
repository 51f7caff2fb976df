//! What a receipt says of one object, and the bytes that stand for it.

use floe_types::{ByteCount, ObjectPath, Root};

/// What a server says of an object: at that time it stood there, durably, with these bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// The BLAKE3 root of its bytes.
    pub root: Root,
    /// How many there are.
    pub size: ByteCount,
    /// Where, as the ticket's holder sees it.
    pub path: ObjectPath,
    /// The name of the ticket that it was put with, as the server has it.
    pub ticket: String,
    /// When it was signed: seconds since 1970.
    pub time: u64,
}

impl Statement {
    /// The leaf that stands for it in a tree.
    #[must_use]
    pub fn leaf(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.root.0);
        bytes.extend_from_slice(&self.size.0.to_be_bytes());
        bytes.extend_from_slice(&self.time.to_be_bytes());
        put(&mut bytes, self.ticket.as_bytes());
        let names = self.path.components();
        bytes.extend_from_slice(&short(names.len()).to_be_bytes());
        for name in names {
            put(&mut bytes, name.as_bytes());
        }
        blake3::derive_key(LEAF, &bytes)
    }
}

/// A length of 16 bits, and so many bytes.
fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&short(part.len()).to_be_bytes());
    bytes.extend_from_slice(part);
}

/// Names of tickets and paths are far shorter.
fn short(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

const LEAF: &str = "floe/1 receipt leaf";

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            root: Root([0xa0; 32]),
            size: ByteCount(5),
            path: ObjectPath::parse(b"in/box").unwrap(),
            ticket: "alice".to_owned(),
            time: 1_700_000_000,
        }
    }

    #[test]
    fn a_leaf_is_that_of_the_specification() {
        let hex = data_encoding::HEXLOWER.encode(&statement().leaf());
        assert_eq!(hex, "ae27c1de4639d4354c68106b6708cc69d0916dd6cd14c88338bc180dee8c4ad9");
    }

    #[test]
    fn whatever_changes_changes_the_leaf() {
        let one = statement();
        let path = |text: &[u8]| ObjectPath::parse(text).unwrap();
        for other in [
            Statement { root: Root([0xa1; 32]), ..one.clone() },
            Statement { size: ByteCount(6), ..one.clone() },
            Statement { path: path(b"in/bo"), ..one.clone() },
            Statement { path: path(b"i/nbox"), ..one.clone() },
            Statement { path: path(b"inbox"), ..one.clone() },
            Statement { ticket: "alic".to_owned(), ..one.clone() },
            Statement { time: 1_700_000_001, ..one.clone() },
        ] {
            assert_ne!(other.leaf(), one.leaf(), "{other:?}");
        }
    }
}
