//! What small files cost on a long path: from the start of a session until the first stands under
//! its name, and each further one in the same session, by the Rust API, counted in round trips.
//! The call returns one round trip later: the server says that it heard of it.

use crate::Result;
use crate::content::Content;
use crate::figure::{Figure, number};
use crate::joined::{Joined, Setting};
use crate::process::Process;
use crate::report::machine;
use crate::session;
use crate::site::End;
use floe_engine::client::{Client, Connect, Credential, LocalSink, Notice, Retry, watch};
use floe_engine::secure::Security;
use floe_engine::ticket::Ticket;
use floe_proto::command::{StreamCount, TransferOptions};
use floe_types::{ByteCount, Limits, ObjectPath};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options of `floe-bench further`.
#[derive(clap::Args, Clone, Debug)]
pub struct FurtherArgs {
    /// Round-trip times, milliseconds
    #[arg(long, value_delimiter = ',', default_value = "100")]
    rtt: Vec<u64>,
    /// Sessions
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Files of a session, the first among them
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(2..))]
    files: u32,
    /// Where files lie (tmpfs)
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
}

/// One session, as the program at the near end.
#[derive(clap::Args, Clone, Debug)]
pub struct Fetch {
    host: String,
    files: u32,
}

/// Of one file, in round trips.
#[derive(Clone, Copy, Debug)]
struct Time {
    /// Until it stood under its name,
    stands: f64,
    /// and until the call returned.
    returns: f64,
}

const SIZE: ByteCount = ByteCount(1 << 10);
const BITS: u64 = 200_000_000;
const PORT: u16 = 25_300;
/// Round trips from the start of a session to the last byte of its first file, at most,
const FIRST_MAX: f64 = 5.0;
/// and for a further one.
const FURTHER_MAX: f64 = 1.5;

/// Measures and prints; fails where one takes more round trips than it may.
pub fn run(args: &FurtherArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    machine().iter().for_each(|line| println!("- {line}"));
    println!("\n| RTT, ms | file | stands after, RTT (median, most) | returns, RTT (median) |");
    println!("| --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for rtt_ms in &args.rtt {
        let sessions = args.measure(*rtt_ms, &program)?;
        let first: Vec<_> = sessions.iter().map(|times| times[0]).collect();
        let further: Vec<_> = sessions.iter().flat_map(|times| &times[1..]).copied().collect();
        let kinds =
            [("first, with its session", first, FIRST_MAX), ("further", further, FURTHER_MAX)];
        for (name, times, most) in kinds {
            let stands = median(&times, |time| time.stands)?;
            let returns = median(&times, |time| time.returns)?;
            let slowest = times.iter().map(|time| time.stands).fold(0.0, f64::max);
            println!("| {rtt_ms} | {name} | {stands:.2}, {slowest:.2} | {returns:.2} |");
            if stands > most {
                missed.push(format!("{name} at {rtt_ms} ms: {stands:.2} round trips"));
            }
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

fn median(times: &[Time], of: fn(&Time) -> f64) -> Result<f64> {
    let figure = Figure::of(times.iter().map(of));
    Ok(figure.ok_or_else(|| "nothing was measured".to_owned())?.median)
}

impl FurtherArgs {
    /// Of each session, each file's.
    fn measure(&self, rtt_ms: u64, program: &Path) -> Result<Vec<Vec<Time>>> {
        let link = Joined::lay(&Setting::plain(BITS, rtt_ms))?;
        let site = link.site();
        let dir = tempfile::Builder::new().prefix("floe-bench-further-").tempdir_in(&self.memory);
        let dir = dir.map_err(|e| format!("make a directory in {}: {e}", self.memory.display()))?;
        let at = dir.path();
        let served = at.join("served");
        fs::create_dir(&served).map_err(|e| format!("make {}: {e}", served.display()))?;
        for nth in 0..self.files {
            Content::File(SIZE).make(&served.join(nth.to_string()))?;
        }
        let _server = site.serve(program, at, PORT)?;
        let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        let mut sessions = Vec::new();
        for run in 0..self.runs {
            let script = r#"exec "$BENCH" fetch "$HOST" "$FILES" < server/owner.ticket"#;
            let mut command = site.command(End::Near, script, at);
            command.env("BENCH", &own).env("HOST", &site.host);
            command.env("FILES", self.files.to_string());
            let said = at.join(format!("said{run}"));
            Process::start(&mut command, "fetch", &said)?.finish()?;
            let text = fs::read_to_string(&said).map_err(|e| format!("read times: {e}"))?;
            let times = text.lines().map(|line| {
                let (stands, returns) = line.split_once(' ')?;
                let trips = |ms: &str| Some(ms.parse::<f64>().ok()? / number(rtt_ms));
                Some(Time { stands: trips(stands)?, returns: trips(returns)? })
            });
            let times: Option<Vec<Time>> = times.collect();
            let times = times.filter(|times| times.len() == self.files as usize);
            sessions.push(times.ok_or_else(|| format!("no times: {text}"))?);
        }
        Ok(sessions)
    }
}

impl Fetch {
    /// Gets one file after the other; says milliseconds, of the first from before it connected.
    pub fn run(&self) -> Result<()> {
        let ticket = std::io::read_to_string(std::io::stdin());
        let ticket = ticket.map_err(|error| format!("read the ticket: {error}"))?;
        let ticket: Ticket = ticket.trim().parse().map_err(|why| format!("the ticket: {why}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("start: {error}"))?;
        runtime.block_on(self.fetch(ticket)).map_err(|fault| fault.to_string())
    }

    async fn fetch(&self, ticket: Ticket) -> std::result::Result<(), floe_types::Fault> {
        let mut begun = Instant::now();
        let client = Client::connect(Connect {
            host: self.host.clone(),
            port: PORT,
            security: Security::Tls { pin: ticket.pin() },
            credential: Credential::Ticket(ticket),
            own_key: None,
            streams: StreamCount::Auto,
            client_id: [1; 16],
            limits: Limits::default(),
            retry: Retry::default(),
        })
        .await?;
        for nth in 0..self.files {
            let name = nth.to_string();
            let from = ObjectPath::parse(name.as_bytes()).unwrap_or_else(|_| ObjectPath::root());
            let (watch, mut notices) = watch();
            let to = PathBuf::from(format!("got{nth}"));
            let sink = LocalSink::Path(to.clone());
            let stands = async {
                while let Some(notice) = notices.recv().await {
                    if matches!(notice, Notice::EntryFinished { .. }) {
                        return Some(begun.elapsed());
                    }
                }
                None
            };
            let got = client.get(from, sink, TransferOptions::default(), watch);
            let (got, stands) = tokio::join!(got, stands);
            got?.result?;
            let stands = stands.unwrap_or_else(|| begun.elapsed()).as_secs_f64() * 1000.0;
            println!("{stands} {}", begun.elapsed().as_secs_f64() * 1000.0);
            // The next session finds none of them.
            let _ = fs::remove_file(&to);
            begun = Instant::now();
        }
        client.close().await;
        Ok(())
    }
}
