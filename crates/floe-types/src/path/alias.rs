//! Other spellings by which some file system opens `.floe`.
//!
//! Letters of either case (vfat, exfat, ntfs, casefold directories of ext4 and f2fs), dots and
//! spaces at the end (vfat, servers of Windows shares), the short alias of vfat and ntfs, and what
//! full Unicode case folding makes equal: the ligature fl, and code points that are left out. All
//! are refused everywhere, so that a name means the same wherever a tree goes.

use super::RESERVED_NAME;

/// Whether a file system may take this name for the reserved one.
pub(super) fn means_reserved(name: &[u8]) -> bool {
    match core::str::from_utf8(name) {
        Ok(text) => folds_to_reserved(text) || is_short_alias(name),
        Err(_) => false, // folded by nobody, and not the name itself
    }
}

fn folds_to_reserved(name: &str) -> bool {
    let mut wanted = RESERVED_NAME.iter().copied();
    for letter in name.trim_end_matches(['.', ' ']).chars().filter(|letter| !is_left_out(*letter)) {
        let folded: &[u8] = match letter {
            '\u{fb02}' => b"fl",
            _ => &[u8::try_from(letter).map_or(0, |byte| byte.to_ascii_lowercase())],
        };
        if !folded.iter().all(|byte| wanted.next() == Some(*byte)) {
            return false;
        }
    }
    wanted.next().is_none()
}

/// `FLOE~1`, or `FL` and four hex digits of a hash where many names have that beginning.
fn is_short_alias(name: &[u8]) -> bool {
    let mut parts = name.splitn(2, |byte| *byte == b'~');
    let (Some(stem), Some(number)) = (parts.next(), parts.next()) else { return false };
    let stem_fits = match stem {
        [f, l, rest @ ..] if [*f, *l].eq_ignore_ascii_case(b"fl") => {
            rest.eq_ignore_ascii_case(b"oe")
                || rest.len() == 4 && rest.iter().all(u8::is_ascii_hexdigit)
        }
        _ => false,
    };
    stem_fits && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

/// Code points that full case folding leaves out (the default ignorable ones of Unicode).
const fn is_left_out(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spellings_of_the_name_are_refused() {
        for name in [".floe", ".fLoE", ".floe.", ".floe ..", "FLOE~12", "fl00ff~1", ".\u{ad}floe"] {
            assert!(means_reserved(name.as_bytes()), "{name}");
        }
        for name in
            ["floe", ".floes", ".flo", "floe~", "floe~x", "flxyzw~1", "..floe", ".fl\u{f6}e"]
        {
            assert!(!means_reserved(name.as_bytes()), "{name}");
        }
        assert!(!means_reserved(b".floe\xff"));
    }
}
