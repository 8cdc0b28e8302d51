//! The crawl itself: workers that take a job, fetch, look for links and report.
//!
//! A worker is a plain loop of blocking calls on a green thread of its own. All of them run on one OS
//! thread and share the state of the crawl through `RefCell`s, which are never borrowed across a call
//! that blocks.

use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::thread::Builder;
use ureq::http::StatusCode;
use url::Url;

use crate::fetch::{Content, Failure, FailureKind, Fetched, Fetcher, Wanted};
use crate::frontier::{self, Frontier, Job, Task};
use crate::graph::{Graph, PageId, State};
use crate::links::{self, Links};
use crate::options::Options;
use crate::progress::Progress;
use crate::report::{Display, Outcome, PageResult, Report, Summary, milliseconds};
use crate::robots;

/// A server may ask us to stay away for this long at most before a retry.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// One crawl, shared by its workers.
pub struct Crawl {
    options: Options,
    /// What the scope is measured from: the start URLs, and where they redirect to.
    bases: RefCell<Vec<Url>>,
    fetcher: Fetcher,
    graph: RefCell<Graph>,
    frontier: RefCell<Frontier>,
    report: RefCell<Report>,
    progress: Progress,
}

/// What a finished crawl leaves.
pub struct Finished {
    /// Its figures.
    pub summary: Summary,
    /// Every URL it met.
    pub graph: Graph,
}

impl Crawl {
    /// Prepares a crawl from the start URLs of `options`.
    ///
    /// # Errors
    ///
    /// Returns a message if a file named by `options` cannot be used.
    pub fn new(options: Options, title: &str) -> Result<Rc<Crawl>, String> {
        let report = Report::new(options.output.as_deref())
            .map_err(|error| output_failed(&options, &error))?;
        let crawl = Crawl {
            bases: RefCell::new(options.start.clone()),
            fetcher: Fetcher::new(&options)?,
            graph: RefCell::default(),
            frontier: RefCell::new(Frontier::new(&options)),
            report: RefCell::new(report),
            progress: Progress::new(title, !options.quiet),
            options,
        };
        for url in &crawl.options.start {
            crawl.meet(url.clone(), None, 0, 0);
        }
        Ok(Rc::new(crawl))
    }

    /// Crawls until nothing is left to do.
    ///
    /// # Errors
    ///
    /// Returns a message if no worker could be started, or if results could not be written.
    pub fn run(self: Rc<Crawl>) -> Result<Finished, String> {
        let started = Instant::now();
        let mut workers = Vec::new();
        for number in 0..self.options.concurrency {
            let crawl = Rc::clone(&self);
            let worker = Builder::new()
                .name(format!("worker {number}"))
                .spawn(move || crawl.work());
            match worker {
                Ok(worker) => workers.push(worker),
                Err(error) if workers.is_empty() => return Err(format!("no worker: {error}")),
                // Fewer workers do the same work, only slower.
                Err(_) => break,
            }
        }
        for ended in greenhub::joinall(workers) {
            ended.expect("a worker catches the panics of its jobs");
        }
        let elapsed = started.elapsed();
        let Some(crawl) = Rc::into_inner(self) else {
            unreachable!(
                "the workers have ended, and the interrupt handler holds a weak reference"
            );
        };
        let graph = crawl.graph.into_inner();
        let interrupted = crawl.frontier.borrow().is_stopped();
        let report = crawl.report.into_inner();
        let summary = report
            .close(&graph, elapsed, interrupted)
            .map_err(|error| output_failed(&crawl.options, &error))?;
        Ok(Finished { summary, graph })
    }

    /// Lets the requests in flight finish and starts no more.
    pub fn stop(&self) {
        self.frontier.borrow_mut().stop();
        let active = self.frontier.borrow().active();
        self.progress
            .say(&format!("stopping; requests still in flight: {active}"));
    }

    fn work(&self) {
        loop {
            let task = self.frontier.borrow_mut().next(Instant::now());
            match task {
                Task::Robots(host, url) => {
                    let rules = robots::ask(&self.fetcher, &url, &self.options);
                    self.frontier.borrow_mut().set_rules(host, rules);
                }
                Task::Fetch(job) => self.visit(job),
                Task::Refuse(job, failure) => self.refuse(job, failure),
                Task::Wait(until) => frontier::wait(&self.frontier, until),
                Task::End => return,
            }
        }
    }

    fn visit(&self, job: Job) {
        let visited = catch_unwind(AssertUnwindSafe(|| {
            let mut fetched = self.fetcher.fetch(&job.url, Wanted::Html);
            let links = match &mut fetched.content {
                Ok(Content::Text(html)) => {
                    links::extract(&job.url, &std::mem::take(html), self.options.assets)
                }
                _ => Links::default(),
            };
            (fetched, links)
        }));
        let (fetched, links) = visited.unwrap_or_else(|_| (panicked(), Links::default()));
        match self.pause_before_retry(&job, &fetched) {
            Some(pause) => {
                let at = Instant::now() + pause;
                self.frontier.borrow_mut().retry(job, at);
            }
            None => self.record(job, &fetched, links),
        }
    }

    fn pause_before_retry(&self, job: &Job, fetched: &Fetched) -> Option<Duration> {
        let is_transient = match (&fetched.content, fetched.status) {
            (Err(failure), _) => failure.is_transient(),
            (Ok(_), Some(status)) => matches!(status, 429 | 500 | 502 | 503 | 504),
            _ => false,
        };
        let is_last = job.attempts > self.options.retries || self.frontier.borrow().is_stopped();
        if !is_transient || is_last {
            return None;
        }
        let asked = fetched.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        Some(self.options.backoff(job.attempts).max(asked))
    }

    fn record(&self, job: Job, fetched: &Fetched, links: Links) {
        let status = fetched.status.unwrap_or(0);
        let mut failure = fetched.content.as_ref().err().cloned();
        let mut redirect_to = None;
        if let Ok(Content::Redirect(target)) = &fetched.content {
            redirect_to = Some(target.as_str());
            failure = self.redirect(job.page, target).err();
        }
        let outcome = match &fetched.content {
            _ if failure.is_some() => Outcome::Failed,
            Ok(Content::Redirect(_)) => Outcome::Redirect,
            Ok(Content::Text(_)) => Outcome::Page,
            _ if status >= 400 => Outcome::HttpError,
            _ => Outcome::File,
        };
        match outcome {
            Outcome::HttpError => self.set_state(job.page, State::Broken(status_text(status))),
            Outcome::Failed => {
                let reason = failure.as_ref().map(Failure::to_string);
                self.set_state(job.page, State::Broken(reason.unwrap_or_default()));
            }
            Outcome::Redirect => {}
            _ => self.set_state(job.page, State::Fine),
        }
        let count = links.urls.len();
        self.follow(job.page, links);
        self.report(job, outcome, failure.as_ref(), fetched, redirect_to, count);
    }

    fn refuse(&self, job: Job, failure: Option<Failure>) {
        let (state, outcome) = match &failure {
            Some(failure) => (State::Broken(failure.to_string()), Outcome::Failed),
            None => (State::Fine, Outcome::Disallowed),
        };
        self.set_state(job.page, state);
        let nothing = Fetched::nothing(Ok(Content::Nothing));
        self.report(job, outcome, failure.as_ref(), &nothing, None, 0);
    }

    fn report(
        &self,
        job: Job,
        outcome: Outcome,
        error: Option<&Failure>,
        fetched: &Fetched,
        redirect_to: Option<&str>,
        links: usize,
    ) {
        let graph = self.graph.borrow();
        let page = graph.page(job.page);
        let found_on = page.found_on.map(|id| &graph.page(id).url);
        self.report.borrow_mut().add(&PageResult {
            url: page.url.as_str(),
            outcome,
            status: fetched.status,
            error,
            redirect_to,
            content_type: fetched.content_type.as_deref(),
            bytes: fetched.bytes,
            elapsed_ms: milliseconds(fetched.elapsed),
            attempts: job.attempts,
            depth: page.depth,
            found_on: found_on.map(|url| url.as_str()),
            links,
        });
        drop(graph);
        self.frontier.borrow_mut().finish(job);
        let accepted = self.frontier.borrow().accepted();
        self.progress.update(self.report.borrow().count(), accepted);
        if self.report.borrow().is_failed() {
            self.frontier.borrow_mut().stop();
        }
    }

    /// Notes a redirect, and queues its target if that is new and in scope.
    fn redirect(&self, from: PageId, target: &Url) -> Result<(), Failure> {
        let (depth, hops) = {
            let graph = self.graph.borrow();
            let page = graph.page(from);
            (page.depth, page.hops + 1)
        };
        let refuse = |message| Err(Failure::new(FailureKind::Redirect, message));
        if hops > self.options.max_redirects {
            return refuse(format!("{hops} redirects in a row, now to {target}"));
        }
        if !self.in_scope(target) {
            // Most sites live at one name and redirect from others: http, or without www.
            if depth > 0 {
                self.set_state(from, State::Fine);
                return Ok(());
            }
            self.bases.borrow_mut().push(target.clone());
        }
        let to = self.meet(target.clone(), Some(from), depth, hops);
        let redirected = self.graph.borrow_mut().redirect(from, to);
        redirected.or_else(refuse)
    }

    /// Queues the links of a page that are new, in scope and not too deep.
    fn follow(&self, from: PageId, links: Links) {
        let depth = self.graph.borrow().page(from).depth + 1;
        let is_too_deep = self.options.depth.is_some_and(|limit| depth > limit);
        for url in links.urls {
            let is_met = self.graph.borrow().contains(&url);
            if is_met || (!is_too_deep && self.in_scope(&url)) {
                self.meet(url, Some(from), depth, 0);
            }
        }
        for reference in links.malformed {
            self.graph.borrow_mut().add_malformed(from, reference);
        }
    }

    /// Notes a URL that a start (no `found_on`), a link (no `hops`) or a redirect led to, and queues it if
    /// it is new.
    fn meet(&self, url: Url, found_on: Option<PageId>, depth: u32, hops: u32) -> PageId {
        let mut graph = self.graph.borrow_mut();
        let (id, is_new) = graph.insert(url, found_on, depth, hops);
        if let Some(from) = found_on
            && hops == 0
        {
            graph.add_link(from, id);
        }
        if is_new {
            let url = Rc::clone(&graph.page(id).url);
            self.frontier.borrow_mut().add(id, url, depth, hops > 0);
        }
        id
    }

    fn in_scope(&self, url: &Url) -> bool {
        self.options.scope.contains(&self.bases.borrow(), url)
    }

    fn set_state(&self, page: PageId, state: State) {
        self.graph.borrow_mut().page_mut(page).state = state;
    }
}

fn status_text(status: u16) -> String {
    let code = StatusCode::from_u16(status).ok();
    match code.and_then(|code| code.canonical_reason()) {
        Some(reason) => format!("{status} {reason}"),
        None => format!("status {status}"),
    }
}

/// A bug of ours, or of a library, is that URL's result and ends nothing.
fn panicked() -> Fetched {
    let failure = Failure::new(FailureKind::Other, "the crawler panicked on this URL");
    Fetched::nothing(Err(failure))
}

fn output_failed(options: &Options, error: &io::Error) -> String {
    let path = options.output.as_deref().unwrap_or("-".as_ref());
    format!("--output {}: {error}", path.display())
}

impl Finished {
    /// The summary as text.
    pub fn display(&self) -> Display<'_> {
        Display {
            summary: &self.summary,
            broken: self.graph.broken_links(),
        }
    }
}
