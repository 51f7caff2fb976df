//! What /proc tells of processes that go on: processor time, resident memory, children, what they
//! listen on, and how many bytes an interface carried.
//!
//! A server may be many processes: sums are over a process and all that descend from it, with those
//! that ended and were waited for.

use floe_types::ByteCount;
use std::fs;
use std::time::Duration;

/// A process id as /proc names it.
pub type ProcessId = u32;

/// The kernel's clock ticks, in which /proc counts; 100 a second on every Linux that floe runs on.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of a page, in which statm counts, on the machines that floe is measured on.
const PAGE: u64 = 4096;

/// A process and all that descend from it.
pub fn tree(root: ProcessId) -> Vec<ProcessId> {
    let mut all = vec![root];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all
}

/// Processor time of a process and all that descend from it.
pub fn cpu(root: ProcessId) -> Duration {
    let stats = tree(root).into_iter();
    stats.filter_map(|pid| parse_cpu(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum()
}

/// Resident memory of a process and all that descend from it; what they share is counted once.
pub fn resident(root: ProcessId) -> ByteCount {
    let (mut own, mut shared) = (0, 0);
    for pid in tree(root) {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/statm")) else { continue };
        let mut fields = text.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>());
        let (Some(Ok(all)), Some(Ok(with))) = (fields.next(), fields.next()) else { continue };
        own += all.saturating_sub(with);
        shared = with.max(shared);
    }
    ByteCount((own + shared) * PAGE)
}

/// The largest resident memory of one process since [`forget_peak`].
pub fn peak(pid: ProcessId) -> Option<ByteCount> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(ByteCount(kib << 10))
}

/// Bytes that a process has read by calls that read files.
pub fn bytes_read(pid: ProcessId) -> Option<ByteCount> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("rchar:"))?;
    line.trim().parse().ok().map(ByteCount)
}

/// Memory that new processes could have.
pub fn available() -> ByteCount {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    ByteCount(kib.unwrap_or(0) << 10)
}

/// Starts [`peak`] anew.
pub fn forget_peak(pid: ProcessId) {
    // Without the right to do it the peak of earlier runs stays in, which errs on the safe side.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Whether the network that a process is in has a TCP listener on a port.
pub fn listens(pid: ProcessId, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|family| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{family}")).unwrap_or_default();
        listens_in(&text, port)
    })
}

/// Bytes that an interface took in, in the network that a process is in.
pub fn received(pid: ProcessId, interface: &str) -> Option<ByteCount> {
    Some(traffic(pid, interface)?.0)
}

/// Bytes that an interface took in and gave out.
pub fn carried(pid: ProcessId, interface: &str) -> Option<ByteCount> {
    let (received, sent) = traffic(pid, interface)?;
    Some(ByteCount(received.0 + sent.0))
}

/// Packets that an interface could not give out.
pub fn dropped(pid: ProcessId, interface: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    fields(&text, interface)?.get(11).copied()
}

fn traffic(pid: ProcessId, interface: &str) -> Option<(ByteCount, ByteCount)> {
    parse_traffic(&fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?, interface)
}

/// Fields 14 to 17, counted from behind the name, which may hold anything: user and system time,
/// its own and that of children it waited for.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().skip(11).take(4).collect();
    if fields.len() < 4 {
        return None;
    }
    let ticks = fields.iter().map(|field| field.parse::<u32>().ok()).sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

/// `0A` is LISTEN; addresses are `ADDRESS:PORT` in hexadecimal.
fn listens_in(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(1).is_some_and(|local| local.ends_with(&wanted)) && fields.get(3) == Some(&"0A")
    })
}

/// Fields 1 and 9 behind the interface's name.
fn parse_traffic(table: &str, interface: &str) -> Option<(ByteCount, ByteCount)> {
    let fields = fields(table, interface)?;
    Some((ByteCount(*fields.first()?), ByteCount(*fields.get(8)?)))
}

fn fields(table: &str, interface: &str) -> Option<Vec<u64>> {
    let line = table.lines().find_map(|line| {
        line.trim_start().strip_prefix(interface).and_then(|rest| rest.strip_prefix(':'))
    })?;
    Some(line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system_with_children() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 150 50 20 30 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu(stat), Some(Duration::from_millis(2500)));
        assert_eq!(parse_cpu("7 x"), None);
    }

    #[test]
    fn a_listener_is_found_by_its_port() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000\n\
             1: 0100007F:0FA1 0100007F:1000 01 00000000:00000000\n";
        assert!(listens_in(table, 0x0fa0));
        assert!(!listens_in(table, 0x0fa1));
    }

    #[test]
    fn traffic_is_by_interface() {
        let table = "Inter-| Receive\n face |bytes\n    lo: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n  \
             wan0:5 1 0 0 0 0 0 0 6 2 0 0 0 0 0 0\n";
        assert_eq!(parse_traffic(table, "lo"), Some((ByteCount(10), ByteCount(20))));
        assert_eq!(parse_traffic(table, "wan0"), Some((ByteCount(5), ByteCount(6))));
        assert_eq!(parse_traffic(table, "eth0"), None);
    }

    #[test]
    fn what_is_read_from_a_file_counts() {
        let own = std::process::id();
        let before = bytes_read(own).unwrap();
        let read = fs::read("/proc/self/exe").unwrap();
        assert!(bytes_read(own).unwrap().0 >= before.0 + ByteCount::of_len(read.len()).0);
    }

    #[test]
    fn this_process_has_memory_and_is_in_its_tree() {
        let own = std::process::id();
        assert!(tree(own).contains(&own));
        assert!(resident(own).0 > 0 && peak(own).is_some());
    }
}
