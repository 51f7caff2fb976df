//! What compression did, in words: one line of a summary.

use crate::civil;
use floe_proto::command::Summary;
use floe_proto::frame::Packing;
use floe_types::ByteCount;

/// How much is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// What was compressed.
    Short,
    /// And what was not, and why.
    Full,
}

/// The line, if there is anything to say.
pub fn line(sums: &Summary, packing: Packing, detail: Detail) -> Option<String> {
    let packed = sums.packed;
    if packed.saved > ByteCount::ZERO {
        let (sent, wire) = (civil::bytes(sums.bytes_sent), civil::bytes(on_wire(sums)));
        let less = if packed.bytes < sums.bytes_sent {
            format!(", {} of it compressed", civil::bytes(packed.bytes))
        } else {
            ", all of it compressed".to_owned()
        };
        let more = match (detail, packed.unshrunk) {
            (Detail::Full, some) if some > ByteCount::ZERO => {
                format!("; {} tried and not shrunk", civil::bytes(some))
            }
            _ => String::new(),
        };
        return Some(format!("{sent} went as {wire}{less}{more}"));
    }
    if detail == Detail::Short || sums.bytes_sent == ByteCount::ZERO {
        return None;
    }
    match (packing, packed.unshrunk) {
        (Packing::Never, _) => None,
        (_, tried) if tried > ByteCount::ZERO => {
            Some(format!("not compressed: {} were tried and did not shrink", civil::bytes(tried)))
        }
        (Packing::Auto, _) => Some("not compressed: the network was not the limit".to_owned()),
        (Packing::Level(_), _) => Some("not compressed: nothing shrank".to_owned()),
    }
}

/// Bytes of file contents as they went over the network.
pub fn on_wire(sums: &Summary) -> ByteCount {
    sums.bytes_sent.minus(sums.packed.saved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_proto::command::Packed;

    fn sums(bytes: u64, saved: u64, unshrunk: u64) -> Summary {
        let packed = Packed {
            bytes: ByteCount(bytes),
            saved: ByteCount(saved),
            unshrunk: ByteCount(unshrunk),
        };
        Summary { bytes_sent: ByteCount(4 << 20), packed, ..Summary::default() }
    }

    fn both(sums: &Summary, packing: Packing) -> [Option<String>; 2] {
        [Detail::Short, Detail::Full].map(|detail| line(sums, packing, detail))
    }

    #[test]
    fn bytes_on_the_network_stand_beside_those_of_the_files() {
        let all = Some("4.00 MiB went as 1.00 MiB, all of it compressed".to_owned());
        assert_eq!(both(&sums(4 << 20, 3 << 20, 0), Packing::Auto), [all.clone(), all]);
        let part = "4.00 MiB went as 3.00 MiB, 2.00 MiB of it compressed".to_owned();
        let more = format!("{part}; 256.00 KiB tried and not shrunk");
        assert_eq!(
            both(&sums(2 << 20, 1 << 20, 256 << 10), Packing::Auto),
            [Some(part), Some(more)]
        );
    }

    #[test]
    fn why_nothing_was_compressed_is_said_to_who_asks() {
        let said = |unshrunk, packing| {
            let [normal, verbose] = both(&sums(0, 0, unshrunk), packing);
            assert_eq!(normal, None);
            verbose
        };
        assert_eq!(said(0, Packing::Never), None);
        let limit = "not compressed: the network was not the limit";
        assert_eq!(said(0, Packing::Auto).as_deref(), Some(limit));
        let tried = "not compressed: 1.00 MiB were tried and did not shrink";
        assert_eq!(said(1 << 20, Packing::Auto).as_deref(), Some(tried));
    }
}
