//! The flags that several commands share, as they stand on the command line.
//!
//! Low level: text is parsed into its type here (sizes, rates, counts), and nothing else is
//! decided; environment and defaults are settled in `settings`. A command's own flags stand in its
//! own file.

use crate::civil;
use clap::builder::styling::{AnsiColor, Styles};
use floe_proto::command::StreamCount;
use floe_proto::frame::{PackLevel, Packing};
use floe_types::{ByteCount, ChunkSize, Limits, Rate, parse_rate};
use std::path::PathBuf;

/// How a command speaks.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct OutputFlags {
    /// Write events as JSON, one object a line, on standard output (on standard error where '-'
    /// sends data to standard output)
    #[arg(long)]
    pub json: bool,
    /// Say nothing but errors: no progress, no summary
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on standard error: each entry (-v), connections (-vv), frames (-vvv)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Where this machine keeps identity, tickets, hosts and locks.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct StateFlag {
    /// The state directory (else FLOE_STATE, else floe below the XDG state directory)
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// How to reach a server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ConnectFlags {
    /// Trust the server with this key fingerprint (else FLOE_KEY); needed only without a ticket and
    /// without 'floe login'
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "plaintext")]
    pub key: Option<String>,
    /// No TLS: anyone between can read the data, and take the connection over once it is let in;
    /// the server must run with --plaintext too
    #[arg(long)]
    pub plaintext: bool,
    /// Prove to the server that this is this client, by its own key ('floe key show --client'); a
    /// ticket that is bound to that needs it. 'floe login' remembers it for the name
    #[arg(long, conflicts_with = "plaintext")]
    pub own_key: bool,
    #[command(flatten)]
    pub state: StateFlag,
}

/// How to move a tree.
#[derive(clap::Args, Clone, Debug)]
pub struct TransferFlags {
    /// TCP connections to use: a number from 1 to 64, or 'auto' (two, or four on a long path, and
    /// more while that makes it a tenth faster: up to 8, or 32)
    #[arg(long, value_name = "N|auto", default_value = "auto", value_parser = streams)]
    pub streams: StreamCount,
    /// Unit that is hashed, acknowledged and sent again: a power of two from 256Ki to 16Mi
    #[arg(long, value_name = "SIZE", default_value = "1Mi", value_parser = chunk)]
    pub chunk: ChunkSize,
    /// Bytes handed to the network and not yet recorded by the receiver: at least a chunk, at most
    /// 256Mi; after a kill at most so much is sent again
    #[arg(long, value_name = "SIZE", default_value = "64Mi", value_parser = window)]
    pub window: ByteCount,
    /// Send at most so much a second: a SIZE, or bits as in 100Mbit
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit: Option<Rate>,
    /// Give way to other traffic on the path: as fast as keeps its queues short, and at 32 KiB/s
    /// at least, over one connection unless --streams says otherwise; a get needs a server that
    /// knows this
    #[arg(long)]
    pub background: bool,
    /// Compress what is sent: 'auto' while the network is the limit and the bytes shrink, 'never',
    /// or a level of zstd from 1 (fast) to 19 (small) for everything that shrinks (pieces up to
    /// 16 KiB: 3 at most); on a get the server may use a lower level; --limit and rates count the
    /// bytes of files
    #[arg(long, value_name = "auto|never|LEVEL", default_value = "auto", value_parser = packing)]
    pub compress: Packing,
    /// The plain dialogue: one stream, one chunk, its digest ahead, every step acknowledged; slow,
    /// for study and for paths that break anything else
    #[arg(long, conflicts_with = "streams")]
    pub lockstep: bool,
    /// Discard what an earlier run left staged, and start over
    #[arg(long)]
    pub no_resume: bool,
    /// Never replace: an object whose final name exists fails (status 9), unless it is there from
    /// this very version of the source
    #[arg(long)]
    pub no_clobber: bool,
    /// Recognise finished objects by hashing what stands there, also where no mark of the source's
    /// version is kept; without it a change there that kept size and time of last change goes
    /// unnoticed
    #[arg(long)]
    pub checksum: bool,
    /// End at the first entry that fails; without it the others go on
    #[arg(long)]
    pub fail_fast: bool,
}

/// Standing text below every help.
pub const AFTER_HELP: &str = "\
Remote names: floe://host[:port]/path (percent-decoded; port 3563 if none is given), or NAME:/path \
(taken as it is) after 'floe login NAME floe://host[:port]'. './a:b' is always local.
SIZE is in bytes, or with k M G T (1000) or Ki Mi Gi Ti (1024) behind the number.

Exit status: 0 done, 1 other, 2 usage, 3 not found, 4 not allowed, 5 integrity, 6 network, 7 no \
space or quota, 8 source changed, 9 exists or already running, 10 some entries failed and the rest \
are committed, 130 interrupted.";

/// Examples, and below them what stands under every help.
pub fn after_help(examples: &str) -> String {
    format!("{examples}\n\n{AFTER_HELP}")
}

/// How help looks on a terminal.
pub const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Reads a number of streams.
///
/// # Errors
/// What is wrong with it.
pub fn streams(text: &str) -> Result<StreamCount, String> {
    if text == "auto" {
        return Ok(StreamCount::Auto);
    }
    let most = Limits::default().streams_max;
    match text.parse::<u32>() {
        Ok(count) if (1..=most).contains(&count) => Ok(StreamCount::Fixed(count)),
        _ => Err(format!("a number from 1 to {most}, or 'auto'")),
    }
}

/// Reads how to compress.
///
/// # Errors
/// What is wrong with it.
pub fn packing(text: &str) -> Result<Packing, String> {
    let level = || text.parse().ok().and_then(PackLevel::new).map(Packing::Level);
    match text {
        "auto" => Ok(Packing::Auto),
        "never" => Ok(Packing::Never),
        _ => level().ok_or_else(|| "'auto', 'never' or a level from 1 to 19".to_owned()),
    }
}

fn chunk(text: &str) -> Result<ChunkSize, String> {
    let size = civil::parse_bytes(text)?;
    ChunkSize::new(size.0).ok_or_else(|| "a chunk is a power of two from 256Ki to 16Mi".to_owned())
}

fn window(text: &str) -> Result<ByteCount, String> {
    let size = civil::parse_bytes(text)?;
    let most = Limits::default().window_bytes_max;
    if size < ChunkSize::MIN.bytes() || size > most {
        return Err("a window is at least a chunk (256Ki or more) and at most 256Mi".to_owned());
    }
    Ok(size)
}

pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    parse_rate(text).map_err(|_| {
        "a rate is a size per second (20M, 5Mi) or in bits (100Mbit), and not zero".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_sizes_and_rates_are_checked_where_they_are_typed() {
        assert_eq!(streams("auto"), Ok(StreamCount::Auto));
        assert_eq!(streams("8"), Ok(StreamCount::Fixed(8)));
        for bad in ["0", "65", "-1", "two", ""] {
            assert!(streams(bad).is_err(), "{bad}");
        }
        assert_eq!(packing("auto"), Ok(Packing::Auto));
        assert_eq!(packing("19"), Ok(Packing::Level(PackLevel::MAX)));
        for bad in ["0", "20", "-1", "always", "256", ""] {
            assert!(packing(bad).is_err(), "{bad}");
        }
        assert_eq!(chunk("16Mi"), Ok(ChunkSize::MAX));
        for bad in ["0", "1M", "128Ki", "32Mi", "x"] {
            assert!(chunk(bad).is_err(), "{bad}");
        }
        assert_eq!(window("4Mi"), Ok(ByteCount(4 << 20)));
        for bad in ["0", "1", "257Mi", "1T"] {
            assert!(window(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("100Mbit").map(Rate::bytes_per_sec), Ok(12_500_000));
        assert!(rate("0").is_err());
    }
}
