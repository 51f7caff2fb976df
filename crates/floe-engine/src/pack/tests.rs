#![allow(clippy::unwrap_used)]

use super::*;
use floe_types::Limits;

fn level(number: u8) -> PackLevel {
    PackLevel::new(number).unwrap()
}

fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|line: u32| format!("line {line} of a text\n").into_bytes()).take(len).collect()
}

/// Bytes that nothing shrinks.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn packed(piece: &[u8], number: u8) -> Option<Vec<u8>> {
    let mut into = vec![0; piece.len()];
    pack(piece, level(number), &mut into).map(|len| into[..len].to_vec())
}

/// What a peer would make of it.
fn unpacked(packed: &[u8], len: usize) -> Result<Vec<u8>, &'static str> {
    let mut piece = vec![7; len];
    piece[..packed.len()].copy_from_slice(packed);
    unpack(&mut piece, packed.len()).map(|()| piece).map_err(|violation| violation.what)
}

#[test]
fn what_was_packed_comes_out_again_at_every_level_and_length() {
    for len in [256, 257, 4096, 65_791, 65_792, 100_000, 262_144, 1 << 20] {
        let piece = text(len);
        for number in [1, 3, 9, 19] {
            let packed = packed(&piece, number).unwrap();
            assert!(packed.len() < len * 3 / 4, "{} of {len}", packed.len());
            let unpacked = unpacked(&packed, len);
            assert!(unpacked.as_deref() == Ok(&piece[..]), "{len}, {number}");
        }
    }
}

#[test]
fn what_does_not_shrink_is_not_packed() {
    assert_eq!(packed(&noise(262_144), 19), None);
    assert_eq!(packed(&text(255), 3), None);
    // A byte or two is not worth the other end's work.
    let nearly = [&noise(10_000)[..], &[0; 200]].concat();
    assert_eq!(packed(&nearly, 3), None);
    assert!(packed(&[&noise(10_000)[..], &[0; 1000]].concat(), 3).is_some());
}

#[test]
fn a_frame_that_says_another_length_is_refused_unread() {
    let packed = packed(&text(1000), 3).unwrap();
    for len in [999, 1001, 262_144] {
        assert_eq!(unpacked(&packed, len), Err("a packed piece of another length"), "{len}");
    }
}

#[test]
fn whatever_is_changed_is_refused_or_decodes_to_its_length() {
    let packed = packed(&text(1000), 3).unwrap();
    let mut refused = 0;
    for at in 0..packed.len() {
        for bit in 0..8 {
            let mut other = packed.clone();
            other[at] ^= 1 << bit;
            refused += usize::from(unpacked(&other, 1000).is_err());
        }
        assert!(unpacked(&packed[..at], 1000).is_err(), "cut at {at}");
    }
    assert!(refused > packed.len(), "{refused}");
}

#[test]
fn no_frame_but_one_of_this_shape_is_taken() {
    let piece = text(1000);
    let right = packed(&piece, 3).unwrap();
    assert_eq!(right[4], 0x60, "a single segment, two bytes of content size");
    let with = |descriptor: u8| [&right[..4], &[descriptor], &right[5..]].concat();
    for (bytes, what) in [
        (with(0x40), "a packed piece with a window of its own"),
        (with(0x00), "a packed piece with a window of its own"),
        (with(0x61), "a packed piece with a dictionary, or a bit without meaning"),
        (with(0x63), "a packed piece with a dictionary, or a bit without meaning"),
        (with(0x68), "a packed piece with a dictionary, or a bit without meaning"),
        (with(0x70), "a packed piece with a dictionary, or a bit without meaning"),
        (with(0x64), "a packed piece that is not one frame"),
        ([&right[..], &[0]].concat(), "a packed piece that is not one frame"),
        ([&right[..], &right].concat(), "a packed piece that is not one frame"),
        (right[..right.len() - 1].to_vec(), "a packed piece that is not one frame"),
        ([&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &right[..]].concat(), NO_FRAME),
        (right[..4].to_vec(), NO_FRAME),
        (right[..6].to_vec(), "a packed piece cut short"),
        (vec![], NO_FRAME),
    ] {
        let mut bytes = bytes;
        bytes.truncate(999);
        assert_eq!(unpacked(&bytes, 1000), Err(what));
    }
}

const NO_FRAME: &str = "a packed piece that is no frame";

#[test]
fn a_checksum_may_stand_there_and_must_be_right() {
    let piece = text(1000);
    let mut context = CCtx::create();
    context.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    let mut into = vec![0; 1000];
    let len = context.compress2(&mut into[..], &piece).unwrap();
    assert!(unpacked(&into[..len], 1000).as_deref() == Ok(&piece[..]));
    into[len - 1] ^= 1;
    assert_eq!(unpacked(&into[..len], 1000), Err("a packed piece that does not decode"));
}

#[test]
fn memory_of_a_thread_is_what_it_is_said_to_be() {
    let piece = text(Limits::PIECE_BYTES as usize);
    for (number, most) in [(1, 1 << 20), (3, 2 << 20), (19, 16 << 20)] {
        let mut packer = Packer::default();
        let mut into = vec![0; piece.len()];
        assert!(packer.pack(&piece, level(number), &mut into).is_some());
        let bytes = packer.context.as_ref().unwrap().sizeof();
        assert!(bytes <= most, "level {number} takes {bytes}");
    }
    assert!(DCtx::create().sizeof() <= 256 << 10);
}

#[test]
fn a_frame_has_no_more_blocks_than_bytes_make_useful() {
    // A segment of 4096 bytes, whose length takes two; blocks that repeat one byte eight times.
    let frame = |blocks: usize| {
        let size = u16::try_from(8 * blocks - 256).unwrap().to_le_bytes();
        let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0x60][..], &size].concat();
        let block = |nth: usize| [8 << 3 | 2 | u8::from(nth + 1 == blocks), 0, 0, 7];
        [head, (0..blocks).flat_map(block).collect()].concat()
    };
    let most = |len: usize| 8 + len / 512;
    for blocks in [64, 512] {
        let len = 8 * blocks;
        assert!(blocks > most(len));
        assert_eq!(unpacked(&frame(blocks), len), Err("a packed piece of too many blocks"));
    }
    // A long block each: as many as zstd itself might make.
    let packed = packed(&text(1 << 20), 19).unwrap();
    assert!(unpacked(&packed, 1 << 20).is_ok());
}
