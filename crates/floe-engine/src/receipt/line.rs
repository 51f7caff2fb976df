//! One receipt as a line of a file: JSON of printable ASCII, complete in itself.

use super::sign::is_signed;
use super::statement::Statement;
use super::tree::{Hash, climb};
use crate::identity::KeyPin;
use data_encoding::HEXLOWER;
use floe_types::{ByteCount, ObjectPath, Root};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What a server signed of one object, and all that is needed to check that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// What it says.
    pub statement: Statement,
    /// The server's public key: SubjectPublicKeyInfo, DER.
    pub key: Vec<u8>,
    /// How it signs.
    pub scheme: u16,
    /// The signature, of a whole batch.
    pub signature: Vec<u8>,
    /// Which of the batch this is,
    pub place: u32,
    /// of so many.
    pub of: u32,
    /// The way from it to what was signed.
    pub siblings: Vec<Hash>,
}

/// Why a line proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// It is no receipt.
    NoReceipt,
    /// It is one of a later version.
    Unknown,
    /// The key did not sign what it says.
    NotSigned,
}

impl Wrong {
    /// In words.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::NoReceipt => "it is no receipt",
            Self::Unknown => "a receipt of a version that is not known here",
            Self::NotSigned => "the signature does not hold",
        }
    }
}

/// The members of a line, in their order. There are no others, and none twice: whoever reads the
/// file would take them for signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    receipt: u32,
    /// For people and programs alike; not where the path is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    size: u64,
    root: String,
    ticket: String,
    time: u64,
    server: String,
    place: u32,
    of: u32,
    siblings: Vec<String>,
    scheme: u16,
    key: String,
    signature: String,
}

impl Receipt {
    /// By which a person knows the key.
    #[must_use]
    pub fn server(&self) -> KeyPin {
        KeyPin::of_public_key(&self.key)
    }

    /// Whether the key that stands in it signed what it says.
    ///
    /// # Errors
    /// `NotSigned`.
    pub fn verify(&self) -> Result<(), Wrong> {
        let root = climb(self.statement.leaf(), self.place, self.of, &self.siblings);
        let signed =
            root.is_some_and(|root| is_signed(&self.key, self.scheme, &self.signature, root));
        if signed { Ok(()) } else { Err(Wrong::NotSigned) }
    }

    /// As a line, with its line feed.
    #[must_use]
    pub fn to_line(&self) -> String {
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        let bytes = self.statement.path.to_bytes();
        let path = String::from_utf8(bytes.clone()).ok();
        let path_hex = path.is_none().then(|| hex(&bytes));
        let members = Members {
            receipt: VERSION,
            path,
            path_hex,
            size: self.statement.size.0,
            root: self.statement.root.to_string(),
            ticket: self.statement.ticket.clone(),
            time: self.statement.time,
            server: self.server().to_string(),
            place: self.place,
            of: self.of,
            siblings: self.siblings.iter().map(|hash| hex(hash)).collect(),
            scheme: self.scheme,
            key: hex(&self.key),
            signature: hex(&self.signature),
        };
        // Strings and numbers can always be written.
        let mut line = ascii(&serde_json::to_string(&members).unwrap_or_default());
        line.push('\n');
        line
    }

    /// Reads a line. Whether it is signed is another question.
    ///
    /// # Errors
    /// `NoReceipt`, `Unknown`.
    pub fn parse(line: &str) -> Result<Self, Wrong> {
        let read: serde_json::Value = serde_json::from_str(line).or(Err(Wrong::NoReceipt))?;
        match read.get("receipt").and_then(serde_json::Value::as_u64) {
            Some(version) if version == u64::from(VERSION) => {}
            Some(_) => return Err(Wrong::Unknown),
            None => return Err(Wrong::NoReceipt),
        }
        // From the text: a value keeps only the last of members that have one name.
        serde_json::from_str(line).ok().and_then(Self::of_members).ok_or(Wrong::NoReceipt)
    }

    fn of_members(members: Members) -> Option<Self> {
        let hex = |text: &str| HEXLOWER.decode(text.as_bytes()).ok();
        let hash = |text: &String| Hash::try_from(hex(text)?).ok();
        let path = match (members.path, members.path_hex) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(path)) => {
                hex(&path).filter(|path| String::from_utf8(path.clone()).is_err())?
            }
            _ => return None,
        };
        let parsed = ObjectPath::parse(&path).ok()?;
        // A '/' at its end is not signed, and says that it is a directory.
        if parsed.to_bytes() != path {
            return None;
        }
        let receipt = Self {
            statement: Statement {
                root: Root(hash(&members.root)?),
                size: ByteCount(members.size),
                path: parsed,
                ticket: members.ticket,
                time: members.time,
            },
            key: hex(&members.key)?,
            scheme: members.scheme,
            signature: hex(&members.signature)?,
            place: members.place,
            of: members.of,
            siblings: members.siblings.iter().map(hash).collect::<Option<_>>()?,
        };
        // It stands there for who reads the file; nothing rests on it, so it must not lie.
        (receipt.server().to_string() == members.server).then_some(receipt)
    }
}

/// JSON with everything escaped that is not printable ASCII: no terminal obeys it.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::super::sign::sign;
    use super::super::tree::Tree;
    use super::*;
    use crate::identity::{Identity, Signer};

    fn identity(kind: &'static rcgen::SignatureAlgorithm) -> Identity {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let cert = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        Identity::parse(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    fn statements() -> Vec<Statement> {
        let paths: [&[u8]; 4] =
            [b"a/b", b"caf\xe9", "zw\u{f6}lf\u{202e}\u{1f600}".as_bytes(), b"\x1b[31m\n"];
        paths
            .iter()
            .map(|path| Statement {
                root: Root([9; 32]),
                size: ByteCount(7),
                path: ObjectPath::parse(path).unwrap(),
                ticket: "alice \u{e9}".to_owned(),
                time: 1_700_000_000,
            })
            .collect()
    }

    fn receipts(identity: &Identity) -> Vec<Receipt> {
        let statements = statements();
        let signed = sign(&Signer::new(identity).unwrap(), &statements).unwrap().unwrap();
        let tree = Tree::of(signed.leaves.clone()).unwrap();
        let receipt = |(place, statement): (usize, Statement)| Receipt {
            statement,
            key: signed.key.clone(),
            scheme: signed.scheme,
            signature: signed.signature.clone(),
            place: u32::try_from(place).unwrap(),
            of: u32::try_from(signed.leaves.len()).unwrap(),
            siblings: tree.siblings(place),
        };
        statements.into_iter().enumerate().map(receipt).collect()
    }

    #[test]
    fn a_line_of_every_kind_of_key_is_read_as_it_was_written_and_holds() {
        for kind in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let identity = identity(kind);
            for receipt in receipts(&identity) {
                let line = receipt.to_line();
                assert!(line.trim_end().bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
                let read = Receipt::parse(line.trim_end()).unwrap();
                assert_eq!((&read, read.verify()), (&receipt, Ok(())), "{line}");
                assert_eq!(read.server(), identity.pin());
            }
        }
    }

    #[test]
    fn no_digit_of_a_line_can_be_changed() {
        let receipt = receipts(&identity(&rcgen::PKCS_ECDSA_P256_SHA256)).remove(0);
        let line = receipt.to_line();
        let line = line.trim_end();
        for at in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] = match bytes[at] {
                b'0'..=b'8' | b'a'..=b'e' => bytes[at] + 1,
                b'9' => b'8',
                b'f' => b'e',
                _ => continue,
            };
            let changed = String::from_utf8(bytes).unwrap();
            let holds = Receipt::parse(&changed).and_then(|receipt| receipt.verify());
            assert!(holds.is_err(), "{changed}");
        }
    }

    #[test]
    fn nothing_stands_in_a_line_that_was_not_signed() {
        for receipt in receipts(&identity(&rcgen::PKCS_ECDSA_P256_SHA256)) {
            let line = receipt.to_line();
            let line = line.trim_end();
            let before = |more: &str| format!("{{{more},{}", &line[1..]);
            let path = receipt.statement.path.to_bytes();
            let hex = HEXLOWER.encode(&path);
            for changed in [
                before("\"path\":\"evil/contract.pdf\",\"size\":999"),
                before("\"size\":999"),
                before("\"receipt\":1"),
                before(&format!("\"root\":\"{}\"", "00".repeat(32))),
                before("\"verified_by\":\"court\""),
                line.replacen("}", ",\"place\":9}", 1),
                line.replacen("a/b\"", "a/b/\"", 1).replace(&hex, &format!("{hex}2f")),
                line.replacen("\"path\":\"a/b\"", &format!("\"path_hex\":\"{hex}\""), 1),
            ] {
                let told = Receipt::parse(&changed);
                assert!(changed == line || told == Err(Wrong::NoReceipt), "{changed}");
            }
        }
    }

    #[test]
    fn what_is_no_receipt_is_told_from_one_of_a_later_version() {
        for (line, wrong) in [
            ("", Wrong::NoReceipt),
            ("{}", Wrong::NoReceipt),
            ("[1]", Wrong::NoReceipt),
            ("{\"receipt\":1}", Wrong::NoReceipt),
            ("{\"receipt\":2,\"more\":[]}", Wrong::Unknown),
        ] {
            assert_eq!(Receipt::parse(line), Err(wrong), "{line}");
        }
    }
}
