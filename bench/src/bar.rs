//! The bars floe has to clear, as a table, and whether a run cleared them.
//!
//! A bar is cleared, missed, or does not count because one side scattered; a bar whose sides were
//! not measured says so.

use crate::figure::Figure;
use crate::job::{Case, Outcome};
use crate::stage::Sample;
use serde::Serialize;
use std::fmt::{self, Display};

/// What of a case is held against something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// GB a second.
    Rate,
    /// Seconds.
    Wall,
    /// Seconds a GB, both ends.
    Cpu,
    /// Seconds a GB, the client's end.
    NearCpu,
    /// Seconds a GB, the server's end.
    FarCpu,
    /// Bytes, the client's end.
    NearPeak,
    /// Bytes, the server's end.
    FarPeak,
    /// Bytes on the wire.
    Wire,
}

impl Measure {
    /// Over the runs of a case: the middle, of a peak the largest.
    pub fn of(self, case: &Case) -> Option<Figure> {
        let values: Option<Vec<f64>> = case.samples.iter().map(|s| self.sample(s)).collect();
        let values = values?;
        match self {
            Self::NearPeak | Self::FarPeak => values
                .into_iter()
                .reduce(f64::max)
                .map(|largest| Figure { median: largest, spread: 0.0 }),
            _ => Figure::of(values),
        }
    }

    fn sample(self, sample: &Sample) -> Option<f64> {
        use crate::figure::number;
        let gigabytes = number(sample.moved_bytes) / 1e9;
        Some(match self {
            Self::Rate => gigabytes / sample.wall_s,
            Self::Wall => sample.wall_s,
            Self::Cpu => (sample.near.cpu_s + sample.far.cpu_s) / gigabytes,
            Self::NearCpu => sample.near.cpu_s / gigabytes,
            Self::FarCpu => sample.far.cpu_s / gigabytes,
            Self::NearPeak => number(sample.near.peak_bytes),
            Self::FarPeak => number(sample.far.peak_bytes),
            Self::Wire => number(sample.wire_bytes?),
        })
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "rate",
            Self::Wall => "time",
            Self::Cpu => "CPU s/GB",
            Self::NearCpu => "client's CPU s/GB",
            Self::FarCpu => "server's CPU s/GB",
            Self::NearPeak => "client's peak, MiB",
            Self::FarPeak => "server's peak, MiB",
            Self::Wire => "wire, MB",
        })
    }
}

/// What a case is held against.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Against {
    /// Another case of the job.
    Case(&'static str),
    /// The fastest of those that encrypt and are not floe.
    FastestEncrypted,
    /// The rate that all cores allow at another case's CPU s/GB.
    CoresAt(&'static str),
    /// One: the figure itself, in the unit of [`Measure`].
    Nothing,
    /// Half the content, and as many MiB.
    HalfAndMib(u32),
    /// A link of so many bits a second.
    Link(u64),
    /// Another case, where that is slower than 55 % of a link of so many bits a second.
    BelowLink(&'static str, u64),
}

/// On which side of a number floe has to be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Asked {
    /// Or more.
    AtLeast(f64),
    /// Or less.
    AtMost(f64),
}

/// One bar.
#[derive(Clone, PartialEq, Debug)]
pub struct Bar {
    /// In which job.
    pub job: String,
    /// Whose.
    pub case: &'static str,
    /// Which figure.
    pub measure: Measure,
    /// Against what.
    pub against: Against,
    /// How much is asked.
    pub asked: Asked,
}

/// What a bar came to.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Verdict {
    /// In which job.
    pub job: String,
    /// What is held against what.
    pub bar: String,
    /// How much is asked.
    pub asked: String,
    /// The ratio, or the figure itself.
    pub found: Option<f64>,
    /// pass, FAIL, does not count, or not measured.
    pub outcome: String,
}

impl Verdict {
    /// Whether both sides were measured, counted, and fell short.
    pub fn is_missed(&self) -> bool {
        self.outcome == MISSED
    }
}

const MISSED: &str = "FAIL";

/// One after the other, as bars of a job.
macro_rules! bars {
    ($($job:literal: $case:literal $measure:ident $against:expr, $asked:expr;)*) => {
        vec![$(Bar {
            job: $job.to_owned(),
            case: $case,
            measure: Measure::$measure,
            against: $against,
            asked: $asked,
        }),*]
    };
}

use Against::{Case as By, CoresAt, FastestEncrypted, HalfAndMib, Nothing};
use Asked::{AtLeast, AtMost};

/// All of loopback's.
pub fn loopback() -> Vec<Bar> {
    let mut bars = bars! {
    "file-put": "floe" Rate FastestEncrypted, AtLeast(1.35);
    "file-put": "floe" Rate By("nginx + curl"), AtLeast(1.0);
    "file-put": "floe" Cpu By("ssh + cat"), AtMost(0.85);
    "file-put": "floe --plaintext" Rate By("nginx + curl"), AtLeast(1.25);
    "file-put": "floe --plaintext" Rate By("socat"), AtLeast(0.85);
    "file-get": "floe" Rate FastestEncrypted, AtLeast(1.35);
    "file-get": "floe" Rate By("nginx + curl"), AtLeast(1.0);
    "file-get": "floe" Cpu By("ssh + cat"), AtMost(0.85);
    "file-get": "floe --plaintext" Rate By("nginx + curl"), AtLeast(1.25);
    "file-get": "floe --plaintext" Rate By("socat"), AtLeast(0.85);
    "file-put-disk": "floe" Rate By("cp, then sync"), AtLeast(1.0);
    "file-put-disk": "floe" Rate By("rsync over ssh, --fsync"), AtLeast(2.0);
    "file-get-disk": "floe" Rate By("cp, then sync"), AtLeast(1.0);
    "file-get-disk": "floe" Rate By("rsync over ssh, --fsync"), AtLeast(2.0);
    "small-put": "floe" Rate By("rsync daemon"), AtLeast(1.0);
    "small-put": "floe" Rate By("rsync over ssh"), AtLeast(2.0);
    "small-get": "floe" Rate By("rsync daemon"), AtLeast(1.0);
    "small-get": "floe" Rate By("rsync over ssh"), AtLeast(2.0);
    "small-put-disk": "floe" Rate By("rsync over ssh, --fsync"), AtLeast(3.0);
    "small-get-disk": "floe" Rate By("rsync over ssh, --fsync"), AtLeast(3.0);
    "mix-put": "floe" Rate By("rsync over ssh"), AtLeast(1.5);
    "mix-get": "floe" Rate By("rsync over ssh"), AtLeast(1.5);
    "again": "floe" Wall By("rsync over ssh"), AtMost(1.0);
    "again": "floe" Wire Nothing, AtMost(2.0);
    "resume-put": "floe, resumed" Wall By("floe, whole"), AtMost(0.6);
    "resume-put": "floe, resumed" Wire HalfAndMib(64), AtMost(1.0);
    "resume-get": "floe, resumed" Wall By("floe, whole"), AtMost(0.6);
    "resume-get": "floe, resumed" Wire HalfAndMib(64), AtMost(1.0);
    "crowd-200": "floe --plaintext" Rate By("dufs + curl"), AtLeast(0.8);
    "crowd-200": "floe --plaintext" FarCpu By("dufs + curl"), AtMost(1.3);
    "crowd-200": "floe" Rate CoresAt("floe, one client"), AtLeast(0.9);
    };
    let mut jobs: Vec<String> = bars.iter().map(|bar| bar.job.clone()).collect();
    jobs.push("crowd-1000".to_owned());
    jobs.dedup();
    bars.extend(jobs.iter().flat_map(|job| memory(job)));
    bars
}

/// What each end of floe may take in memory in a job.
pub fn memory(job: &str) -> Vec<Bar> {
    let cases: &[&'static str] = match job {
        _ if job.contains("resume") => &["floe, whole", "floe, resumed"],
        "file-put" | "file-get" | "crowd-200" | "crowd-1000" => &["floe", "floe --plaintext"],
        _ => &["floe"],
    };
    let measures = [Measure::NearPeak, Measure::FarPeak];
    let each = cases.iter().flat_map(|case| measures.map(|measure| (*case, measure)));
    each.map(|(case, measure)| {
        let (against, asked) = (Nothing, AtMost(MEMORY_MIB));
        Bar { job: job.to_owned(), case, measure, against, asked }
    })
    .collect()
}

/// Of a process of floe, and of its server.
const MEMORY_MIB: f64 = 256.0;

/// Holds what was found against the bars of the jobs that were done.
pub fn judge(bars: &[Bar], outcomes: &[Outcome]) -> Vec<Verdict> {
    bars.iter()
        .filter_map(|bar| {
            let outcome = outcomes.iter().find(|outcome| outcome.job == bar.job)?;
            Some(bar.judge(outcome))
        })
        .collect()
}

impl Bar {
    fn judge(&self, outcome: &Outcome) -> Verdict {
        let own = figure(outcome, self.case, self.measure);
        let other = self.other(outcome);
        let ratio = own.zip(other).map(|(own, other)| (own.median / other.median, own, other));
        let outcome_text = match ratio {
            None => format!("not measured: {}", self.absence(outcome)),
            Some((_, own, other)) if !own.counts_with(&other) => {
                let percent = own.spread.max(other.spread) * 100.0;
                format!("does not count (spread {percent:.0} %)")
            }
            Some((found, _, other)) if self.asked.holds(found) || self.is_moot(other) => {
                "pass".to_owned()
            }
            Some(_) => MISSED.to_owned(),
        };
        Verdict {
            job: self.job.clone(),
            bar: self.name(outcome),
            asked: self.asked.to_string(),
            found: ratio.map(|(found, ..)| found),
            outcome: outcome_text,
        }
    }

    /// Whether the other side is so fast that nothing is asked.
    fn is_moot(&self, other: Figure) -> bool {
        match self.against {
            Against::BelowLink(_, bits) => other.median >= 0.55 * gigabytes(bits),
            _ => false,
        }
    }

    fn other(&self, outcome: &Outcome) -> Option<Figure> {
        let fixed = |median: f64| Some(Figure { median, spread: 0.0 });
        match self.against {
            Against::Case(name) => figure(outcome, name, self.measure),
            Against::FastestEncrypted => figure(outcome, fastest(outcome)?, self.measure),
            Against::CoresAt(name) => {
                let cpu = figure(outcome, name, Measure::Cpu)?;
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let cores = u32::try_from(cores).unwrap_or(1);
                Some(Figure { median: f64::from(cores) / cpu.median, spread: cpu.spread })
            }
            Against::Link(bits) => fixed(gigabytes(bits)),
            Against::BelowLink(name, _) => figure(outcome, name, self.measure),
            Against::Nothing => fixed(match self.measure {
                Measure::NearPeak | Measure::FarPeak => 1_048_576.0,
                Measure::Wire => 1e6,
                _ => 1.0,
            }),
            Against::HalfAndMib(mib) => {
                let half = crate::figure::number(outcome.content_bytes) / 2.0;
                fixed(half + f64::from(mib) * 1_048_576.0)
            }
        }
    }

    fn name(&self, outcome: &Outcome) -> String {
        let (case, measure) = (self.case, self.measure);
        match self.against {
            Against::Case(other) => format!("{measure} of {case} / {other}"),
            Against::FastestEncrypted => {
                let name = fastest(outcome).unwrap_or("none");
                format!("{measure} of {case} / the fastest encrypted peer ({name})")
            }
            Against::CoresAt(other) => {
                format!("{measure} of {case} / what the cores allow at the CPU s/GB of {other}")
            }
            Against::Link(_) => format!("{measure} of {case} / the link"),
            Against::BelowLink(other, _) => {
                format!("{measure} of {case} / {other}, where that is below 55 % of the link")
            }
            Against::Nothing => format!("{measure} of {case}"),
            Against::HalfAndMib(mib) => {
                format!("{measure} of {case} / half the content and {mib} MiB")
            }
        }
    }

    fn absence(&self, outcome: &Outcome) -> String {
        let mut needed = vec![self.case];
        if let Against::Case(name) | Against::CoresAt(name) | Against::BelowLink(name, _) =
            self.against
        {
            needed.push(name);
        }
        let absent: Vec<&str> = needed
            .into_iter()
            .filter(|name| figure(outcome, name, Measure::Wall).is_none())
            .collect();
        if absent.is_empty() { "no other side".to_owned() } else { absent.join(", ") }
    }
}

/// A second, at so many bits a second.
fn gigabytes(bits: u64) -> f64 {
    crate::figure::number(bits) / 8e9
}

impl Asked {
    fn holds(self, found: f64) -> bool {
        match self {
            Self::AtLeast(least) => found >= least,
            Self::AtMost(most) => found <= most,
        }
    }
}

impl Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

fn figure(outcome: &Outcome, name: &str, measure: Measure) -> Option<Figure> {
    let case = outcome.cases.iter().find(|case| case.name == name && case.failure.is_none())?;
    measure.of(case)
}

fn fastest(outcome: &Outcome) -> Option<&str> {
    let rate = |case: &&Case| Measure::Rate.of(case).map_or(0.0, |figure| figure.median);
    let others = outcome.cases.iter().filter(|case| {
        case.wire == "encrypted" && !case.name.starts_with("floe") && !case.samples.is_empty()
    });
    others.max_by(|a, b| rate(a).total_cmp(&rate(b))).map(|case| case.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Ending, Used};

    fn outcome(cases: &[(&str, &'static str, &[f64])]) -> Outcome {
        let used = Used { cpu_s: 1.0, peak_bytes: 100 << 20 };
        let sample = |wall: &f64| Sample {
            wall_s: *wall,
            moved_bytes: 1_000_000_000,
            wire_bytes: Some(500_000_000),
            near: used,
            far: used,
            ending: Ending::Whole,
        };
        let case = |(name, wire, walls): &(&str, &'static str, &[f64])| Case {
            name: (*name).to_owned(),
            wire,
            synced: false,
            samples: walls.iter().map(sample).collect(),
            failure: None,
        };
        Outcome {
            job: "job".to_owned(),
            title: String::new(),
            content_bytes: 1_000_000_000,
            cases: cases.iter().map(case).collect(),
            absent: Vec::new(),
        }
    }

    fn judged(bar: &Bar, outcome: &Outcome) -> String {
        judge(std::slice::from_ref(bar), std::slice::from_ref(outcome)).remove(0).outcome
    }

    fn bar(measure: Measure, against: Against, asked: Asked) -> Bar {
        Bar { job: "job".to_owned(), case: "floe", measure, against, asked }
    }

    #[test]
    fn a_bar_passes_fails_does_not_count_or_was_not_measured() {
        let slow = ("scp", "encrypted", &[9.0][..]);
        let plain = ("nc", "plain", &[0.1][..]);
        let pass =
            outcome(&[("floe", "encrypted", &[1.0]), slow, ("ssh", "encrypted", &[2.0]), plain]);
        let encrypted = bar(Measure::Rate, FastestEncrypted, AtLeast(1.35));
        assert_eq!(judged(&encrypted, &pass), "pass");
        let fail = outcome(&[("floe", "encrypted", &[1.0]), ("ssh", "encrypted", &[1.2])]);
        assert_eq!(judged(&encrypted, &fail), "FAIL");
        let wild = outcome(&[("floe", "encrypted", &[1.0, 1.3]), ("ssh", "encrypted", &[2.0])]);
        assert!(judged(&encrypted, &wild).starts_with("does not count"));
        assert!(judged(&encrypted, &outcome(&[slow])).starts_with("not measured: floe"));
        assert!(judge(&[Bar { job: "other".to_owned(), ..encrypted }], &[pass]).is_empty());
    }

    #[test]
    fn figures_are_held_against_fixed_numbers_too() {
        let outcome = outcome(&[("floe", "encrypted", &[1.0])]);
        let peak = bar(Measure::FarPeak, Nothing, AtMost(100.0));
        assert_eq!(judged(&peak, &outcome), "pass");
        let wire = bar(Measure::Wire, Nothing, AtMost(2.0));
        assert_eq!(judged(&wire, &outcome), "FAIL");
        let half = bar(Measure::Wire, HalfAndMib(64), AtMost(1.0));
        assert_eq!(judged(&half, &outcome), "pass");
    }

    #[test]
    fn a_peer_near_the_link_is_not_to_be_beaten() {
        let slow = bar(Measure::Rate, Against::BelowLink("aria2", 8_000_000_000), AtLeast(1.5));
        let near = outcome(&[("floe", "encrypted", &[1.0]), ("aria2", "plain", &[1.1])]);
        assert_eq!(judged(&slow, &near), "pass");
        let far = outcome(&[("floe", "encrypted", &[1.9]), ("aria2", "plain", &[2.0])]);
        assert_eq!(judged(&slow, &far), "FAIL");
        let link = bar(Measure::Rate, Against::Link(8_000_000_000), AtLeast(0.85));
        assert_eq!(judged(&link, &near), "pass");
        assert_eq!(judged(&link, &far), "FAIL");
    }
}
