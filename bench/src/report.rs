//! A run as Markdown for people and JSON for programs. GB are 10^9 bytes, MB 10^6, MiB 2^20.
//!
//! Rates and ratios are of medians. A ratio whose sides scatter is marked `?`: it does not count.

use crate::bar::{Measure, Verdict};
use crate::figure::{Figure, number};
use crate::job::{Case, Outcome};
use crate::stage::Ending;
use serde::Serialize;
use std::fmt::Write;

/// All that one run found.
#[derive(Serialize, Clone, Debug)]
pub struct Report {
    /// What it ran on.
    pub machine: Vec<String>,
    /// The command line.
    pub command: String,
    /// What their lines come to, as the table has it.
    pub figures: Vec<Figures>,
    /// The jobs, each run of each line.
    pub outcomes: Vec<Outcome>,
    /// The bars.
    pub verdicts: Vec<Verdict>,
}

/// What one line of a job comes to: medians, of peaks the largest.
#[derive(Serialize, Clone, Debug)]
pub struct Figures {
    job: String,
    case: String,
    seconds: f64,
    gigabytes_per_second: f64,
    /// (largest - smallest) / median of the rate.
    spread: f64,
    client_cpu_seconds_per_gigabyte: f64,
    server_cpu_seconds_per_gigabyte: f64,
    client_peak_mib: f64,
    server_peak_mib: f64,
    wire_megabytes: Option<f64>,
    of_limit: Option<Ratio>,
    floe_x: Option<Ratio>,
}

/// One rate to another.
#[derive(Serialize, Clone, Copy, Debug)]
struct Ratio {
    value: f64,
    /// Whether both sides were steady.
    counts: bool,
}

impl Report {
    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = format!("# floe beside its peers\n\n`{}`\n\n", self.command);
        for line in &self.machine {
            let _ = writeln!(text, "- {line}");
        }
        for outcome in &self.outcomes {
            text.push('\n');
            text.push_str(&table(outcome));
        }
        text.push_str(
            "\n`?`: the spread of one side is 15 % or more, the ratio does not count. `floe x`: \
             floe's rate / this one's. CPU: user and system time of the client's and the server's \
             end. Memory: the largest client process; all of the server's processes together. \
             wire: bytes on the interface, both ways, headers included.\n",
        );
        text.push_str(&bars(&self.verdicts));
        text
    }
}

/// One job.
pub fn table(outcome: &Outcome) -> String {
    let mut text = format!("## {}: {}\n\n", outcome.job, outcome.title);
    if !outcome.cases.is_empty() {
        text.push_str(
            "| | wire | synced | s | GB/s | spread | of limit | floe x | CPU s/GB: client + server \
             | MiB: client, server | wire MB |\n\
             | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        );
    }
    for case in &outcome.cases {
        text.push_str(&row(case, outcome));
    }
    if !outcome.absent.is_empty() && !outcome.cases.is_empty() {
        text.push('\n');
    }
    for (name, why) in &outcome.absent {
        let _ = writeln!(text, "- {name}: not measured, {why}");
    }
    text
}

fn row(case: &Case, outcome: &Outcome) -> String {
    let synced = if case.synced { "yes" } else { "no" };
    let name = &case.name;
    let Some(it) = figures_of(case, outcome) else {
        let why = case.failure.as_deref().unwrap_or("no run").replace('|', "/");
        return format!("| {name} | {} | {synced} | failed: {why} |\n", case.wire);
    };
    let cut = case.samples.iter().filter(|sample| sample.ending == Ending::Cut).count();
    let cut = if cut > 0 { format!(" (cut {cut})") } else { String::new() };
    let failed = case
        .failure
        .as_ref()
        .map_or(String::new(), |why| format!(" (then failed: {})", why.replace('|', "/")));
    let wire = it.wire_megabytes.map_or("-".to_owned(), |wire| format!("{wire:.1}"));
    format!(
        "| {name} | {} | {synced} | {:.3}{cut}{failed} | {:.4} | {:.0} % | {} | {} | \
         {:.2} + {:.2} | {:.0}, {:.0} | {wire} |\n",
        case.wire,
        it.seconds,
        it.gigabytes_per_second,
        it.spread * 100.0,
        shown(it.of_limit),
        shown(it.floe_x),
        it.client_cpu_seconds_per_gigabyte,
        it.server_cpu_seconds_per_gigabyte,
        it.client_peak_mib,
        it.server_peak_mib,
    )
}

/// What all lines of these jobs come to that were measured.
pub fn figures(outcomes: &[Outcome]) -> Vec<Figures> {
    let lines = outcomes.iter().flat_map(|it| it.cases.iter().map(move |case| (case, it)));
    lines.filter_map(|(case, outcome)| figures_of(case, outcome)).collect()
}

fn figures_of(case: &Case, outcome: &Outcome) -> Option<Figures> {
    let (rate, wall) = Measure::Rate.of(case).zip(Measure::Wall.of(case))?;
    let part = |measure: Measure| measure.of(case).map_or(0.0, |figure| figure.median);
    let limit = rate_of(outcome, |other| other.name.starts_with("limit"));
    let floe = rate_of(outcome, |other| other.name == counterpart(&case.name));
    Some(Figures {
        job: outcome.job.clone(),
        case: case.name.clone(),
        seconds: wall.median,
        gigabytes_per_second: rate.median,
        spread: rate.spread,
        client_cpu_seconds_per_gigabyte: part(Measure::NearCpu),
        server_cpu_seconds_per_gigabyte: part(Measure::FarCpu),
        client_peak_mib: part(Measure::NearPeak) / MIB,
        server_peak_mib: part(Measure::FarPeak) / MIB,
        wire_megabytes: Measure::Wire.of(case).map(|wire| wire.median / 1e6),
        of_limit: ratio(Some(rate), limit),
        floe_x: ratio(floe, Some(rate)),
    })
}

/// What of floe a case is held against: the same part of the job.
fn counterpart(name: &str) -> String {
    let parts = [", whole", ", resumed", ", one client"];
    let part = parts.into_iter().find(|part| name.ends_with(part)).unwrap_or_default();
    format!("floe{part}")
}

fn rate_of(outcome: &Outcome, is: impl Fn(&Case) -> bool) -> Option<Figure> {
    outcome.cases.iter().find(|case| is(case)).and_then(|case| Measure::Rate.of(case))
}

fn ratio(one: Option<Figure>, other: Option<Figure>) -> Option<Ratio> {
    let (one, other) = one.zip(other)?;
    Some(Ratio { value: one.median / other.median, counts: one.counts_with(&other) })
}

fn shown(ratio: Option<Ratio>) -> String {
    ratio.map_or("-".to_owned(), |ratio| {
        let doubt = if ratio.counts { "" } else { " ?" };
        format!("{:.2}{doubt}", ratio.value)
    })
}

fn bars(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text =
        "\n## Bars\n\n| job | bar | asked | found | |\n| --- | --- | --- | ---: | --- |\n"
            .to_owned();
    for verdict in verdicts {
        let found = verdict.found.map_or("-".to_owned(), |found| format!("{found:.2}"));
        let (job, bar, asked) = (&verdict.job, &verdict.bar, &verdict.asked);
        let _ = writeln!(text, "| {job} | {bar} | {asked} | {found} | {} |", verdict.outcome);
    }
    text
}

/// What a machine is, as far as it bears on speed.
pub fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kib = memory.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    let limits = read("/proc/self/limits");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = files.map(|line| line.split_ascii_whitespace().next().unwrap_or("?").to_owned());
    let release = read("/proc/sys/kernel/osrelease");
    vec![
        format!("{cores} cores, {}", model.trim_start_matches(['\t', ' ', ':'])),
        format!("{:.0} GiB of memory, Linux {}", number(kib) / 1_048_576.0, release.trim()),
        format!("{} open files a process", files.unwrap_or_default()),
    ]
}

const MIB: f64 = 1_048_576.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Sample, Used};

    fn case(name: &str, walls: &[f64]) -> Case {
        let used = Used { cpu_s: 0.5, peak_bytes: 3 << 20 };
        let sample = |wall: &f64| Sample {
            wall_s: *wall,
            moved_bytes: 1_000_000_000,
            wire_bytes: Some(1_010_000_000),
            near: used,
            far: used,
            ending: Ending::Whole,
        };
        let samples = walls.iter().map(sample).collect();
        Case { name: name.to_owned(), wire: "plain", synced: false, samples, failure: None }
    }

    #[test]
    fn a_row_has_ratios_and_doubts_them_where_they_scatter() {
        let mut failed = case("gone", &[]);
        failed.failure = Some("no room".to_owned());
        let outcome = Outcome {
            job: "file-put".to_owned(),
            title: "one file".to_owned(),
            content_bytes: 1_000_000_000,
            cases: vec![
                case("limit: loop", &[1.0]),
                case("floe", &[2.0, 2.0]),
                case("nc", &[1.0, 4.0, 4.0]),
                failed,
            ],
            absent: vec![("qcp".to_owned(), "not installed: qcp".to_owned())],
        };
        let text = table(&outcome);
        let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let floe = "| 2.000 | 0.5000 | 0 % | 0.50 | 1.00 | 0.50 + 0.50 | 3, 3 | 1010.0 |";
        assert_eq!(row("| floe"), format!("| floe | plain | no {floe}"));
        assert!(row("| nc").contains("| 2.00 ? |"), "{text}");
        assert!(row("| gone").contains("failed: no room"));
        assert!(text.contains("qcp: not measured, not installed: qcp"));
    }
}
