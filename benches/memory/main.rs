//! What a parked green thread costs in memory and how long its creation takes, against bare corosensei coroutines on
//! stacks cut from one mapping.
//!
//! Every measurement is made by a process of its own, so that no allocator keeps what another one has left.

mod bare;
#[path = "../rounds/mod.rs"]
mod rounds;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use greenhub::thread::{self, Builder};
use rounds::process::{self, Memory, Part};
use rounds::{Plan, verdict};

const KIB: f64 = 1024.0;
const GIB: f64 = KIB * KIB * KIB;

/// What one process found out about its parked green threads or suspended coroutines.
struct Findings {
    count: f64,
    /// Bytes and mappings that they added to the process.
    resident: f64,
    page_tables: f64,
    mappings: f64,
    /// Seconds from the first spawn until the last one was parked, and from the first wake-up until all had ended.
    create: f64,
    end: f64,
}

impl Findings {
    /// Measures `create`, which returns what keeps `count` of them alive, and `end`, which ends them.
    fn measure<T>(count: usize, create: impl FnOnce() -> T, end: impl FnOnce(T)) -> Findings {
        let before = Memory::now();
        let start = Instant::now();
        let alive = create();
        let created = start.elapsed();
        let after = Memory::now();
        let start = Instant::now();
        end(alive);
        Findings {
            count: count as f64,
            resident: after.resident - before.resident,
            page_tables: after.page_tables - before.page_tables,
            mappings: after.mappings as f64 - before.mappings as f64,
            create: created.as_secs_f64(),
            end: start.elapsed().as_secs_f64(),
        }
    }

    /// Passes the findings to the process that asked for them.
    fn send(&self) {
        let Findings {
            count,
            resident,
            page_tables,
            mappings,
            create,
            end,
        } = self;
        println!("{count} {resident} {page_tables} {mappings} {create} {end}");
    }

    /// Starts a part and waits for its findings.
    fn receive(part: &str, count: usize, stack_size: Option<usize>) -> Findings {
        let mut part = Part::start(&format!("{part} {count} {}", stack_size.unwrap_or(0)));
        let line = part.line().expect("the part ended without findings");
        let values: Vec<f64> = line
            .split(' ')
            .map(|value| value.parse().expect("a number"))
            .collect();
        let [count, resident, page_tables, mappings, create, end] = values[..] else {
            panic!("not findings: {line}");
        };
        Findings {
            count,
            resident,
            page_tables,
            mappings,
            create,
            end,
        }
    }

    fn print(&self, what: &str) {
        println!(
            "{what:<12} {:>8.0} B resident, {:>6.0} B page tables, {:>5.2} us to create, {:>5.2} us to end; \
             together {:.2} GiB, {:+} mappings",
            self.resident / self.count,
            self.page_tables / self.count,
            self.create * 1e6 / self.count,
            self.end * 1e6 / self.count,
            (self.resident + self.page_tables) / GIB,
            self.mappings,
        );
    }
}

/// Green threads that park at once; they are unparked and joined at the end. The handles are part of the cost.
fn greenhub(count: usize, stack_size: Option<usize>) -> Findings {
    // What the runtime allocates once belongs to no green thread.
    greenhub::spawn(|| ())
        .join()
        .expect("the first green thread");
    let create = || {
        let parked = Rc::new(Cell::new(0));
        let mut handles = Vec::with_capacity(count);
        for _ in 0..count {
            let parked = Rc::clone(&parked);
            let builder =
                stack_size.map_or_else(Builder::new, |size| Builder::new().stack_size(size));
            let body = move || {
                parked.set(parked.get() + 1);
                thread::park();
            };
            handles.push(builder.spawn(body).expect("spawn"));
        }
        while parked.get() < count {
            greenhub::yield_now();
        }
        handles
    };
    Findings::measure(count, create, |handles| {
        for handle in &handles {
            handle.thread().unpark();
        }
        for handle in handles {
            handle.join().expect("the green thread");
        }
    })
}

fn compare(plan: &Plan, what: &str, count: usize, stack_size: Option<usize>) -> Option<Findings> {
    if !plan.wants(what) {
        return None;
    }
    println!("\n{what}");
    let bare = Findings::receive("bare", count, stack_size);
    bare.print("corosensei");
    let green = Findings::receive("greenhub", count, stack_size);
    green.print("greenhub");
    println!(
        "{:<12} {:>7.2}x {:>40.2}x",
        "ratio",
        green.resident / bare.resident,
        green.create / bare.create
    );
    Some(green)
}

fn run_part(part: &[String]) {
    let number = |index: usize| part[index].parse::<usize>().expect("a number");
    let count = number(1);
    let stack_size = Some(number(2)).filter(|&size| size > 0);
    match part[0].as_str() {
        "bare" => bare::suspended(count, stack_size.unwrap_or(256 * 1024)).send(),
        "greenhub" => greenhub(count, stack_size).send(),
        other => unreachable!("no such part: {other}"),
    }
}

fn main() {
    if let Some(part) = process::part() {
        return run_part(&part);
    }
    let plan = Plan::from_args();
    println!("memory of parked green threads; reference: suspended corosensei coroutines");

    let count = plan.pick(100_000, 100_000, 1_000);
    let what = format!("{count} with the default stack size");
    if let Some(green) = compare(&plan, &what, count, None) {
        let each = green.resident / green.count / KIB;
        println!(
            "resident each: {each:.2} KiB, limit 4.60 KiB {}",
            verdict(each <= 4.6)
        );
    }

    let count = plan.pick(1_000_000, 200_000, 1_000);
    let what = format!("{count} with a stack size of 16 KiB");
    if let Some(green) = compare(&plan, &what, count, Some(16 * 1024)) {
        let together = (green.resident + green.page_tables) / green.count * 1e6 / GIB;
        println!(
            "a million with page tables: {together:.2} GiB, limit 6.00 GiB {}",
            verdict(together <= 6.0)
        );
    }
}
