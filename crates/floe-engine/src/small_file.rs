//! Files that an operator names: small, and read without waiting for anybody.

use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads one whole, if it has at most so many bytes.
///
/// # Errors
/// `InvalidData`: it has more, or is no file; the system's.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    // A FIFO would keep whoever opens it waiting, also at each SIGHUP.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() && meta.len() <= bytes_max {
        // At once: a secret is not left where it grew from.
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len() + 1).unwrap_or_default());
        let read = file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if read as u64 <= bytes_max {
            return Ok(bytes);
        }
    }
    Err(Error::new(ErrorKind::InvalidData, "not a small file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_or_no_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        std::fs::write(&file, [7; 100]).unwrap();
        let mode = rustix::fs::Mode::from(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(read(&file, 100).unwrap(), [7; 100]);
        let refused = [(&file, 99), (&fifo, 100)];
        for (path, most) in refused {
            assert_eq!(read(path, most).unwrap_err().kind(), ErrorKind::InvalidData);
        }
        assert_eq!(read(dir.path(), 100).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
