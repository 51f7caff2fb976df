//! What the kernel offers without a safe wrapper: namespaces of one's own for networks and
//! mounts, what a child used, calls that a child asks about first, a TUN device. All of the bench's
//! unsafe code.
#![allow(unsafe_code)]

use floe_types::ByteCount;
use rustix::process::Pid;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
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

/// Has a child, and what it becomes, ask its parent before each of these system calls. The parent
/// takes `LISTENER` out of the child and answers; without an answer the child waits.
pub fn ask_before(command: &mut Command, calls: &'static [libc::c_long]) {
    // SAFETY: between fork and exec only system calls are made, on memory of this stack frame.
    unsafe { command.pre_exec(move || install(calls)) };
}

/// The descriptor of the child that its parent answers through.
pub const LISTENER: i32 = 200;
const CALLS_MAX: usize = 8;

fn install(calls: &[libc::c_long]) -> io::Result<()> {
    // Where in the filter a call's number is (seccomp_data.nr).
    let none = libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 };
    let mut program = [none; CALLS_MAX + 3];
    let code = |code: u32| u16::try_from(code).unwrap_or(0);
    let step = |code: u16, k: u32| libc::sock_filter { code, jt: 0, jf: 0, k };
    let count = calls.len().min(CALLS_MAX);
    program[0] = step(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0);
    for (nth, call) in calls.iter().take(count).enumerate() {
        let jt = u8::try_from(count - nth).unwrap_or(0);
        let k = u32::try_from(*call).unwrap_or(u32::MAX);
        let equal = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
        program[1 + nth] = libc::sock_filter { code: equal, jt, jf: 0, k };
    }
    let back = code(libc::BPF_RET | libc::BPF_K);
    program[1 + count] = step(back, libc::SECCOMP_RET_ALLOW);
    program[2 + count] = step(back, libc::SECCOMP_RET_USER_NOTIF);
    let len = u16::try_from(count + 3).unwrap_or(0);
    let whole = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, and is what `len` says.
    unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let set = libc::SECCOMP_SET_MODE_FILTER;
        let listener = libc::syscall(libc::SYS_seccomp, set, flags, &raw const whole);
        // Not closed by exec: that the parent has it takes until then.
        let listener = i32::try_from(listener).unwrap_or(-1);
        if listener < 0 || libc::dup2(listener, LISTENER) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A system call that a child wants to make.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    id: u64,
    /// Its number.
    pub call: libc::c_long,
    /// Its third argument: of a plain read or write, how many bytes.
    pub third: u64,
}

/// What a parent answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The call is made.
    Go,
    /// It fails so.
    Fail(i32),
}

/// The next call that a child wants to make; waits for one.
pub fn next_wanted(listener: BorrowedFd<'_>) -> io::Result<Wanted> {
    // SAFETY: seccomp_notif is plain numbers, and has to be zero.
    let mut wanted: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request reads and writes one seccomp_notif, which outlives the call.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut wanted) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let call = libc::c_long::from(wanted.data.nr);
    Ok(Wanted { id: wanted.id, call, third: wanted.data.args[2] })
}

/// Lets a child go on. One that was killed meanwhile needs no answer.
pub fn answer(listener: BorrowedFd<'_>, wanted: Wanted, reply: Reply) {
    // SAFETY: seccomp_notif_resp is plain numbers, for which zero is a value.
    let mut response: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
    response.id = wanted.id;
    match reply {
        Reply::Go => response.flags = 1,
        Reply::Fail(error) => response.error = -error,
    }
    // SAFETY: the request reads one seccomp_notif_resp, which outlives the call.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
}

/// SECCOMP_IOCTL_NOTIF_RECV: a notification of 80 bytes, both ways.
const RECEIVE: libc::Ioctl = 0xc050_2100;
/// SECCOMP_IOCTL_NOTIF_SEND: a response of 24 bytes, both ways.
const SEND: libc::Ioctl = 0xc018_2101;

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_waited_for_with_what_it_used() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let ended = wait(Pid::from_child(&child)).unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(child.wait().is_err());
        assert!(ended.peak.0 > 0);
    }
}
