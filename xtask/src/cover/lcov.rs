//! Counts by line in lcov's format: `SF:path`, then `DA:line,count` for each line with code, then
//! `end_of_record`. All else in it is passed over.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// How often each line with code ran, by its number from 1.
pub type Counts = BTreeMap<usize, u64>;

/// The counts of every file. Where a file or a line stands twice, its counts are added.
///
/// # Errors
/// A line with counts that are no numbers, or of no file.
pub fn parse(text: &str) -> Result<BTreeMap<PathBuf, Counts>, String> {
    let mut files: BTreeMap<PathBuf, Counts> = BTreeMap::new();
    let mut here: Option<&mut Counts> = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            here = Some(files.entry(PathBuf::from(path)).or_default());
        } else if line == "end_of_record" {
            here = None;
        } else if let Some(pair) = line.strip_prefix("DA:") {
            let counts = here.as_deref_mut().ok_or_else(|| format!("of no file: \"{line}\""))?;
            let (number, count) = numbers(pair).ok_or_else(|| format!("not counts: \"{line}\""))?;
            let sum = counts.entry(number).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    Ok(files)
}

fn numbers(pair: &str) -> Option<(usize, u64)> {
    let (line, rest) = pair.split_once(',')?;
    let count = rest.split(',').next()?;
    Some((line.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_by_line() {
        let text = "SF:/a\nFN:1,f\nDA:1,2\nDA:2,0\nLH:1\nend_of_record\nSF:/b\nDA:7,1\n\
            end_of_record\nSF:/a\nDA:2,3\nend_of_record\n";
        let files = parse(text).unwrap();
        assert_eq!(files[&PathBuf::from("/a")], Counts::from([(1, 2), (2, 3)]));
        assert_eq!(files[&PathBuf::from("/b")], Counts::from([(7, 1)]));
    }

    #[test]
    fn what_is_no_count_is_refused() {
        assert!(parse("DA:1,1\n").is_err());
        assert!(parse("SF:/a\nDA:x,1\n").is_err());
        assert!(parse("SF:/a\nend_of_record\nDA:1,1\n").is_err());
    }
}
