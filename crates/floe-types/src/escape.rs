//! A peer's bytes made safe to show: one line, no control characters, nothing a terminal obeys.
//!
//! Everything that a peer or a file system named passes here before it reaches a terminal, a log or
//! a page.

use core::fmt::{self, Write};

/// Shows bytes as text: printable characters as they are, the rest as `\xNN` or `\u{N}`, a
/// backslash doubled.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.utf8_chunks() {
            // Most names are plain; then nothing is looked at twice.
            match part.valid().bytes().all(is_plain) {
                true => f.write_str(part.valid())?,
                false => part.valid().chars().try_for_each(|c| write_escaped(c, f))?,
            }
            for byte in part.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn write_escaped(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '\\' => f.write_str("\\\\"),
        '"' => f.write_str("\\\""),
        c if is_hidden(c) => write!(f, "\\u{{{:x}}}", u32::from(c)),
        c => f.write_char(c),
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'"')
}

/// Whether a terminal may obey a character instead of showing it.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() || is_deceptive(c)
}

/// Characters that show as nothing or change the order of what stands around them.
const fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::Escaped;
    use alloc::string::ToString;

    #[test]
    fn shows_text_and_hides_what_a_terminal_obeys() {
        assert_eq!(Escaped("zwölf é".as_bytes()).to_string(), "zwölf é");
        assert_eq!(Escaped(b"a\n\x1b[31m\\\"").to_string(), "a\\u{a}\\u{1b}[31m\\\\\\\"");
        assert_eq!(Escaped(b"\xff\xfe").to_string(), "\\xff\\xfe");
        assert_eq!(Escaped("a\u{202e}b".as_bytes()).to_string(), "a\\u{202e}b");
    }
}
