//! Reading a log: whether each line follows the one before, and how a file ends.
//!
//! A crash can leave less than was written last, which was then not synced and has told nobody
//! anything: a line without its end, or, where bytes never reached the disk, zeros or what the
//! device held there before. That is torn, not broken, as long as it is no more than one sync
//! covers, and no server has begun behind it. Lines may stand behind such a hole; so they may
//! behind what somebody changed, and who reads is told of them. Everything else that does not
//! follow is broken: somebody changed it, or the disk did.

use super::line::{BEGINS, Head, link_of, record_of};
use std::io::{self, BufRead, Read};

/// The longest line: the longest path, each byte of it escaped twice, and what stands around it.
pub(super) const LINE_BYTES_MAX: u64 = 64 << 10;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// What is written between two syncs, and one write more.
pub(super) const TORN_BYTES_MAX: u64 = 2 << 20;

/// What a walk along a file's lines found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Walk {
    /// How the first line is chained, if there is one.
    pub first: Option<Head>,
    /// Lines that follow each other from the first on.
    pub lines: u64,
    /// Where the chain goes on behind them; `None` without any.
    pub head: Option<Head>,
    /// Their bytes.
    pub bytes: u64,
    /// What follows them.
    pub ended: Ended,
    /// Where the chain goes on behind the last line that has an end, whether it follows or not.
    pub(super) last: Option<Head>,
    /// Where that line ends.
    pub(super) last_bytes: u64,
}

/// What stands behind the lines that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// Nothing.
    Whole,
    /// What a crash left, or what is being written.
    Torn(Torn),
    /// Something that does not follow.
    Broken(Break),
}

/// What a crash left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Torn {
    /// So many bytes,
    pub bytes: u64,
    /// with so many lines of a log among them: none while it is being written.
    pub lines: u64,
}

/// Where a chain breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Break {
    /// Which line of the file, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Walks along lines to their end. They have to follow `from`; without it the first line says where
/// it stands. `each` is shown every line that follows.
///
/// # Errors
/// The reader's.
pub fn walk(
    reader: impl Read,
    from: Option<Head>,
    mut each: impl FnMut(&[u8], &Head),
) -> io::Result<Walk> {
    let mut reader = io::BufReader::with_capacity(READ_BYTES, reader);
    let mut walk = Walk {
        first: None,
        lines: 0,
        head: from,
        bytes: 0,
        ended: Ended::Whole,
        last: from,
        last_bytes: 0,
    };
    let mut bad: Option<Bad> = None;
    let (mut at, mut count, mut line) = (0, 0, Vec::new());
    loop {
        line.clear();
        let got = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? as u64;
        if got == 0 {
            break;
        }
        (at, count) = (at + got, count + 1);
        let (bare, end) = match line.strip_suffix(b"\n") {
            Some(bare) => (bare, End::There),
            None => (&line[..], End::Missing),
        };
        if bad.is_none() {
            match follows(bare, end, walk.head) {
                Ok(link) => {
                    let head = Head::after(link.n, bare);
                    walk.first.get_or_insert(link);
                    (walk.head, walk.lines, walk.bytes) = (Some(head), walk.lines + 1, at);
                    each(bare, &head);
                }
                Err(why) => {
                    bad = Some(Bad { line: count, why, end, stops: at, ..Bad::default() });
                }
            }
        }
        if let Some(bad) = &mut bad {
            bad.foreign |= !bare.iter().all(|byte| matches!(byte, b' '..=b'~'));
            if let Some((_, record)) = record_of(bare).filter(|_| end == End::There) {
                bad.lines += 1;
                bad.begun |= record.event == BEGINS;
            }
        }
        if end == End::There {
            let n = link_of(bare).or(walk.last).map_or(0, |link| link.n);
            (walk.last, walk.last_bytes) = (Some(Head::after(n, bare)), at);
        }
    }
    if let Some(bad) = bad {
        let bytes = at - walk.bytes;
        let unfinished = bad.end == End::Missing && bad.stops == at;
        let torn = (unfinished || bad.foreign) && !bad.begun && bytes <= TORN_BYTES_MAX;
        walk.ended = if torn {
            Ended::Torn(Torn { bytes, lines: bad.lines })
        } else {
            Ended::Broken(Break { line: bad.line, why: bad.why })
        };
    }
    Ok(walk)
}

/// The first line that does not follow.
#[derive(Default)]
struct Bad {
    line: u64,
    why: &'static str,
    /// Whether it, or what follows it, holds bytes that no line does.
    foreign: bool,
    /// Lines of a log, from it on.
    lines: u64,
    /// Whether a server began with one of them: it had found all before in order, or cut it.
    begun: bool,
    end: End,
    stops: u64,
}

/// Whether a line has its line feed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum End {
    There,
    #[default]
    Missing,
}

fn follows(bare: &[u8], end: End, expected: Option<Head>) -> Result<Head, &'static str> {
    if end == End::Missing {
        return Err("it has no end");
    }
    let link = link_of(bare).ok_or("it is no line of an audit log")?;
    match expected {
        Some(expected) if link.n != expected.n => Err("its number does not follow"),
        Some(expected) if link.prev != expected.prev => {
            Err("it does not carry the hash of the line before")
        }
        _ => Ok(link),
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Record;
    use super::*;

    fn text(lines: u64) -> String {
        let mut text = String::new();
        let mut head = Head::START;
        for nth in 0..lines {
            let record = Record { size: Some(nth), ..Record::now("commit") };
            head = head.write(&record.draft(), &mut text);
        }
        text
    }

    fn walked(bytes: &[u8]) -> Walk {
        walk(bytes, Some(Head::START), |_, _| {}).unwrap()
    }

    fn broken_at(bytes: &[u8]) -> Option<u64> {
        match walked(bytes).ended {
            Ended::Broken(found) => Some(found.line),
            _ => None,
        }
    }

    #[test]
    fn a_whole_chain_is_whole_from_the_start_and_from_the_middle() {
        let text = text(5);
        let all = walked(text.as_bytes());
        assert_eq!((all.lines, all.ended, all.bytes), (5, Ended::Whole, text.len() as u64));
        assert_eq!(all.head, all.last);
        let rest = &text[text.find('\n').unwrap() + 1..];
        let some = walk(rest.as_bytes(), None, |_, _| {}).unwrap();
        assert_eq!((some.lines, some.ended, some.head), (4, Ended::Whole, all.head));
        assert_eq!(some.first.map(|first| first.n), Some(2));
    }

    #[test]
    fn every_cut_of_the_end_is_torn_or_whole() {
        let text = text(3);
        for len in 0..text.len() {
            let found = walked(&text.as_bytes()[..len]);
            let whole = text[..len].matches('\n').count() as u64;
            assert_eq!(found.lines, whole, "{len}");
            match len as u64 - found.bytes {
                0 => assert_eq!(found.ended, Ended::Whole),
                bytes => assert_eq!(found.ended, Ended::Torn(Torn { bytes, lines: 0 })),
            }
        }
    }

    #[test]
    fn a_hole_that_a_crash_leaves_is_torn_with_what_follows_it() {
        let mut bytes = text(6).into_bytes();
        let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        bytes[second + 10..second + 300].fill(0);
        let found = walked(&bytes);
        assert_eq!((found.lines, found.bytes), (1, second as u64));
        let bytes = (bytes.len() - second) as u64;
        assert_eq!(found.ended, Ended::Torn(Torn { bytes, lines: 3 }));
    }

    #[test]
    fn a_byte_that_no_line_has_hides_nothing_before_a_server_began() {
        let mut text = String::new();
        let events = ["start", "commit", "commit", "start", "commit"];
        let record = |event: &str| Record { size: Some(7), ..Record::now(event) }.draft();
        events.iter().fold(Head::START, |head, event| head.write(&record(event), &mut text));
        let starts: Vec<_> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        for byte in [0, 0xff, b'\r'] {
            let mut bytes = text.clone().into_bytes();
            bytes[starts[0] + 20] = byte;
            assert_eq!(broken_at(&bytes), Some(2));
            let mut bytes = text.clone().into_bytes();
            bytes[starts[3] + 20] = byte;
            assert!(matches!(walked(&bytes).ended, Ended::Torn(Torn { lines: 0, .. })));
        }
        assert_eq!(broken_at(text.replace('\n', "\r\n").as_bytes()), Some(2));
    }

    #[test]
    fn what_a_device_held_before_is_torn_wherever_it_has_line_feeds() {
        let text = text(6);
        let second = text.find('\n').unwrap() + 1;
        for stale in [&b"\n\xffx\n"[..], b"7\n7\n\x01", b"\n\n\x80\n"] {
            let mut bytes = text.clone().into_bytes();
            bytes[second + 10..second + 10 + stale.len()].copy_from_slice(stale);
            let found = walked(&bytes);
            assert_eq!(found.lines, 1);
            let bytes = (bytes.len() - second) as u64;
            assert_eq!(found.ended, Ended::Torn(Torn { bytes, lines: 4 }));
        }
    }

    #[test]
    fn names_of_any_letters_hide_no_break() {
        let name = |path: &str| Record { path: Some(path.to_owned()), ..Record::now("commit") };
        let mut text = String::new();
        let names = ["zw\u{f6}lf", "\u{1f30a}\u{7f}", "a\nb", "plain"];
        names.iter().fold(Head::START, |head, path| head.write(&name(path).draft(), &mut text));
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{text}");
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let read = super::super::line::record_of(lines[1].trim_end().as_bytes()).unwrap().1;
        assert_eq!(read.path.as_deref(), Some(names[1]));
        assert_eq!(broken_at(lines[1..].concat().as_bytes()), Some(1));
        assert_eq!(broken_at([lines[0], lines[2], lines[3]].concat().as_bytes()), Some(2));
    }

    #[test]
    fn every_changed_byte_is_found_at_its_line_or_the_next() {
        let text = text(4);
        let mut line = 1;
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            let was = bytes[at];
            bytes[at] = if was == b'7' { b'8' } else { b'7' };
            let last = at + 1 == text.len();
            match broken_at(&bytes) {
                Some(found) => assert!(found == line || found == line + 1, "{at}: {found}"),
                // In the last line there is nothing that follows it: only what is kept elsewhere
                // can tell.
                None => assert!(line == 4 || last, "{at}"),
            }
            line += u64::from(was == b'\n');
        }
    }

    #[test]
    fn lines_that_were_taken_out_put_in_or_exchanged_are_found() {
        let text = text(4);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert_eq!(broken_at([lines[0], lines[2], lines[3]].concat().as_bytes()), Some(2));
        assert_eq!(broken_at([lines[0], lines[0], lines[1]].concat().as_bytes()), Some(2));
        assert_eq!(broken_at([lines[1], lines[0]].concat().as_bytes()), Some(1));
        assert_eq!(broken_at(format!("{}rubbish\n{}", lines[0], lines[1]).as_bytes()), Some(2));
        let long = format!("{}{}\n", lines[0], "x".repeat(3 << 20));
        assert_eq!(broken_at(long.as_bytes()), Some(2));
    }
}
