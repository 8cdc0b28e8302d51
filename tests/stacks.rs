//! Stacks: reuse, sizes, refusals, and memory that goes back to the kernel.

#[path = "support/child.rs"]
mod child;

use std::cell::Cell;
use std::collections::HashSet;
use std::hint::black_box;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::thread::{self, Builder};
use greenhub::{joinall, sleep, spawn, yield_now};

/// The address space of a default stack with its guard is at least this.
const SPACING: usize = 256 << 10;

fn main() {
    child::main(
        &[
            ("memory_goes_back", memory_goes_back),
            ("few_mappings", few_mappings),
            ("mappings_run_out", mappings_run_out),
        ],
        &[
            (
                "green_threads_in_a_row_share_a_stack",
                green_threads_in_a_row_share_a_stack,
            ),
            (
                "green_threads_that_do_not_wait_share_a_stack",
                one_stack_for_many_that_do_not_wait,
            ),
            (
                "the_stack_used_last_is_used_next",
                the_stack_used_last_is_used_next,
            ),
            ("live_stacks_do_not_overlap", live_stacks_do_not_overlap),
            (
                "an_impossible_size_is_refused",
                an_impossible_size_is_refused,
            ),
            ("tiny_sizes_are_raised", tiny_sizes_are_raised),
            (
                "every_size_is_usable_to_its_end",
                every_size_is_usable_to_its_end,
            ),
            ("idle_memory_goes_back_to_the_kernel", || {
                child::run("memory_goes_back", &[]).exited_with(0);
            }),
            ("guards_need_few_mappings", || {
                child::run("few_mappings", &[]).exited_with(0);
            }),
            ("running_out_of_mappings_is_an_error", || {
                let variables = [("GREENHUB_STACK_GUARD", "mprotect")];
                child::run("mappings_run_out", &variables).exited_with(0);
            }),
        ],
    );
}

/// Roughly where the calling green thread's stack is.
#[inline(never)]
fn here() -> usize {
    let local = 0u8;
    black_box(&raw const local).addr()
}

fn stacks_of(addresses: impl IntoIterator<Item = usize>) -> usize {
    addresses
        .into_iter()
        .map(|address| address / SPACING)
        .collect::<HashSet<_>>()
        .len()
}

fn green_threads_in_a_row_share_a_stack() {
    let addresses = (0..100_000).map(|_| spawn(here).join().unwrap());
    assert!(stacks_of(addresses) <= 2);
}

fn one_stack_for_many_that_do_not_wait() {
    let handles: Vec<_> = (0..100_000).map(|_| spawn(here)).collect();
    let addresses = joinall(handles).into_iter().map(Result::unwrap);
    assert!(stacks_of(addresses) <= 8);
}

fn the_stack_used_last_is_used_next() {
    let waiting = || {
        spawn(|| {
            thread::park();
            here()
        })
    };
    let handles = [waiting(), waiting(), waiting()];
    yield_now();
    for i in [0, 2, 1] {
        handles[i].thread().unpark();
    }
    let ended: Vec<_> = joinall(handles)
        .into_iter()
        .map(|at| at.unwrap() / SPACING)
        .collect();
    // 1 was the last to end.
    assert_eq!(spawn(here).join().unwrap() / SPACING, ended[1]);
}

fn live_stacks_do_not_overlap() {
    let handles: Vec<_> = (0..500u32)
        .map(|i| {
            spawn(move || {
                let block = black_box([i; 8 << 10]);
                yield_now();
                assert!(block.iter().all(|&word| word == i));
                here()
            })
        })
        .collect();
    let addresses = joinall(handles).into_iter().map(Result::unwrap);
    let distinct: HashSet<_> = addresses.collect();
    assert_eq!(distinct.len(), 500);
}

fn an_impossible_size_is_refused() {
    let dropped = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<u32>>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    for (i, size) in [usize::MAX, usize::MAX / 2, (1 << 40) + 1]
        .into_iter()
        .enumerate()
    {
        let capture = Counts(Rc::clone(&dropped));
        let refused = Builder::new().stack_size(size).spawn(move || drop(capture));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(dropped.get(), i as u32 + 1, "the closure is dropped");
    }
    thread::scope(|s| {
        let refused = Builder::new().stack_size(usize::MAX).spawn_scoped(s, || ());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
    assert_eq!(spawn(|| 1).join().unwrap(), 1);
}

fn tiny_sizes_are_raised() {
    for size in [0, 1, 4096] {
        let handle = Builder::new().stack_size(size).spawn(|| {
            let block = black_box([1u8; 4096]);
            sleep(Duration::from_micros(1));
            block.iter().map(|&byte| usize::from(byte)).sum::<usize>()
        });
        assert_eq!(handle.unwrap().join().unwrap(), 4096);
    }
}

fn every_size_is_usable_to_its_end() {
    /// Recurses until `depth` bytes lie above its frame.
    fn dig(top: usize, depth: usize) -> usize {
        let frame = black_box([1u8; 256]);
        let used = top - (&raw const frame).addr();
        let below = if used < depth { dig(top, depth) } else { used };
        below.max(usize::from(frame[used % 256]))
    }
    for size in [32usize << 10, 64 << 10, 256 << 10, 1 << 20, 16 << 20] {
        // The rest is for the frames above and for that of a debug build's last call.
        let depth = size - (8 << 10);
        let handle = Builder::new()
            .stack_size(size)
            .spawn(move || dig(here(), depth))
            .unwrap();
        assert!(handle.join().unwrap() >= depth, "{size}");
    }
}

/// A line of /proc/self/status, in kilobytes.
fn status_kib(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn memory_goes_back() {
    spawn(|| ()).join().unwrap();
    let before = status_kib("VmRSS:");
    let deep = || {
        let block = black_box([1u8; 64 << 10]);
        sleep(Duration::from_millis(20));
        assert_eq!(block[black_box(5)], 1);
    };
    joinall((0..1_000).map(|_| spawn(deep)).collect::<Vec<_>>());
    let after = status_kib("VmRSS:");
    assert!(after - before > 60 << 10, "the blocks were never there");
    // An idle hub tidies up by itself.
    let start = Instant::now();
    while status_kib("VmRSS:") > before + (8 << 10) {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{} kB",
            status_kib("VmRSS:")
        );
        sleep(Duration::from_millis(150));
    }
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Whether this kernel has MADV_GUARD_INSTALL (Linux 6.13).
fn has_guard_install() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 13)
}

fn few_mappings() {
    let before = mappings();
    let handles: Vec<_> = (0..10_000).map(|_| spawn(thread::park)).collect();
    yield_now();
    let during = mappings();
    if has_guard_install() {
        assert!(during < before + 100, "{during} mappings");
    }
    handles.iter().for_each(|handle| handle.thread().unpark());
    joinall(handles);
}

/// With a mapping or two per stack, the kernel's limit on mappings comes before that on memory.
fn mappings_run_out() {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit > 200_000 {
        return;
    }
    // At the limit the allocator gets no mappings either.
    let mut handles = Vec::with_capacity(limit + 1);
    let error = loop {
        match Builder::new().spawn(thread::park) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
        yield_now();
        assert!(handles.len() <= limit, "the limit was never met");
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.to_string().contains("max_map_count"), "{error}");
    // A green thread without a reserved stack waits for one instead.
    let late = spawn(|| 5);
    let killed: thread::JoinHandle<()> = spawn(|| unreachable!("it is killed while it waits"));
    yield_now();
    // It ends when it gets a stack, on which the destructors of its closure run.
    assert!(!killed.kill_timeout(Duration::from_millis(1)));
    handles.iter().for_each(|handle| handle.thread().unpark());
    killed.kill();
    assert!(killed.join().unwrap_err().is::<thread::Killed>());
    assert!(joinall(handles).iter().all(Result::is_ok));
    assert_eq!(late.join().unwrap(), 5);
    assert!(Builder::new().spawn(|| ()).unwrap().join().is_ok());
}
