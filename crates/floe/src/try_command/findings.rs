//! What `floe try` found: told to people or programs, and held against what floe promises.

use super::children::End;
use crate::args::OutputFlags;
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::output;
use floe_types::{ByteCount, Code};
use serde_json::Value;
use std::time::Duration;

/// What is to be told in the end.
pub struct Findings {
    /// The file's size.
    pub size: ByteCount,
    /// The upload that was killed, if one was.
    pub killed: Option<Killed>,
    /// The upload that came through.
    pub put: Summary,
    /// The download.
    pub get: Summary,
    /// Computed from the source.
    pub root_source: String,
    /// Computed from what came back.
    pub root_back: String,
    /// The server's peak of resident memory, if the system says.
    pub server_peak: Option<ByteCount>,
}

/// The upload that was killed, as its last event before that said.
#[derive(Clone, Copy)]
pub struct Killed {
    /// Stored and verified at the server.
    pub stored: ByteCount,
    /// Handed to the network.
    pub sent: ByteCount,
    /// The largest difference of the two so far.
    pub window: ByteCount,
}

/// What a client's summary says.
pub struct Summary {
    root: String,
    sent: ByteCount,
    resumed: ByteCount,
    window: ByteCount,
    peak: Option<ByteCount>,
    elapsed: Duration,
}

const BETWEEN_MACHINES: &str = "
The same between two machines:
  there   floe serve DIR              says where its ticket lies, and the next line with its address
  here    floe login NAME floe://HOST
          floe put FILE NAME:/
          floe get NAME:/FILE .";

impl Summary {
    /// Reads the summary of a client that came through.
    ///
    /// # Errors
    /// `Other` where it ended without one.
    pub fn of(end: End) -> Result<Self> {
        let End::Finished { summary, elapsed } = end else {
            return Err(Failure::new(Code::Other, "a client was killed by somebody else"));
        };
        let root = summary["root"].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            root,
            sent: number(&summary, "bytes_sent"),
            resumed: number(&summary, "bytes_resumed"),
            window: number(&summary, "window_bytes_max"),
            peak: summary["peak_rss_bytes"].as_u64().map(ByteCount),
            elapsed,
        })
    }

    fn pace(&self) -> String {
        let (amount, time) = (civil::bytes(self.sent), civil::span(self.elapsed));
        format!("{amount} in {time} ({})", civil::rate(self.sent, self.elapsed))
    }

    fn event(&self) -> Value {
        serde_json::json!({
            "root": self.root,
            "bytes_sent": self.sent.0,
            "bytes_resumed": self.resumed.0,
            "window_bytes_max": self.window.0,
            "peak_rss_bytes": self.peak.map(|peak| peak.0),
            "elapsed": self.elapsed.as_secs_f64(),
            "rate": civil::per_second(self.sent, self.elapsed),
        })
    }
}

impl Findings {
    /// Tells everything.
    ///
    /// # Errors
    /// Standard output's.
    pub fn tell(&self, flags: &OutputFlags) -> Result<()> {
        if flags.json {
            self.event().send(Channel::Output);
            Ok(())
        } else if flags.quiet {
            Ok(())
        } else {
            output::line(&self.text())
        }
    }

    /// Whether every promise held.
    ///
    /// # Errors
    /// `Integrity` with those that did not.
    pub fn check(&self) -> Result<()> {
        let broken = self.broken();
        if broken.is_empty() {
            return Ok(());
        }
        Err(Failure::hinted(Code::Integrity, broken.join("; "), "please report it"))
    }

    /// Every promise that did not hold, in words.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (whose, root) in [
            ("of what came back", &self.root_back),
            ("that put printed", &self.put.root),
            ("that get printed", &self.get.root),
        ] {
            if *root != self.root_source {
                let source = &self.root_source;
                broken.push(format!("the root {whose} is {root:?}, that of the source {source}"));
            }
        }
        if let Some(killed) = self.killed {
            let (kept, stored, again) = (self.put.resumed, killed.stored, self.again(killed));
            if kept < stored {
                broken
                    .push(format!("{stored} bytes were stored before the kill, {kept} were kept"));
            }
            let window = killed.window.max(self.put.window);
            if again > window {
                broken.push(format!("{again} bytes were sent again, the window is {window}"));
            }
        }
        broken
    }

    /// How much of what the killed upload had sent was sent again.
    fn again(&self, killed: Killed) -> ByteCount {
        killed.sent.minus(self.put.resumed)
    }

    fn text(&self) -> String {
        let size = civil::bytes(self.size);
        let mut lines = vec![format!("{size} to a server on this machine and back, over TLS 1.3")];
        match self.killed {
            Some(killed) => {
                let percent = killed.stored.0.saturating_mul(100) / self.size.0.max(1);
                let stored = civil::bytes(killed.stored);
                let kept = civil::bytes(self.put.resumed);
                let again = civil::bytes(self.again(killed));
                lines.push(format!(
                    "  put, killed   {stored} were stored when it got SIGKILL ({percent} %)"
                ));
                lines.push(format!("  put again     {}", self.put.pace()));
                lines.push(format!("                {kept} were kept, {again} sent again"));
            }
            None => lines.push(format!("  put           {} (not killed)", self.put.pace())),
        }
        lines.push(format!("  get           {}", self.get.pace()));
        let peak = |peak: Option<ByteCount>| peak.map_or("unknown".to_owned(), civil::bytes);
        let client = self.put.peak.max(self.get.peak);
        let (server, client) = (peak(self.server_peak), peak(client));
        lines.push(format!("  peak memory   server {server}, client {client}"));
        lines.push(format!("  blake3        {}", self.root_source));
        lines.push(if self.broken().is_empty() {
            "                printed by put and get, computed from the source and from what came \
             back: the same"
                .to_owned()
        } else {
            "                NOT everything agrees, see below".to_owned()
        });
        lines.push(BETWEEN_MACHINES.to_owned());
        lines.join("\n")
    }

    fn event(&self) -> Event {
        let broken = self.broken();
        let killed = self.killed.map(|killed| {
            serde_json::json!({
                "bytes_stored": killed.stored.0,
                "bytes_sent": killed.sent.0,
                "window_bytes_max": killed.window.0,
                "bytes_sent_again": self.again(killed).0,
            })
        });
        Event::new("summary")
            .with("size", self.size.0)
            .with("killed", killed)
            .with("put", self.put.event())
            .with("get", self.get.event())
            .with("root_source", self.root_source.as_str())
            .with("root_back", self.root_back.as_str())
            .with("server_peak_rss_bytes", self.server_peak.map(|peak| peak.0))
            .with("good", broken.is_empty())
            .with("broken", broken)
    }
}

/// A number of an event; 0 where it has none.
pub fn number(event: &Value, name: &str) -> ByteCount {
    ByteCount(event[name].as_u64().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let summary = |sent, resumed| Summary {
            root: "ab".to_owned(),
            sent: ByteCount(sent),
            resumed: ByteCount(resumed),
            window: ByteCount(64),
            peak: None,
            elapsed: Duration::from_secs(1),
        };
        Findings {
            size: ByteCount(1000),
            killed: Some(Killed {
                stored: ByteCount(500),
                sent: ByteCount(560),
                window: ByteCount(64),
            }),
            put: summary(480, 520),
            get: summary(1000, 0),
            root_source: "ab".to_owned(),
            root_back: "ab".to_owned(),
            server_peak: None,
        }
    }

    #[test]
    fn every_promise_that_does_not_hold_is_named() {
        assert_eq!(findings().broken(), Vec::<String>::new());
        let mut lost = findings();
        lost.put.resumed = ByteCount(400);
        assert_eq!(lost.broken().len(), 2);
        let mut wrong = findings();
        wrong.root_back = "cd".to_owned();
        assert!(wrong.broken()[0].contains("of what came back"));
        let failure = wrong.check().unwrap_err();
        assert_eq!(failure.code().exit_status(), 5);
        assert!(wrong.text().contains("NOT everything agrees"));
    }

    #[test]
    fn a_client_without_a_root_is_not_good() {
        let mut silent = findings();
        silent.put.root = String::new();
        assert_eq!(silent.broken().len(), 1);
    }
}
