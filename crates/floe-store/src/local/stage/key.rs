//! The names of a stage's files: a digest of final path and owner, and one of the source's version.
//!
//! Stages of one path and owner share the first half, so that another version's stage can be found.

use crate::api::{SinkSpec, StageKey};
use crate::fields::PutFields;
use crate::local::area::hex;
use floe_types::Root;

/// A stage's key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    lineage: String,
    version: String,
}

impl Key {
    pub(super) fn of(spec: &SinkSpec) -> Self {
        Self::named(&spec.key())
    }

    pub(super) fn named(stage: &StageKey) -> Self {
        let mut lineage = stage.owner.0.to_vec();
        lineage.extend_from_slice(&stage.path.to_bytes());
        let mut version = Vec::new();
        version.put_optional(stage.version, PutFields::put_version);
        Self { lineage: hex(&Root::of(&lineage).0[..16]), version: hex(&Root::of(&version).0[..8]) }
    }

    /// The key of the stage that this file is, if it is one.
    pub(super) fn of_file(file: &[u8]) -> Option<Self> {
        file.ends_with(b".stage").then(|| Self::of_any(file))?
    }

    /// The key of the stage that this file is, or was to be, a part of.
    pub(super) fn of_any(file: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(file).ok()?;
        let mut endings = [".stage", ".journal", ".rewrite"].into_iter();
        let stem = endings.find_map(|ending| text.strip_suffix(ending))?;
        let (lineage, version) = stem.split_once('-')?;
        Some(Self { lineage: lineage.to_owned(), version: version.to_owned() })
    }

    /// Whether both are of one path and owner.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        self.lineage == other.lineage
    }

    pub(super) fn is_other_version_of(&self, other: &Self) -> bool {
        self.is_of_the_same(other) && self.version != other.version
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
