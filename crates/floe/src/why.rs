//! Why a transfer is as slow as it is: one line, from where its streams spent their time.
//!
//! Both ends measure, for every stream, what it waits for (floe-proto's causes). The sender's times
//! make up the whole; what it spent on a full socket or window is the receiver's disk, as far as
//! the receiver says that it was busy with that. Where no cause makes up half of the whole, or the
//! other end has said too little, there is nothing honest to say, and nothing is said.

use floe_proto::frame::Causes;
use floe_types::Micros;

/// Which way the bytes go, and between what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Why {
    way: Way,
    /// What the sender reads.
    source: &'static str,
    /// What the receiver writes.
    sink: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Put,
    Get,
}

impl Why {
    /// Of a `put` of SRC.
    pub fn of_put(source: &str) -> Self {
        let source = if source == "-" { INPUT } else { SOURCE };
        Self { way: Way::Put, source, sink: SINK }
    }

    /// Of a `get` to DEST.
    pub fn of_get(dest: &str) -> Self {
        let sink = if dest == "-" { OUTPUT } else { SINK };
        Self { way: Way::Get, source: SOURCE, sink }
    }

    /// The cause that makes up half of the time or more, as in `87 % waiting for the receiver's
    /// disk`.
    pub fn line(self, causes: &Causes) -> Option<String> {
        if !self.is_heard(causes) {
            return None;
        }
        let shares = self.shares(causes);
        let whole: u128 = shares.iter().map(|(_, time)| u128::from(*time)).sum();
        let (what, most) = shares.into_iter().max_by_key(|(_, time)| *time)?;
        let percent = (u128::from(most) * 100).checked_div(whole)?;
        (percent >= DOMINATES).then(|| format!("{percent} % {what}"))
    }

    /// Whether the other end, which tells its times now and then, has told enough of them.
    fn is_heard(self, causes: &Causes) -> bool {
        let sender = sum(&[causes.source_disk, causes.cpu, causes.network, causes.window]);
        let receiver = sum(&[causes.starved, causes.sink_disk, causes.memory]);
        match self.way {
            Way::Put => receiver.saturating_add(causes.sync.0) >= sender / 4,
            Way::Get => sender > 0 && sender >= receiver / 4,
        }
    }

    /// What the sender's time went to, in words, and making durable, for which it has none.
    fn shares(self, causes: &Causes) -> [(String, u64); 8] {
        // A window can be full because what came is just being made durable.
        let window = causes.window.0.saturating_sub(causes.sync.0);
        let waiting = causes.network.0.saturating_add(window);
        let theirs_limiter = if self.way == Way::Get { causes.limiter.0 } else { 0 };
        let theirs = [causes.sink_disk.0, causes.memory.0, theirs_limiter];
        let busy = sum(&theirs.map(Micros));
        let taken = waiting.min(busy);
        let [sink, memory, limiter] = theirs.map(|time| part(time, taken, busy));
        let rest = waiting - taken;
        // A sender is short of buffers, too, and a put is limited where it is sent.
        let memory = memory.max(if self.way == Way::Put { causes.memory.0 } else { 0 });
        let limiter = if self.way == Way::Put { causes.limiter.0 } else { limiter };
        // What standard output does not take is not recorded, and so not answered.
        let answers = match self.sink {
            OUTPUT => format!("waiting for {OUTPUT}, or for the receiver's answers"),
            _ => "waiting for the receiver's answers; a larger --window may help".to_owned(),
        };
        let disk = |which: &str| match which {
            SOURCE | SINK => format!("waiting for {which}; more streams will not help"),
            _ => format!("waiting for {which}"),
        };
        [
            (disk(self.source), causes.source_disk.0),
            ("hashing and encrypting at the sender".to_owned(), causes.cpu.0),
            (
                "waiting for the network, or the receiver's CPU".to_owned(),
                part(causes.network.0, rest, waiting),
            ),
            (answers, part(window, rest, waiting)),
            ("held back by --limit".to_owned(), limiter),
            (disk(self.sink), sink),
            (format!("making durable what came ({SINK})"), causes.sync.0),
            ("waiting for buffers".to_owned(), memory),
        ]
    }
}

const SOURCE: &str = "the sender's disk";
const SINK: &str = "the receiver's disk";
const INPUT: &str = "standard input";
const OUTPUT: &str = "whatever reads standard output";

/// Percent from which on a cause explains the whole.
const DOMINATES: u128 = 50;

fn sum(times: &[Micros]) -> u64 {
    times.iter().fold(0, |sum, time| sum.saturating_add(time.0))
}

/// `time * taken / all`.
fn part(time: u64, taken: u64, all: u64) -> u64 {
    let scaled = (u128::from(time) * u128::from(taken)).checked_div(u128::from(all)).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let line = "87 % waiting for the network, or the receiver's CPU";
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
            (Causes { limiter: Micros(99), ..base }, "99 % held back by --limit"),
            (
                Causes { window: Micros(2), sync: Micros(4), ..base },
                "80 % making durable what came (the receiver's disk)",
            ),
            (Causes { memory: Micros(9), ..base }, "90 % waiting for buffers"),
        ] {
            assert_eq!(put(causes).as_deref(), Some(line), "{causes:?}");
        }
        let input = Why::of_put("-").line(&Causes { source_disk: Micros(9), ..base });
        assert_eq!(input.as_deref(), Some("100 % waiting for standard input"));
        let limited = Causes { network: Micros(99), limiter: Micros(99), ..base };
        assert_eq!(get(limited).as_deref(), Some("99 % held back by --limit"));
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
