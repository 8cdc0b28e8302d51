//! Alternating rounds of a reference and a subject in one process, their medians and the ratio.
//!
//! Absolute times move with the machine's other work and clock; the ratio of two measurements taken one right after
//! the other moves far less. So each round measures both, and the ratio printed is the median of the rounds' ratios
//! (the spread is printed beside it), not the ratio of the medians.

// Each benchmark is a crate of its own that includes this module and uses a part of it.
#![allow(dead_code)]

pub mod process;

use std::process::exit;

/// What the command line asks for.
pub struct Plan {
    size: Size,
    /// Measure only what contains one of these words; empty for everything.
    filters: Vec<String>,
    /// Also count system calls, where the benchmark can.
    pub syscalls: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Size {
    /// Figures worth keeping.
    Full,
    /// Figures to look at while working.
    Quick,
    /// Only shows that the benchmark runs.
    Smoke,
}

const USAGE: &str = "\
options after `cargo bench --`:
  --quick     fewer and smaller rounds
  --syscalls  also count system calls per request (echo; needs strace)
  WORD        measure only what contains WORD";

impl Plan {
    /// Reads the command line. `cargo bench` passes `--bench`; without it (`cargo test --benches`) one tiny round
    /// shows that the benchmark still runs.
    pub fn from_args() -> Plan {
        let mut plan = Plan {
            size: Size::Smoke,
            filters: Vec::new(),
            syscalls: false,
        };
        let mut quick = false;
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--bench" => plan.size = Size::Full,
                "--quick" => quick = true,
                "--syscalls" => plan.syscalls = true,
                "--help" | "-h" => {
                    println!("{USAGE}");
                    exit(0);
                }
                word if !word.starts_with('-') => plan.filters.push(word.into()),
                other => {
                    eprintln!("unknown option {other}\n{USAGE}");
                    exit(2);
                }
            }
        }
        if quick && plan.size == Size::Full {
            plan.size = Size::Quick;
        }
        plan
    }

    /// Whether the measurement of this name is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|word| name.contains(word))
    }

    /// The value for a full, a quick and a smoke run.
    pub fn pick<T>(&self, full: T, quick: T, smoke: T) -> T {
        match self.size {
            Size::Full => full,
            Size::Quick => quick,
            Size::Smoke => smoke,
        }
    }

    /// Runs `reference` and `subject` in turn, after one round of each that does not count.
    ///
    /// Both return a cost in the same unit.
    pub fn compare(
        &self,
        mut reference: impl FnMut() -> f64,
        mut subject: impl FnMut() -> f64,
    ) -> Comparison {
        if self.size != Size::Smoke {
            reference();
            subject();
        }
        let rounds = self.pick(9, 5, 1);
        Comparison::of((0..rounds).map(|_| (reference(), subject())).collect())
    }
}

/// The outcome of a series of rounds.
pub struct Comparison {
    /// Median cost of the reference.
    pub reference: f64,
    /// Median cost of the subject.
    pub subject: f64,
    /// Median, least and greatest of subject / reference in one round.
    pub ratio: (f64, f64, f64),
}

impl Comparison {
    /// Sums up rounds of (reference, subject).
    pub fn of(rounds: Vec<(f64, f64)>) -> Comparison {
        let (mut reference, mut subject): (Vec<f64>, Vec<f64>) = rounds.iter().copied().unzip();
        let mut ratios: Vec<f64> = rounds.iter().map(|(r, s)| s / r).collect();
        let median = percentile(&mut ratios, 50.0);
        Comparison {
            reference: percentile(&mut reference, 50.0),
            subject: percentile(&mut subject, 50.0),
            ratio: (median, ratios[0], ratios[ratios.len() - 1]),
        }
    }

    /// Prints one line of the table that [`heading`] began.
    pub fn print(&self, what: &str, unit: &str, limit: Option<f64>) {
        let (ratio, least, most) = self.ratio;
        let verdict = limit.map_or(String::new(), |limit| {
            format!("limit {limit:.2}x {}", verdict(ratio <= limit))
        });
        println!(
            "{what:<44} {:>9.2} {:>9.2} {unit:<7} {ratio:>6.2}x ({least:.2}..{most:.2})  {verdict}",
            self.reference, self.subject
        );
    }
}

/// Begins a table of comparisons.
pub fn heading(title: &str, reference: &str) {
    println!("\n{title}; reference: {reference}");
    println!(
        "{:<44} {:>9} {:>9} {:<7} {:>7} (least..most)",
        "", "reference", "greenhub", "", "ratio"
    );
}

/// The word printed beside a limit.
pub fn verdict(kept: bool) -> &'static str {
    if kept { "ok" } else { "MISSED" }
}

/// Sorts `values` and returns the one below which `percent` of them lie.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    assert!(!values.is_empty(), "no values");
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * percent / 100.0).round() as usize]
}
