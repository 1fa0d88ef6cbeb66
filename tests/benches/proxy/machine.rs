//! What the kernel says of a process.

use fusebox_tests::parts::{self, Part};
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};
use std::fs;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::Command;

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps this thread on the first core, with timers that are exact.
pub(crate) fn pin_to_first_core() {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).expect("the first core is ours");
    set_current_timer_slack(NonZeroU64::new(1)).expect("a thread may be exact");
}

/// Lets every other process go first: the collector, which would elsewhere have cores of its own,
/// must not be what the load and the origin wait for.
pub(crate) fn give_way(pid: u32) {
    parts::must(Command::new("chrt").args([
        "--idle",
        "--all-tasks",
        "--pid",
        "0",
        &pid.to_string(),
    ]));
}

/// Keeps a core from falling asleep, by a loop to which everything else goes first: the core of a
/// virtual machine, once asleep, needs a millisecond until its host lets it run again, and that
/// would be the p99 of all.
pub(crate) fn keep_awake(core: usize) -> Part {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string(), "chrt", "--idle", "0"]);
    Part::start(command.args(["sh", "-c", "while :; do :; done"]))
}

/// CPU time of a process and of its children, ns.
pub(crate) fn cpu_ns(pid: u32) -> u64 {
    family(pid).into_iter().flat_map(tasks).filter_map(|task| ran_ns(&task)).sum()
}

/// Resident memory of a process and its children: (now, at most), KiB.
pub(crate) fn memory_kib(pid: u32) -> (u64, u64) {
    let read = |field: &str| family(pid).into_iter().filter_map(|pid| status(pid, field)).sum();
    (read("VmRSS:"), read("VmHWM:"))
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A process, then its children: nginx and haproxy work in a child.
fn family(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(pid)
        .chain(children.collect::<Vec<u32>>().into_iter().flat_map(family))
        .collect()
}

fn tasks(pid: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// The first figure of `schedstat`: time on a CPU, ns.
fn ran_ns(task: &std::path::Path) -> Option<u64> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}
