use super::*;
use std::time::Duration;

const EVERYTHING: Odds =
    Odds { bytes: 16, sizes: 16, attributes: 16, torn: 0, unwritten: Unwritten::Zeros };
const NOTHING: Odds = Odds { bytes: 0, sizes: 0, attributes: 0, ..EVERYTHING };

fn file() -> File {
    File::new(Image::new(0o600, SystemTime::UNIX_EPOCH))
}

fn later(secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
}

#[test]
fn what_was_synced_survives_and_nothing_else() {
    let mut file = file();
    file.write(0, b"synced", later(1));
    file.sync();
    file.write(3, b"lost too", later(2));
    file.change(Effect::Xattr(b"user.a".to_vec(), Some(b"1".to_vec())));
    assert_eq!(file.seen().bytes, b"synlost too");
    let toll = file.cut(&NOTHING, &mut Dice::new(1));
    assert_eq!(file.seen().bytes, b"synced");
    assert_eq!(file.seen().mtime, later(1));
    assert!(file.seen().xattrs.is_empty());
    assert_eq!(toll, Toll { kept: 0, dropped: 4 });
}

#[test]
fn a_sync_of_content_leaves_attributes_behind() {
    let mut file = file();
    file.write(0, b"bytes", later(1));
    file.change(Effect::Mode(0o644));
    file.sync_content();
    file.cut(&NOTHING, &mut Dice::new(1));
    assert_eq!(file.seen().bytes, b"bytes");
    assert_eq!((file.seen().mode, file.seen().mtime), (0o600, later(0)));
}

#[test]
fn bytes_without_their_size_are_not_seen() {
    let mut file = file();
    file.write(0, &[7; 10], later(1));
    file.cut(&Odds { sizes: 0, ..EVERYTHING }, &mut Dice::new(1));
    assert!(file.seen().bytes.is_empty());
    file.change(Effect::Grow(10));
    assert_eq!(file.seen().bytes, [0; 10]);
}

#[test]
fn a_size_without_its_bytes_shows_zeros_or_what_the_device_held() {
    for unwritten in [Unwritten::Zeros, Unwritten::Stale] {
        let mut file = file();
        file.write(0, &[7; 100], later(1));
        file.cut(&Odds { bytes: 0, unwritten, ..EVERYTHING }, &mut Dice::new(1));
        assert_eq!(file.seen().bytes.len(), 100);
        assert_ne!(file.seen().bytes, [7; 100]);
        assert_eq!(file.seen().bytes == [0; 100], unwritten == Unwritten::Zeros);
    }
}

#[test]
fn blocks_of_one_write_survive_each_by_itself() {
    let mut file = file();
    let (at, len) = (BLOCK_BYTES / 2, 64 * BLOCK_BYTES);
    file.write(at, &vec![7; len], later(1));
    let toll = file.cut(&Odds { bytes: 8, ..EVERYTHING }, &mut Dice::new(1));
    let survived: Vec<bool> = file.seen().bytes[at..].iter().map(|byte| *byte == 7).collect();
    for (nth, block) in survived[BLOCK_BYTES / 2..].chunks(BLOCK_BYTES).enumerate() {
        assert!(block.iter().all(|one| *one == block[0]), "block {nth} is whole or gone");
    }
    assert!(toll.dropped > 10 && toll.kept > 10, "{toll:?}");
    assert_eq!(toll.kept + toll.dropped, 65 + 2);
}

#[test]
fn a_torn_block_is_cut_at_a_sector() {
    let mut torn = 0;
    for seed in 0..64 {
        let mut file = file();
        file.write(100, &[7; 3000], later(1));
        file.cut(&Odds { torn: 16, ..EVERYTHING }, &mut Dice::new(seed));
        let written = file.seen().bytes.iter().filter(|byte| **byte == 7).count();
        let borders =
            file.seen().bytes.windows(2).enumerate().filter(|(_, pair)| pair[0] != pair[1]);
        for (at, _) in borders {
            assert!(at + 1 == 100 || (at + 1) % SECTOR_BYTES == 0, "a border at {}", at + 1);
        }
        torn += u64::from(written > 0 && written < 3000);
    }
    assert!(torn > 20, "{torn}");
}
