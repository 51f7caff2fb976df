//! The names of a stage's files: a digest of final path and owner, and one of the source's version.
//!
//! Stages of one path and owner share the first half, so that another version's stage can be found.

use crate::api::SinkSpec;
use crate::fields::PutFields;
use crate::journal::path_bytes;
use crate::local::area::hex;
use floe_types::Root;

/// A stage's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Key {
    lineage: String,
    version: String,
}

impl Key {
    pub(super) fn of(spec: &SinkSpec) -> Self {
        let mut lineage = spec.owner.0.to_vec();
        lineage.extend_from_slice(&path_bytes(&spec.path));
        let mut version = Vec::new();
        version.put_optional(spec.version, PutFields::put_version);
        Self { lineage: hex(&Root::of(&lineage).0[..16]), version: hex(&Root::of(&version).0[..8]) }
    }

    /// The key of another stage of the same path and owner, if that is what this file is.
    pub(super) fn other(&self, file: &[u8]) -> Option<Self> {
        let stem = std::str::from_utf8(file).ok()?.strip_suffix(".stage")?;
        let (lineage, version) = stem.split_once('-')?;
        let other = Self { lineage: lineage.to_owned(), version: version.to_owned() };
        (other.lineage == self.lineage && other.version != self.version).then_some(other)
    }

    pub(super) fn stage(&self) -> String {
        format!("{}-{}.stage", self.lineage, self.version)
    }

    pub(super) fn journal(&self) -> String {
        format!("{}-{}.journal", self.lineage, self.version)
    }

    pub(super) fn rewrite(&self) -> String {
        format!("{}-{}.rewrite", self.lineage, self.version)
    }
}
