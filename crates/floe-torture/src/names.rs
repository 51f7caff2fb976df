//! Names that are hard to get right, and names as a command line takes them.

use crate::dice::Dice;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

const ODD: [&[u8]; 16] = [
    b"-",
    b"--json",
    b"a b",
    b"a\nb",
    b"a\tb\x1b[31m",
    b"caf\xe9",
    b"\xff\xfe",
    b"%2e%2e",
    b"...",
    b".hidden",
    b".floe2",
    b"floe",
    b"a:b",
    b"\xf0\x9f\xa7\x8a",
    b"'\"\\*?",
    b"CON",
];

/// A name for an entry; `nth` keeps it apart from its siblings.
pub(crate) fn name(dice: &mut Dice, nth: u64) -> Vec<u8> {
    let mut name = match dice.below(4) {
        0 => ODD[dice.index(ODD.len())].to_vec(),
        1 if dice.percent(10) => vec![b'n'; 255 - 20],
        _ => b"e".to_vec(),
    };
    name.extend_from_slice(format!("-{nth}").as_bytes());
    name
}

/// A name that differs from every other in more than a few bits, so that a bit that is flipped on
/// the way does not make one of the other.
pub(crate) fn distant_name(dice: &mut Dice, nth: usize) -> Vec<u8> {
    let mut name = ODD[dice.index(ODD.len())].to_vec();
    name.extend_from_slice(format!("-{nth}-{:016x}", dice.number()).as_bytes());
    name
}

/// The URL of a path of names at a port of this machine.
pub(crate) fn url(port: u16, names: &[Vec<u8>]) -> OsString {
    let mut url = format!("floe://127.0.0.1:{port}");
    for name in names {
        url.push('/');
        for byte in name {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                    url.push(char::from(*byte));
                }
                _ => url.push_str(&format!("%{byte:02x}")),
            }
        }
    }
    url.into()
}

/// A name as the system takes it.
pub(crate) fn os(name: &[u8]) -> OsString {
    OsString::from_vec(name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_a_path_may_have() {
        let mut dice = Dice::new(5);
        for nth in 0..1000 {
            for name in [name(&mut dice, nth), distant_name(&mut dice, 7)] {
                assert!(floe_types::ObjectPath::parse(&name).is_ok_and(|path| !path.is_root()));
            }
        }
    }

    #[test]
    fn a_url_hides_what_would_mean_something() {
        assert_eq!(url(9, &[b"a/%".to_vec(), b"b".to_vec()]), "floe://127.0.0.1:9/a%2f%25/b");
    }
}
