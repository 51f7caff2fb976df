//! Which reader and writer a frame has.

use super::bounds::{CodecLimits, bad};
use super::cbor::{Reader, Writer};
use super::kind::{Kind, Layout};
use super::{entry, greet, hot, receipt, request, transfer};
use crate::command::Violation;
use crate::frame::Frame;
use alloc::vec::Vec;

/// Reads the body of any frame but DATA.
pub(super) fn read<P>(
    kind: Kind,
    flags: u8,
    body: &[u8],
    limits: &CodecLimits,
) -> Result<Frame<P>, Violation> {
    if kind.layout() == Layout::Hot {
        return hot::read(kind, flags, body, limits);
    }
    let mut reader = Reader::new(body);
    let r = &mut reader;
    let frame = match kind {
        Kind::Hello => Frame::Hello(greet::read_hello(r)?),
        Kind::Welcome => Frame::Welcome(greet::read_welcome(r)?),
        Kind::Join => Frame::Join(greet::read_join(r)?),
        Kind::Busy => Frame::Busy(greet::read_busy(r)?),
        Kind::Close => Frame::Close(greet::read_close(r)?),
        Kind::Open => Frame::Open(transfer::read_open(r)?),
        Kind::Opened => Frame::Opened(transfer::read_opened(r)?),
        Kind::Entries => {
            let (transfer, list) = transfer::read_listed(r, limits, entry::read)?;
            Frame::Entries(transfer, list)
        }
        Kind::Want => Frame::Want(transfer::read_want(r, limits)?),
        Kind::Drop => {
            let (entry, ranges) = transfer::read_drop(r, limits)?;
            Frame::Drop(entry, ranges)
        }
        Kind::Done => {
            let (transfer, list) = transfer::read_listed(r, limits, transfer::read_done)?;
            Frame::Done(transfer, list)
        }
        Kind::Receipt => {
            let (transfer, receipt) = receipt::read(r)?;
            Frame::Receipt(transfer, receipt)
        }
        Kind::Committed => {
            let (transfer, list) = transfer::read_listed(r, limits, transfer::read_committed)?;
            Frame::Committed(transfer, list)
        }
        Kind::Failed => Frame::Failed(transfer::read_failed(r)?),
        Kind::Complete => {
            let (transfer, count) = transfer::read_complete(r)?;
            Frame::Complete(transfer, count)
        }
        Kind::Completed => Frame::Completed(transfer::read_completed(r)?),
        Kind::Cancel => {
            let (transfer, fault) = transfer::read_cancel(r)?;
            Frame::Cancel(transfer, fault)
        }
        Kind::Request => {
            let (id, request) = request::read_request(r)?;
            Frame::Request(id, request)
        }
        Kind::Reply => {
            let (id, answer) = request::read_reply(r, limits)?;
            Frame::Reply(id, answer)
        }
        Kind::Stats => Frame::Stats(request::read_stats(r)?),
        _ => return bad("not a cold frame"),
    };
    reader.end()?;
    Ok(frame)
}

/// Writes the body of any frame, of DATA without the payload; returns the flags.
pub(super) fn write<P>(frame: &Frame<P>, out: &mut Vec<u8>) -> u8 {
    if let Some(flags) = hot::write(frame, out) {
        return flags;
    }
    let w = &mut Writer::new(out);
    match frame {
        Frame::Hello(hello) => greet::write_hello(w, hello),
        Frame::Welcome(welcome) => greet::write_welcome(w, welcome),
        Frame::Join(join) => greet::write_join(w, join),
        Frame::Busy(after) => greet::write_busy(w, *after),
        Frame::Close(fault) => greet::write_close(w, fault.as_ref()),
        Frame::Open(open) => transfer::write_open(w, open),
        Frame::Opened(opened) => transfer::write_opened(w, opened),
        Frame::Entries(transfer, list) => {
            transfer::write_listed(w, *transfer, list, entry::write);
        }
        Frame::Want(want) => transfer::write_want(w, want),
        Frame::Drop(entry, ranges) => transfer::write_drop(w, *entry, ranges),
        Frame::Done(transfer, list) => {
            transfer::write_listed(w, *transfer, list, transfer::write_done);
        }
        Frame::Receipt(transfer, receipt) => receipt::write(w, *transfer, receipt),
        Frame::Committed(transfer, list) => {
            transfer::write_listed(w, *transfer, list, transfer::write_committed);
        }
        Frame::Failed(failed) => transfer::write_failed(w, failed),
        Frame::Complete(transfer, count) => transfer::write_complete(w, *transfer, *count),
        Frame::Completed(transfer) => transfer::write_completed(w, *transfer),
        Frame::Cancel(transfer, fault) => transfer::write_cancel(w, *transfer, fault),
        Frame::Request(id, request) => request::write_request(w, *id, request),
        Frame::Reply(id, answer) => request::write_reply(w, *id, answer),
        Frame::Stats(stats) => request::write_stats(w, stats),
        // Written above.
        Frame::Challenge(_)
        | Frame::Joined
        | Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::Header(_)
        | Frame::Verdict(..)
        | Frame::Data(_)
        | Frame::Seal(_)
        | Frame::Stored(..)
        | Frame::Corrupt(_) => {}
    }
    0
}
