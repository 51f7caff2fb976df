//! Everything over the loopback interface, files on tmpfs: the engine's own cost, without disk and
//! distance.
//!
//! The cases take turns within each run, so that whatever else the machine does meets all of them.
//! A first run warms memory up and is thrown away.

use crate::Result;
use crate::peer;
use crate::product::{Product, Way};
use crate::table::{Case, Peak, Sample, Table};
use floe_types::{ByteCount, parse_size};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct LoopbackArgs {
    /// Bytes of one transfer
    #[arg(long, default_value = "4Gi", value_parser = size)]
    size: ByteCount,
    /// How often each case is measured
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// How many streams floe uses; a case each
    #[arg(long, value_delimiter = ',', default_value = "1,auto")]
    streams: Vec<String>,
    /// Where the files lie; three times the size has to fit
    #[arg(long, default_value = "/dev/shm")]
    dir: PathBuf,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
    /// Write the figures as JSON there as well
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One line of the table.
#[derive(Clone, Debug)]
enum Subject {
    Plain { buffer: usize },
    Floe { way: Way, streams: String },
}

/// Measures and prints.
pub fn run(args: &LoopbackArgs) -> Result<()> {
    let program = match &args.floe {
        Some(program) => program.clone(),
        None => build()?,
    };
    let scratch = Scratch::create(&args.dir)?;
    let source = scratch.0.join("source");
    make(&source, args.size)?;
    let mut product = Product::start(&program, &scratch.0)?;
    let subjects = subjects(&args.streams);
    let mut cases: Vec<Case> = subjects.iter().map(case).collect();
    for run in 0..=args.runs {
        for (subject, case) in subjects.iter().zip(&mut cases) {
            let (sample, peak) = measure(subject, &source, &scratch.0, &mut product)?;
            eprintln!("run {run} {}: {:.2} s", case.name, sample.wall.as_secs_f64());
            if run > 0 {
                case.samples.push(sample);
            }
            case.peak = peak.or(case.peak);
        }
    }
    product.end()?;
    let table = Table { size: args.size, cases };
    println!("{}", table.markdown());
    match &args.json {
        Some(path) => fs::write(path, format!("{:#}\n", table.json()))
            .map_err(|error| format!("write {}: {error}", path.display())),
        None => Ok(()),
    }
}

fn measure(
    subject: &Subject,
    source: &Path,
    dir: &Path,
    product: &mut Product,
) -> Result<(Sample, Option<Peak>)> {
    match subject {
        Subject::Plain { buffer } => {
            Ok((peer::measure(source, &dir.join("plain"), *buffer)?, None))
        }
        Subject::Floe { way, streams } => {
            let (sample, peak) = product.measure(*way, source, streams)?;
            Ok((sample, Some(peak)))
        }
    }
}

/// The two limits first: the table holds all others against them.
fn subjects(streams: &[String]) -> Vec<Subject> {
    let mut all = vec![Subject::Plain { buffer: 1 << 20 }, Subject::Plain { buffer: 1024 }];
    for streams in streams {
        for way in [Way::Put, Way::Get] {
            all.push(Subject::Floe { way, streams: streams.clone() });
        }
    }
    all
}

fn case(subject: &Subject) -> Case {
    let name = match subject {
        Subject::Plain { buffer: 1024 } => "the article's 1,024-byte loop, plain".to_owned(),
        Subject::Plain { .. } => "1 MiB loop, plain, no hash (the limit)".to_owned(),
        Subject::Floe { way: Way::Put, streams } => format!("floe put, streams {streams}"),
        Subject::Floe { way: Way::Get, streams } => format!("floe get, streams {streams}"),
    };
    Case { name, samples: Vec::new(), peak: None }
}

/// Builds floe as it ships, and answers where it is.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "floe", "--bin", "floe"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| format!("build floe: {error}"))?;
    if !status.success() {
        return Err(format!("build floe: {status}"));
    }
    let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    match own.with_file_name("floe") {
        built if built.exists() && own.to_string_lossy().contains("release") => Ok(built),
        _ => Err("run it with cargo run --release, or name a program with --floe".to_owned()),
    }
}

/// A directory that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(format!("floe-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a file that does not compress: xorshift64 (Marsaglia 2003).
fn make(path: &Path, size: ByteCount) -> Result<()> {
    let wrong = |error: std::io::Error| format!("write {}: {error}", path.display());
    let mut file = File::create_new(path).map_err(wrong)?;
    let (mut state, mut block, mut left) = (0x9e37_79b9_7f4a_7c15_u64, vec![0; 1 << 20], size.0);
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..count]).map_err(wrong)?;
        left -= ByteCount::of_len(count).0;
    }
    Ok(())
}

fn size(text: &str) -> std::result::Result<ByteCount, String> {
    parse_size(text).map_err(|fault| fault.to_string())
}
