//! What figures say: what a put and a get will come to, what limits them, and what would help.
//!
//! Disks are read and written while the network carries, so the slowest stage decides. The path is
//! measured with all that its bytes need: its rate holds hash and cipher of both ends, but not the
//! copies to and from files. Where a processor is the limit it makes those as well. Pure.

use crate::civil;
use crate::why;
use floe_proto::causes::Limit;
use floe_proto::frame::Speeds;
use floe_types::{ByteCount, DiskSpeed, Micros};

/// What was measured, or why it was not.
pub type Found<T> = std::result::Result<T, String>;

/// A rate of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Bytes a second, once it has gathered speed.
    pub rate: u64,
    /// The average of the first ten seconds.
    pub early: u64,
    /// Connections at the end.
    pub streams: u32,
    /// What its streams waited for most.
    pub limit: Option<Limit>,
}

/// One way of the path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// With one stream.
    pub one: Path,
    /// With as many as floe chooses.
    pub many: Path,
}

/// All that was measured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figures {
    /// This machine's disk.
    pub disk: Found<DiskSpeed>,
    /// One core of this machine.
    pub hash: ByteCount,
    /// The same.
    pub cipher: Found<ByteCount>,
    /// The server's own.
    pub server: Found<Speeds>,
    /// To the server.
    pub up: Found<Way>,
    /// From it.
    pub down: Found<Way>,
}

/// A figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measured {
    /// Bytes a second.
    Rate(u64),
    /// How long something takes.
    Time(Micros),
    /// It was not measured.
    Nothing,
}

/// A line of the table.
pub struct Stage {
    /// Its name for programs.
    pub id: &'static str,
    /// For people.
    name: &'static str,
    /// Its figure.
    pub measured: Measured,
    /// What is worth knowing; why there is no figure.
    pub note: String,
}

/// What a transfer will come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forecast {
    verb: &'static str,
    /// Bytes a second, once it has gathered speed.
    pub rate: u64,
    /// The average of its first ten seconds.
    pub early: u64,
    /// What limits it, for programs.
    pub limit: &'static str,
    words: &'static str,
    /// What would help.
    pub helps: &'static str,
    /// A stage that was not measured, and may be slower.
    pub missing: Option<&'static str>,
}

/// What a put will come to.
pub fn put(figures: &Figures) -> Option<Forecast> {
    let here = figures.disk.as_ref().ok().map(|disk| Pass {
        rate: disk.read,
        limit: "local_disk_read",
        words: "reading this machine's disk",
        helps: DISK_HERE,
    });
    let there = figures.server.as_ref().ok().map(|server| Pass {
        rate: server.disk.write,
        limit: "server_disk_write",
        words: "writing the server's disk",
        helps: DISK_THERE,
    });
    let copies = Copies {
        sender: figures.disk.as_ref().ok().map(|disk| disk.copied_out),
        receiver: figures.server.as_ref().ok().map(|server| server.disk.copied_in),
    };
    slowest("put", &figures.up, copies, [here, there])
}

/// What a get will come to.
pub fn get(figures: &Figures) -> Option<Forecast> {
    let here = figures.disk.as_ref().ok().map(|disk| Pass {
        rate: disk.write,
        limit: "local_disk_write",
        words: "writing this machine's disk",
        helps: DISK_HERE,
    });
    let there = figures.server.as_ref().ok().map(|server| Pass {
        rate: server.disk.read,
        limit: "server_disk_read",
        words: "reading the server's disk",
        helps: DISK_THERE,
    });
    let copies = Copies {
        sender: figures.server.as_ref().ok().map(|server| server.disk.copied_out),
        receiver: figures.disk.as_ref().ok().map(|disk| disk.copied_in),
    };
    slowest("get", &figures.down, copies, [here, there])
}

/// How fast the processors of both ends copy to and from files, as far as that was measured.
struct Copies {
    sender: Option<ByteCount>,
    receiver: Option<ByteCount>,
}

impl Copies {
    /// What a path comes to whose limit is a processor that copies as well.
    fn with(&self, rate: u64, limit: Option<Limit>) -> u64 {
        let copies = match end_of(limit) {
            Some(End::Sender) => self.sender,
            Some(End::Receiver) => self.receiver,
            None => None,
        };
        let Some(ByteCount(copies)) = copies else { return rate };
        let both = u128::from(rate) + u128::from(copies);
        let product = u128::from(rate) * u128::from(copies);
        u64::try_from(product / both.max(1)).unwrap_or(rate)
    }
}

/// Whose processor it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Sender,
    Receiver,
}

/// The end whose processor limits a path on which no disk is.
const fn end_of(limit: Option<Limit>) -> Option<End> {
    match limit {
        Some(Limit::SenderCpu | Limit::SourceDisk) => Some(End::Sender),
        Some(Limit::ReceiverCpu | Limit::SinkDisk | Limit::Sync) => Some(End::Receiver),
        _ => None,
    }
}

/// What every byte passes: the disk of an end, or the path between.
struct Pass {
    rate: ByteCount,
    limit: &'static str,
    words: &'static str,
    helps: &'static str,
}

const DISK_HERE: &str = "a faster disk here; more streams will not";
const DISK_THERE: &str = "a faster disk there; more streams will not";

fn slowest(
    verb: &'static str,
    way: &Found<Way>,
    copies: Copies,
    disks: [Option<Pass>; 2],
) -> Option<Forecast> {
    let Path { rate, early, limit, .. } = way.as_ref().ok()?.many;
    let (rate, early) = (copies.with(rate, limit), copies.with(early, limit));
    let (words, helps) = path_words(limit);
    let limit = limit.map_or("path", why::name);
    let missing = match &disks {
        [None, _] => Some("this machine's disk"),
        [_, None] => Some("the server's disk"),
        _ => None,
    };
    let path = Pass { rate: ByteCount(rate), limit, words, helps };
    let slowest = disks.into_iter().flatten().chain([path]).min_by_key(|stage| stage.rate)?;
    let Pass { rate, limit, words, helps } = slowest;
    let early = early.min(rate.0);
    Some(Forecast { verb, rate: rate.0, early, limit, words, helps, missing })
}

const PROCESSOR: &str = "a faster one, or more of its time";

/// What limits a path on which no disk is, and what would help.
const fn path_words(limit: Option<Limit>) -> (&'static str, &'static str) {
    match limit {
        Some(Limit::SenderCpu | Limit::SourceDisk) => ("the sender's processor", PROCESSOR),
        Some(Limit::ReceiverCpu | Limit::SinkDisk | Limit::Sync) => {
            ("the receiver's processor", PROCESSOR)
        }
        Some(Limit::Loss) => (
            "losses on the path",
            "BBR at the sender (sysctl net.ipv4.tcp_congestion_control=bbr), or more --streams",
        ),
        Some(Limit::PeerSocket) => (
            "the window of the receiver's TCP",
            "a larger net.ipv4.tcp_rmem at the receiver, or more --streams",
        ),
        Some(Limit::Window) => ("the window of the transfer", "a larger --window"),
        Some(Limit::Memory) => ("buffers", "floe serve --memory with more, or fewer clients"),
        Some(Limit::Limiter) => ("a rate limit", "taking it away"),
        Some(Limit::Network) => ("the network", "a faster one; more streams will not"),
        None => ("the path; what of it is not known", "a look at both ends while it runs"),
    }
}

/// The lines of the table, in the order of a put and then of a get.
pub fn stages(figures: &Figures) -> Vec<Stage> {
    let stage = |id, name, measured, note| Stage { id, name, measured, note };
    let figure = |id, name, found: Found<Measured>| match found {
        Ok(measured) => stage(id, name, measured, String::new()),
        Err(why) => stage(id, name, Measured::Nothing, why),
    };
    let rate = |rate: ByteCount| Measured::Rate(rate.0);
    let here =
        |what: fn(&DiskSpeed) -> Measured| figures.disk.as_ref().map(what).map_err(String::clone);
    let there =
        |what: fn(&Speeds) -> Measured| figures.server.as_ref().map(what).map_err(String::clone);
    let path = |id, name, way: &Found<Way>, which: fn(&Way) -> Path| match way {
        Ok(way) => {
            let Path { rate, streams, limit, .. } = which(way);
            let plural = if streams == 1 { "stream" } else { "streams" };
            let limit = limit.map(|limit| format!(", limit: {}", why::name(limit)));
            let note = format!("{streams} {plural}{}", limit.unwrap_or_default());
            stage(id, name, Measured::Rate(rate), note)
        }
        Err(why) => stage(id, name, Measured::Nothing, why.clone()),
    };
    vec![
        figure("local_disk_read", "disk here, read", here(|disk| Measured::Rate(disk.read.0))),
        figure(
            "local_disk_write",
            "disk here, written and synced",
            here(|disk| Measured::Rate(disk.write.0)),
        ),
        figure("local_sync", "disk here, a sync", here(|disk| Measured::Time(disk.sync))),
        figure(
            "local_copy_out",
            "memory here, read from a file",
            here(|disk| Measured::Rate(disk.copied_out.0)),
        ),
        figure(
            "local_copy_in",
            "memory here, written to a file",
            here(|disk| Measured::Rate(disk.copied_in.0)),
        ),
        figure("local_hash", "hash here, one core", Ok(rate(figures.hash))),
        figure("local_cipher", "cipher here, one core", figures.cipher.clone().map(rate)),
        path("to_server_one", "to the server, one stream", &figures.up, |way| way.one),
        path("to_server", "to the server", &figures.up, |way| way.many),
        path("from_server_one", "from the server, one stream", &figures.down, |way| way.one),
        path("from_server", "from the server", &figures.down, |way| way.many),
        figure("server_hash", "hash there, one core", there(|it| Measured::Rate(it.hash.0))),
        figure("server_cipher", "cipher there, one core", there(|it| Measured::Rate(it.cipher.0))),
        figure(
            "server_disk_write",
            "disk there, written and synced",
            there(|it| Measured::Rate(it.disk.write.0)),
        ),
        figure(
            "server_copy_in",
            "memory there, written to a file",
            there(|it| Measured::Rate(it.disk.copied_in.0)),
        ),
        figure(
            "server_copy_out",
            "memory there, read from a file",
            there(|it| Measured::Rate(it.disk.copied_out.0)),
        ),
        figure("server_sync", "disk there, a sync", there(|it| Measured::Time(it.disk.sync))),
        figure("server_disk_read", "disk there, read", there(|it| Measured::Rate(it.disk.read.0))),
    ]
}

/// For people.
pub fn table(figures: &Figures) -> String {
    let line = |stage: Stage| {
        let measured = match stage.measured {
            Measured::Rate(rate) => text(rate),
            Measured::Time(time) => {
                let (ms, us) = (time.0 / 1000, time.0 % 1000);
                format!("{ms}.{us:03} ms")
            }
            Measured::Nothing => "-".to_owned(),
        };
        format!("{:<30} {measured:>14}   {}", stage.name, stage.note).trim_end().to_owned()
    };
    let mut lines: Vec<String> = stages(figures).into_iter().map(line).collect();
    for forecast in [put(figures), get(figures)].into_iter().flatten() {
        let Forecast { verb, rate, early, words, helps, missing, .. } = forecast;
        let about = if missing.is_some() { "at most" } else { "about" };
        let but = missing.map(|what| format!(" ({what} was not measured)")).unwrap_or_default();
        let slow_start = early < rate - rate / 10;
        let first = slow_start.then(|| format!(", {} in its first 10 s", text(early)));
        let (rate, first) = (text(rate), first.unwrap_or_default());
        lines.push(format!(
            "{verb}: {about} {rate}{but}{first}, limited by {words}; what would help: {helps}"
        ));
    }
    lines.push(OF_WHAT.to_owned());
    lines.join("\n")
}

const OF_WHAT: &str = "of one large file, between disks that have nothing else to do; many slow \
                       down after more than 252 MiB";

fn text(rate: u64) -> String {
    format!("{}/s", civil::bytes(ByteCount(rate)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn mib(rate: u64) -> ByteCount {
        ByteCount(rate * MIB)
    }

    fn figures(read: u64, up: u64, limit: Option<Limit>, write: Found<u64>) -> Figures {
        let path = Path { rate: up * MIB, early: up * MIB * 3 / 4, streams: 2, limit };
        let sync = Micros(1500);
        let plain = DiskSpeed {
            read: mib(1),
            write: mib(1),
            sync,
            copied_in: mib(300),
            copied_out: mib(900),
        };
        let disk = DiskSpeed { read: mib(read), ..plain };
        let server = write.map(|write| {
            let disk = DiskSpeed { write: mib(write), ..plain };
            Speeds { disk, hash: mib(1), cipher: mib(1) }
        });
        Figures {
            disk: Ok(disk),
            hash: mib(1),
            cipher: Err("plaintext".to_owned()),
            server,
            up: Ok(Way { one: path, many: path }),
            down: Err("no".to_owned()),
        }
    }

    #[test]
    fn the_slowest_stage_is_the_forecast_and_named() {
        let lossy = Some(Limit::Loss);
        for (figures, rate, limit) in [
            (figures(50, 100, lossy, Ok(90)), 50, "local_disk_read"),
            (figures(500, 100, lossy, Ok(30)), 30, "server_disk_write"),
            (figures(500, 90, lossy, Ok(100)), 90, "loss"),
            (figures(500, 100, None, Err("refused".to_owned())), 100, "path"),
        ] {
            let forecast = put(&figures).unwrap();
            assert_eq!((forecast.rate, forecast.limit), (rate * MIB, limit));
            assert_eq!(forecast.early, figures.up.as_ref().unwrap().many.early.min(rate * MIB));
            assert_eq!(forecast.missing.is_some(), figures.server.is_err());
            assert_eq!(get(&figures), None);
        }
    }

    #[test]
    fn a_processor_that_is_the_limit_copies_as_well() {
        for (limit, rate) in [(Limit::SenderCpu, 90), (Limit::ReceiverCpu, 75)] {
            let figures = figures(500, 100, Some(limit), Ok(120));
            let forecast = put(&figures).unwrap();
            assert_eq!((forecast.rate / MIB, forecast.limit), (rate, why::name(limit)));
            assert!(forecast.early < forecast.rate);
            let unknown = Figures { server: Err("no".into()), disk: Err("no".into()), ..figures };
            assert_eq!(put(&unknown).unwrap().rate, 100 * MIB);
        }
    }

    #[test]
    fn a_table_says_what_is_missing_and_what_would_help() {
        let text = table(&figures(500, 95, Some(Limit::Network), Ok(100)));
        let cipher = "cipher here, one core                       -   plaintext";
        assert!(text.contains(cipher), "{text}");
        assert!(text.contains("1.500 ms"), "{text}");
        assert!(text.contains("95.00 MiB/s   2 streams, limit: network"), "{text}");
        let put = text.lines().rev().nth(1).unwrap();
        let first =
            "put: about 95.00 MiB/s, 71.25 MiB/s in its first 10 s, limited by the network; ";
        assert!(put.starts_with(first), "{put}");
    }
}
