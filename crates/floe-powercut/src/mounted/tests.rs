use super::*;
use crate::file::{Odds, Unwritten};
use crate::tree::{Call, Names};
use std::fs::{self, File};
use std::io::Write;

const NO_BYTES: Odds =
    Odds { bytes: 0, sizes: 0, attributes: 0, torn: 0, unwritten: Unwritten::Zeros };
const NAMES_ONLY: Survivors = Survivors { odds: NO_BYTES, names: Names::Each(16) };

/// Whether the program syncs what it renames.
#[derive(Clone, Copy, PartialEq)]
enum Syncs {
    Before,
    Never,
}

/// The old trick of a file that is replaced, with or without the sync that it needs.
fn replace(at: &Path, syncs: Syncs) {
    let (name, temporary) = (at.join("name"), at.join("temporary"));
    let mut file = File::create(&temporary).unwrap();
    file.write_all(b"the new version").unwrap();
    if syncs == Syncs::Before {
        file.sync_all().unwrap();
    }
    fs::rename(temporary, name).unwrap();
    File::open(at).unwrap().sync_all().unwrap();
}

#[test]
fn a_program_that_renames_what_it_did_not_sync_is_caught_on_a_mount() {
    for (syncs, after) in [(Syncs::Before, &b"the new version"[..]), (Syncs::Never, b"")] {
        let dir = tempfile::tempdir().unwrap();
        let Some(mut mounted) = Mounted::or_skipped(dir.path()).unwrap() else { return };
        let name = mounted.path().join("name");
        fs::write(&name, b"the old version").unwrap();
        File::open(&name).unwrap().sync_all().unwrap();
        replace(mounted.path(), syncs);
        assert_eq!(fs::read(&name).unwrap(), b"the new version");
        let toll = mounted.cut(&NAMES_ONLY, &mut Dice::new(1)).unwrap();
        assert_eq!(fs::read(&name).unwrap(), after);
        assert_eq!(toll.dropped > 0, syncs == Syncs::Never, "{toll:?}");
    }
}

#[test]
fn a_call_that_meets_the_cut_is_not_done_and_not_answered_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut mounted) = Mounted::or_skipped(dir.path()).unwrap() else { return };
    let name = mounted.path().join("name");
    let mut file = File::create(&name).unwrap();
    File::open(mounted.path()).unwrap().sync_all().unwrap();
    mounted.arm(Fuse { call: Some(Call::SyncFile), left: 0 });
    file.write_all(b"bytes").unwrap();
    let syncing = std::thread::spawn(move || file.sync_all());
    assert_eq!(mounted.wait_for_off(Duration::from_secs(60)), Power::Off);
    assert!(!syncing.is_finished());
    mounted.release();
    assert!(syncing.join().unwrap().is_err());
    mounted.cut(&NAMES_ONLY, &mut Dice::new(1)).unwrap();
    assert_eq!(fs::read(&name).unwrap(), b"");
}
