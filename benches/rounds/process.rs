//! What Linux tells about a process: memory, CPU time and cores; and child processes that run a part of a benchmark.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::set_parent_process_death_signal;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of a process, as the kernel accounts for them.
#[derive(Clone, Copy)]
pub struct Memory {
    /// Anonymous resident memory: heap and stacks, without the pages of the executable.
    pub resident: f64,
    /// Page tables.
    pub page_tables: f64,
    /// Mappings.
    pub mappings: usize,
}

impl Memory {
    /// Of this process, now.
    pub fn now() -> Memory {
        let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
        let kib = |name: &str| -> f64 {
            let line = status.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            value.and_then(|value| value.parse().ok()).expect(name)
        };
        let maps = fs::read_to_string("/proc/self/maps").expect("/proc/self/maps");
        Memory {
            resident: kib("RssAnon:") * 1024.0,
            page_tables: kib("VmPTE:") * 1024.0,
            mappings: maps.lines().count(),
        }
    }
}

/// User and system time of this process in seconds.
pub fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// User and system time of all threads of another process in seconds.
///
/// `schedstat` counts nanoseconds, where `stat` has hundredths of a second.
pub fn cpu_seconds_of(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the threads of the process");
    let nanoseconds: f64 = tasks
        .map(|task| {
            let path = task.expect("a thread").path().join("schedstat");
            let text = fs::read_to_string(path).expect("schedstat");
            let value = text.split_whitespace().next().expect("time on the CPU");
            value.parse::<f64>().expect("a number")
        })
        .sum();
    nanoseconds / 1e9
}

/// The first two cores that this process may use, or one twice.
pub fn two_cores() -> (usize, usize) {
    let allowed = sched_getaffinity(None).expect("sched_getaffinity");
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let first = cores.next().expect("a core");
    (first, cores.next().unwrap_or(first))
}

/// Keeps the calling thread, and threads that it starts, on one core.
pub fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("sched_setaffinity");
}

/// Allows as many descriptors as the hard limit says.
pub fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("setrlimit");
}

/// The variable that tells a child which part of the benchmark it is to run.
const PART: &str = "GREENHUB_BENCH_PART";

/// The part that this process is to run, if it was started by [`Part::start`].
///
/// Such a process dies with the one that started it.
pub fn part() -> Option<Vec<String>> {
    let part = std::env::var(PART).ok()?;
    set_parent_process_death_signal(Some(Signal::KILL)).expect("prctl");
    Some(part.split(' ').map(String::from).collect())
}

/// A child process that runs one part of the benchmark; killed when dropped.
pub struct Part {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Part {
    /// Starts this executable again, to run `part`.
    pub fn start(part: &str) -> Part {
        let executable = std::env::current_exe().expect("the path of this benchmark");
        let mut child = Command::new(executable)
            .env(PART, part)
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a child process");
        let stdout = BufReader::new(child.stdout.take().expect("a piped stdout"));
        Part { child, stdout }
    }

    /// The next line that the part prints, or `None` when it has ended without one.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self
            .stdout
            .read_line(&mut line)
            .expect("read from the child");
        (length > 0).then(|| line.trim_end().into())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
