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

/// How far a probe was, and when.
type Sample = (Duration, u64);

const MIB: u64 = 1 << 20;
const ONE_STREAM: Duration = Duration::from_secs(1);
/// With as many streams as floe chooses: until they bring no more, within
const MANY_MIN: Duration = Duration::from_secs(2);
/// and
const MANY_MAX: Duration = Duration::from_secs(5);
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
        let refused = |verb: &str| format!("the ticket does not allow to {verb}");
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
                "the server is of a version that does not measure",
                "update floe there; floe try measures this machine alone",
            ),
        })
    }

    /// What the server measures of itself.
    async fn server(&mut self) -> Result<Found<Speeds>> {
        let request = Request::Measure { path: self.path.clone() };
        match self.dialer.client(self.server).await?.request(request).await {
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
                        samples.push((begun.elapsed(), came.0));
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
        let limit = last.causes.limit(direction).map(|limited| limited.by);
        Ok(Path { rate, streams: last.streams, limit })
    }
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Fault> + Send + 'static,
) -> std::result::Result<T, Fault> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Err(Fault::new(Code::Other, "measure this machine")))
}

fn has_shown(samples: &[Sample], streams: StreamCount) -> bool {
    let Some((at, bytes)) = samples.last() else { return false };
    *bytes >= WAY_BYTES_MAX
        || match streams {
            StreamCount::Fixed(_) => *at >= ONE_STREAM,
            StreamCount::Auto => *at >= MANY_MAX || *at >= MANY_MIN && !is_growing(samples),
        }
}

/// The rate of the last second, or of the last half.
fn steady(samples: &[Sample]) -> Option<u64> {
    let last = *samples.last()?;
    let since = last.0.saturating_sub(ONE_STREAM).max(last.0 / 2);
    let first = *samples.iter().find(|sample| sample.0 >= since)?;
    let first = if first.0 < last.0 { first } else { (Duration::ZERO, 0) };
    let (span, bytes) = (last.0.checked_sub(first.0)?, last.1.checked_sub(first.1)?);
    Some(per_second(ByteCount(bytes), span))
}

/// Whether the last second brought a tenth more than the one before.
fn is_growing(samples: &[Sample]) -> bool {
    let Some(last) = samples.last() else { return true };
    let before: Vec<_> =
        samples.iter().filter(|one| one.0 + ONE_STREAM <= last.0).copied().collect();
    match (steady(&before), steady(samples)) {
        (Some(before), Some(now)) => now > before + before / 10,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64, mib: u64) -> Sample {
        (Duration::from_millis(millis), mib * MIB)
    }

    #[test]
    fn a_path_that_gathers_speed_is_judged_by_its_end() {
        let ramp = [at(200, 1), at(600, 10), at(1000, 50), at(1400, 90), at(2000, 150)];
        assert_eq!(steady(&ramp), Some(100 * MIB));
        assert!(is_growing(&ramp));
        assert!(!has_shown(&ramp, StreamCount::Auto) && has_shown(&ramp, StreamCount::Fixed(1)));
        let flat: Vec<_> = (1..=15).map(|nth| at(nth * 200, nth * 20)).collect();
        assert!(!is_growing(&flat) && has_shown(&flat, StreamCount::Auto));
        assert_eq!(steady(&[at(100, 1)]), Some(10 * MIB));
        assert!(has_shown(&[at(100, 4096)], StreamCount::Auto));
        assert_eq!(steady(&[]), None);
    }
}
