//! What is still to be fetched, and when each host may next be asked for something.
//!
//! Workers share one [`Frontier`] through a `RefCell`: green threads of one hub switch only where they
//! block, and nothing here blocks. A worker without work parks. Who hands out or adds work wakes one
//! worker, which wakes the next if there is more; so the number of wake-ups follows the work, not the
//! number of workers. If the only work lies in the future, one idle worker, the timekeeper, parks with a
//! time limit for all of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenhub::thread::{self, Thread, ThreadId};
use url::Url;

use crate::fetch::Failure;
use crate::graph::PageId;
use crate::options::Options;
use crate::robots::Rules;

/// A host's place in the [`Frontier`]: scheme, name and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostId(usize);

/// One URL to fetch.
#[derive(Debug)]
pub struct Job {
    /// Which page.
    pub page: PageId,
    /// Where it is.
    pub url: Rc<Url>,
    /// Requests made for it so far.
    pub attempts: u32,
    depth: u32,
    host: HostId,
}

/// What a worker is to do next.
#[derive(Debug)]
pub enum Task {
    /// Ask this URL for the rules of a host, and report them with [`Frontier::set_rules`].
    Robots(HostId, Url),
    /// Fetch a page, then call [`Frontier::finish`] or [`Frontier::retry`].
    Fetch(Job),
    /// Report that a page must not be fetched (the failure says why its rules are unknown), then call
    /// [`Frontier::finish`].
    Refuse(Job, Option<Failure>),
    /// Call [`wait`].
    Wait(Option<Instant>),
    /// Nothing will ever be left to do.
    End,
}

#[derive(Debug)]
struct Host {
    robots_url: Url,
    /// Without rules nothing is handed out.
    rules: Option<Rules>,
    /// A worker has been sent for the rules.
    is_asking: bool,
    queue: VecDeque<Job>,
    /// Jobs handed out and not given back.
    active: u32,
    /// The earliest start of the next request.
    next_start: Instant,
    /// The pause between two starts.
    delay: Duration,
    /// The host stands in `ready` or `later`.
    is_scheduled: bool,
}

#[derive(Debug)]
enum Later {
    Host(HostId),
    Retry(Job),
}

/// The queue of a crawl.
#[derive(Debug)]
pub struct Frontier {
    hosts: Vec<Host>,
    by_origin: HashMap<String, HostId>,
    /// Hosts with a job that may start now, in turn.
    ready: VecDeque<HostId>,
    /// What must wait for its time; the number keeps equal times apart, and in order.
    later: BTreeMap<(Instant, u64), Later>,
    later_count: u64,
    /// Jobs of deeper levels, if levels are kept apart.
    held: BTreeMap<u32, Vec<Job>>,
    /// The level being fetched.
    level: u32,
    /// Jobs that were added, are not held, and are not finished.
    outstanding: usize,
    accepted: u64,
    is_stopped: bool,
    idle: VecDeque<Thread>,
    timekeeper: Option<Thread>,
    per_host: u32,
    delay: Duration,
    pages_max: u64,
    ask_robots: bool,
    keep_levels: bool,
}

impl Frontier {
    /// Makes an empty frontier with the limits of `options`.
    pub fn new(options: &Options) -> Frontier {
        Frontier {
            hosts: Vec::new(),
            by_origin: HashMap::new(),
            ready: VecDeque::new(),
            later: BTreeMap::new(),
            later_count: 0,
            held: BTreeMap::new(),
            level: 0,
            outstanding: 0,
            accepted: 0,
            is_stopped: false,
            idle: VecDeque::new(),
            timekeeper: None,
            per_host: options.per_host,
            delay: options.delay,
            pages_max: options.max_pages.unwrap_or(u64::MAX),
            ask_robots: !options.ignore_robots,
            // With a limit of depth a page must be met on its shortest way first, or what counts as too
            // deep would depend on which server is quick.
            keep_levels: options.depth.is_some(),
        }
    }

    /// Adds a page to fetch, unless the limit of pages is reached. What a redirect leads to goes to the
    /// front (`is_urgent`), so that chains of redirects end soon.
    pub fn add(&mut self, page: PageId, url: Rc<Url>, depth: u32, is_urgent: bool) {
        if self.accepted >= self.pages_max {
            return;
        }
        self.accepted += 1;
        let host = self.host_of(&url);
        let job = Job {
            page,
            url,
            attempts: 0,
            depth,
            host,
        };
        if self.keep_levels && job.depth > self.level {
            self.held.entry(job.depth).or_default().push(job);
        } else {
            self.outstanding += 1;
            self.enqueue(job, is_urgent);
        }
    }

    /// Says what the calling worker is to do now.
    pub fn next(&mut self, now: Instant) -> Task {
        if self.is_stopped || self.outstanding == 0 {
            return Task::End;
        }
        self.collect_due(now);
        while let Some(id) = self.ready.pop_front() {
            let host = &mut self.hosts[id.0];
            host.is_scheduled = false;
            if host.rules.is_none() {
                host.is_asking = true;
                let task = Task::Robots(id, host.robots_url.clone());
                self.pass_on();
                return task;
            }
            let Some(mut job) = host.queue.pop_front() else {
                continue;
            };
            host.active += 1;
            let task = match host.rules.as_ref() {
                Some(Rules::Known(robots)) if robots.is_url_allowed(&job.url) => {
                    host.next_start = now + host.delay;
                    job.attempts += 1;
                    Task::Fetch(job)
                }
                Some(Rules::Unreachable(failure)) => Task::Refuse(job, Some(failure.clone())),
                _ => Task::Refuse(job, None),
            };
            self.schedule(id);
            self.pass_on();
            return task;
        }
        match self.later.first_key_value() {
            Some((&(at, _), _)) if self.timekeeper.is_none() => Task::Wait(Some(at)),
            _ => Task::Wait(None),
        }
    }

    /// Sets what may be fetched from a host.
    pub fn set_rules(&mut self, id: HostId, rules: Rules) {
        let host = &mut self.hosts[id.0];
        host.is_asking = false;
        host.delay = self.delay.max(rules.crawl_delay());
        // The request for the file counts as one, too.
        host.next_start = Instant::now() + host.delay;
        host.rules = Some(rules);
        self.schedule(id);
        self.pass_on();
    }

    /// Gives back a job that is done with.
    pub fn finish(&mut self, job: Job) {
        self.hosts[job.host.0].active -= 1;
        self.outstanding -= 1;
        self.schedule(job.host);
        if self.outstanding == 0 {
            self.next_level();
        }
        self.pass_on();
    }

    /// Gives back a job that is to be handed out again, not before `at`.
    pub fn retry(&mut self, job: Job, at: Instant) {
        let host = job.host;
        self.hosts[host.0].active -= 1;
        self.put_off(at, Later::Retry(job));
        self.schedule(host);
        self.pass_on();
    }

    /// Hands out nothing more.
    pub fn stop(&mut self) {
        self.is_stopped = true;
        self.wake_all();
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Requests in flight.
    pub fn active(&self) -> u32 {
        self.hosts.iter().map(|host| host.active).sum()
    }

    /// URLs accepted for fetching so far.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    fn host_of(&mut self, url: &Url) -> HostId {
        let origin = url.origin().ascii_serialization();
        if let Some(&id) = self.by_origin.get(&origin) {
            return id;
        }
        let id = HostId(self.hosts.len());
        self.hosts.push(Host {
            robots_url: url.join("/robots.txt").unwrap_or_else(|_| url.clone()),
            rules: (!self.ask_robots).then(Rules::none),
            is_asking: false,
            queue: VecDeque::new(),
            active: 0,
            next_start: Instant::now(),
            delay: self.delay,
            is_scheduled: false,
        });
        self.by_origin.insert(origin, id);
        id
    }

    fn enqueue(&mut self, job: Job, is_urgent: bool) {
        let id = job.host;
        let queue = &mut self.hosts[id.0].queue;
        match is_urgent {
            true => queue.push_front(job),
            false => queue.push_back(job),
        }
        self.schedule(id);
        self.pass_on();
    }

    /// Puts a host where it will be found when its next job may start.
    fn schedule(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        let is_free = host.active < self.per_host && !host.is_asking;
        if host.is_scheduled || host.queue.is_empty() || !is_free {
            return;
        }
        host.is_scheduled = true;
        let at = host.next_start;
        if at <= Instant::now() {
            self.ready.push_back(id);
        } else {
            self.put_off(at, Later::Host(id));
        }
    }

    fn put_off(&mut self, at: Instant, what: Later) {
        self.later_count += 1;
        self.later.insert((at, self.later_count), what);
        let is_earliest = self
            .later
            .first_key_value()
            .is_some_and(|(key, _)| key.1 == self.later_count);
        if is_earliest && let Some(timekeeper) = self.timekeeper.take() {
            timekeeper.unpark();
        }
    }

    fn collect_due(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Later::Host(id) => self.ready.push_back(id),
                Later::Retry(job) => {
                    let id = job.host;
                    self.hosts[id.0].queue.push_front(job);
                    self.schedule(id);
                }
            }
        }
    }

    fn next_level(&mut self) {
        match self.held.pop_first() {
            Some((level, jobs)) => {
                self.level = level;
                self.outstanding = jobs.len();
                jobs.into_iter().for_each(|job| self.enqueue(job, false));
            }
            None => self.wake_all(),
        }
    }

    /// Wakes a further worker if there is work for it.
    fn pass_on(&mut self) {
        let needs_timekeeper = !self.later.is_empty() && self.timekeeper.is_none();
        if !self.ready.is_empty() || needs_timekeeper {
            let worker = self
                .idle
                .pop_front()
                .or_else(|| match self.ready.is_empty() {
                    true => None,
                    false => self.timekeeper.take(),
                });
            if let Some(worker) = worker {
                worker.unpark();
            }
        }
    }

    fn wake_all(&mut self) {
        for worker in self.idle.drain(..).chain(self.timekeeper.take()) {
            worker.unpark();
        }
    }

    fn forget(&mut self, worker: ThreadId) {
        self.idle.retain(|idle| idle.id() != worker);
        if self.timekeeper.as_ref().is_some_and(|t| t.id() == worker) {
            self.timekeeper = None;
        }
    }
}

/// Parks the calling worker until there may be something to do, at the latest until `until`.
pub fn wait(frontier: &RefCell<Frontier>, until: Option<Instant>) {
    let worker = thread::current();
    let id = worker.id();
    match until {
        Some(at) => {
            frontier.borrow_mut().timekeeper = Some(worker);
            thread::park_timeout(at.saturating_duration_since(Instant::now()));
        }
        None => {
            frontier.borrow_mut().idle.push_back(worker);
            thread::park();
        }
    }
    frontier.borrow_mut().forget(id);
}

#[cfg(test)]
#[path = "frontier/tests.rs"]
mod tests;
