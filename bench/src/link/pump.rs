//! Moves packets from each device through its path to the other device. One thread.
//!
//! While packets come it looks every [`TICK`], without waiting for single packets: at 200 Mbit/s
//! that is a few packets a look, and adds less than a third of a millisecond to a round trip.
//! While none come it waits for the first or for the next that is due.

use super::path::{Nanos, Path};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Between two looks.
const TICK: Nanos = 150_000;
/// Packets of one device in one look.
const BATCH: usize = 512;
/// Bytes of a packet at most; the devices' MTU is below it.
const PACKET_BYTES_MAX: usize = 2048;
/// Buffers kept for later.
const SPARE_MAX: usize = 16_384;

/// Two devices, and the paths from each to the other.
pub struct Pump {
    devices: [File; 2],
    paths: [Path<Vec<u8>>; 2],
    spare: Vec<Vec<u8>>,
    begun: Instant,
}

impl Pump {
    /// `paths[n]` leads from `devices[n]` to the other.
    pub fn new(devices: [File; 2], paths: [Path<Vec<u8>>; 2]) -> Self {
        Self { devices, paths, spare: Vec::new(), begun: Instant::now() }
    }

    /// Carries packets until a device fails.
    pub fn run(mut self) -> io::Result<()> {
        // The kernel may otherwise wake a thread 50 microseconds late.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        loop {
            let mut came = 0;
            for end in 0..2 {
                came += self.take(end)?;
                self.give(end)?;
            }
            if came > 0 {
                std::thread::sleep(Duration::from_nanos(TICK));
            } else {
                self.wait()?;
            }
        }
    }

    fn now(&self) -> Nanos {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Reads what has come to a device; answers how many packets.
    fn take(&mut self, end: usize) -> io::Result<usize> {
        for count in 0..BATCH {
            let mut packet =
                self.spare.pop().unwrap_or_else(|| Vec::with_capacity(PACKET_BYTES_MAX));
            packet.resize(PACKET_BYTES_MAX, 0);
            match rustix::io::read(&self.devices[end], &mut packet[..]) {
                Ok(len) => packet.truncate(len),
                Err(error) => {
                    self.keep(packet);
                    return not_now(error).map(|()| count);
                }
            }
            let len = u64::try_from(packet.len()).unwrap_or(u64::MAX);
            let now = self.now();
            if let Err(packet) = self.paths[end].offer(now, len, packet) {
                self.keep(packet);
            }
        }
        Ok(BATCH)
    }

    /// Writes what has arrived at the other end of a path.
    fn give(&mut self, end: usize) -> io::Result<()> {
        let now = self.now();
        while let Some(packet) = self.paths[end].due(now) {
            match rustix::io::write(&self.devices[1 - end], &packet) {
                Ok(_) => {}
                // A device that is down or full loses the packet, as a host would.
                Err(Errno::IO | Errno::NOBUFS | Errno::INVAL) => {}
                Err(error) => not_now(error)?,
            }
            self.keep(packet);
        }
        Ok(())
    }

    fn keep(&mut self, packet: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(packet);
        }
    }

    /// Until a packet comes or is due.
    fn wait(&self) -> io::Result<()> {
        let due = self.paths.iter().filter_map(Path::next).min();
        let wait =
            due.map(|due| Duration::from_nanos(due.saturating_sub(self.now()).max(TICK / 3)));
        let wait = wait.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let [near, far] = &self.devices;
        let mut both = [PollFd::new(near, PollFlags::IN), PollFd::new(far, PollFlags::IN)];
        match poll(&mut both, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether it is only that there is nothing now, or the device is not up yet.
fn not_now(error: Errno) -> io::Result<()> {
    match error {
        Errno::AGAIN | Errno::INTR | Errno::IO => Ok(()),
        other => Err(other.into()),
    }
}
