//! A web crawler in blocking-style code: ureq, an HTML tokenizer and plain loops, on green threads.
//!
//! ```text
//! cargo run --release --example crawler                       # a demonstration, on loopback
//! cargo run --release --example crawler -- https://site.test/ # a crawl
//! cargo run --release --example crawler -- --help
//! ```
//!
//! The parts, each of which uses only those before it: `options`, `connector` (ureq over greenhub),
//! `fetch` (a URL's response), `links` (a page's links), `robots`, `graph` (URLs and how they hang
//! together), `frontier` (what is left to do), `report`, `progress`, `crawl` (the workers), `interrupt`
//! (Ctrl-C), `demo_site`.

mod connector;
mod crawl;
mod demo_site;
mod fetch;
mod frontier;
mod graph;
mod interrupt;
mod links;
mod options;
mod progress;
mod report;
mod robots;

use std::cell::RefCell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::{Rc, Weak};
use std::time::Duration;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::crawl::{Crawl, Finished};
use crate::options::Options;

/// Pages of the built-in site that are crawled one at a time, for comparison.
const DEMO_PAGES_ONE_BY_ONE: u64 = 30;

/// Green threads that crawl the built-in site.
const DEMO_CONCURRENCY: u32 = 200;

/// The pause before the retry that the built-in site provokes.
const DEMO_RETRY_DELAY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let options = Options::parse();
    raise_descriptor_limit();
    // The summary makes room for JSON lines on standard output.
    let to_stdout = options.output.as_deref().is_some_and(|path| path == "-");
    let mut text: Box<dyn Write> = match (options.quiet, to_stdout) {
        (true, _) => Box::new(io::sink()),
        (false, true) => Box::new(io::stderr()),
        (false, false) => Box::new(io::stdout()),
    };
    let current = Rc::new(RefCell::new(Weak::new()));
    let ended = match options.start.is_empty() {
        true => demonstrate(options, &current, &mut text),
        false => crawl(options, &current, &mut text),
    };
    ended.unwrap_or_else(|message| {
        eprintln!("crawler: {message}");
        ExitCode::from(2)
    })
}

/// Lets the process have as many descriptors as the system allows: each request in flight needs one, and
/// the usual limit of 1,024 is a courtesy to programs that call `select`.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Without it, requests that find no descriptor are repeated.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// The crawl that Ctrl-C stops.
type Current = Rc<RefCell<Weak<Crawl>>>;

fn crawl(options: Options, current: &Current, text: &mut dyn Write) -> Result<ExitCode, String> {
    stop_on_interrupt(current)?;
    let fail_on_broken = options.fail_on_broken;
    let finished = run(options, "crawling", current)?;
    say(text, &format!("{}", finished.display()))?;
    Ok(match finished.summary.broken_links {
        1.. if fail_on_broken => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

/// Crawls the built-in site twice, and compares.
fn demonstrate(
    options: Options,
    current: &Current,
    text: &mut dyn Write,
) -> Result<ExitCode, String> {
    stop_on_interrupt(current)?;
    let url =
        demo_site::serve().map_err(|error| format!("no port for the built-in site: {error}"))?;
    let pages = 1 + demo_site::SECTIONS * (1 + demo_site::ARTICLES);
    say(
        text,
        &format!("A site of {pages} pages, which take 80 to 120 ms each, is now at {url}\n\n"),
    )?;
    let one_by_one = Options {
        start: vec![url.clone()],
        concurrency: 1,
        max_pages: Some(DEMO_PAGES_ONE_BY_ONE),
        output: None,
        ..options.clone()
    };
    let slow = run(one_by_one, "one page at a time", current)?;
    say(text, &rate_line("One page at a time", &slow))?;
    if slow.summary.interrupted {
        return Ok(ExitCode::SUCCESS);
    }
    let concurrently = Options {
        start: vec![url],
        concurrency: DEMO_CONCURRENCY,
        per_host: DEMO_CONCURRENCY,
        // The default suits servers that are busy; this one only pretends to be.
        retry_delay: DEMO_RETRY_DELAY,
        ..options
    };
    let title = format!("{DEMO_CONCURRENCY} green threads");
    let fast = run(concurrently, &title, current)?;
    say(text, &rate_line(&title, &fast))?;
    let ratio = fast.summary.pages_per_second / slow.summary.pages_per_second.max(1e-9);
    say(
        text,
        &format!(
            "The same blocking code on one OS thread: {ratio:.0} times as fast.\n\n{}\nNow a site of yours: \
             cargo run --release --example crawler -- https://... (--help tells more)\n",
            fast.display()
        ),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn rate_line(title: &str, finished: &Finished) -> String {
    let summary = &finished.summary;
    format!(
        "{title:<20} {:>4} URLs in {:>5.2} s = {:>6.1} pages/s\n",
        summary.requested(),
        summary.seconds,
        summary.pages_per_second
    )
}

fn run(options: Options, title: &str, current: &Current) -> Result<Finished, String> {
    let crawl = Crawl::new(options, title)?;
    *current.borrow_mut() = Rc::downgrade(&crawl);
    crawl.run()
}

fn stop_on_interrupt(current: &Current) -> Result<(), String> {
    let current = Rc::clone(current);
    let stop = move || {
        if let Some(crawl) = current.borrow().upgrade() {
            crawl.stop();
        }
    };
    interrupt::on_interrupt(stop).map_err(|error| format!("no handler for Ctrl-C: {error}"))
}

fn say(text: &mut dyn Write, message: &str) -> Result<(), String> {
    let written = text
        .write_all(message.as_bytes())
        .and_then(|()| text.flush());
    match written {
        // Whoever closes the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(()),
    }
}
