//! What a stream asks of its socket: how its path is, a few times a second for all, and some dozen
//! times for what gives way; and what it then tells it, the pace of that.

use crate::{lane, socket};
use floe_proto::command::PathSample;
use floe_types::Rate;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SAMPLE: Duration = Duration::from_millis(250);
/// A controller decides over no less than 50 ms.
const GLANCE: Duration = Duration::from_millis(20);

/// When a socket was looked at, and its pace.
#[derive(Default)]
pub(super) struct Gauge {
    sampled: Option<Instant>,
    glanced: Option<Instant>,
    pace: Option<Rate>,
}

/// What was seen now.
#[derive(Default)]
pub(super) struct Look {
    pub(super) sample: Option<PathSample>,
    pub(super) glance: Option<PathSample>,
}

impl Gauge {
    /// Looks where it is time.
    pub(super) fn look(&mut self, stream: &TcpStream) -> Look {
        let now = Instant::now();
        let due = |last: Option<Instant>, every| {
            last.is_none_or(|last| now.duration_since(last) >= every)
        };
        let samples = due(self.sampled, SAMPLE);
        let glances = self.pace.is_some() && due(self.glanced, GLANCE);
        if !samples && !glances {
            return Look::default();
        }
        let path = socket::path(stream);
        let path = path.map(|path| PathSample { worked: lane::worked(), ran: lane::ran(), ..path });
        if samples {
            self.sampled = Some(now);
        }
        if glances {
            self.glanced = Some(now);
        }
        Look { sample: path.filter(|_| samples), glance: path.filter(|_| glances) }
    }

    /// The pace is this from now on.
    pub(super) fn pace(&mut self, pace: Option<Rate>, stream: &TcpStream) {
        if pace != self.pace {
            self.pace = pace;
            socket::pace(stream, pace);
        }
    }
}
