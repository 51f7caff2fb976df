//! Bugs on purpose: what the simulation must catch, or it is suspect.
//!
//! Each stands in the code as `if planted::is(Bug::...)` beside what is right. Without the feature
//! `planted` that is a constant `false`, and nothing of it is compiled. Only floe-sim asks for the
//! feature, where a person asks floe-sim for it; the binary does not build with it.

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Bug {
    /// A stage is renamed before its bytes are synced.
    SkipTheSyncOfAStage = 1,
    /// A checkpoint is written without a sync of the bytes that it covers.
    CheckpointBeforeTheData,
    /// A checkpoint says that it covers records that came after its sync.
    CheckpointCoversMore,
    /// The names of what is committed are not synced.
    ForgetTheSyncOfDirectories,
    /// After a power cut every record counts.
    TrustTheJournalAfterAPowerCut,
    /// A stage that another process owns is owned too.
    LetASecondWriterIn,
    /// What was staged of another version counts for this one.
    ResumeOntoAChangedSource,
    /// An object that stands there is taken for any version.
    RecogniseAnyVersion,
    /// What stands there is replaced although the precondition forbids it.
    ReplaceInSpiteOfNoClobber,
    /// A chunk whose digest is not the sender's is recorded.
    AcceptCorruptAsStored,
    /// A chunk is acknowledged when it is sealed, before it is verified, written and recorded.
    AcknowledgeBeforeWritten,
    /// A chunk is recorded while writes of it are under way.
    RecordBeforeTheWriteEnded,
    /// The second piece of a chunk is written where the first one is.
    WrongChunkOffset,
    /// An object is committed whatever its root.
    CommitWithoutRootCheck,
    /// What WANT names of another version is not compared.
    StaleWant,
    /// A chunk that was lost with its stream is not sent again.
    LoseARetransmission,
    /// STORED of one chunk counts for all before it.
    TakeOneStoredForAll,
    /// A chunk is sent where the window is not full yet, though it does not fit.
    WindowOffByOne,
    /// A source that changed while it was sent is taken for whole.
    MissAChangedSource,
    /// A hole is not punched: what stood there stays.
    LeaveWhatStoodInAHole,
    /// After a sync that failed every record counts, as if the next sync wrote what that one lost.
    TrustARetryOfAFailedSync,
    /// The chunk that was recorded last counts for nothing when a stage is taken up again.
    ForgetTheLastRecordedChunk,
    /// A session holds as many pieces as it likes.
    IgnoreTheBudget,
}

impl Bug {
    /// All of them: each must be caught.
    pub const ALL: [Self; 23] = [
        Self::SkipTheSyncOfAStage,
        Self::CheckpointBeforeTheData,
        Self::CheckpointCoversMore,
        Self::ForgetTheSyncOfDirectories,
        Self::TrustTheJournalAfterAPowerCut,
        Self::LetASecondWriterIn,
        Self::ResumeOntoAChangedSource,
        Self::RecogniseAnyVersion,
        Self::ReplaceInSpiteOfNoClobber,
        Self::AcceptCorruptAsStored,
        Self::AcknowledgeBeforeWritten,
        Self::RecordBeforeTheWriteEnded,
        Self::WrongChunkOffset,
        Self::CommitWithoutRootCheck,
        Self::StaleWant,
        Self::LoseARetransmission,
        Self::TakeOneStoredForAll,
        Self::WindowOffByOne,
        Self::MissAChangedSource,
        Self::LeaveWhatStoodInAHole,
        Self::TrustARetryOfAFailedSync,
        Self::ForgetTheLastRecordedChunk,
        Self::IgnoreTheBudget,
    ];
}

/// Whether bugs can be planted in this build.
pub const POSSIBLE: bool = cfg!(feature = "planted");

#[cfg(feature = "planted")]
mod on {
    extern crate std;

    use super::Bug;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// The environment names what is planted in a process from its start, for tests.
    const VARIABLE: &str = "FLOE_PLANTED";
    const NOT_ASKED: u8 = u8::MAX;

    static PLANTED: AtomicU8 = AtomicU8::new(NOT_ASKED);

    /// Plants one bug in this process, or none.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
    }

    /// Whether a bug is planted.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        let planted = match PLANTED.load(Ordering::Relaxed) {
            NOT_ASKED => ask(),
            planted => planted,
        };
        planted == bug as u8
    }

    /// What the environment plants; a name that no bug has is no bug left out.
    fn ask() -> u8 {
        let planted = match std::env::var(VARIABLE) {
            Err(_) => 0,
            Ok(name) => {
                let named = |bug: &Bug| std::format!("{bug:?}") == name;
                Bug::ALL
                    .into_iter()
                    .find(named)
                    .map_or_else(|| panic!("{VARIABLE} names no bug: {name}"), |bug| bug as u8)
            }
        };
        PLANTED.store(planted, Ordering::SeqCst);
        planted
    }
}

#[cfg(feature = "planted")]
pub use on::{is, plant};

/// Whether a bug is planted: none is.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}
