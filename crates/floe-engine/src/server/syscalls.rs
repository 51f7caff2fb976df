//! System calls that a server never makes, refused to its process from here on.
//!
//! A list of what is refused, and not of what is allowed: the allocator, the runtime and the C
//! library change what they call with every version, and a server that dies of a new one of them is
//! no safer. What stands here is what a mistake in this program could be used for: to run another
//! program, to reach into another process, to change mounts, the kernel or the clock, to make
//! devices, to open files past their path, to take another user's rights back. They fail with EPERM
//! in every thread of the process, for good; in a test, in those of one thread.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
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

/// To whom they are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    /// All threads, also those that began before.
    Process,
    /// This thread, and every one it starts.
    #[cfg(test)]
    Thread,
}

/// Refuses them, and takes new privileges away.
pub(super) fn refuse(whom: Whom) -> CallFilter {
    match install(whom) {
        Ok(()) => CallFilter::Refuses,
        Err(error) => {
            tracing::warn!(%error, "no system calls are refused");
            CallFilter::None
        }
    }
}

fn install(whom: Whom) -> Result<(), Box<dyn Error>> {
    // What clone3 is asked for stands in memory, where no filter looks: it is not there, and the C
    // library starts its threads with clone.
    let clone3 = [libc::SYS_clone3, libc::SYS_clone3 | X32].map(|call| (call, Vec::new()));
    apply(whom, BTreeMap::from(clone3), libc::ENOSYS)?;
    apply(whom, never()?, libc::EPERM)
}

fn apply(
    whom: Whom,
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    refused: i32,
) -> Result<(), Box<dyn Error>> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(refused.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?;
    let program: BpfProgram = filter.try_into()?;
    match whom {
        Whom::Process => seccompiler::apply_filter_all_threads(&program)?,
        #[cfg(test)]
        Whom::Thread => seccompiler::apply_filter(&program)?,
    }
    Ok(())
}

/// What is refused. An empty list of rules is a match, whatever the arguments.
fn never() -> Result<BTreeMap<i64, Vec<SeccompRule>>, Box<dyn Error>> {
    let calls = NEVER.iter().chain(NEVER_HERE).copied();
    // The same, as x32 numbers them.
    let twice = calls.flat_map(|call| [call, call | X32]).chain(NEVER_X32.map(|call| call | X32));
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = twice.map(|call| (call, Vec::new())).collect();
    for call in [libc::SYS_clone, libc::SYS_clone | X32] {
        rules.insert(call, NAMESPACES.map(with_flag).into_iter().collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

fn with_flag(flag: i32) -> Result<SeccompRule, Box<dyn Error>> {
    let flag = u64::from(flag.unsigned_abs());
    let is_set = SeccompCmpOp::MaskedEq(flag);
    let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, is_set, flag)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// Processes in namespaces of their own.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// What marks a number of x32, which some kernels of x86-64 have.
const X32: i64 = 0x4000_0000;
/// Those of the list that have numbers of their own there: execve, ptrace, kexec_load,
/// process_vm_readv, process_vm_writev, execveat.
const NEVER_X32: [i64; 6] = [520, 521, 528, 539, 540, 545];

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
            if refuse(Whom::Thread) == CallFilter::None {
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
