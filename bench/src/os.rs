//! What the kernel offers without a safe wrapper: namespaces of one's own for networks and
//! mounts, what a child used, a TUN device. All of the bench's unsafe code.
#![allow(unsafe_code)]

use floe_types::ByteCount;
use rustix::process::Pid;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// How a child ended, and what it and all children that it waited for used.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// User and system time.
    pub cpu: Duration,
    /// The largest resident memory of any one of them.
    pub peak: ByteCount,
}

/// Waits for a child of this process to end.
pub fn wait(pid: Pid) -> io::Result<Ended> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which zero is a value.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to locals that outlive the call.
        let found = unsafe { libc::wait4(pid.as_raw_nonzero().get(), &mut status, 0, &mut used) };
        if found >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let kib = u64::try_from(used.ru_maxrss).unwrap_or(0);
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        cpu: duration(used.ru_utime) + duration(used.ru_stime),
        peak: ByteCount(kib << 10),
    })
}

/// Moves the calling thread, and what it starts from now on, into a new network namespace.
pub fn leave_network() -> io::Result<()> {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: a new network namespace leaves memory, files and other threads as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(io::Error::from)
}

/// Moves the calling thread, and what it starts from now on, into a new mount namespace. Mounts
/// that are made there are seen nowhere else.
pub fn leave_mounts() -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags, mount_change};
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: a new mount namespace leaves memory, open files and other threads as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// Makes a TUN device in the calling thread's network namespace: one IP packet a read or write,
/// nothing in front of it, never blocking. The device goes when the file is closed.
pub fn tun(name: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    if !name.is_ascii() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a long name for a device"));
    }
    // SAFETY: ifreq is plain numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(0);
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &mut request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_child_is_waited_for_with_what_it_used() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let ended = wait(Pid::from_child(&child)).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(child.wait().is_err());
        assert!(ended.peak.0 > 0);
    }
}
