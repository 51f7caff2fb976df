//! Long paths: the same jobs over a link of our own making, for each round-trip time, loss and
//! congestion control asked for.
//!
//! Sockets have the limits that distributions ship, and the congestion control of the route, which
//! no program can change. The two ends run without the right to configure networks, as programs of
//! users do. What the link carries is shown by iperf3 in the same run; how busy the link's program
//! was is said with the results.

use crate::Result;
use crate::bar::{self, Against, Asked, Bar, Measure};
use crate::content::Content;
use crate::job::{Act, Job, Outcome, Place};
use crate::joined::{Joined, RMEM, Setting, WMEM};
use crate::peer::{Reach, Task};
use crate::session::Choices;
use floe_types::ByteCount;
use std::fs;

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct WanArgs {
    #[command(flatten)]
    choices: Choices,
    /// The link's rate, Mbit a second
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Round-trip times, milliseconds
    #[arg(long, value_delimiter = ',', default_value = "10,100,300")]
    rtt: Vec<u64>,
    /// Losses each way, percent, at most four digits behind the point
    #[arg(long, value_delimiter = ',', default_value = "0,0.1,1")]
    loss: Vec<Loss>,
    /// Congestion controls
    #[arg(long, value_delimiter = ',', default_value = "cubic,bbr")]
    congestion: Vec<String>,
    /// How much waits for the link at most, KiB; without it, what the link carries in a round trip
    #[arg(long)]
    queue_kib: Option<u64>,
    /// Where losses come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A percentage as it was written, and exactly.
#[derive(Clone, Debug)]
struct Loss {
    text: String,
    ppm: u32,
}

impl std::str::FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("{text:?} is no percentage");
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{part:0<4}");
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong());
        let (whole, part) = (number(whole)?, number(&digits)?);
        if whole >= 100 || digits.len() > 4 {
            return Err(wrong());
        }
        Ok(Self { text: text.to_owned(), ppm: whole * 10_000 + part })
    }
}

/// One setting of the link.
#[derive(Clone, Debug)]
struct Condition {
    rtt_ms: u64,
    loss: Loss,
    congestion: String,
}

impl Condition {
    fn name(&self) -> String {
        format!("rtt{}-loss{}-{}", self.rtt_ms, self.loss.text, self.congestion)
    }
}

/// Measures and prints.
pub fn run(args: &WanArgs) -> Result<()> {
    let conditions = args.conditions();
    let jobs: Vec<Job> = conditions.iter().flat_map(|condition| args.jobs(condition)).collect();
    if args.choices.lists(&jobs)? {
        return Ok(());
    }
    let program = args.choices.program()?;
    let (mut outcomes, mut remarks) = (Vec::new(), vec![args.remark()]);
    remarks.push(format!("sockets: tcp_rmem {RMEM}, tcp_wmem {WMEM}; {}", core_limits()));
    for condition in &conditions {
        let jobs = args.jobs(condition);
        if !jobs.iter().any(|job| args.choices.wants(&job.name)) {
            continue;
        }
        match Joined::lay(&args.setting(condition)) {
            Ok(link) => {
                let ground = args.choices.ground(link.site(), program.clone())?;
                outcomes.extend(args.choices.perform(&ground, &args.choices.plan(0), &jobs));
                remarks.push(link.remark(&condition.name()));
            }
            Err(error) => {
                eprintln!("{}: {error}", condition.name());
                outcomes.extend(jobs.iter().map(|job| job.not_run(&error)));
            }
        }
    }
    args.choices.conclude("wan", &remarks, &program, &args.bars(&conditions, &outcomes), outcomes)
}

impl WanArgs {
    fn conditions(&self) -> Vec<Condition> {
        let mut all = Vec::new();
        for congestion in &self.congestion {
            for rtt_ms in &self.rtt {
                for loss in &self.loss {
                    let (loss, congestion) = (loss.clone(), congestion.clone());
                    all.push(Condition { rtt_ms: *rtt_ms, loss, congestion });
                }
            }
        }
        all
    }

    fn remark(&self) -> String {
        let queue = self
            .queue_kib
            .map_or("what it carries in a round trip".to_owned(), |kib| format!("{kib} KiB"));
        format!(
            "link: {} Mbit/s of IP packets each way, queue {queue}, seed {}",
            self.rate, self.seed
        )
    }

    fn setting(&self, condition: &Condition) -> Setting {
        Setting {
            loss_ppm: condition.loss.ppm,
            congestion: condition.congestion.clone(),
            queue_bytes: self.queue_kib.map(|kib| kib << 10),
            seed: self.seed,
            ..Setting::plain(self.bits(), condition.rtt_ms)
        }
    }

    fn bits(&self) -> u64 {
        self.rate * 1_000_000
    }

    fn jobs(&self, condition: &Condition) -> Vec<Job> {
        let shrink = u64::from(self.choices.shrink);
        let file = Content::File(ByteCount((512 << 20) / shrink));
        let tiny = Content::File(ByteCount(1024));
        let small = Content::Files((2000 / shrink).max(1), ByteCount(4096));
        let mix = Content::Mix(ByteCount((128 << 20) / shrink));
        let resume = Act::Resume { begin: Task::BeginGet, resume: Task::ResumeGet };
        let resume_put = Act::Resume { begin: Task::BeginPut, resume: Task::ResumePut };
        let moves = |task| Act::Move(task);
        let job = |name: &str, what: String, content, act| Job {
            name: format!("wan-{name}-{}", condition.name()),
            title: what,
            place: Place::Memory,
            content,
            act,
            reach: Reach::Far,
        };
        let size = 512 / shrink;
        vec![
            job("get", format!("get a file of {size} MiB"), file, moves(Task::Get)),
            job("put", format!("put a file of {size} MiB"), file, moves(Task::Put)),
            job("tiny", "get a file of 1 KiB".to_owned(), tiny, moves(Task::Get)),
            job("small", "put files of 4 KiB".to_owned(), small, moves(Task::PutTree)),
            job("small-get", "get files of 4 KiB".to_owned(), small, moves(Task::GetTree)),
            job("mix-put", "put a mix like a source tree".to_owned(), mix, moves(Task::PutTree)),
            job("mix-get", "get a mix like a source tree".to_owned(), mix, moves(Task::GetTree)),
            job("again", "put files of 4 KiB again".to_owned(), small, Act::Again),
            job("resume", "get a file, killed half way".to_owned(), file, resume),
            job("resume-put", "put a file, killed half way".to_owned(), file, resume_put),
        ]
    }

    /// The bars are for one rate; at others there are none.
    fn bars(&self, conditions: &[Condition], outcomes: &[Outcome]) -> Vec<Bar> {
        let mut bars = Vec::new();
        if self.rate != 200 {
            return bars;
        }
        let link = Against::Link(self.bits());
        let aria2 = Against::BelowLink("nginx + aria2 -x8", self.bits());
        for condition in conditions {
            let jobs = self.jobs(condition);
            bars.extend(jobs.iter().flat_map(|job| bar::memory(&job.name)));
            let mut bar = |job: &str, measure, against, asked| {
                let job = format!("wan-{job}-{}", condition.name());
                bars.push(Bar { job, case: "floe", measure, against, asked });
            };
            let least = match (condition.rtt_ms, condition.loss.ppm, &*condition.congestion) {
                (10 | 100, 0, _) => Some(0.85),
                (300, 0, _) | (100, 10_000, "bbr") => Some(0.75),
                (100, 1000, "cubic") => Some(0.6),
                _ => None,
            };
            for job in ["get", "put"].into_iter().filter(|_| least.is_some()) {
                bar(job, Measure::Rate, link, Asked::AtLeast(least.unwrap_or_default()));
            }
            bar("get", Measure::Rate, aria2, Asked::AtLeast(1.5));
            if (condition.rtt_ms, condition.loss.ppm) == (100, 0) {
                bar("tiny", Measure::Wall, Against::Nothing, Asked::AtMost(0.5));
            }
        }
        bars.retain(|bar| outcomes.iter().any(|outcome| outcome.job == bar.job));
        bars
    }
}

/// Limits that are the machine's, not the network's.
fn core_limits() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/{name}")).unwrap_or_default();
    format!(
        "of the machine: rmem_max {}, wmem_max {}",
        read("core/rmem_max").trim(),
        read("core/wmem_max").trim(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_exact() {
        let ppm = |text: &str| text.parse::<Loss>().map(|loss| loss.ppm);
        assert_eq!(ppm("0"), Ok(0));
        assert_eq!(ppm("0.1"), Ok(1000));
        assert_eq!(ppm("1"), Ok(10_000));
        assert_eq!(ppm("0.0001"), Ok(1));
        assert!(ppm("100").is_err() && ppm("x").is_err() && ppm("0.00001").is_err());
    }
}
