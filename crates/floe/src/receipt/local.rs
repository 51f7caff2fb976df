//! Files of this machine, held against receipts.
//!
//! A file is proven where a receipt is for its very bytes, whatever it is called here; of a
//! directory each file is, where one is for its bytes under its name in the directory, whatever
//! stands before that name at the server. Links, devices and the like are passed over: no receipt
//! is ever for one.

use crate::fault::{Failure, Result, Shown, of_path};
use floe_engine::receipt::Statement;
use floe_types::{ByteCount, Code, Root};
use rustix::fs::OFlags;
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What receipts say, by content.
#[derive(Default)]
pub(super) struct Proven(HashMap<(Root, ByteCount), Vec<Vec<Vec<u8>>>>);

impl Proven {
    /// A receipt holds.
    pub(super) fn add(&mut self, statement: &Statement) {
        let names = statement.path.components();
        let path = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        self.0.entry((statement.root, statement.size)).or_default().push(path);
    }

    /// How many files beneath `local` are proven: all of them, or it fails.
    ///
    /// # Errors
    /// `Integrity` for the first that is not; the system's.
    pub(super) fn look_at(&self, local: &Path) -> Result<u64> {
        let meta = fs::metadata(local).map_err(|error| of_path("open", local, &error));
        let meta = meta.map_err(Failure::of_this_machine)?;
        if !meta.is_dir() {
            return self.look_at_file(local, &[]).map(|()| 1);
        }
        let (mut files, mut dirs) = (0, vec![PathBuf::new()]);
        while let Some(dir) = dirs.pop() {
            let whole = local.join(&dir);
            let fail = |error: std::io::Error| of_path("read", &whole, &error);
            let mut entries =
                fs::read_dir(&whole).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
            entries.iter_mut().for_each(|entries| entries.sort_by_key(fs::DirEntry::file_name));
            for entry in entries.map_err(fail)? {
                let (kind, name) = (entry.file_type().map_err(fail)?, dir.join(entry.file_name()));
                if kind.is_dir() && entry.file_name() != ".floe" {
                    dirs.push(name);
                } else if kind.is_file() {
                    let tail: Vec<_> = name.iter().map(|part| part.as_bytes().to_vec()).collect();
                    self.look_at_file(&entry.path(), &tail)?;
                    files += 1;
                }
            }
        }
        Ok(files)
    }

    fn look_at_file(&self, path: &Path, tail: &[Vec<u8>]) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let fail = |error: std::io::Error| of_path("read", path, &error);
        // A FIFO would keep whoever opens it waiting.
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let mut file =
            File::options().read(true).custom_flags(nonblock).open(path).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(Failure::new(Code::NotRegular, format!("read {}", Shown(path))));
        }
        let size = std::io::copy(&mut file, &mut hasher);
        let content = (Root(*hasher.finalize().as_bytes()), ByteCount(size.map_err(fail)?));
        let found = self.0.get(&content);
        if found.is_some_and(|paths| paths.iter().any(|path| path.ends_with(tail))) {
            return Ok(());
        }
        let detail = format!("verify {}: no receipt is for these bytes", Shown(path));
        let (detail, hint) = match found {
            Some(_) => (format!("{detail} under this name"), RENAMED),
            None => (detail, CHANGED),
        };
        Err(Failure::hinted(Code::Integrity, detail, hint))
    }
}

const CHANGED: &str = "it was changed since, or never put there with --receipt";
const RENAMED: &str = "it has another name at the server";
