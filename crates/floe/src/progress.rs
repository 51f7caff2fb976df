//! How far a transfer is, for a person: a bar on a terminal, plain lines elsewhere.
//!
//! It appears after a short quiet delay, so a small transfer shows nothing. The rate, and what it
//! waits for, are those of the last few seconds. Nothing here decides anything; sums come from the
//! core.

use crate::civil;
use crate::why::Why;
use floe_proto::causes::Limited;
use floe_proto::command::{Summary, Walk};
use floe_proto::frame::Causes;
use floe_types::ByteCount;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// Who looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Audience {
    /// A terminal on standard error.
    Terminal,
    /// A file or a pipe: one line now and then.
    Log,
    /// Nobody.
    Nobody,
}

/// The view of one transfer.
pub struct Progress {
    audience: Audience,
    label: String,
    why: Why,
    begun: Instant,
    bar: Option<ProgressBar>,
    next_line: Duration,
    samples: VecDeque<Sample>,
}

/// How far it was.
struct Sample {
    at: Instant,
    sent: ByteCount,
    causes: Causes,
}

impl Progress {
    /// A view that has not yet shown anything; `label` is escaped already.
    pub fn new(audience: Audience, label: String, why: Why, now: Instant) -> Self {
        Self {
            audience,
            label,
            why,
            begun: now,
            bar: None,
            next_line: FIRST_LINE,
            samples: VecDeque::new(),
        }
    }

    /// Shows where it is now.
    pub fn update(&mut self, summary: &Summary, now: Instant) {
        let (sent, causes) = (summary.bytes_sent, summary.causes);
        self.samples.push_back(Sample { at: now, sent, causes });
        while self.samples.len() > 2
            && (self.samples.len() > SAMPLES_MAX
                || self.samples.front().is_some_and(|sample| now - sample.at > LATELY))
        {
            self.samples.pop_front();
        }
        let passed = now - self.begun;
        match self.audience {
            Audience::Nobody => {}
            Audience::Terminal if passed < QUIET => {}
            Audience::Terminal => self.draw(summary),
            Audience::Log if passed < self.next_line => {}
            Audience::Log => {
                self.next_line = passed + LINE_EVERY;
                crate::fault::say(&self.line(summary));
            }
        }
    }

    /// What it waited for most, lately; nothing where no cause makes up half of that.
    pub fn limit(&self) -> Option<Limited> {
        self.why.limit(&self.lately())
    }

    fn lately(&self) -> Causes {
        match (self.samples.front(), self.samples.back()) {
            (Some(from), Some(to)) => to.causes.beyond(from.causes),
            _ => Causes::default(),
        }
    }

    /// Says a line without tearing the bar.
    pub fn say(&self, line: &dyn fmt::Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| crate::fault::say(line)),
            None => crate::fault::say(line),
        }
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self, summary: &Summary) {
        let text = self.text(summary);
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_prefix(self.label.clone());
            bar
        });
        let style = if summary.bytes_total > ByteCount::ZERO {
            bar.set_length(summary.bytes_total.0);
            "{prefix:.cyan} [{bar:24}] {msg}"
        } else {
            "{prefix:.cyan} {spinner} {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_position(summary.bytes_stored.0);
        bar.set_message(text);
        bar.tick();
    }

    fn line(&self, summary: &Summary) -> String {
        format!("{}: {}", self.label, self.text(summary))
    }

    fn text(&self, summary: &Summary) -> String {
        let rate = self.rate();
        let mut text = civil::bytes(summary.bytes_stored);
        if summary.walk == Walk::Ended && summary.bytes_total > ByteCount::ZERO {
            text += &format!(" of {}", civil::bytes(summary.bytes_total));
        }
        text += &format!(", {}/s", civil::bytes(rate));
        if let Some(left) = remaining(summary, rate) {
            text += &format!(", ETA {}", civil::span(left));
        }
        text += &match summary.streams {
            1 => ", 1 stream".to_owned(),
            many => format!(", {many} streams"),
        };
        if summary.entries_found.0 > 1 {
            text +=
                &format!(", {} of {} entries", summary.entries_committed, summary.entries_found);
        }
        if summary.entries_failed.0 > 0 {
            text += &format!(", {} failed", summary.entries_failed);
        }
        if let Some(why) = self.why.line(&self.lately()) {
            text += &format!(", {why}");
        }
        text
    }

    fn rate(&self) -> ByteCount {
        match (self.samples.front(), self.samples.back()) {
            (Some(from), Some(to)) if to.at > from.at => {
                ByteCount(civil::per_second(to.sent.minus(from.sent), to.at - from.at))
            }
            _ => ByteCount::ZERO,
        }
    }
}

fn remaining(summary: &Summary, rate: ByteCount) -> Option<Duration> {
    let left = summary.bytes_total.minus(summary.bytes_stored);
    (summary.walk == Walk::Ended && left > ByteCount::ZERO && rate > ByteCount::ZERO)
        .then(|| Duration::from_secs(left.0 / rate.0))
}

const QUIET: Duration = Duration::from_millis(700);
const FIRST_LINE: Duration = Duration::from_secs(5);
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The other end says what it waits for once a second or so.
const LATELY: Duration = Duration::from_secs(4);
const SAMPLES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use floe_proto::frame::Causes;
    use floe_types::EntryCount;

    fn at(sent: u64) -> Summary {
        Summary {
            bytes_total: ByteCount(8 << 30),
            bytes_sent: ByteCount(sent),
            bytes_stored: ByteCount(sent),
            walk: Walk::Ended,
            streams: 2,
            entries_found: EntryCount(1),
            ..Summary::default()
        }
    }

    #[test]
    fn rate_and_eta_are_those_of_the_last_seconds() {
        let begun = Instant::now();
        let mut view = Progress::new(Audience::Nobody, "x".into(), Why::of_put("x"), begun);
        view.update(&at(0), begun);
        for second in 1..=10u64 {
            let sent = if second < 6 { 1 << 20 } else { (second - 5) << 30 };
            view.update(&at(sent), begun + Duration::from_secs(second));
        }
        let text = view.line(&at(5 << 30));
        assert_eq!(text, "x: 5.00 GiB of 8.00 GiB, 1.00 GiB/s, ETA 3.00 s, 2 streams");
        assert!(view.samples.len() <= SAMPLES_MAX);
    }

    #[test]
    fn the_view_says_what_it_waits_for_lately() {
        let begun = Instant::now();
        let mut view = Progress::new(Audience::Nobody, "x".into(), Why::of_put("x"), begun);
        let mut causes = Causes::default();
        let mut second = |nth: u64, network, disk| {
            causes.network.0 += network;
            causes.sink_disk.0 += disk;
            causes.starved.0 += network - disk;
            causes.cpu.0 += 10 - network;
            let summary = Summary { causes, ..at(nth << 20) };
            view.update(&summary, begun + Duration::from_secs(nth));
            (view.line(&summary), view.limit())
        };
        assert_eq!(second(0, 0, 0).1, None);
        let (line, _) = second(1, 9, 9);
        let why = ", 90 % waiting for the receiver's disk; more streams will not help";
        assert!(line.ends_with(why), "{line}");
        (2..100).for_each(|nth| drop(second(nth, 9, 9)));
        // What was before does not count.
        let last = (100..106).map(|nth| second(nth, 8, 0)).last().unwrap();
        assert!(last.0.ends_with(", 80 % waiting for the network"), "{}", last.0);
        assert_eq!(last.1.map(|limited| limited.percent), Some(80));
        let last = (106..112).map(|nth| second(nth, 5, 0)).last().unwrap();
        assert!(last.0.contains("50 %"), "{}", last.0);
    }

    #[test]
    fn an_unknown_size_has_no_eta() {
        let begun = Instant::now();
        let mut view = Progress::new(Audience::Nobody, "-".into(), Why::of_put("-"), begun);
        let unknown = Summary { walk: Walk::Underway, streams: 1, ..at(4096) };
        view.update(&unknown, begun);
        assert_eq!(view.line(&unknown), "-: 4.00 KiB, 0 B/s, 1 stream");
    }
}
