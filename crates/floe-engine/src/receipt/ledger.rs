//! The file of receipts that a client keeps: appended to, line by line.
//!
//! It may have lines of earlier commands. One process writes at a time. What an interrupted one
//! left behind the last line feed is taken away, if it is the beginning of a receipt; a file that
//! holds anything else is not touched.

use super::line::{Receipt, Wrong};
use crate::state::show;
use floe_types::{Code, Fault};
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file of receipts, open to be appended to.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    file: File,
    /// Where its whole lines end.
    end: u64,
    /// Lines that are not written yet.
    waiting: String,
    /// The first failure. It is told again: a kernel tells of a failed sync once, and others write
    /// here too.
    failed: Option<Fault>,
}

impl Ledger {
    /// Opens a file, or makes it (0600), durably.
    ///
    /// # Errors
    /// `Usage` where it holds anything but receipts, `AlreadyRunning` where another process writes
    /// in it; the system's.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let fail = |error: std::io::Error| fault(path, "open", &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        // Opened so, a FIFO does not hang this; it is refused below.
        options.custom_flags(libc::O_NONBLOCK);
        let mut file = options.open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            let detail = format!("open \"{}\" for receipts", show(path));
            return Err(Fault::new(Code::NotRegular, detail));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let detail = format!("another process writes receipts to \"{}\"", show(path));
                return Err(Fault::new(Code::AlreadyRunning, detail));
            }
            Err(error) => return Err(fail(error.into())),
        }
        let foreign = || {
            let detail = format!("append to \"{}\": it holds something else", show(path));
            Fault::new(Code::Usage, detail)
        };
        let end = whole_lines(&mut file, meta.len()).map_err(fail)?.ok_or_else(foreign)?;
        if end < meta.len() {
            file.set_len(end).map_err(fail)?;
        }
        file.sync_all().and_then(|()| sync_above(path)).map_err(fail)?;
        Ok(Self { path: path.to_owned(), file, end, waiting: String::new(), failed: None })
    }

    /// Appends one; durable after `sync`.
    ///
    /// # Errors
    /// The system's.
    pub fn append(&mut self, receipt: &Receipt) -> Result<(), Fault> {
        self.failed.clone().map_or(Ok(()), Err)?;
        self.waiting.push_str(&receipt.to_line());
        if self.waiting.len() >= WAITING_BYTES { self.write() } else { Ok(()) }
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&mut self) -> Result<(), Fault> {
        // What was written before a failure is made durable all the same.
        let written = self.failed.clone().map_or_else(|| self.write(), Err);
        let synced = self.file.sync_data().map_err(|error| fault(&self.path, "sync", &error));
        let outcome = written.and(synced);
        if let Err(fault) = &outcome {
            self.failed.get_or_insert_with(|| fault.clone());
        }
        outcome
    }

    fn write(&mut self) -> Result<(), Fault> {
        if let Err(error) = self.file.write_all_at(self.waiting.as_bytes(), self.end) {
            // Whole lines or none; what is left where this fails too is taken away next time.
            let _ = self.file.set_len(self.end);
            let fault = fault(&self.path, "write", &error);
            self.failed.get_or_insert_with(|| fault.clone());
            return Err(fault);
        }
        self.end += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

/// Where the whole lines of a file end, if it begins and ends as a file of receipts does.
fn whole_lines(file: &mut File, len: u64) -> std::io::Result<Option<u64>> {
    if len == 0 {
        return Ok(Some(0));
    }
    let mut start = Vec::new();
    BufReader::new((&*file).take(LINE_BYTES_MAX)).read_until(b'\n', &mut start)?;
    let from = len.saturating_sub(LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut last = Vec::new();
    (&*file).take(LINE_BYTES_MAX).read_to_end(&mut last)?;
    let torn = match last.iter().rposition(|byte| *byte == b'\n') {
        Some(feed) => &last[feed + 1..],
        None if from == 0 => &last[..],
        None => return Ok(None),
    };
    let begins = torn.starts_with(BEGINNING) || BEGINNING.starts_with(torn);
    let first = start.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    let is_own = match first {
        Some(line) => !matches!(Receipt::parse(line), Err(Wrong::NoReceipt)),
        // The first line is the torn one.
        None => true,
    };
    Ok((begins && is_own).then(|| len - torn.len() as u64))
}

/// The lines of a file of receipts, one by one.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    from: BufReader<File>,
}

impl Lines {
    /// Opens a file to be read.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(|error| fault(path, "open", &error))?;
        Ok(Self { path: path.to_owned(), from: BufReader::new(file) })
    }

    /// The next line; nothing at the end. One that is cut off or too long is none.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&mut self) -> Result<Option<Result<Receipt, Wrong>>, Fault> {
        let mut line = Vec::new();
        let read = (&mut self.from).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| fault(&self.path, "read", &error))?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        Ok(Some(text.ok_or(Wrong::NoReceipt).and_then(Receipt::parse)))
    }
}

/// Makes the name of a file durable.
fn sync_above(path: &Path) -> std::io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    match File::open(above.unwrap_or(Path::new("."))) {
        Ok(above) => match above.sync_all() {
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        },
        // It may only be searched.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn fault(path: &Path, operation: &str, error: &std::io::Error) -> Fault {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::PermissionDenied,
        ErrorKind::StorageFull => Code::NoSpace,
        ErrorKind::QuotaExceeded => Code::Quota,
        ErrorKind::IsADirectory => Code::IsDirectory,
        ErrorKind::NotADirectory => Code::NotDirectory,
        _ => Code::Io,
    };
    Fault::new(code, format!("{operation} \"{}\" for receipts", show(path)))
}

/// The longest line: a path of escapes, a key, a signature and the way up.
const LINE_BYTES_MAX: u64 = 64 << 10;
/// What is written at once.
const WAITING_BYTES: usize = 256 << 10;
/// How every line begins.
const BEGINNING: &[u8] = b"{\"receipt\":";

#[cfg(test)]
mod tests {
    use super::super::statement::Statement;
    use super::*;
    use floe_types::{ByteCount, ObjectPath, Root};

    fn receipt(nth: u64) -> Receipt {
        let path = ObjectPath::parse(b"a/b").unwrap();
        let (root, size) = (Root([1; 32]), ByteCount(nth));
        Receipt {
            statement: Statement { root, size, path, ticket: "t".to_owned(), time: 1 },
            key: vec![1],
            scheme: 0x403,
            signature: vec![2],
            place: 0,
            of: 1,
            siblings: Vec::new(),
        }
    }

    fn read(path: &Path) -> Vec<u64> {
        let mut lines = Lines::open(path).unwrap();
        std::iter::from_fn(|| lines.read().unwrap())
            .map(|line| line.unwrap().statement.size.0)
            .collect()
    }

    #[test]
    fn lines_are_appended_by_one_at_a_time_and_a_torn_end_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        for nth in 0..3 {
            let mut ledger = Ledger::open(&path).unwrap();
            assert_eq!(Ledger::open(&path).unwrap_err().code, Code::AlreadyRunning);
            ledger.append(&receipt(nth)).unwrap();
            ledger.sync().unwrap();
        }
        assert_eq!(read(&path), [0, 1, 2]);
        let whole = std::fs::read(&path).unwrap();
        for torn in 1..whole.len() / 3 {
            std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let mut ledger = Ledger::open(&path).unwrap();
            ledger.append(&receipt(9)).unwrap();
            ledger.sync().unwrap();
            drop(ledger);
            assert_eq!(read(&path), [0, 1, 9], "{torn}");
        }
        std::fs::write(&path, &whole[..5]).unwrap();
        Ledger::open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_file_that_holds_anything_else_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let long = vec![b'x'; 100_000];
        for content in [&b"x"[..], b"\n", b"a letter\nof two lines\n", b"{}\n", &long] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(Ledger::open(&path).unwrap_err().code, Code::Usage);
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
        let mut tail = receipt(1).to_line().into_bytes();
        tail.extend_from_slice(b"a letter");
        std::fs::write(&path, &tail).unwrap();
        assert_eq!(Ledger::open(&path).unwrap_err().code, Code::Usage);
        assert_eq!(Ledger::open(dir.path()).unwrap_err().code, Code::IsDirectory);
    }
}
