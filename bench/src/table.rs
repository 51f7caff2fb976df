//! Samples become medians, spreads and ratios, as Markdown for people and JSON for programs.
//!
//! GB are 10^9 bytes. The spread is (largest - smallest) / median of the wall times.

use floe_types::ByteCount;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Beyond it a ratio does not count.
const SPREAD_MAX: f64 = 0.15;

/// One run of one case.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Wall time, from the start of the first process of the transfer to the end of the last.
    pub wall: Duration,
    /// Processor time of both ends, user and system.
    pub cpu: Duration,
}

/// All runs of one case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is.
    pub name: String,
    /// Its runs.
    pub samples: Vec<Sample>,
    /// The largest resident memory of each end, where it was taken.
    pub peak: Option<Peak>,
}

/// The largest resident memory of each end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Peak {
    /// The server's.
    pub server: ByteCount,
    /// The largest of the clients'.
    pub client: ByteCount,
}

/// What a case comes to.
#[derive(Clone, Copy, Debug)]
struct Figures {
    rate: f64,
    cpu: f64,
    spread: f64,
}

/// The cases of one run: the first two are the limits that others are held against.
#[derive(Debug)]
pub struct Table {
    /// Bytes of one transfer.
    pub size: ByteCount,
    /// The cases.
    pub cases: Vec<Case>,
}

impl Case {
    fn figures(&self, size: ByteCount) -> Figures {
        let gigabytes = per(size.0, 1_000_000_000);
        let walls = sorted(&self.samples, |sample| sample.wall);
        let cpus = sorted(&self.samples, |sample| sample.cpu);
        let wall = median(&walls);
        let span = walls.last().unwrap_or(&0.0) - walls.first().unwrap_or(&0.0);
        Figures { rate: gigabytes / wall, cpu: median(&cpus) / gigabytes, spread: span / wall }
    }
}

impl Table {
    /// For a page.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| case | GB/s | spread | CPU s/GB | of limit | of 1 KiB loop | MiB server, client |\n\
             | --- | ---: | ---: | ---: | ---: | ---: | --- |\n",
        );
        let bases = self.bases();
        for case in &self.cases {
            let own = case.figures(self.size);
            let ratio = |base: Option<Figures>| {
                base.map_or("-".to_owned(), |base| {
                    let doubt = own.spread.max(base.spread) > SPREAD_MAX;
                    format!("{:.2}{}", own.rate / base.rate, if doubt { " ?" } else { "" })
                })
            };
            let peak = case.peak.map_or("-".to_owned(), |peak| {
                format!("{}, {}", peak.server.0 >> 20, peak.client.0 >> 20)
            });
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.0} % | {:.2} | {} | {} | {peak} |",
                case.name,
                own.rate,
                own.spread * 100.0,
                own.cpu,
                ratio(bases[0]),
                ratio(bases[1]),
            );
        }
        text.push_str("\n`?`: the spread of one side is above 15 %, the ratio does not count.\n");
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let bases = self.bases();
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                let own = case.figures(self.size);
                let ratio = |base: Option<Figures>| base.map(|base| own.rate / base.rate);
                json!({
                    "name": case.name,
                    "gb_per_s": own.rate,
                    "spread": own.spread,
                    "cpu_s_per_gb": own.cpu,
                    "of_limit": ratio(bases[0]),
                    "of_article_loop": ratio(bases[1]),
                    "peak_rss_bytes": case.peak.map(|peak| json!({
                        "server": peak.server.0, "client": peak.client.0,
                    })),
                    "wall_s": seconds(&case.samples, |sample| sample.wall),
                    "cpu_s": seconds(&case.samples, |sample| sample.cpu),
                })
            })
            .collect();
        json!({ "size": self.size.0, "cases": cases })
    }

    fn bases(&self) -> [Option<Figures>; 2] {
        [0, 1].map(|nth| self.cases.get(nth).map(|case| case.figures(self.size)))
    }
}

fn seconds(samples: &[Sample], of: impl Fn(&Sample) -> Duration) -> Vec<f64> {
    samples.iter().map(|sample| of(sample).as_secs_f64()).collect()
}

fn sorted(samples: &[Sample], of: impl Fn(&Sample) -> Duration) -> Vec<f64> {
    let mut all = seconds(samples, of);
    all.sort_by(f64::total_cmp);
    all
}

/// The middle one, or the mean of the two in the middle; 1 of none, so that nothing divides by
/// zero.
fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 1.0,
        len if len % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// A quotient of two counts that both fit a float exactly enough.
fn per(count: u64, unit: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let (count, unit) = (count as f64, unit as f64);
    count / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, walls: &[u64]) -> Case {
        let samples = walls
            .iter()
            .map(|wall| Sample {
                wall: Duration::from_millis(*wall),
                cpu: Duration::from_millis(wall * 2),
            })
            .collect();
        Case { name: name.to_owned(), samples, peak: None }
    }

    #[test]
    fn ratios_are_of_medians_and_doubted_where_they_scatter() {
        let table = Table {
            size: ByteCount(1_000_000_000),
            cases: vec![
                case("limit", &[1000, 1010, 990]),
                case("loop", &[4000, 4000, 9000]),
                case("floe", &[2000, 2010, 1990]),
            ],
        };
        let text = table.markdown();
        let row = text.lines().find(|line| line.starts_with("| floe")).unwrap();
        assert_eq!(row, "| floe | 0.50 | 1 % | 4.00 | 0.50 | 2.00 ? | - |");
        assert_eq!(median(&[1.0, 2.0, 3.0, 5.0]), 2.5);
        assert_eq!(table.json()["cases"][2]["of_limit"], 0.5);
    }
}
