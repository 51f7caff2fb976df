//! What stands at a final name before an object is staged: nothing, something in the way, or the
//! object itself.
//!
//! An object is recognised by its mark, or by its bytes where that is asked for. A recognised
//! object is kept when it is committed again: only its metadata is brought up to date.

use crate::api::{Basis, Progress, Recognise, Result, SinkSpec, Wanted};
use crate::disk::{Access, Disk, DiskError, DiskResult, Doing, FileKind, FileStat, Name, Owner};
use crate::local::metadata::apply_mark;
use crate::local::wanted::still;
use crate::mark::{MARK_NAME, Mark, Names};
use crate::source::fill;
use floe_types::digest::ChunkHasher;
use floe_types::planted::{self, Bug};
use floe_types::{Code, Freshness, Metadata, Offset, Precondition, Range, Root};
use std::fmt;

const READ_BYTES: usize = 1 << 20;

/// An object that stands there whole.
pub(super) struct Standing {
    pub(super) root: Root,
    pub(super) basis: Basis,
    stat: FileStat,
    proof: Proof,
}

/// How it was recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proof {
    /// By a mark, which was durable before the object had its name.
    Mark,
    /// By a mark of when the version was fresh. It is not any more: once its root was compared, the
    /// mark can say so, and spare the next that.
    FreshMark,
    /// By its bytes.
    Bytes,
}

/// Looks at the final name of `spec`; `doing` says what fails.
pub(super) fn look<D: Disk>(
    disk: &D,
    (parent, name): (&D::Handle, Name<'_>),
    spec: &SinkSpec,
    doing: fmt::Arguments<'_>,
    progress: Progress<'_>,
) -> Result<Option<Standing>> {
    let stat = match disk.stat_at(parent, name) {
        Err(error) if error.code() == Code::NotFound => return Ok(None),
        answer => answer.doing(doing)?,
    };
    let refused = match stat.kind {
        FileKind::Directory => Some(Code::IsDirectory),
        FileKind::File if spec.precondition == Precondition::Absent => {
            // Its own object, whose commit this sender may not have heard of.
            let own = match differs(&stat, &spec.metadata) {
                true => None,
                false => recognise(disk, parent, name, spec, progress).doing(doing)?,
            };
            let is_own = |own: &Standing| !differs(&own.stat, &spec.metadata);
            return match own.filter(is_own) {
                Some(own) => Ok(Some(own)),
                None => Err(DiskError::new(Code::Exists).fault(doing)),
            };
        }
        _ if spec.precondition == Precondition::Absent => Some(Code::Exists),
        FileKind::Other => Some(Code::NotRegular),
        FileKind::File | FileKind::Link => None,
    };
    match refused {
        Some(code) => Err(DiskError::new(code).fault(doing)),
        None if stat.kind == FileKind::Link => Ok(None),
        None => recognise(disk, parent, name, spec, progress).doing(doing),
    }
}

/// Looks into a file whose name was just seen to be one.
fn recognise<D: Disk>(
    disk: &D,
    parent: &D::Handle,
    name: Name<'_>,
    spec: &SinkSpec,
    progress: Progress<'_>,
) -> DiskResult<Option<Standing>> {
    let (file, stat) = match disk.open_seen(parent, name, Access::Read) {
        // What cannot be read is not recognised; it can still be replaced.
        Err(error) if matches!(error.code(), Code::PermissionDenied | Code::NotFound) => {
            return Ok(None);
        }
        answer => answer?,
    };
    if spec.size.is_some_and(|size| size != stat.size) {
        return Ok(None);
    }
    // Where it has other names, those must not change with it.
    if stat.links > 1 && differs(&stat, &spec.metadata) {
        return Ok(None);
    }
    if let Some(standing) = by_mark(disk, &file, &stat, spec)? {
        return Ok(Some(standing));
    }
    // Where nothing may be replaced, only an object without a version is known by its bytes.
    let knowable = spec.precondition != Precondition::Absent || spec.size.is_none();
    if spec.recognise != Recognise::ByContent || !knowable {
        return Ok(None);
    }
    // Memory may show what a failed sync lost, and no later sync tells of it.
    disk.sync_file(&file)?;
    let _ = disk.drop_cache(&file, Range::new(Offset::ZERO, Offset(stat.size.0)));
    // What is synced may take other space than before.
    let stat = disk.stat(&file)?;
    if spec.size.is_some_and(|size| size != stat.size) {
        return Ok(None);
    }
    let root = root_of(disk, &file, &stat, progress)?;
    let (basis, proof) = (Basis::Content, Proof::Bytes);
    Ok(root.map(|root| Standing { root, basis, stat, proof }))
}

/// Whether mode or mtime would have to be changed.
fn differs(stat: &FileStat, wanted: &Metadata) -> bool {
    stat.mode != wanted.mode || stat.mtime != wanted.mtime
}

fn by_mark<D: Disk>(
    disk: &D,
    file: &D::Handle,
    stat: &FileStat,
    spec: &SinkSpec,
) -> DiskResult<Option<Standing>> {
    let Some(version) = spec.version else { return Ok(None) };
    if stat.owner == Owner::Other {
        // He may have changed the bytes, and set their time back.
        return Ok(None);
    }
    let mark = disk.xattr(file, MARK_NAME)?.and_then(|bytes| Mark::decode(&bytes));
    let Some(mark) = mark else { return Ok(None) };
    let Some(root) = mark.root_of(stat.size, stat.mtime) else { return Ok(None) };
    let basis = match (mark.names(version), spec.freshness) {
        (Names::Other, _) if planted::is(Bug::RecogniseAnyVersion) => Basis::Version,
        (Names::Other, _) => return Ok(None),
        // Somebody wants the bytes looked at.
        _ if spec.recognise == Recognise::ByContent => return Ok(None),
        (Names::Settled, Freshness::Settled) => Basis::Version,
        (Names::Settled | Names::Fresh, _) => Basis::Content,
    };
    let proof = match (mark.names(version), spec.freshness) {
        (Names::Fresh, Freshness::Settled) => Proof::FreshMark,
        _ => Proof::Mark,
    };
    Ok(Some(Standing { root, basis, stat: *stat, proof }))
}

/// The root of a file's bytes; `None` where they changed meanwhile.
fn root_of<D: Disk>(
    disk: &D,
    file: &D::Handle,
    stat: &FileStat,
    progress: Progress<'_>,
) -> DiskResult<Option<Root>> {
    let (mut hasher, mut buffer) = (ChunkHasher::new(Offset::ZERO), vec![0; READ_BYTES]);
    while hasher.len() <= stat.size {
        let read = |at, into: &mut [u8]| disk.read_at(file, at, into).map(Some);
        let count = fill(Offset(hasher.len().0), &mut buffer, read)?.unwrap_or(0);
        hasher.update(&buffer[..count]);
        progress(hasher.len(), stat.size);
        if count < buffer.len() {
            break;
        }
    }
    let unchanged = disk.stat(file)? == *stat && hasher.len() == stat.size;
    let root = || hasher.finish().and_then(|digest| digest.root).unwrap_or_else(Root::of_nothing);
    Ok(unchanged.then(root))
}

impl Standing {
    /// Keeps the object and brings its metadata up to date. Its name is not synced here.
    ///
    /// Where another writer has replaced it since, it stays replaced: the object was committed,
    /// and then what stands there now.
    ///
    /// # Errors
    /// `Conflict` where it was changed in place, or removed.
    pub(super) fn keep<D: Disk>(
        &self,
        disk: &D,
        (parent, name): (&D::Handle, Name<'_>),
        spec: &SinkSpec,
        (shown, wanted): (&str, Wanted<'_>),
    ) -> Result<()> {
        let doing = format_args!("commit {shown}");
        let keep = || {
            still(wanted)?;
            let now = disk.stat_at(parent, name)?;
            if now.inode != self.stat.inode
                || (self.proof == Proof::Mark && now == self.stat && !differs(&now, &spec.metadata))
            {
                return Ok(());
            }
            let file = disk.open_file(parent, name, Access::Read)?;
            let now = disk.stat(&file)?;
            if now.inode != self.stat.inode {
                return Ok(());
            }
            // Another writer may have brought its mark up to date.
            let is_marked = || root_of_mark(disk, &file, &now) == Some(self.root);
            match now == self.stat || (self.proof != Proof::Bytes && is_marked()) {
                true => self.update(disk, (&file, &now), spec, wanted),
                false => Err(DiskError::new(Code::Conflict)),
            }
        };
        let keep = || match keep() {
            Err(gone) if gone.code() == Code::NotFound => Err(DiskError::new(Code::Conflict)),
            answer => answer,
        };
        keep().doing(doing)
    }

    fn update<D: Disk>(
        &self,
        disk: &D,
        (file, now): (&D::Handle, &FileStat),
        spec: &SinkSpec,
        wanted: Wanted<'_>,
    ) -> DiskResult<()> {
        let metadata = spec.metadata;
        let by_bytes = self.proof == Proof::Bytes;
        if by_bytes {
            // Whatever came since then: a mark must not become durable before what it vouches for.
            disk.sync_file(file)?;
            still(wanted)?;
        }
        if now.links > 1 {
            // Its inode is not this name's alone: what had to be changed stays.
            let is_right = !differs(now, &metadata);
            return if is_right { Ok(()) } else { Err(DiskError::new(Code::Conflict)) };
        }
        if self.proof != Proof::Mark || now.mtime != metadata.mtime {
            apply_mark(disk, file, spec, now.size, self.root)?;
        }
        if !by_bytes && !differs(now, &metadata) {
            return Ok(()); // a mark says the same before and after, but for what it spares
        }
        if now.mode != metadata.mode {
            disk.set_mode(file, metadata.mode)?;
        }
        disk.set_mtime(file, metadata.mtime)?;
        disk.sync_file(file)
    }

    /// Whether it is this object.
    pub(super) fn is(&self, size: floe_types::ByteCount, root: Root) -> bool {
        self.stat.size == size && self.root == root
    }
}

/// The root that the mark of a file vouches for.
pub(super) fn root_of_mark<D: Disk>(disk: &D, file: &D::Handle, stat: &FileStat) -> Option<Root> {
    let mark = Mark::decode(&disk.xattr(file, MARK_NAME).ok()??)?;
    mark.root_of(stat.size, stat.mtime)
}
