//! The shape of one source file: functions, named things, modules, paths, and what is test.
//!
//! Everything is read from tokens, so it needs no compiler and copes with code inside macros. It
//! does not expand macros: what one writes out is seen once, where it is defined.

use crate::lex::{Spot, Token, lex};
use crate::tree::Source;
use std::ops::{Range, RangeInclusive};

/// A function with a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`.
    pub line: usize,
    /// From that line to the closing brace, both counted.
    pub lines: usize,
    /// Where it stands among the tokens.
    pub at: usize,
}

/// A struct, enum, trait, type alias or module that is declared here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// `struct`, `mod`, ...
    pub keyword: String,
    /// Its name.
    pub name: String,
    /// The line of the keyword.
    pub line: usize,
    /// Where it stands among the tokens.
    pub at: usize,
    /// The tokens inside its braces, where it is a module with a body.
    pub body: Option<Range<usize>>,
}

/// A path that the file mentions, written out: `use a::{b, c}` gives `a::b` and `a::c`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mention {
    /// Its parts; `*` stands for all.
    pub parts: Vec<String>,
    /// Its line.
    pub line: usize,
    /// Where it starts among the tokens.
    pub at: usize,
    /// Whether it is exported again: `pub use`.
    pub export: bool,
}

/// One file, taken apart.
pub struct Shape<'a> {
    /// The file.
    pub source: &'a Source,
    /// Its tokens.
    pub spots: Vec<Spot<'a>>,
    /// Functions with bodies, nested ones too.
    pub functions: Vec<Function>,
    /// What it declares, by order.
    pub named: Vec<Named>,
    /// Paths, by order.
    pub mentions: Vec<Mention>,
    tests: Vec<Range<usize>>,
    /// Whether all of it is test, because its parent says so.
    pub all_test: bool,
}

impl<'a> Shape<'a> {
    /// Takes a file apart.
    pub fn of(source: &'a Source) -> Self {
        let spots = lex(&source.text);
        let ends = closing(&spots);
        let reader = Reader { spots: &spots, ends: &ends };
        let (functions, named) = (reader.functions(), reader.named());
        let (mentions, tests) = (reader.mentions(), reader.tests());
        Self { source, spots, functions, named, mentions, tests, all_test: false }
    }

    /// The token at an index, if there is one.
    pub fn token(&self, at: usize) -> Option<Token<'a>> {
        self.spots.get(at).map(|spot| spot.token)
    }

    /// Whether the token stands in a test: a file of tests, or under `#[test]` or `#[cfg(test)]`.
    pub fn is_test(&self, at: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|range| range.contains(&at))
    }

    fn is_test_file(&self) -> bool {
        let path = &self.source.path;
        self.all_test
            || path.contains("/tests/")
            || path.contains("/benches/")
            || path.ends_with("/tests.rs")
    }

    /// The lines of its tests, from the first attribute to the closing brace of each.
    pub fn test_lines(&self) -> Vec<RangeInclusive<usize>> {
        if self.is_test_file() {
            return vec![1..=self.source.text.lines().count()];
        }
        let line = |at: usize| self.spots.get(at).map(|spot| spot.line);
        let lines = |test: &Range<usize>| Some(line(test.start)?..=line(test.end - 1)?);
        self.tests.iter().filter_map(lines).collect()
    }

    /// The modules inside this file whose braces surround the token, outermost first.
    pub fn inline_modules(&self, at: usize) -> Vec<&str> {
        let around = |named: &&Named| named.body.as_ref().is_some_and(|body| body.contains(&at));
        self.named.iter().filter(around).map(|named| named.name.as_str()).collect()
    }
}

/// For every opening bracket the index of the one that closes it.
fn closing(spots: &[Spot<'_>]) -> Vec<Option<usize>> {
    let mut ends = vec![None; spots.len()];
    let mut open = Vec::new();
    for (at, spot) in spots.iter().enumerate() {
        match spot.token {
            Token::Punct('(' | '[' | '{') => open.push(at),
            Token::Punct(')' | ']' | '}') => {
                if let Some(start) = open.pop() {
                    ends[start] = Some(at);
                }
            }
            _ => {}
        }
    }
    ends
}

struct Reader<'s, 'a> {
    spots: &'s [Spot<'a>],
    ends: &'s [Option<usize>],
}

impl Reader<'_, '_> {
    fn word(&self, at: usize) -> Option<&str> {
        match self.spots.get(at)?.token {
            Token::Ident(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, at: usize, token: Token<'_>) -> bool {
        self.spots.get(at).is_some_and(|spot| spot.token == token)
    }

    fn line(&self, at: usize) -> usize {
        self.spots.get(at).map_or(0, |spot| spot.line)
    }

    /// Where the item that starts here ends: its `;`, or the brace that closes its first braces.
    fn item_end(&self, mut at: usize) -> Option<usize> {
        loop {
            match self.spots.get(at)?.token {
                Token::Punct(';') => return Some(at),
                Token::Punct('{') => return self.ends[at],
                Token::Punct('(' | '[') => at = self.ends[at]?,
                _ => {}
            }
            at += 1;
        }
    }

    fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in 0..self.spots.len() {
            // `fn $name` in a macro has a body too; `fn(` is a type.
            let named = at + 1 + usize::from(self.is(at + 1, Token::Punct('$')));
            let (Some("fn"), Some(name)) = (self.word(at), self.word(named)) else { continue };
            let Some(end) = self.item_end(named) else { continue };
            if self.is(end, Token::Punct('}')) {
                let line = self.line(at);
                let lines = self.line(end) - line + 1;
                found.push(Function { name: name.to_owned(), line, lines, at });
            }
        }
        found
    }

    fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        for at in 0..self.spots.len() {
            let (Some(keyword), Some(name)) = (self.word(at), self.word(at + 1)) else { continue };
            if !["struct", "enum", "trait", "type", "mod"].contains(&keyword) {
                continue;
            }
            let open = keyword == "mod" && self.is(at + 2, Token::Punct('{'));
            let body = if open { self.ends[at + 2].map(|end| at + 3..end) } else { None };
            let (keyword, name) = (keyword.to_owned(), name.to_owned());
            found.push(Named { keyword, name, line: self.line(at), at, body });
        }
        found
    }

    fn mentions(&self) -> Vec<Mention> {
        let mut found = Vec::new();
        let (mut at, mut export) = (0, false);
        while at < self.spots.len() {
            let used = at > 0 && self.word(at - 1) == Some("use");
            let linked = at > 1 && self.word(at - 2) == Some("extern");
            let path = self.is(at + 1, Token::PathSep) && self.word(at) != Some("use");
            if used {
                export = self.exported(at - 1);
            }
            let begins = used && self.is(at, Token::PathSep);
            if begins || (self.word(at).is_some() && (path || used || linked)) {
                let from = found.len();
                let next = self.mention(at + usize::from(begins), Vec::new(), &mut found);
                for mention in &mut found[from..] {
                    mention.export = used && export;
                }
                at = next.max(at + 1);
            } else {
                at += 1;
            }
        }
        found
    }

    /// Whether the `use` at an index follows `pub` or `pub(...)`.
    fn exported(&self, at: usize) -> bool {
        let before = at.checked_sub(1);
        before.is_some_and(|before| {
            self.word(before) == Some("pub") || self.is(before, Token::Punct(')'))
        })
    }

    /// Reads one path, or a tree of them, and returns the index behind it.
    fn mention(&self, mut at: usize, mut parts: Vec<String>, into: &mut Vec<Mention>) -> usize {
        let start = at;
        while let Some(word) = self.word(at) {
            parts.push(word.to_owned());
            at += 1;
            if !self.is(at, Token::PathSep) {
                break;
            }
            at += 1;
        }
        if self.is(at.wrapping_sub(1), Token::PathSep) || at == start {
            if self.is(at, Token::Punct('{')) {
                return self.group(at, &parts, into);
            }
            if self.is(at, Token::Punct('*')) {
                parts.push("*".to_owned());
                at += 1;
            }
        }
        let line = self.line(start);
        into.push(Mention { parts, line, at: start, export: false });
        at
    }

    fn group(&self, open: usize, parts: &[String], into: &mut Vec<Mention>) -> usize {
        let end = self.ends[open].unwrap_or(self.spots.len());
        let mut at = open + 1;
        while at < end {
            let plain = !self.is(at, Token::Punct(','));
            let renamed = self.word(at) == Some("as");
            at = match (plain, renamed) {
                (true, false) => self.mention(at, parts.to_vec(), into).max(at + 1),
                (true, true) => at + 2,
                (false, _) => at + 1,
            };
        }
        end + 1
    }

    fn tests(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for at in 0..self.spots.len() {
            if !self.is(at, Token::Punct('#')) || !self.is(at + 1, Token::Punct('[')) {
                continue;
            }
            let Some(end) = self.ends[at + 1] else { continue };
            if self.marks_test(at + 2, end) {
                let item = self.item_end(self.after_attributes(end + 1));
                found.push(at..item.unwrap_or(self.spots.len()) + 1);
            }
        }
        found
    }

    /// `#[test]`, `#[tokio::test]`, `#[cfg(test)]`, `#[cfg(all(test, ...))]`.
    fn marks_test(&self, start: usize, end: usize) -> bool {
        match self.word(start) {
            Some("test") => start + 1 == end,
            Some("cfg") => {
                let inside = start + 2;
                let nested = self.word(inside) == Some("all");
                self.word(inside + if nested { 2 } else { 0 }) == Some("test")
            }
            Some(_) => self.is(start + 1, Token::PathSep) && self.word(start + 2) == Some("test"),
            None => false,
        }
    }

    fn after_attributes(&self, mut at: usize) -> usize {
        while self.is(at, Token::Punct('#')) {
            match self.ends.get(at + 1).copied().flatten() {
                Some(end) => at = end + 1,
                None => break,
            }
        }
        at
    }
}

#[cfg(test)]
mod tests;
