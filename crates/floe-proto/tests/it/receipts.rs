//! What a server signs comes before the COMMITTED it is for, whatever way an object takes there.
//! `World` looks at each object of a put with receipts: its leaf is in the last receipt.

use crate::disk::{Bytes, Disk};
use crate::hand::{Hand, LEAD, T, config, is_open, options};
use crate::transfers::{one_file, run, tree};
use crate::world::{Faults, Setup};
use floe_proto::command::TransferOptions;
use floe_proto::frame::{Direction, Frame, Receipt, ReceiptWish};

fn signed(direction: Direction, path: &str) -> Setup {
    let mut setup = Setup::new(direction, path);
    setup.options.receipts = ReceiptWish::Signed;
    setup
}

fn receipt() -> Frame<Bytes> {
    let (key, signature, leaves) = (vec![1], vec![2], vec![[3; 32]]);
    let receipt = Receipt { time: 1, ticket: "t".into(), key, scheme: 0x403, signature, leaves };
    Frame::Receipt(T, receipt)
}

#[test]
fn every_object_of_a_tree_is_signed_before_it_is_committed() {
    let source = tree();
    let (first, sink) =
        run(&signed(Direction::Put, "t"), &source, Disk::default(), Faults::default());
    assert_eq!(first.result, Some(Ok(())));
    assert_eq!(sink.files.len(), source.files.len());
    let few = u32::try_from(source.files.len() / 4).unwrap();
    assert!((1..few).contains(&first.receipts), "{} receipts", first.receipts);
    // Nothing is to be sent any more, and each is signed again.
    let (again, _) = run(&signed(Direction::Put, "t"), &source, sink, Faults::default());
    assert_eq!(again.result, Some(Ok(())));
    assert_eq!((again.summary.bytes_sent.0, again.receipts > 0), (0, true));
}

#[test]
fn a_session_that_is_lost_at_any_frame_leaves_no_object_unsigned() {
    let source = one_file(3 << 18);
    let (whole, _) =
        run(&signed(Direction::Put, "file"), &source, Disk::default(), Faults::default());
    for frame in 1..whole.frames {
        let faults = Faults { cut_at: Some(frame), ..Faults::default() };
        let (cut, sink) = run(&signed(Direction::Put, "file"), &source, Disk::default(), faults);
        assert_eq!(cut.result, Some(Ok(())), "cut at {frame}");
        assert_eq!(sink.files, source.files);
        assert!(cut.receipts > 0, "cut at {frame}");
    }
}

#[test]
fn a_get_and_a_put_that_did_not_ask_have_none() {
    for (direction, wish) in
        [(Direction::Get, ReceiptWish::Signed), (Direction::Put, ReceiptWish::None)]
    {
        let mut setup = Setup::new(direction, "t");
        if direction == Direction::Put {
            setup.options.receipts = wish;
        }
        let (run, _) = run(&setup, &tree(), Disk::default(), Faults::default());
        assert_eq!((run.result, run.receipts), (Some(Ok(())), 0));
    }
}

#[test]
fn receipts_that_nobody_asked_for_or_that_pile_up_are_violations() {
    let disk = one_file(10);
    let mut it = Hand::putting(disk.clone(), "file", options(), config());
    assert!(it.try_hears(LEAD, receipt()).is_err());
    let asked = TransferOptions { receipts: ReceiptWish::Signed, ..options() };
    let mut it = Hand::putting(disk.clone(), "file", asked.clone(), config());
    assert!(it.try_hears(LEAD, receipt()).is_err(), "nothing is announced");
    let mut it = Hand::putting(disk, "file", asked, config());
    it.does(is_open);
    assert_eq!(it.try_hears(LEAD, receipt()), Ok(()));
    assert!(it.try_hears(LEAD, receipt()).is_err());
}
