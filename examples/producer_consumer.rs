//! Producers and consumers around a bounded queue, as one would write them with OS threads.
//!
//! Producers make numbered items, each taking a while; consumers take them from the queue, each taking a while. When the
//! queue is full producers wait, when it is empty consumers do. In the end every item has been consumed exactly once,
//! which the program checks. The sleeps stand for what real ones would wait for: sockets, databases, other services.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;

use clap::Parser;
use greenhub::io::{self, IsTerminal, Read, Write};
use greenhub::queue::JoinableQueue;
use greenhub::thread::JoinHandle;
use greenhub::time::{Duration, Instant};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Longest time that an option may give.
const SECONDS_MAX: f64 = 86_400.0;

/// Moves items from producers to consumers through a bounded queue and reports how it went.
///
/// On Ctrl-C or SIGTERM the producers stop, what is in the queue is still consumed, and the report is printed; a second
/// signal kills the consumers as well, and the exit status is then 1.
#[derive(Parser)]
#[command(name = "producer_consumer", version)]
struct Options {
    /// Green threads that make items
    #[arg(long, value_name = "N", default_value = "4")]
    producers: NonZeroUsize,

    /// Green threads that take items
    #[arg(long, value_name = "N", default_value = "100")]
    consumers: NonZeroUsize,

    /// Items to make in all
    #[arg(long, value_name = "N", default_value = "10000")]
    items: usize,

    /// Items that the queue has room for
    #[arg(long, value_name = "N", default_value = "64")]
    capacity: NonZeroUsize,

    /// Time that it takes to make an item
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    produce: Duration,

    /// Time that it takes to consume an item
    #[arg(long, value_name = "SECONDS", default_value = "0.01", value_parser = seconds)]
    consume: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=SECONDS_MAX).contains(&value) => Ok(Duration::from_secs_f64(value)),
        Ok(_) => Err(format!("must lie between 0 and {SECONDS_MAX} seconds")),
        Err(_) => Err("is not a number of seconds".into()),
    }
}

/// What all green threads share; they run on one OS thread, so plain cells do.
struct Factory {
    options: Options,
    queue: JoinableQueue<usize>,
    /// The number of the next item.
    next: Cell<usize>,
    stopped: Cell<bool>,
    /// How often each item was consumed.
    consumed: RefCell<Vec<u8>>,
    /// The most items that were ever in the queue.
    longest: Cell<usize>,
    progress: ProgressBar,
}

impl Factory {
    fn new(options: Options) -> Rc<Factory> {
        let progress = if io::stderr().is_terminal() {
            let style =
                ProgressStyle::with_template("{bar:40} {pos}/{len} items, {per_sec}, {eta} left");
            ProgressBar::new(options.items as u64).with_style(style.expect("the template is valid"))
        } else {
            ProgressBar::hidden()
        };
        Rc::new(Factory {
            queue: JoinableQueue::bounded(options.capacity.get()),
            next: Cell::new(0),
            stopped: Cell::new(false),
            consumed: RefCell::new(vec![0; options.items]),
            longest: Cell::new(0),
            progress,
            options,
        })
    }

    fn produce(&self) {
        while !self.stopped.get() && self.next.get() < self.options.items {
            let item = self.next.get();
            self.next.set(item + 1);
            greenhub::sleep(self.options.produce);
            if self.queue.put(item).is_err() {
                // Closed: the consumers have been told to go.
                return;
            }
            self.longest.set(self.longest.get().max(self.queue.len()));
        }
    }

    fn consume(&self) {
        for item in &self.queue {
            greenhub::sleep(self.options.consume);
            self.consumed.borrow_mut()[item] += 1;
            self.progress.inc(1);
            self.queue.task_done();
        }
    }

    /// Prints the report. Returns whether every item that was made has been consumed once.
    fn report(&self, elapsed: Duration) -> io::Result<bool> {
        let made = self.next.get();
        let consumed = self.consumed.borrow();
        let once = consumed.iter().filter(|times| **times == 1).count();
        let twice = consumed.iter().filter(|times| **times > 1).count();
        writeln!(
            io::stdout(),
            "{made} items made, {once} consumed, {} lost, {twice} consumed twice, in {:.3} s; the queue held up to {} of {}",
            made - once - twice,
            elapsed.as_secs_f64(),
            self.longest.get(),
            self.options.capacity,
        )?;
        Ok(once == made)
    }
}

/// Stops the producers at the first SIGINT or SIGTERM and kills the consumers at the second.
///
/// The signal handler may only write to a pipe; a green thread that waits for the other end does the rest.
fn stop_on_signals(factory: &Rc<Factory>, consumers: &Rc<Vec<JoinHandle<()>>>) -> io::Result<()> {
    let (mut reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGINT, writer.try_clone()?)?;
    signal_hook::low_level::pipe::register(SIGTERM, writer)?;
    let (factory, consumers) = (Rc::clone(factory), Rc::clone(consumers));
    greenhub::spawn(move || {
        let mut signals = [0; 16];
        while io::wait_readable(&reader, None).is_ok() {
            for _ in 0..reader.read(&mut signals).unwrap_or(0) {
                if factory.stopped.replace(true) {
                    factory.queue.close_immediate();
                    greenhub::killall(&*consumers);
                } else {
                    eprintln!("stopping; a second signal kills the consumers");
                }
            }
        }
    });
    Ok(())
}

fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let factory = Factory::new(options);
    let spawn = |count: NonZeroUsize, work: fn(&Factory)| -> Vec<_> {
        let workers = (0..count.get()).map(|_| {
            let factory = Rc::clone(&factory);
            greenhub::spawn(move || work(&factory))
        });
        workers.collect()
    };
    let consumers = Rc::new(spawn(factory.options.consumers, Factory::consume));
    let producers = spawn(factory.options.producers, Factory::produce);
    stop_on_signals(&factory, &consumers)?;
    eprintln!("press Ctrl-C to stop the producers");

    for producer in greenhub::joinall(producers) {
        producer.map_err(|_| "a producer panicked")?;
    }
    // What is in the queue is still consumed; then the consumers' loops end.
    factory.queue.close();
    greenhub::wait(consumers.iter(), None, None);
    factory.progress.finish_and_clear();
    match factory.report(start.elapsed())? {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("producer_consumer: {error}");
            ExitCode::FAILURE
        }
    }
}
