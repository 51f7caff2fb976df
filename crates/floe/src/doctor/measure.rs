//! The stages of a path, one after the other.
//!
//! A way is measured while bytes go over it, once it has gathered speed, and then given up.

use super::findings::{Figures, Found, Path, Way};
use crate::civil::per_second;
use crate::dial::Dialer;
use crate::fault::{Failure, Result};
use crate::remote::ServerName;
use floe_engine::client::{Credential, Notice, watch};
use floe_engine::secure::Security;
use floe_engine::speed;
use floe_proto::command::{StreamCount, Summary};
use floe_proto::frame::{Direction, Reply, Request, Speeds, Verbs};
use floe_types::{ByteCount, Code, Fault, ObjectPath};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What is measured.
pub struct Bench<'a> {
    pub dialer: &'a mut Dialer,
    pub server: &'a ServerName,
    /// Where, of the server.
    pub path: ObjectPath,
    /// Where, of this machine.
    pub dir: PathBuf,
}

/// When, how far a probe was, and over how many streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sample {
    at: Duration,
    bytes: u64,
    streams: u32,
}

const MIB: u64 = 1 << 20;
const ONE_STREAM: Duration = Duration::from_secs(1);
/// What a short transfer takes: while it gathers speed it is slower than in the end.
const EARLY: Duration = Duration::from_secs(10);
/// With as many streams as floe chooses: until no more came for this long, and they bring no more,
const SETTLED: Duration = Duration::from_secs(2);
/// or until
const MANY_MAX: Duration = Duration::from_secs(12);
/// A path that is so slow that less than this came has longer,
const BYTES_MIN: u64 = 2 * MIB;
/// but not for ever.
const SLOW_MAX: Duration = Duration::from_secs(20);
/// How long the server may take to measure itself, behind whatever else it does.
const SERVER_MAX: Duration = Duration::from_secs(90);
/// A way is given up beyond so many bytes, whatever it came to.
const WAY_BYTES_MAX: u64 = 4096 * MIB;

impl Bench<'_> {
    /// Measures every stage that the ticket allows.
    ///
    /// # Errors
    /// `Unsupported`, `NotAllowed` where that is none; what the path comes to.
    pub async fn all(&mut self, say: impl Fn(&str)) -> Result<Figures> {
        let verbs = self.verbs().await?;
        let (read, write) = (verbs.allow(Verbs::READ), verbs.allow(Verbs::WRITE_NEW));
        if !read && !write {
            let detail = "measure with a ticket that may neither read nor write";
            return Err(Failure::new(Code::NotAllowed, detail));
        }
        say("this machine");
        let dir = self.dir.clone();
        let disk = aside(move || speed::disk(&dir)).await.map_err(|fault| fault.to_string());
        let (hash, cipher) = aside(|| Ok((speed::hash(), speed::cipher()?))).await?;
        let cipher = match self.dialer.route(self.server)?.security {
            Security::Plaintext => Err("not needed: plaintext".to_owned()),
            Security::Tls { .. } => Ok(cipher),
        };
        let read_only = verbs.allow(Verbs::UNCHANGING);
        let refused = |verb: &str| match verb {
            "write" if read_only => "the server is read-only".to_owned(),
            verb => format!("the ticket does not allow to {verb}"),
        };
        let up = if write {
            say("the way to the server");
            Ok(self.way(Direction::Put).await?)
        } else {
            Err(refused("write"))
        };
        let down = if read {
            say("the way from the server");
            Ok(self.way(Direction::Get).await?)
        } else {
            Err(refused("read"))
        };
        let server = if write {
            say("the server");
            self.server().await?
        } else {
            Err(refused("write"))
        };
        Ok(Figures { disk, hash, cipher, server, up, down })
    }

    /// What may be done at the server.
    async fn verbs(&mut self) -> Result<Verbs> {
        let terms = self.dialer.client(self.server).await?.terms().await?;
        if terms.takes_probes() {
            return Ok(terms.verbs);
        }
        Err(match self.dialer.route(self.server)?.credential {
            Credential::Anonymous => Failure::hinted(
                Code::NotAllowed,
                "measure without a ticket",
                "log in with one: floe login",
            ),
            Credential::Ticket(_) => Failure::hinted(
                Code::Unsupported,
                "the server does not measure for this ticket",
                "it is of a version that cannot (update floe there), or the ticket's uses are \
                 counted",
            ),
        })
    }

    /// What the server measures of itself.
    async fn server(&mut self) -> Result<Found<Speeds>> {
        let request = Request::Measure { path: self.path.clone() };
        let client = self.dialer.client(self.server).await?;
        let Ok(answer) = tokio::time::timeout(SERVER_MAX, client.request(request)).await else {
            return Ok(Err("the server is busy".to_owned()));
        };
        match answer {
            Ok(Reply::Measured(speeds)) => Ok(Ok(speeds)),
            Ok(_) => Err(Failure::new(Code::Violation, "an answer to something else")),
            Err(fault) if fault.code.is_lost() => Err(fault.into()),
            Err(fault) => Ok(Err(fault.to_string())),
        }
    }

    async fn way(&self, direction: Direction) -> Result<Way> {
        let one = self.path(direction, StreamCount::Fixed(1)).await?;
        let many = self.path(direction, StreamCount::Auto).await?;
        Ok(Way { one, many })
    }

    /// Has a probe run until it has shown what the way carries.
    async fn path(&self, direction: Direction, streams: StreamCount) -> Result<Path> {
        let client = self.dialer.fresh(self.server, streams).await?;
        let (watch, mut notices) = watch();
        let (begun, mut samples, mut last) = (Instant::now(), Vec::new(), Summary::default());
        let outcome = {
            let probing = client.probe(direction, watch);
            tokio::pin!(probing);
            loop {
                tokio::select! {
                    outcome = &mut probing => break outcome,
                    Some(notice) = notices.recv() => {
                        let Notice::Progress(summary) = notice else { continue };
                        // Of what lies in a socket only the receiver knows that it came.
                        let came = match direction {
                            Direction::Put => summary.bytes_stored,
                            Direction::Get => summary.bytes_sent,
                        };
                        let (at, streams_now) = (begun.elapsed(), summary.streams);
                        samples.push(Sample { at, bytes: came.0, streams: streams_now });
                        last = summary;
                        if has_shown(&samples, streams) {
                            client.interrupt();
                        }
                    }
                }
            }
        };
        client.close().await;
        match outcome?.result {
            Err(fault) if fault.code != Code::Interrupted => return Err(fault.into()),
            _ => {}
        }
        let rate = steady(&samples).unwrap_or_default();
        let early = early(&samples, rate);
        let limit = last.causes.limit(direction).map(|limited| limited.by);
        Ok(Path { rate, early, streams: last.streams, limit })
    }
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Fault> + Send + 'static,
) -> std::result::Result<T, Fault> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Err(Fault::new(Code::Other, "measure this machine")))
}

fn has_shown(samples: &[Sample], streams: StreamCount) -> bool {
    let Some(last) = samples.last() else { return false };
    if last.bytes >= WAY_BYTES_MAX || last.at >= SLOW_MAX {
        return true;
    }
    last.bytes >= BYTES_MIN
        && match streams {
            StreamCount::Fixed(_) => last.at >= ONE_STREAM,
            StreamCount::Auto => last.at >= MANY_MAX || has_settled(samples),
        }
}

/// The rate of the last second, or of the last half.
fn steady(samples: &[Sample]) -> Option<u64> {
    let last = *samples.last()?;
    let since = last.at.saturating_sub(ONE_STREAM).max(last.at / 2);
    let first = *samples.iter().find(|sample| sample.at >= since)?;
    let (at, bytes) = if first.at < last.at { (first.at, first.bytes) } else { Default::default() };
    let (span, came) = (last.at.checked_sub(at)?, last.bytes.checked_sub(bytes)?);
    Some(per_second(ByteCount(came), span))
}

/// The average of the first ten seconds; what was not measured of them goes at the rate of the end.
fn early(samples: &[Sample], rate: u64) -> u64 {
    let within = samples.iter().rfind(|sample| sample.at <= EARLY);
    let (at, bytes) = within.map_or_else(Default::default, |last| (last.at, last.bytes));
    let rest = u128::from(rate) * (EARLY - at).as_micros() / 1_000_000;
    let all = bytes.saturating_add(u64::try_from(rest).unwrap_or(u64::MAX));
    per_second(ByteCount(all), EARLY)
}

/// Whether no stream came of late, and the last second brought no tenth more than the one before.
fn has_settled(samples: &[Sample]) -> bool {
    let Some(last) = samples.last() else { return false };
    let before = |by: Duration| samples.iter().filter(move |one| one.at + by <= last.at).copied();
    let Some(then) = before(SETTLED).last() else { return false };
    let earlier: Vec<_> = before(ONE_STREAM).collect();
    match (steady(&earlier), steady(samples)) {
        (Some(earlier), Some(now)) => then.streams == last.streams && now <= earlier + earlier / 10,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, mib: u64) -> Sample {
        Sample { at: Duration::from_millis(millis), bytes: mib * MIB, streams: 1 }
    }

    #[test]
    fn a_path_that_gathers_speed_is_judged_by_its_end() {
        let ramp = [at(200, 1), at(600, 10), at(1000, 50), at(1400, 90), at(2000, 150)];
        assert_eq!(steady(&ramp), Some(100 * MIB));
        assert!(!has_settled(&ramp));
        assert!(!has_shown(&ramp, StreamCount::Auto) && has_shown(&ramp, StreamCount::Fixed(1)));
        let flat: Vec<_> = (1..=15).map(|nth| at(nth * 200, nth * 20)).collect();
        assert!(has_settled(&flat) && has_shown(&flat, StreamCount::Auto));
        let mut growing = flat;
        growing[12].streams = 4;
        growing[13].streams = 4;
        growing[14].streams = 4;
        assert!(!has_settled(&growing), "a stream that came is given its time");
        assert_eq!(steady(&[at(100, 1)]), Some(10 * MIB));
        assert!(has_shown(&[at(100, 4096)], StreamCount::Auto));
        let slow = [at(1000, 0), at(3000, 1), at(5000, 1)];
        assert!(!has_shown(&slow, StreamCount::Fixed(1)), "a chunk is no rate");
        assert!(has_shown(&[at(20_000, 0)], StreamCount::Fixed(1)));
        assert_eq!(steady(&[]), None);
        assert_eq!(early(&ramp, 100 * MIB), (150 + 800) * MIB / 10);
        assert_eq!(early(&[at(4000, 40), at(12_000, 1000)], 100 * MIB), (40 + 600) * MIB / 10);
        assert_eq!(early(&[], 5 * MIB), 5 * MIB);
    }
}
