//! What it costs to continue: a command is killed when nine tenths of its bytes have been on the
//! wire, and the same command is run again.
//!
//! Measured is the time from the start of the second command until a MiB has been on the wire, both
//! ways together. Handshakes and what the receiver tells that it has stay far below that, so the
//! first new byte was on its way before. Once after a kill of both sides; once, where mounts may be
//! made, as after a power loss: the directory is mounted anew, so the receiver sees another mount
//! than its journal names and trusts no more than the last checkpoint, as it does after a reboot;
//! and no file of either side is in memory any more. No byte is lost here: that they may be is
//! floe-powercut's to show, and what is lost is sent, not awaited.

mod bed; // directories, mounts, and the two programs

use crate::figure::{Figure, number};
use crate::process::await_that;
use crate::report::machine;
use crate::session::{self, Way};
use crate::site::Site;
use crate::{Result, accounts};
use bed::{Bed, Pair};
use floe_types::{ByteCount, parse_size};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Options of `floe-bench resume`.
#[derive(clap::Args, Clone, Debug)]
pub struct ResumeArgs {
    /// A directory on the file system to measure on; twice the size has to fit
    #[arg(long)]
    dir: PathBuf,
    /// Bytes of the file
    #[arg(long, default_value = "4Gi", value_parser = size)]
    size: ByteCount,
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seconds after which a transfer is given up
    #[arg(long, default_value_t = 600)]
    cap: u64,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
}

/// What comes between the two commands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Between {
    /// Both sides are killed.
    Kill,
    /// The same, and nothing unsynced is trusted or in memory.
    PowerLoss,
}

/// What a second command took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Until a MiB has been on the wire.
    begun_s: f64,
    /// Bytes of files that the receiver had read by then.
    read_again: ByteCount,
    /// Until it ended.
    whole_s: f64,
    /// On the wire, both ways, with all headers.
    wire: ByteCount,
}

/// When so much has been on the wire, data have: handshakes and WANT are some KiB.
const BEGUN: ByteCount = ByteCount(1 << 20);
/// After a kill data have to be on the wire within so many seconds.
const KILL_S_MAX: f64 = 1.0;
/// The second command may carry the tenth that is missing, what was on its way when the first was
/// killed, and so much for headers.
const OVERHEAD: ByteCount = ByteCount(64 << 20);

/// What the receiver may have read by then: after a kill its journal; after a power loss what was
/// under way at a checkpoint, and what came since the one before, 256 MiB each.
const fn read_max(between: Between) -> ByteCount {
    match between {
        Between::Kill => ByteCount(16 << 20),
        Between::PowerLoss => ByteCount(512 << 20),
    }
}

/// Measures and prints.
pub fn run(args: &ResumeArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    let site = Site::loopback("cubic");
    let cap = Duration::from_secs(args.cap);
    let mut bed = Bed::make(&args.dir, program, site, args.size, cap)?;
    machine().iter().chain(&bed.site.remarks).for_each(|line| println!("- {line}"));
    println!("\n{HEAD}");
    let mut missed = Vec::new();
    for way in [Way::Put, Way::Get] {
        bed.place_source(way)?;
        for between in [Between::Kill, Between::PowerLoss] {
            if between == Between::PowerLoss && !bed.can_mount() {
                println!("| {way:?} | {between:?} | not run: mounts may not be made |");
                continue;
            }
            let costs = (0..args.runs).map(|_| measure(&mut bed, way, between));
            let costs = costs.collect::<Result<Vec<Cost>>>()?;
            println!("{}", row(way, between, args.size, &costs));
            missed.extend(misses(way, between, args.size, &costs));
        }
    }
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

/// Stages nine tenths, kills, and continues.
fn measure(bed: &mut Bed, way: Way, between: Between) -> Result<Cost> {
    let before = bed.carried()?;
    let pair = bed.start(way)?;
    let staged = ByteCount(bed.size.0 / 10 * 9);
    let carried = |bed: &Bed, pair: &Pair, bytes: ByteCount| {
        let reached = || bed.site.carried().is_some_and(|now| now.0 - before.0 >= bytes.0);
        await_that(bed.cap, || pair.client.is_over() || reached());
        reached() && !pair.client.is_over()
    };
    if !carried(bed, &pair, staged) {
        let words = pair.client.words();
        return Err(format!("{way:?}: nine tenths did not come to be staged: {words}"));
    }
    pair.kill(way)?;
    if between == Between::PowerLoss {
        bed.lose_power()?;
    }
    let before = bed.carried()?;
    let server = bed.serve()?;
    let reads = if way == Way::Put { accounts::bytes_read(server.id()) } else { None };
    let begun = Instant::now();
    let client = bed.client(way)?;
    let receiver = if way == Way::Put { server.id() } else { client.id() };
    let over = || bed.site.carried().is_some_and(|now| now.0 - before.0 >= BEGUN.0);
    await_that(bed.cap, || client.is_over() || over());
    let begun_s = begun.elapsed().as_secs_f64();
    let read = accounts::bytes_read(receiver).unwrap_or_default();
    let read_again = ByteCount(read.0 - reads.unwrap_or_default().0);
    if !client.over_within(bed.cap) {
        return Err(format!("{way:?}: the second command did not end: {}", client.words()));
    }
    client.finish()?;
    let whole_s = begun.elapsed().as_secs_f64();
    let wire = ByteCount(bed.carried()?.0 - before.0);
    server.end()?;
    bed.clear(way)?;
    Ok(Cost { begun_s, read_again, whole_s, wire })
}

const HEAD: &str = "\
| way | after | data on the wire, s (median) | at most, s | read again by the receiver, MiB | \
 wire, of the size | whole, s |\n| --- | --- | --- | --- | --- | --- | --- |";

/// A line of the table: medians, and the largest where it is said.
fn row(way: Way, between: Between, size: ByteCount, costs: &[Cost]) -> String {
    let median = |of: fn(&Cost) -> f64| {
        Figure::of(costs.iter().map(of)).map_or(f64::NAN, |figure| figure.median)
    };
    let begun = median(|cost| cost.begun_s);
    let (slowest, again) = (slowest(costs), largest(costs, |cost| cost.read_again) >> 20);
    let wire = median(|cost| number(cost.wire.0)) * 100.0 / number(size.0);
    let whole = median(|cost| cost.whole_s);
    let between = if between == Between::Kill { "a kill" } else { "a power loss" };
    let way = if way == Way::Put { "put" } else { "get" };
    format!(
        "| {way} | {between} | {begun:.3} | {slowest:.3} | {again} | {wire:.1} % | {whole:.2} |"
    )
}

/// What is promised and was not kept.
fn misses(way: Way, between: Between, size: ByteCount, costs: &[Cost]) -> Vec<String> {
    let mut missed = Vec::new();
    let slowest = slowest(costs);
    if between == Between::Kill && slowest >= KILL_S_MAX {
        missed.push(format!("{way:?}: {slowest:.3} s until data were on the wire after a kill"));
    }
    let (read, may) = (largest(costs, |cost| cost.read_again), read_max(between).0);
    if read > may {
        missed.push(format!("{way:?}, {between:?}: {read} bytes were read again, more than {may}"));
    }
    let (wire, may) = (largest(costs, |cost| cost.wire), size.0 / 8 + OVERHEAD.0);
    if wire > may {
        missed.push(format!("{way:?}, {between:?}: {wire} bytes on the wire, more than {may}"));
    }
    missed
}

fn slowest(costs: &[Cost]) -> f64 {
    costs.iter().map(|cost| cost.begun_s).fold(0.0, f64::max)
}

fn largest(costs: &[Cost], of: fn(&Cost) -> ByteCount) -> u64 {
    costs.iter().map(|cost| of(cost).0).max().unwrap_or(0)
}

fn size(text: &str) -> std::result::Result<ByteCount, String> {
    match parse_size(text) {
        Ok(size) if size.0 >= 64 << 20 => Ok(size),
        Ok(_) => Err("at least 64Mi".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost =
        Cost { begun_s: 0.5, read_again: ByteCount(3 << 20), whole_s: 2.0, wire: ByteCount(10) };

    #[test]
    fn what_is_promised_is_judged_by_the_worst_run() {
        let size = ByteCount(1 << 30);
        let slow = Cost { begun_s: 1.0, ..COST };
        let large = Cost { wire: ByteCount(size.0 / 4), ..COST };
        assert!(misses(Way::Put, Between::Kill, size, &[COST, COST]).is_empty());
        assert_eq!(misses(Way::Put, Between::Kill, size, &[COST, slow]).len(), 1);
        assert_eq!(misses(Way::Put, Between::PowerLoss, size, &[COST, slow]).len(), 0);
        assert_eq!(misses(Way::Get, Between::PowerLoss, size, &[large, COST]).len(), 1);
    }

    #[test]
    fn a_line_has_the_median_and_the_worst() {
        let slow = Cost { begun_s: 0.9, ..COST };
        let line = row(Way::Get, Between::Kill, ByteCount(100), &[COST, slow, COST]);
        assert_eq!(line, "| get | a kill | 0.500 | 0.900 | 3 | 10.0 % | 2.00 |");
    }
}
