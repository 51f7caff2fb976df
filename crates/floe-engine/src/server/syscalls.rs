//! System calls that a server never makes, refused to its process from here on.
//!
//! A list of what is refused, and not of what is allowed: the allocator, the runtime and the C
//! library change what they call with every version, and a server that dies of a new one of them is
//! no safer. What stands here is what a mistake in this program could be used for: to run another
//! program, to reach into another process, to change mounts, the kernel or the clock, to make
//! devices, to open files past their path, to take another user's rights back. They fail with EPERM
//! in the thread that asks for the filter and in every thread it starts, for good.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;
use std::error::Error;

/// Whether calls are refused to the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallFilter {
    /// Those of the list.
    Refuses,
    /// None: this kernel, or this kind of processor, cannot, or nobody asked.
    None,
}

/// Refuses them to this thread, and to every one it starts.
pub(super) fn refuse() -> CallFilter {
    match install() {
        Ok(()) => CallFilter::Refuses,
        Err(error) => {
            tracing::warn!(%error, "no system calls are refused");
            CallFilter::None
        }
    }
}

fn install() -> Result<(), Box<dyn Error>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // An empty list of rules is a match, whatever the arguments.
    let rules: BTreeMap<i64, Vec<SeccompRule>> =
        NEVER.iter().chain(NEVER_HERE).map(|call| (*call, Vec::new())).collect();
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?;
    let program: BpfProgram = filter.try_into()?;
    Ok(seccompiler::apply_filter(&program)?)
}

/// On every processor.
const NEVER: &[i64] = &[
    // Other programs, other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Files past their path; devices.
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    // The kernel and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Rights that were given up.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// What only this processor has.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[i64] =
    &[libc::SYS_mknod, libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::process::Command;

    #[test]
    fn no_program_runs_and_no_device_is_made_but_files_are() {
        // In a thread of its own: it cannot be taken back.
        let thread = std::thread::spawn(|| {
            if refuse() == CallFilter::None {
                return; // a kernel without filters cannot show it
            }
            let dir = tempfile::tempdir().unwrap();
            let ran = Command::new("true").status();
            assert!(ran.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied));
            let later = std::thread::spawn(|| Command::new("true").status());
            assert!(later.join().unwrap().is_err(), "a thread that is started later");
            let device = rustix::fs::mknodat(
                rustix::fs::CWD,
                dir.path().join("null"),
                rustix::fs::FileType::CharacterDevice,
                rustix::fs::Mode::RUSR,
                rustix::fs::makedev(1, 3),
            );
            assert_eq!(device, Err(rustix::io::Errno::PERM));
            std::fs::write(dir.path().join("file"), "x").unwrap();
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_ok());
        });
        thread.join().unwrap();
    }
}
