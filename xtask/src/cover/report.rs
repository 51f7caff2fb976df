//! What the counts come to: a table by file, sums by crate, and the lines that did not run.

use super::lcov::Counts;
use crate::tree::Source;
use std::fmt::Write;

/// A file with the counts of its lines that are no tests.
pub struct File {
    /// Its crate.
    pub package: String,
    /// The file.
    pub source: Source,
    /// Its counts.
    pub counts: Counts,
}

/// Lines with code, and how many of them ran.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sum {
    /// How many there are.
    pub lines: usize,
    /// How many of them ran at least once.
    pub ran: usize,
}

impl Sum {
    /// Whether less than so much of them ran.
    pub fn is_below(self, percent: usize) -> bool {
        self.ran * 100 < self.lines * percent
    }

    /// Of a hundred lines, with one decimal, rounded down; all of none.
    fn percent(self) -> String {
        let thousandths = (self.ran * 1000).checked_div(self.lines).unwrap_or(1000);
        format!("{}.{} %", thousandths / 10, thousandths % 10)
    }
}

/// All files, by path.
pub struct Report {
    /// The files.
    pub files: Vec<File>,
}

impl Report {
    /// The sum of a crate.
    pub fn of(&self, package: &str) -> Sum {
        let files = self.files.iter().filter(|file| file.package == package);
        files.map(File::sum).fold(Sum::default(), |all, one| Sum {
            lines: all.lines + one.lines,
            ran: all.ran + one.ran,
        })
    }

    /// A line a file, and the sum of each crate behind its files.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (nth, file) in self.files.iter().enumerate() {
            row(&mut text, &file.source.path, file.sum());
            let next = self.files.get(nth + 1).map(|next| &next.package);
            if next != Some(&file.package) {
                row(&mut text, &format!("all of {}", file.package), self.of(&file.package));
                text.push('\n');
            }
        }
        text
    }

    /// `path:line: text` of every line that did not run.
    pub fn unrun(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let lines: Vec<&str> = file.source.text.lines().collect();
            for line in file.counts.iter().filter(|(_, count)| **count == 0).map(|(line, _)| line) {
                let code = line.checked_sub(1).and_then(|at| lines.get(at)).unwrap_or(&"");
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{}:{line}: {}", file.source.path, code.trim());
            }
        }
        text
    }
}

impl File {
    fn sum(&self) -> Sum {
        let ran = self.counts.values().filter(|count| **count > 0).count();
        Sum { lines: self.counts.len(), ran }
    }
}

fn row(text: &mut String, name: &str, sum: Sum) {
    let Sum { lines, ran } = sum;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{:>8}  {ran:>5} of {lines:>5}  {name}", sum.percent());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(package: &str, path: &str, counts: &[(usize, u64)]) -> File {
        let source = Source { path: path.to_owned(), text: "one\n  two\nthree\n".to_owned() };
        File { package: package.to_owned(), source, counts: counts.iter().copied().collect() }
    }

    fn report() -> Report {
        let files = [
            file("a", "a/x.rs", &[(1, 1), (2, 0)]),
            file("a", "a/y.rs", &[(1, 4)]),
            file("b", "b/z.rs", &[(3, 0)]),
        ];
        Report { files: files.into() }
    }

    #[test]
    fn a_crate_is_the_sum_of_its_files() {
        assert_eq!(report().of("a"), Sum { lines: 3, ran: 2 });
        let table = "  50.0 %      1 of     2  a/x.rs\n 100.0 %      1 of     1  a/y.rs\n  \
            66.6 %      2 of     3  all of a\n\n   0.0 %      0 of     1  b/z.rs\n   \
            0.0 %      0 of     1  all of b\n\n";
        assert_eq!(report().table(), table);
    }

    #[test]
    fn lines_that_did_not_run_are_quoted() {
        assert_eq!(report().unrun(), "a/x.rs:2: two\nb/z.rs:3: three\n");
    }

    #[test]
    fn the_floor_itself_is_enough() {
        assert!(!Sum { lines: 10, ran: 9 }.is_below(90));
        assert!(Sum { lines: 1000, ran: 899 }.is_below(90));
    }
}
