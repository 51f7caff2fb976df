//! Object paths and names: the rules of PROTOCOL.md section 3, said a second time.
//!
//! Checked: nothing panics; a path is taken exactly where the second saying takes it; it reads back
//! from its own bytes; what is shown of it holds nothing that a terminal obeys; splitting, joining
//! and containing agree with each other.

use floe_types::{Component, Escaped, ObjectPath};

/// Runs one input: a path as bytes.
pub fn run(data: &[u8]) {
    let name = Component::new(data);
    assert_eq!(name.is_ok(), is_name(data), "{name:?}");
    assert_shown(&Escaped(data).to_string());
    let parsed = ObjectPath::parse(data);
    assert_eq!(parsed.is_ok(), is_path(data), "{parsed:?}");
    let Ok(path) = parsed else { return };
    assert_shown(&path.to_string());
    let names: Vec<&[u8]> = path.components().iter().map(Component::as_bytes).collect();
    let bytes = names.join(&b'/');
    assert_eq!(bytes, data.strip_suffix(b"/").unwrap_or(data));
    assert_eq!(ObjectPath::parse(&bytes).as_ref(), Ok(&path));
    assert_eq!(ObjectPath::from_components(path.components().to_vec()).as_ref(), Ok(&path));
    assert!(path.contains(&path) && ObjectPath::root().contains(&path));
    check_parts(&path);
}

fn check_parts(path: &ObjectPath) {
    let Some((parent, last)) = path.split_last() else {
        assert!(path.is_root() && path.name().is_none());
        return;
    };
    assert_eq!(path.name(), Some(last));
    assert!(parent.contains(path) && !path.contains(&parent));
    assert_eq!(parent.join(last.clone()).as_ref(), Ok(path));
    let tail = ObjectPath::from_components(vec![last.clone()]);
    assert_eq!(tail.and_then(|tail| parent.join_path(&tail)).as_ref(), Ok(path));
    let twice = path.join_path(path);
    let names = 2 * path.components().len();
    let bytes: usize = path.components().iter().map(|name| name.as_bytes().len() + 1).sum();
    assert_eq!(twice.is_ok(), names <= 255 && 2 * bytes <= 4097, "{twice:?}");
}

fn assert_shown(text: &str) {
    assert!(!text.chars().any(floe_types::escape::is_hidden), "{text:?}");
}

fn is_path(bytes: &[u8]) -> bool {
    let bytes = match bytes {
        [] => return true,
        [b'/', ..] => return false,
        [names @ .., b'/'] => names,
        names => names,
    };
    let names: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
    bytes.len() <= 4096 && names.len() <= 255 && names.iter().all(|name| is_name(name))
}

fn is_name(name: &[u8]) -> bool {
    let plain = !name.is_empty()
        && name.len() <= 255
        && !name.contains(&0)
        && !name.contains(&b'/')
        && name != b"."
        && name != b"..";
    plain && !std::str::from_utf8(name).is_ok_and(|text| is_folded(text) || is_short(text))
}

/// Equal to `.floe` after case folding, without what is ignorable and without dots and spaces at
/// the end.
fn is_folded(text: &str) -> bool {
    let text = text.trim_end_matches(['.', ' ']);
    let folded: String = text
        .chars()
        .filter(|letter| !is_ignorable(*letter))
        .flat_map(|letter| match letter {
            '\u{fb02}' => vec!['f', 'l'],
            letter => vec![letter.to_ascii_lowercase()],
        })
        .collect();
    folded == ".floe"
}

/// `FLOE~1`, `FL1234~1`.
fn is_short(text: &str) -> bool {
    let Some((stem, number)) = text.split_once('~') else { return false };
    let stem = stem.to_ascii_uppercase();
    let Some(rest) = stem.strip_prefix("FL") else { return false };
    let is_hash = rest.len() == 4 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (rest == "OE" || is_hash) && is_number
}

/// The default ignorable code points of Unicode (DerivedCoreProperties.txt).
fn is_ignorable(letter: char) -> bool {
    const RANGES: &[(u32, u32)] = &[
        (0x00ad, 0x00ad),
        (0x034f, 0x034f),
        (0x061c, 0x061c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfff8),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
    ];
    RANGES.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(letter)))
}
