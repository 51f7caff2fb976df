//! Whether a byte that changes on the way leaves names, and texts of links, alone.
//!
//! In plaintext nothing vouches for frames that carry no bytes. A name that became another is a
//! command that nobody gave, and no oracle can tell it from one that somebody did; the text of a
//! link is all of it.

use floe_engine::buffer::Piece;
use floe_proto::codec::{Decoded, Decoder};
use floe_proto::frame::{EntryBody, Frame, Request};
use floe_types::{Limits, ObjectPath};

/// What a frame names.
#[derive(PartialEq, Eq)]
enum Names<'a> {
    Path(&'a ObjectPath),
    Entries(Vec<(&'a ObjectPath, Option<&'a [u8]>)>),
    Asks(&'a Request),
    None,
}

/// Whether the bytes, if they can be read as a frame at all, name what `frame` names.
pub(super) fn keeps_names(frame: &Frame<Piece>, bytes: &[u8]) -> bool {
    let names = names_of(frame);
    let mut decoder = Decoder::new(&Limits::default());
    decoder.enter_session();
    let read = decoder.feed::<Piece>(bytes);
    match read.map(|fed| fed.decoded) {
        Ok(Some(Decoded::Frame(read))) => {
            let now = names_of(&read);
            now == names || names != Names::None && now == Names::None
        }
        _ => true,
    }
}

fn names_of<P>(frame: &Frame<P>) -> Names<'_> {
    match frame {
        Frame::Open(open) => Names::Path(&open.path),
        Frame::Entries(_, list) => Names::Entries(
            list.iter()
                .map(|entry| match &entry.body {
                    EntryBody::Link { target, .. } => (&entry.path, Some(target.as_slice())),
                    _ => (&entry.path, None),
                })
                .collect(),
        ),
        Frame::Request(_, request) => Names::Asks(request),
        _ => Names::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_proto::codec::encode;
    use floe_types::RequestId;

    #[test]
    fn a_name_that_became_another_is_seen() {
        let path = ObjectPath::parse(b"c0/Put").unwrap();
        let frame = Frame::<Piece>::Request(RequestId(0), Request::MakeDirectory { path });
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes).unwrap();
        assert!(keeps_names(&frame, &bytes));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert!(!keeps_names(&frame, &bytes), "c0/Puu");
        bytes[0] ^= 0x40;
        assert!(keeps_names(&frame, &bytes), "too long a frame is none");
    }
}
