//! The files of a log as those read them who do not write: in the order in which they were written.

use super::book::{NOW, files, name_of};
use super::chain::{LINE_BYTES_MAX, Walk, walk};
use super::line::Head;
use crate::state::{State, show};
use floe_types::{Code, Fault};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The files of a log, the oldest first.
pub struct Shelf {
    volumes: Vec<Volume>,
}

/// One file.
pub struct Volume {
    path: PathBuf,
    file: File,
    /// What is behind this was written since.
    bytes: u64,
}

impl Shelf {
    /// Those of a state directory, as they are now.
    ///
    /// # Errors
    /// `NotFound` without any; `State`, the system's.
    pub fn of(state: &State) -> Result<Self, Fault> {
        // The file of now first: should a server turn the page meanwhile, it is among those of
        // before as well, and known by its inode.
        let now = state.path().join(NOW);
        let mut last = match Volume::open(&now) {
            Ok(volume) => Some(volume),
            Err(fault) if fault.code == Code::NotFound => None,
            Err(fault) => return Err(fault),
        };
        let mut volumes = Vec::new();
        for number in files(state)? {
            let volume = Volume::open(&state.path().join(name_of(number)))?;
            if last.as_ref().is_some_and(|last| last.is(&volume)) {
                last = None;
            }
            volumes.push(volume);
        }
        volumes.extend(last);
        if volumes.is_empty() {
            let detail = format!("open \"{}\"", show(&now));
            return Err(Fault::new(Code::NotFound, detail));
        }
        Ok(Self { volumes })
    }

    /// One file alone.
    ///
    /// # Errors
    /// The system's.
    pub fn one(path: &Path) -> Result<Self, Fault> {
        Ok(Self { volumes: vec![Volume::open(path)?] })
    }

    /// The files.
    #[must_use]
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }
}

impl Volume {
    /// Shows `each` every line, whether it follows or not, until that says that it has enough.
    ///
    /// # Errors
    /// The system's.
    pub fn lines(&self, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), Fault> {
        (&self.file).seek(SeekFrom::Start(0)).map_err(|error| self.unreadable(&error))?;
        let mut reader = BufReader::new((&self.file).take(self.bytes));
        let mut line = Vec::new();
        loop {
            line.clear();
            // A longer one comes in parts, none of which is a line.
            let got = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if got.map_err(|error| self.unreadable(&error))? == 0
                || !each(line.strip_suffix(b"\n").unwrap_or(&line))
            {
                return Ok(());
            }
        }
    }

    fn unreadable(&self, error: &std::io::Error) -> Fault {
        Fault::new(Code::Io, format!("read \"{}\": {}", show(&self.path), error.kind()))
    }

    fn open(path: &Path) -> Result<Self, Fault> {
        let fail = |error: std::io::Error| {
            let code = match error.kind() {
                ErrorKind::NotFound => Code::NotFound,
                ErrorKind::PermissionDenied => Code::PermissionDenied,
                _ => Code::Io,
            };
            Fault::new(code, format!("open \"{}\"", show(path)))
        };
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut options = File::options();
        let file = options.read(true).custom_flags(nonblocking).open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() {
            return Err(Fault::new(Code::NotRegular, format!("open \"{}\"", show(path))));
        }
        Ok(Self { path: path.to_owned(), file, bytes: meta.len() })
    }

    fn is(&self, other: &Self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let of = |volume: &Self| volume.file.metadata().map(|meta| (meta.dev(), meta.ino()));
        matches!((of(self), of(other)), (Ok(one), Ok(another)) if one == another)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Walks along its lines from the first on.
    ///
    /// # Errors
    /// The system's.
    pub fn walk(&self, from: Option<Head>, each: impl FnMut(&[u8], &Head)) -> Result<Walk, Fault> {
        (&self.file).seek(SeekFrom::Start(0)).map_err(|error| self.unreadable(&error))?;
        let walked = walk((&self.file).take(self.bytes), from, each);
        walked.map_err(|error| self.unreadable(&error))
    }
}
