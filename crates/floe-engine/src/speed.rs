//! How fast this machine is where each of its stages has it for itself.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use floe_proto::frame::Speeds;
use floe_store::local::LocalStore;
use floe_store::measure::{block, per_second};
use floe_store::{Progress, Store};
use floe_types::{ByteCount, ChunkHasher, Code, DiskSpeed, Fault, ObjectPath, Offset};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long each of hash and cipher is measured.
const SPAN: Duration = Duration::from_millis(100);
/// What TLS puts in one record.
const RECORD_BYTES: usize = 16 << 10;

/// All of it, the disk that of a directory of a store. Blocks for some seconds.
///
/// # Errors
/// As `Store::measure`; `Tls` where the cipher is not to be had.
pub(crate) fn of(
    store: &dyn Store,
    path: &ObjectPath,
    progress: Progress<'_>,
) -> Result<Speeds, Fault> {
    let disk = store.measure(path, progress)?;
    Ok(Speeds { disk, hash: hash(), cipher: cipher()? })
}

/// The disk of a directory of this machine. Blocks for some seconds.
///
/// # Errors
/// As `Store::measure`; `NotFound`, `NotDirectory`.
pub fn disk(directory: &Path) -> Result<DiskSpeed, Fault> {
    LocalStore::open_own(directory, directory)?.measure(&ObjectPath::root(), &|_, _| {})
}

/// Bytes a second that one core hashes.
#[must_use]
pub fn hash() -> ByteCount {
    let block = block();
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < SPAN {
        let mut hasher = ChunkHasher::new(Offset::ZERO);
        hasher.update(block);
        std::hint::black_box(hasher.finish());
        count += ByteCount::of_len(block.len()).0;
    }
    per_second(count, begun.elapsed())
}

/// Bytes a second that one core encrypts, in records.
///
/// # Errors
/// `Tls` where the cipher is not to be had.
pub fn cipher() -> Result<ByteCount, Fault> {
    let failed = |_| Fault::new(Code::Tls, "measure the cipher");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[1; 32]).map_err(failed)?);
    let mut record = vec![0; RECORD_BYTES];
    let (begun, mut count) = (Instant::now(), 0_u64);
    while begun.elapsed() < SPAN {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&count.to_le_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record);
        let _tag = sealed.map_err(failed)?;
        count += 1;
    }
    Ok(per_second(count.saturating_mul(ByteCount::of_len(RECORD_BYTES).0), begun.elapsed()))
}
