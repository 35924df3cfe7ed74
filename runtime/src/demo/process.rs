//! Child processes that end with us, and signals to them.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A command that the kernel sends `death_signal` when this process dies, where `setpriv` is installed. To be started
/// with [`spawn`].
#[must_use]
pub fn bound(program: impl AsRef<OsStr>, death_signal: &str) -> Command {
    if has_setpriv() {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", death_signal]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Starts a command in a process group of its own: Ctrl-C reaches us alone, and we end the rest in order.
///
/// # Errors
/// When the program cannot be started.
pub fn spawn(command: Command) -> io::Result<Child> {
    // The kernel ties a child to the *thread* that made it, so one thread that lives as long as we do makes them all.
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in inbox {
                use std::os::unix::process::CommandExt;
                let child = command.process_group(0).spawn();
                if let Err(unclaimed) = reply.send(child)
                    && let Ok(mut child) = unclaimed.0
                {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        requests
    });
    let (reply, child) = channel();
    let gone = |_| io::Error::other("the thread that starts processes is gone");
    spawner.send((command, reply)).map_err(|_| gone(()))?;
    child.recv().map_err(|_| gone(()))?
}

/// Sends a signal (`KILL`, `USR1`, …) to processes. Those that are gone already are passed over.
pub fn signal(name: &str, pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
    // The shell's own `kill`: some systems have no program of that name.
    let script = format!("kill -{name} {} 2>/dev/null; true", pids.join(" "));
    let _ = Command::new("sh").arg("-c").arg(script).status();
}

/// Waits for a child to end, for as long as `limit`. True when it has.
pub fn wait_at_most(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < limit => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// Sees to it that a folder is removed once this process is gone, also when it was killed and could not do so itself.
pub fn sweep_after_us(dir: &Path) {
    use std::io::Write;
    // The end of its input is our end. By then what used the folder may still be ending.
    const SCRIPT: &str = r#"trap '' HUP INT TERM
        while IFS= read -r dir; do set -- "$@" "$dir"; done
        tries=0
        for dir do
            while [ -e "$dir" ] && [ $tries -lt 100 ]; do
                rm -rf "$dir" 2>/dev/null || sleep 0.1
                tries=$((tries + 1))
            done
        done"#;
    static SWEEPER: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();
    let sweeper = SWEEPER.get_or_init(|| {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT]).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        spawn(command).ok()?.stdin.take().map(Mutex::new)
    });
    if let Some(sweeper) = sweeper {
        let mut line = dir.as_os_str().as_bytes().to_vec();
        line.push(b'\n');
        // Without a sweeper the folder is left only if we are killed.
        let _ = sweeper.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
    }
}

/// Who we are to the system; 0 is root.
#[must_use]
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The living processes whose parent is `parent`.
#[must_use]
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat_field(*pid, 1).and_then(|ppid| ppid.parse().ok()) == Some(parent)).collect()
}

/// Whether a process exists and has not ended. One that ended and was not yet waited for counts as gone.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    stat_field(pid, 0).is_some_and(|state| state != "Z" && state != "X")
}

/// A field of `/proc/PID/stat` after the name: 0 is the state, 1 the parent.
fn stat_field(pid: u32, n: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, where the name may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(n).map(Into::into)
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let probe = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
        probe.is_ok_and(|output| output.status.success())
    })
}
