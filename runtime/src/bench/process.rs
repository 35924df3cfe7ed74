//! What the kernel tells of a process: memory and CPU.

use std::time::Duration;

/// The resident memory of a process now.
pub(super) fn rss_bytes(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:").unwrap_or(0) * 1_024
}

fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The CPU time that a process has used.
pub(super) fn cpu(pid: u32) -> Duration {
    /// The kernel counts in hundredths of a second on every Linux that this runs on.
    const TICK_MS: u64 = 10;
    let ticks = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|stat| {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    });
    Duration::from_millis(ticks.unwrap_or(0) * TICK_MS)
}

/// The machine's one-minute load.
pub(super) fn load_avg() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
