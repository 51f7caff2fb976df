//! A long path made of nothing but a program: two networks, a TUN device in each, and between them
//! a rate, a delay, a bounded queue and losses drawn from a seed.
//!
//! `path` is the model in virtual time, pure; `pump` moves packets through two of them. The
//! networks belong to this process and go with it: its first thread is in the near one, a second
//! thread in the far one, so that /proc names both.

mod path; // one direction, in virtual time
mod pump; // packets from device to device

use crate::{Result, os};
use path::Path;
pub use path::Shape;
use pump::Pump;
use rustix::thread::gettid;
use std::fs::File;
use std::sync::mpsc;
use std::thread;

/// The name of the device at both ends.
pub const DEVICE: &str = "wan0";

/// What the link is like, each way.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct LinkArgs {
    /// Bits a second, of IP packets
    #[arg(long)]
    rate: u64,
    /// Microseconds one way
    #[arg(long)]
    delay_us: u64,
    /// Bytes that wait for the link at most
    #[arg(long)]
    queue_bytes: u64,
    /// Packets of a million that are lost
    #[arg(long)]
    loss_ppm: u32,
    /// Where the losses come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl LinkArgs {
    /// Makes both networks and the devices, says `near PID far TID`, and carries packets until it
    /// is killed.
    pub fn run(self) -> Result<()> {
        os::leave_network().map_err(|error| format!("make a network: {error}"))?;
        let near = device()?;
        let (give, take) = mpsc::channel();
        thread::spawn(move || {
            let made = os::leave_network()
                .map_err(|error| format!("make a network: {error}"))
                .and_then(|()| device());
            let _ = give.send(made.map(|device| (device, gettid())));
            // The far network lives as long as a thread is in it.
            loop {
                thread::park();
            }
        });
        let (far, far_thread) = take.recv().map_err(|error| error.to_string())??;
        println!("near {} far {}", std::process::id(), far_thread.as_raw_nonzero());
        let shape = Shape {
            rate: self.rate,
            delay: self.delay_us * 1000,
            queue_bytes_max: self.queue_bytes,
            loss_ppm: self.loss_ppm,
        };
        let paths = [Path::new(shape, self.seed), Path::new(shape, self.seed ^ u64::MAX)];
        Pump::new([near, far], paths).run().map_err(|error| format!("carry packets: {error}"))
    }
}

fn device() -> Result<File> {
    os::tun(DEVICE).map_err(|error| format!("make a TUN device: {error}"))
}
