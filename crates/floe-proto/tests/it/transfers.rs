//! Whole transfers between two cores in virtual time: every promise that the core alone can keep.

use crate::disk::Disk;
use crate::world::{AfterLoss, Faults, Pause, Run, Setup, World};
use floe_proto::command::{Holes, StreamCount};
use floe_proto::frame::{Direction, Pace, Verbs};
use floe_types::{ByteCount, Code, Micros, ObjectPath};

const MIB: usize = 1 << 20;

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

/// Content by offset, different for every name.
pub fn content(name: &str, len: usize) -> Vec<u8> {
    let salt =
        name.bytes().fold(7u64, |salt, byte| salt.wrapping_mul(31).wrapping_add(byte.into()));
    (0..len as u64)
        .map(|at| ((at ^ salt).wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8)
        .collect()
}

pub fn one_file(len: usize) -> Disk {
    let mut disk = Disk::default();
    disk.files.insert(path("file"), content("file", len));
    disk
}

pub fn tree() -> Disk {
    let mut disk = Disk::default();
    for dir in ["t", "t/a", "t/a/b", "t/empty", "t/z"] {
        disk.dirs.insert(path(dir));
    }
    let sizes = [
        ("t/0", 0),
        ("t/1", 1),
        ("t/chunk", 256 << 10),
        ("t/a/two", 512 << 10),
        ("t/z/big", MIB + 77),
    ];
    for (name, len) in sizes {
        disk.files.insert(path(name), content(name, len));
    }
    for nth in 0..40 {
        let name = format!("t/a/b/small-{nth:03}");
        disk.files.insert(path(&name), content(&name, nth * 13));
    }
    disk.links.insert(path("t/link"), b"a/two".to_vec());
    disk
}

/// Runs, and checks what every successful run must show.
pub fn run(setup: &Setup, source: &Disk, sink: Disk, faults: Faults) -> (Run, Disk) {
    let put = setup.direction == Direction::Put;
    let (client, server) = if put { (source.clone(), sink) } else { (sink, source.clone()) };
    let (run, client, server) = World::new(setup.clone(), client, server, faults).run();
    (run, if put { server } else { client })
}

pub fn assert_whole(run: &Run, source: &Disk, sink: &Disk) {
    assert_eq!(run.result, Some(Ok(())), "{run:#?}");
    assert_eq!(sink.files, source.files);
    assert_eq!(sink.links, source.links);
    assert_eq!(sink.dirs, source.dirs);
    assert!(sink.stages.is_empty(), "a stage is left: {:?}", sink.stages.keys());
}

const BOTH: [Direction; 2] = [Direction::Put, Direction::Get];

#[test]
fn one_file_of_every_size_arrives_whole() {
    for direction in BOTH {
        for len in [0, 1, 262_143, 262_144, 262_145, 2 * 262_144, 2 * MIB, 2 * MIB + 1, 3 * MIB + 5]
        {
            let (source, setup) = (one_file(len), Setup::new(direction, "file"));
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
            assert_eq!(run.summary.bytes_sent, ByteCount::of_len(len), "{direction:?} {len}");
            assert_eq!(run.summary.bytes_total, ByteCount::of_len(len));
        }
    }
}

#[test]
fn a_tree_arrives_whole_over_one_and_many_streams() {
    for direction in BOTH {
        for streams in [1, 4] {
            for seed in 1..6 {
                let source = tree();
                let setup = Setup { streams, seed, ..Setup::new(direction, "t") };
                let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
                assert_whole(&run, &source, &sink);
                assert_eq!(
                    run.finished.len(),
                    source.files.len() + source.links.len() + source.dirs.len()
                );
            }
        }
    }
}

#[test]
fn a_tree_arrives_whole_however_few_objects_may_be_open() {
    for direction in BOTH {
        for objects_open_max in [1, 2, 3, 7, 64] {
            let source = tree();
            let mut setup = Setup { streams: 2, ..Setup::new(direction, "t") };
            setup.limits.objects_open_max = objects_open_max;
            setup.limits.small_objects_open_max = objects_open_max;
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn lockstep_says_every_step() {
    for direction in BOTH {
        let source = one_file(MIB + 9);
        let mut setup = Setup::new(direction, "file");
        setup.options.pace = Pace::Lockstep;
        let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
        assert_whole(&run, &source, &sink);
        assert_eq!(run.summary.window_bytes_max, ByteCount(262_144));
    }
}

#[test]
fn a_second_identical_run_sends_nothing() {
    for direction in BOTH {
        let (source, setup) = (tree(), Setup::new(direction, "t"));
        let (_, sink) = run(&setup, &source, Disk::default(), Faults::default());
        let (again, sink) = run(&setup, &source, sink, Faults::default());
        assert_whole(&again, &source, &sink);
        assert_eq!(again.summary.bytes_sent, ByteCount(0));
    }
}

#[test]
fn a_cut_at_any_frame_leaves_nothing_wrong_and_costs_at_most_a_window() {
    for direction in BOTH {
        for streams in [1, 3] {
            let source = one_file(7 * MIB + 3);
            let setup = Setup { streams, ..Setup::new(direction, "file") };
            let (plain, _) = run(&setup, &source, Disk::default(), Faults::default());
            for cut_at in 1..=plain.frames {
                let faults = Faults { cut_at: Some(cut_at), ..Faults::default() };
                let (run, sink) = run(&setup, &source, Disk::default(), faults);
                assert_whole(&run, &source, &sink);
                let sent: u64 = run.sent.iter().map(|sent| sent.0).sum();
                let most = 7 * MIB as u64 + 3 + setup.options.window.0;
                assert!(sent <= most, "cut at {cut_at}: {sent} bytes were sent");
            }
        }
    }
}

#[test]
fn a_tree_survives_a_cut_at_any_frame() {
    for direction in BOTH {
        let source = tree();
        let setup = Setup { streams: 2, ..Setup::new(direction, "t") };
        let (plain, _) = run(&setup, &source, Disk::default(), Faults::default());
        for cut_at in 1..=plain.frames {
            let faults = Faults { cut_at: Some(cut_at), ..Faults::default() };
            let (run, sink) = run(&setup, &source, Disk::default(), faults);
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn a_corrupt_piece_is_sent_again() {
    for direction in BOTH {
        let source = one_file(2 * MIB + 11);
        let setup = Setup { streams: 2, ..Setup::new(direction, "file") };
        for flip_at in 1..=33 {
            let faults = Faults { flip_at: Some(flip_at), ..Faults::default() };
            let (run, sink) = run(&setup, &source, Disk::default(), faults);
            assert_whole(&run, &source, &sink);
            assert!(run.summary.bytes_sent.0 > 2 * MIB as u64 + 11);
        }
    }
}

#[test]
fn a_stream_of_unknown_size_arrives_whole_even_when_corrupted_or_cut_beside_the_lead() {
    for len in [0, 1, 262_144, MIB + 5, 3 * MIB] {
        for flip_at in [None, Some(1), Some(7)] {
            let mut source = one_file(len);
            source.streams.insert(path("file"));
            let setup = Setup { streams: 2, ..Setup::new(Direction::Put, "file") };
            let faults = Faults { flip_at, ..Faults::default() };
            let (run, sink) = run(&setup, &source, Disk::default(), faults);
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_goes_on_and_costs_at_most_a_window() {
    for after_loss in [AfterLoss::Rerun, AfterLoss::Reconnect] {
        for (streams, have_ranges_max) in [(1, 512), (3, 512), (1, 12)] {
            let len = 7 * MIB + 3;
            let mut source = one_file(len);
            source.streams.insert(path("file"));
            let mut setup = Setup { streams, after_loss, ..Setup::new(Direction::Put, "file") };
            setup.limits.have_ranges_max = have_ranges_max;
            setup.limits.want_ranges_max = have_ranges_max;
            let (plain, _) = run(&setup, &source, Disk::default(), Faults::default());
            for cut_at in 1..=plain.frames {
                let faults = Faults { cut_at: Some(cut_at), ..Faults::default() };
                let (run, sink) = run(&setup, &source, Disk::default(), faults);
                if run.lost_after_commit {
                    // Nothing is staged any more, and what stands there has no source to name.
                    assert_eq!(sink.files, source.files);
                    continue;
                }
                assert_whole(&run, &source, &sink);
                let sent: u64 = run.sent.iter().map(|sent| sent.0).sum();
                let most = len as u64 + setup.options.window.0;
                assert!(sent <= most, "cut at {cut_at}: {sent} bytes were sent, {setup:?}");
            }
        }
    }
}

#[test]
fn a_stream_fails_by_name_where_the_receiver_lost_what_it_had_recorded() {
    let mut source = one_file(7 * MIB);
    source.streams.insert(path("file"));
    let setup = Setup { after_loss: AfterLoss::Reconnect, ..Setup::new(Direction::Put, "file") };
    let (plain, _) = run(&setup, &source, Disk::default(), Faults::default());
    let faults = Faults { cut_at: Some(plain.frames / 2), forgetful: true, ..Faults::default() };
    let (run, sink) = run(&setup, &source, Disk::default(), faults);
    assert_eq!(run.result.unwrap().unwrap_err().code, Code::SourceGone);
    assert!(sink.files.is_empty());
}

#[test]
fn a_checkpoint_that_falls_due_during_a_commit_asks_for_no_timer() {
    for direction in BOTH {
        for seed in 1..20 {
            let source = one_file(2 * MIB + 11);
            let mut setup = Setup { seed, ..Setup::new(direction, "file") };
            setup.limits.checkpoint = floe_types::Micros(500);
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn dials_that_fail_do_not_stop_a_transfer() {
    let source = one_file(6 * MIB);
    let setup = Setup { streams: 4, ..Setup::new(Direction::Put, "file") };
    let faults = Faults { refuse_dials: 2, ..Faults::default() };
    let (run, sink) = run(&setup, &source, Disk::default(), faults);
    assert_whole(&run, &source, &sink);
}

#[test]
fn a_missing_source_and_a_full_disk_fail_by_name() {
    for direction in BOTH {
        let setup = Setup::new(direction, "missing");
        let (run_of, _) = run(&setup, &one_file(1), Disk::default(), Faults::default());
        assert_eq!(run_of.result.unwrap().unwrap_err().code, Code::NotFound, "{direction:?}");

        let mut sink = Disk::default();
        sink.full = Some(path("t/z/big"));
        let setup = Setup::new(direction, "t");
        let (run_of, after) = run(&setup, &tree(), sink.clone(), Faults::default());
        assert_eq!(run_of.result.unwrap().unwrap_err().code, Code::Partial);
        assert_eq!(run_of.failed.len(), 1);
        assert_eq!(run_of.failed[0].1.code, Code::NoSpace);
        assert!(!after.files.contains_key(&path("t/z/big")));
        assert!(after.files.contains_key(&path("t/a/two")));
        sink = after;
        sink.full = None;
        let (again, sink) = run(&setup, &tree(), sink, Faults::default());
        assert_whole(&again, &tree(), &sink);
    }
}

#[test]
fn a_file_where_a_directory_must_be_fails_and_the_rest_goes_on() {
    let mut sink = Disk::default();
    sink.files.insert(path("t/a"), b"in the way".to_vec());
    let (run, after) = run(&Setup::new(Direction::Put, "t"), &tree(), sink, Faults::default());
    assert_eq!(run.result.unwrap().unwrap_err().code, Code::Partial);
    assert_eq!(after.files[&path("t/a")], b"in the way");
    assert!(after.files.contains_key(&path("t/z/big")));
}

#[test]
fn a_ticket_without_the_verb_is_refused() {
    for (direction, verbs) in [(Direction::Put, Verbs::READ), (Direction::Get, Verbs::WRITE_NEW)] {
        let mut setup = Setup::new(direction, "file");
        setup.verbs = verbs.and(Verbs(0));
        let config = floe_proto::command::Config {
            limits: setup.limits.clone(),
            verbs,
            piece_bytes: ByteCount(65_536),
            streams: StreamCount::Auto,
            buffers: setup.buffers,
            holes: Holes::AsHoles,
        };
        let now = floe_types::Time(0);
        let mut session = floe_proto::session::Session::<crate::disk::Bytes>::new(
            floe_proto::command::Role::Client,
            config,
            now,
        );
        let command = floe_proto::command::Command::Transfer {
            direction,
            local: setup.path.clone(),
            remote: setup.path.clone(),
            options: setup.options.clone(),
        };
        assert_eq!(session.handle_command(command, now).unwrap_err().code, Code::NotAllowed);
    }
}

#[test]
fn a_tree_arrives_whole_however_few_entries_may_be_ahead() {
    for direction in BOTH {
        for ahead in [1, 2, 64] {
            let (source, mut setup) = (tree(), Setup::new(direction, "t"));
            (setup.limits.entries_ahead_max, setup.limits.batch_entries_max) = (ahead, 1);
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn a_transfer_that_its_server_pauses_is_waited_for_by_both_ends() {
    // Far longer than a silence or a stall.
    let (span, held) = (Micros::from_secs(900), Micros::from_secs(600));
    for direction in [Direction::Put, Direction::Get] {
        for (source, at) in [(one_file(3 * MIB), 7), (tree(), 20), (tree(), 1)] {
            let name = if source.files.len() == 1 { "file" } else { "t" };
            let setup = Setup { streams: 3, ..Setup::new(direction, name) };
            let pause = Some(Pause { at, span, held });
            let faults = Faults { pause, ..Faults::default() };
            let (run, sink) = run(&setup, &source, Disk::default(), faults);
            assert_eq!((&run.result, run.sessions), (&Some(Ok(())), 1), "{direction:?} {at}");
            assert_eq!(run.despite_pause, Some(ByteCount::ZERO), "{direction:?} {at}");
            assert_eq!(sink.files, source.files);
        }
    }
}
