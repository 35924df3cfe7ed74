//! What the kernel tells of processes: memory, CPU, the machine's load, and one clock for all of them.

use crate::demo::process::children_of;
use std::time::Duration;

/// Microseconds of the machine's monotonic clock: the same in all its processes.
pub(super) fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * 1_000_000 + nanos / 1_000
}

/// The resident memory of a process now; 0 when it is unknown.
pub(super) fn rss_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:").unwrap_or(0) * 1_024
}

/// The most resident memory of a process since [`forget_peak`]; 0 when it is unknown.
pub(super) fn peak_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:").unwrap_or(0) * 1_024
}

/// Lets the peak begin anew. Where that is not allowed, it is the peak of the process' life.
pub(super) fn forget_peak(pid: u32) {
    const PEAK: &str = "5";
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), PEAK);
}

fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The CPU time that a process has used.
pub(super) fn cpu(pid: u32) -> Duration {
    ticks(pid, &[UTIME, STIME])
}

/// The CPU time that a process, its children and its ended children have used: a Postgres server's.
pub(super) fn family_cpu(pid: u32) -> Duration {
    let children = children_of(pid).into_iter().map(cpu).sum::<Duration>();
    ticks(pid, &[UTIME, STIME, CUTIME, CSTIME]) + children
}

const PPID: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
const CSTIME: usize = 14;

fn ticks(pid: u32, fields: &[usize]) -> Duration {
    /// The kernel counts in hundredths of a second on every Linux that this runs on.
    const TICK_MS: u64 = 10;
    let ticks = fields.iter().filter_map(|field| stat(pid, *field)?.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * TICK_MS)
}

/// A field of `/proc/PID/stat` after the name, from 0.
fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(field).map(str::to_owned)
}

/// Whose child a process is, if it is one of this machine called `name`.
pub(super) fn parent_of(pid: u32, name: &str) -> Option<u32> {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (comm.trim() == name).then(|| stat(pid, PPID)?.parse().ok())?
}

/// The machine's one-minute load.
pub(super) fn load_avg() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
