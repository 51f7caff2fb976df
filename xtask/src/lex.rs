//! Rust source as tokens with their lines; comments are gone and literals are opaque.
//!
//! Not a whole lexer: numbers and operators are only as exact as the rules need. It is exact about
//! what would fool a search by text: strings, raw strings, characters against lifetimes, nested
//! comments. It never fails; source that does not compile gives tokens that mean little.

/// One token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token<'a> {
    /// A name or keyword; a raw name keeps its `r#`.
    Ident(&'a str),
    /// `::`
    PathSep,
    /// Any other single character of punctuation.
    Punct(char),
    /// A string, character or number.
    Literal,
    /// `'a`
    Lifetime,
}

/// A token and the line it starts on, from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot<'a> {
    /// The token.
    pub token: Token<'a>,
    /// Its line.
    pub line: usize,
}

/// The tokens of a source text.
pub fn lex(text: &str) -> Vec<Spot<'_>> {
    let mut cursor = Cursor { text, at: 0, line: 1 };
    let mut spots = Vec::new();
    while let Some(spot) = cursor.next_spot() {
        spots.push(spot);
    }
    spots
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, len: usize) {
        let end = (self.at + len).min(self.text.len());
        self.line += self.text[self.at..end].matches('\n').count();
        self.at = end;
    }

    fn next_spot(&mut self) -> Option<Spot<'a>> {
        loop {
            let first = self.rest().chars().next()?;
            if first.is_whitespace() {
                self.skip(first.len_utf8());
            } else if self.rest().starts_with("//") {
                self.skip(self.rest().find('\n').unwrap_or(self.rest().len()));
            } else if self.rest().starts_with("/*") {
                self.skip(block_comment_len(self.rest()));
            } else {
                let line = self.line;
                let (token, len) = token(self.rest(), first);
                self.skip(len);
                return Some(Spot { token, line });
            }
        }
    }
}

fn token(rest: &str, first: char) -> (Token<'_>, usize) {
    if let Some(len) = string_len(rest) {
        return (Token::Literal, len);
    }
    if rest.starts_with("::") {
        return (Token::PathSep, 2);
    }
    if first == '\'' {
        return quote(rest);
    }
    if rest.starts_with("b'") {
        return (Token::Literal, 1 + escaped_len(&rest[1..], '\''));
    }
    if first.is_ascii_digit() {
        return (Token::Literal, word_len(rest));
    }
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let len = raw + word_len(&rest[raw..]);
    if len > raw {
        (Token::Ident(&rest[..len]), len)
    } else {
        (Token::Punct(first), first.len_utf8())
    }
}

/// The length of a string literal of any kind that starts here.
fn string_len(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|p| {
        let after = rest.strip_prefix(p).unwrap_or("");
        after.starts_with('"')
            || (p.ends_with('r') && after.trim_start_matches('#').starts_with('"'))
    })?;
    let body = rest.strip_prefix(prefix)?;
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let inner = body.get(hashes + 1..)?;
        let close = inner.find(&end).map_or(inner.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + close);
    }
    Some(prefix.len() + escaped_len(body, '"'))
}

/// The length of a quoted text with backslash escapes, both quotes included.
fn escaped_len(body: &str, quote: char) -> usize {
    let mut chars = body.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
    body.len()
}

/// A character literal or a lifetime.
fn quote(rest: &str) -> (Token<'_>, usize) {
    let mut inside = rest.chars().skip(1);
    let (first, second) = (inside.next(), inside.next());
    if first == Some('\\') || second == Some('\'') {
        return (Token::Literal, escaped_len(rest, '\''));
    }
    (Token::Lifetime, 1 + word_len(&rest[1..]))
}

fn word_len(rest: &str) -> usize {
    rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        lex(text)
            .into_iter()
            .filter_map(|spot| if let Token::Ident(word) = spot.token { Some(word) } else { None })
            .collect()
    }

    #[test]
    fn words_in_comments_and_literals_do_not_count() {
        assert_eq!(words("a // b\n/* c /* d */ e */ f"), ["a", "f"]);
        assert_eq!(words(r###"a "b \" c" r#"d " e"# br"f\" g b'h' '\'' 'i' j"###), ["a", "g", "j"]);
    }

    #[test]
    fn lifetimes_and_raw_names_are_not_strings() {
        assert_eq!(words("fn a<'b>(c: &'b str) { 'd: loop { break 'd } }").len(), 6);
        assert_eq!(words("r#type rest br"), ["r#type", "rest", "br"]);
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let spots = lex("\"one\ntwo\"\n/*\n*/ last");
        assert_eq!(spots.last(), Some(&Spot { token: Token::Ident("last"), line: 4 }));
        assert_eq!(lex("'\u{e9}' \u{e9}t\u{e9}").len(), 2);
    }
}
