//! Why a transfer is as slow as it is: one line, from where its streams spent their time.
//!
//! Both ends measure, for every stream, what it waits for; floe-proto's causes say what that comes
//! to. Where no cause makes up half of the whole, or the other end has said too little, there is
//! nothing honest to say, and nothing is said.

use floe_proto::causes::{Limit, Limited};
use floe_proto::frame::{Causes, Direction, Priority};

/// Which way the bytes go, and between what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Why {
    direction: Direction,
    /// What the sender reads.
    source: &'static str,
    /// What the receiver writes.
    sink: &'static str,
    priority: Priority,
}

impl Why {
    /// Of a `put` of SRC.
    pub fn of_put(source: &str) -> Self {
        let source = if source == "-" { INPUT } else { SOURCE };
        Self { direction: Direction::Put, source, sink: SINK, priority: Priority::Normal }
    }

    /// Of a `get` to DEST.
    pub fn of_get(dest: &str) -> Self {
        let sink = if dest == "-" { OUTPUT } else { SINK };
        Self { direction: Direction::Get, source: SOURCE, sink, priority: Priority::Normal }
    }

    /// Of one that gives way, or does not.
    pub const fn with(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The limit's name for programs.
    pub fn name(self, limit: Limit) -> &'static str {
        match (limit, self.priority) {
            (Limit::Limiter, Priority::Background) => "background",
            _ => name(limit),
        }
    }

    /// The cause that makes up half of the time or more.
    pub fn limit(self, causes: &Causes) -> Option<Limited> {
        causes.limit(self.direction).filter(|limited| limited.percent >= DOMINATES)
    }

    /// The same in words, as in `87 % waiting for the receiver's disk`.
    pub fn line(self, causes: &Causes) -> Option<String> {
        let limited = self.limit(causes)?;
        Some(format!("{} % {}", limited.percent, self.words(limited.by)))
    }

    fn words(self, limit: Limit) -> String {
        let disk = |which: &str| match which {
            SOURCE | SINK => format!("waiting for {which}; more streams will not help"),
            _ => format!("waiting for {which}"),
        };
        let text = match limit {
            Limit::SourceDisk => return disk(self.source),
            Limit::SinkDisk => return disk(self.sink),
            Limit::Sync => return format!("making durable what came ({SINK})"),
            // What standard output does not take is not recorded, and so not answered.
            Limit::Window if self.sink == OUTPUT => {
                return format!("waiting for {OUTPUT}, or for the receiver's answers");
            }
            Limit::Window => "waiting for the receiver's answers; a larger --window may help",
            Limit::SenderCpu => "hashing and encrypting at the sender",
            Limit::ReceiverCpu => "decrypting and hashing at the receiver",
            Limit::Network => "waiting for the network",
            Limit::Loss => "waiting for the network, which loses packets; more streams may help",
            Limit::PeerSocket => {
                "waiting for the receiver's TCP window; a larger tcp_rmem there, or more streams, \
                 may help"
            }
            Limit::Limiter if self.priority == Priority::Background => {
                "held to what other traffic leaves (--background), or by a limit"
            }
            Limit::Limiter => "held back by a limit (--limit, the ticket's or the server's)",
            Limit::Memory => "waiting for buffers",
        };
        text.to_owned()
    }
}

/// A limit's name for programs.
pub const fn name(limit: Limit) -> &'static str {
    match limit {
        Limit::SourceDisk => "source_disk",
        Limit::SenderCpu => "sender_cpu",
        Limit::Network => "network",
        Limit::Loss => "loss",
        Limit::PeerSocket => "receiver_tcp_window",
        Limit::Window => "window",
        Limit::Limiter => "limiter",
        Limit::SinkDisk => "sink_disk",
        Limit::ReceiverCpu => "receiver_cpu",
        Limit::Sync => "sync",
        Limit::Memory => "memory",
    }
}

const SOURCE: &str = "the sender's disk";
const SINK: &str = "the receiver's disk";
const INPUT: &str = "standard input";
const OUTPUT: &str = "whatever reads standard output";

/// Percent from which on a cause explains the whole.
const DOMINATES: u8 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::Micros;

    const LIMITED: &str = "99 % held back by a limit (--limit, the ticket's or the server's)";

    fn put(causes: Causes) -> Option<String> {
        Why::of_put("a").line(&causes)
    }

    fn get(causes: Causes) -> Option<String> {
        Why::of_get("a").line(&causes)
    }

    #[test]
    fn a_full_socket_is_the_receivers_disk_where_the_receiver_says_so() {
        let causes = Causes {
            source_disk: Micros(8),
            cpu: Micros(5),
            network: Micros(87),
            starved: Micros(11),
            sink_disk: Micros(87),
            ..Causes::default()
        };
        let line = "87 % waiting for the receiver's disk; more streams will not help";
        assert_eq!(put(causes).as_deref(), Some(line));
        assert_eq!(get(causes).as_deref(), Some(line));
        let idle = Causes { sink_disk: Micros(0), starved: Micros(98), ..causes };
        let line = "87 % waiting for the network";
        assert_eq!(put(idle).as_deref(), Some(line));
        let output = Why::of_get("-");
        let line = "87 % waiting for whatever reads standard output";
        assert_eq!(output.line(&causes).as_deref(), Some(line));
        let unanswered = Causes { window: Micros(87), network: Micros(0), ..idle };
        let line = format!("{line}, or for the receiver's answers");
        assert_eq!(output.line(&unanswered), Some(line));
    }

    #[test]
    fn each_cause_has_its_words() {
        let base = Causes { source_disk: Micros(1), starved: Micros(100), ..Causes::default() };
        for (causes, line) in [
            (
                Causes { source_disk: Micros(9), cpu: Micros(1), ..base },
                "90 % waiting for the sender's disk; more streams will not help",
            ),
            (Causes { cpu: Micros(3), ..base }, "75 % hashing and encrypting at the sender"),
            (
                Causes { window: Micros(4), ..base },
                "80 % waiting for the receiver's answers; a larger --window may help",
            ),
            (Causes { limiter: Micros(99), ..base }, LIMITED),
            (
                Causes { window: Micros(2), sync: Micros(4), ..base },
                "80 % making durable what came (the receiver's disk)",
            ),
            (Causes { memory: Micros(9), ..base }, "90 % waiting for buffers"),
            (
                Causes { loss: Micros(9), ..base },
                "90 % waiting for the network, which loses packets; more streams may help",
            ),
            (
                Causes { peer_socket: Micros(9), ..base },
                "90 % waiting for the receiver's TCP window; a larger tcp_rmem there, or more \
                 streams, may help",
            ),
            (
                Causes { network: Micros(9), sink_cpu: Micros(9), ..base },
                "90 % decrypting and hashing at the receiver",
            ),
        ] {
            assert_eq!(put(causes).as_deref(), Some(line), "{causes:?}");
        }
        let input = Why::of_put("-").line(&Causes { source_disk: Micros(9), ..base });
        assert_eq!(input.as_deref(), Some("100 % waiting for standard input"));
        let limited = Causes { network: Micros(99), limiter: Micros(99), ..base };
        let yields = Why::of_get("a").with(Priority::Background);
        let line = "99 % held to what other traffic leaves (--background), or by a limit";
        assert_eq!(yields.line(&limited).as_deref(), Some(line));
        assert_eq!(yields.name(Limit::Limiter), "background");
        assert_eq!(yields.name(Limit::Network), "network");
        assert_eq!(get(limited).as_deref(), Some(LIMITED));
    }

    #[test]
    fn nothing_is_said_where_no_cause_dominates_or_one_end_is_not_heard() {
        assert_eq!(put(Causes::default()), None);
        assert_eq!(get(Causes::default()), None);
        let mixed = Causes {
            source_disk: Micros(40),
            cpu: Micros(30),
            network: Micros(30),
            starved: Micros(100),
            ..Causes::default()
        };
        assert_eq!(put(mixed), None);
        // The receiver has not said yet what it does.
        assert_eq!(put(Causes { network: Micros(100), ..Causes::default() }), None);
        // Nor has the sender.
        let own = Causes { starved: Micros(90), sink_disk: Micros(10), ..Causes::default() };
        assert_eq!(get(own), None);
    }
}
