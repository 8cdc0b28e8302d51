//! The order, the limits and the wake-ups of the frontier.

use super::*;
use crate::graph::Graph;
use clap::Parser;

struct Bench {
    graph: Graph,
    frontier: Frontier,
}

impl Bench {
    fn new(args: &[&str]) -> Bench {
        let args = std::iter::once("crawler").chain(args.iter().copied());
        let options = Options::parse_from(args);
        Bench {
            graph: Graph::default(),
            frontier: Frontier::new(&options),
        }
    }

    fn add(&mut self, url: &str, depth: u32) {
        let (id, _) = self.graph.insert(Url::parse(url).unwrap(), None, depth, 0);
        let url = Rc::clone(&self.graph.page(id).url);
        self.frontier.add(id, url, depth, false);
    }

    fn fetch(&mut self, now: Instant) -> Option<Job> {
        match self.frontier.next(now) {
            Task::Fetch(job) => Some(job),
            _ => None,
        }
    }
}

#[test]
fn hosts_take_turns_and_keep_their_limits() {
    let mut bench = Bench::new(&["--ignore-robots", "--per-host", "2"]);
    for url in ["http://a/1", "http://a/2", "http://a/3", "http://b/1"] {
        bench.add(url, 0);
    }
    let now = Instant::now();
    let jobs: Vec<_> = std::iter::from_fn(|| bench.fetch(now)).collect();
    let urls: Vec<_> = jobs.iter().map(|job| job.url.as_str()).collect();
    assert_eq!(urls, ["http://a/1", "http://b/1", "http://a/2"]);
    assert!(matches!(bench.frontier.next(now), Task::Wait(None)));
    bench.frontier.finish(jobs.into_iter().next().unwrap());
    assert_eq!(bench.fetch(now).unwrap().url.as_str(), "http://a/3");
}

#[test]
fn the_delay_lies_between_two_starts() {
    let mut bench = Bench::new(&["--ignore-robots", "--delay", "10s"]);
    bench.add("http://a/1", 0);
    bench.add("http://a/2", 0);
    let now = Instant::now();
    assert!(bench.fetch(now).is_some());
    let at = now + Duration::from_secs(10);
    match bench.frontier.next(now) {
        Task::Wait(Some(until)) => assert_eq!(until, at),
        other => panic!("not {other:?}"),
    }
    assert!(bench.fetch(at).is_some());
}

#[test]
fn a_host_is_asked_for_its_rules_first_and_once() {
    let mut bench = Bench::new(&[]);
    bench.add("http://a/x/open", 0);
    bench.add("http://a/shut", 0);
    let now = Instant::now();
    let Task::Robots(host, url) = bench.frontier.next(now) else {
        panic!("the rules come first");
    };
    assert_eq!(url.as_str(), "http://a/robots.txt");
    assert!(matches!(bench.frontier.next(now), Task::Wait(None)));
    let robots = robotxt::Robots::parse(b"User-agent: *\nDisallow: /shut", "x");
    bench
        .frontier
        .set_rules(host, Rules::Known(Box::new(robots)));
    let now = Instant::now();
    assert_eq!(bench.fetch(now).unwrap().url.path(), "/x/open");
    assert!(
        matches!(bench.frontier.next(now), Task::Refuse(job, None) if job.url.path() == "/shut")
    );
}

#[test]
fn it_ends_when_every_job_is_finished() {
    let mut bench = Bench::new(&["--ignore-robots"]);
    bench.add("http://a/", 0);
    let now = Instant::now();
    let job = bench.fetch(now).unwrap();
    let at = now + Duration::from_secs(1);
    bench.frontier.retry(job, at);
    assert!(matches!(bench.frontier.next(now), Task::Wait(Some(until)) if until == at));
    let job = bench.fetch(at).unwrap();
    assert_eq!(job.attempts, 2);
    bench.frontier.finish(job);
    assert!(matches!(bench.frontier.next(now), Task::End));
}

#[test]
fn levels_are_kept_apart_under_a_limit_of_depth() {
    let mut bench = Bench::new(&["--ignore-robots", "--depth", "2"]);
    bench.add("http://a/0", 0);
    bench.add("http://b/1", 1);
    let now = Instant::now();
    let job = bench.fetch(now).unwrap();
    assert!(matches!(bench.frontier.next(now), Task::Wait(None)));
    bench.frontier.finish(job);
    assert_eq!(bench.fetch(now).unwrap().url.path(), "/1");
}

#[test]
fn the_limit_of_pages_counts_urls() {
    let mut bench = Bench::new(&["--ignore-robots", "--max-pages", "2"]);
    for url in ["http://a/1", "http://a/2", "http://a/3"] {
        bench.add(url, 0);
    }
    let now = Instant::now();
    assert_eq!(std::iter::from_fn(|| bench.fetch(now)).count(), 2);
    assert_eq!(bench.frontier.accepted(), 2);
}

#[test]
fn idle_workers_are_woken_by_work_and_by_the_end() {
    let frontier = Rc::new(RefCell::new(Bench::new(&["--ignore-robots"]).frontier));
    let mut graph = Graph::default();
    let (id, _) = graph.insert(Url::parse("http://a/").unwrap(), None, 0, 0);
    let url = Rc::clone(&graph.page(id).url);
    frontier.borrow_mut().outstanding = 1;
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let frontier = Rc::clone(&frontier);
            greenhub::spawn(move || {
                let mut fetched = 0;
                loop {
                    let task = frontier.borrow_mut().next(Instant::now());
                    match task {
                        Task::Fetch(job) => {
                            fetched += 1;
                            frontier.borrow_mut().finish(job);
                        }
                        Task::Wait(until) => wait(&frontier, until),
                        Task::End => return fetched,
                        other => panic!("not {other:?}"),
                    }
                }
            })
        })
        .collect();
    while frontier.borrow().idle.len() < 3 {
        greenhub::yield_now();
    }
    frontier.borrow_mut().add(id, url, 0, false);
    while frontier.borrow().idle.len() < 3 {
        greenhub::yield_now();
    }
    frontier.borrow_mut().stop();
    let fetched = greenhub::joinall(workers);
    let fetched: i32 = fetched.into_iter().map(|worker| worker.unwrap()).sum();
    assert_eq!(fetched, 1);
    assert!(frontier.borrow().idle.is_empty());
}
