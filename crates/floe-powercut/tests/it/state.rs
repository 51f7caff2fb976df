//! What a state directory held when it was used is there after a power loss.

use floe_engine::state::State;
use floe_powercut::dice::Dice;
use floe_powercut::file::{Odds, Unwritten};
use floe_powercut::mounted::Mounted;
use floe_powercut::tree::{Names, Survivors};

const NOTHING: Survivors = Survivors {
    odds: Odds { bytes: 0, sizes: 0, attributes: 0, torn: 0, unwritten: Unwritten::Zeros },
    names: Names::Each(0),
};

#[test]
fn a_client_id_that_was_told_survives_a_power_loss_with_its_directories() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut mounted) = Mounted::or_skipped(dir.path()).unwrap() else { return };
    let path = mounted.path().join("local/state/floe");
    let told = State::open(&path).unwrap().client_id().unwrap();
    mounted.cut(&NOTHING, &mut Dice::new(1)).unwrap();
    assert_eq!(State::open(&path).unwrap().client_id().unwrap(), told);
}

/// A process that was killed between making the directory and syncing its name leaves it to others.
#[test]
fn a_client_id_survives_in_a_directory_that_another_process_made_and_did_not_sync() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut mounted) = Mounted::or_skipped(dir.path()).unwrap() else { return };
    let path = mounted.path().join("state");
    std::fs::create_dir(&path).unwrap();
    let told = State::open(&path).unwrap().client_id().unwrap();
    mounted.cut(&NOTHING, &mut Dice::new(1)).unwrap();
    assert_eq!(State::open(&path).unwrap().client_id().unwrap(), told);
}
