//! Cold frames of the greeting, and CLOSE.

use super::bounds::{KEY_BYTES_MAX, SIGNATURE_BYTES_MAX, bad};
use super::cbor::{Field, Key, Reader, Writer};
use crate::command::Violation;
use crate::frame::{Hello, Join, Successor, TicketProof, Verbs, Welcome};
use floe_types::{Fault, Limits, Micros};

/// The longest piece that may be agreed is at least this, so that the smallest share fits.
const PIECE_BYTES_LEAST: u64 = 64 << 10;
/// The longest that may be agreed: a whole chunk.
const PIECE_BYTES_MOST: u64 = super::bounds::CHUNK_BYTES_MAX;

pub(super) fn read_hello(r: &mut Reader<'_>) -> Result<Hello, Violation> {
    let (mut abilities, mut client) = (Field::new(), Field::new());
    let (mut ticket, mut signature) = (Field::new(), Field::new());
    let mut agent = Field::new();
    r.map(|r, key| match key {
        0 => abilities.set(r.uint()),
        1 => client.set(r.fixed()),
        2 => ticket.set(r.fixed()),
        3 => signature.set(r.fixed()),
        4 => agent.set(r.agent()),
        _ => Ok(Key::Unknown),
    })?;
    let proof = match (ticket.maybe(), signature.maybe()) {
        (Some(ticket), Some(signature)) => Some(TicketProof { ticket, signature }),
        (None, None) => None,
        _ => return bad("a ticket without a signature, or the reverse"),
    };
    let (abilities, client) = (abilities.need()?, client.need()?);
    Ok(Hello { abilities, client, proof, agent: agent.need()? })
}

pub(super) fn write_hello(w: &mut Writer<'_>, hello: &Hello) {
    let proven = hello.proof.is_some();
    w.map(3, &[proven, proven]).uint(0).uint(hello.abilities).uint(1).bytes(&hello.client);
    if let Some(proof) = &hello.proof {
        w.uint(2).bytes(&proof.ticket).uint(3).bytes(&proof.signature);
    }
    w.uint(4).agent(&hello.agent);
}

pub(super) fn read_welcome(r: &mut Reader<'_>) -> Result<Welcome, Violation> {
    let (mut abilities, mut session, mut secret) = (Field::new(), Field::new(), Field::new());
    let (mut verbs, mut piece, mut streams) = (Field::new(), Field::new(), Field::new());
    let (mut ahead, mut agent, mut next_key) = (Field::new(), Field::new(), Field::new());
    let (mut scheme, mut signature, mut until) = (Field::new(), Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => abilities.set(r.uint()),
        1 => session.set(r.fixed()),
        2 => secret.set(r.fixed()),
        3 => verbs.set(r.uint()),
        4 => piece.set(r.at_most(PIECE_BYTES_MOST)),
        5 => streams.set(r.u32()),
        6 => ahead.set(r.u32()),
        7 => agent.set(r.agent()),
        8 => next_key.set(r.bytes(KEY_BYTES_MAX).map(<[u8]>::to_vec)),
        9 => scheme.set(r.at_most(u16::MAX.into())),
        10 => signature.set(r.bytes(SIGNATURE_BYTES_MAX).map(<[u8]>::to_vec)),
        11 => until.set(r.at_most(i64::MAX as u64)),
        _ => Ok(Key::Unknown),
    })?;
    let told = (next_key.maybe(), scheme.maybe(), signature.maybe(), until.maybe());
    let successor = match told {
        (Some(key), Some(scheme), Some(signature), Some(until)) => {
            let scheme = u16::try_from(scheme).or(bad("a scheme above 16 bits"))?;
            Some(Successor { key, scheme, signature, until })
        }
        (None, None, None, None) => None,
        _ => return bad("a part of another key"),
    };
    let (piece, streams_max, entries_ahead_max) = (piece.need()?, streams.need()?, ahead.need()?);
    if piece < PIECE_BYTES_LEAST || streams_max == 0 || entries_ahead_max == 0 {
        return bad("a bound that leaves no room");
    }
    let known = Verbs::ALL.and(Verbs::UNCHANGING);
    let known = u8::try_from(verbs.need()? & u64::from(known.0)).unwrap_or(0);
    Ok(Welcome {
        abilities: abilities.need()?,
        session: session.need()?,
        secret: secret.need()?,
        verbs: Verbs(known),
        piece_bytes_max: u32::try_from(piece).or(bad("a piece above its bound"))?,
        streams_max,
        entries_ahead_max,
        agent: agent.need()?,
        successor,
    })
}

pub(super) fn write_welcome(w: &mut Writer<'_>, welcome: &Welcome) {
    let told = welcome.successor.is_some();
    w.map(8, &[told; 4]).uint(0).uint(welcome.abilities);
    w.uint(1).bytes(&welcome.session).uint(2).bytes(&welcome.secret);
    w.uint(3).uint(welcome.verbs.0.into()).uint(4).uint(welcome.piece_bytes_max.into());
    w.uint(5).uint(welcome.streams_max.into()).uint(6).uint(welcome.entries_ahead_max.into());
    w.uint(7).agent(&welcome.agent);
    if let Some(Successor { key, scheme, signature, until }) = &welcome.successor {
        w.uint(8).bytes(key).uint(9).uint(u64::from(*scheme));
        w.uint(10).bytes(signature).uint(11).uint(*until);
    }
}

pub(super) fn read_join(r: &mut Reader<'_>) -> Result<Join, Violation> {
    let (mut session, mut mac) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => session.set(r.fixed()),
        1 => mac.set(r.fixed()),
        _ => Ok(Key::Unknown),
    })?;
    Ok(Join { session: session.need()?, mac: mac.need()? })
}

pub(super) fn write_join(w: &mut Writer<'_>, join: &Join) {
    w.map(2, &[]).uint(0).bytes(&join.session).uint(1).bytes(&join.mac);
}

pub(super) fn read_busy(r: &mut Reader<'_>) -> Result<Micros, Violation> {
    let mut after = Field::new();
    r.map(|r, key| match key {
        0 => after.set(r.micros()),
        _ => Ok(Key::Unknown),
    })?;
    after.need()
}

pub(super) fn write_busy(w: &mut Writer<'_>, after: Micros) {
    w.map(1, &[]).uint(0).uint(after.0);
}

pub(super) fn read_close(r: &mut Reader<'_>) -> Result<Option<Fault>, Violation> {
    let mut fault = Field::new();
    r.map(|r, key| match key {
        0 => fault.set(r.fault()),
        _ => Ok(Key::Unknown),
    })?;
    Ok(fault.maybe())
}

pub(super) fn write_close(w: &mut Writer<'_>, fault: Option<&Fault>) {
    w.map(0, &[fault.is_some()]);
    if let Some(fault) = fault {
        w.uint(0).fault(fault);
    }
}

const _: () = assert!(Limits::PIECE_BYTES as u64 >= PIECE_BYTES_LEAST);
