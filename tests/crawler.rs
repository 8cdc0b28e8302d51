//! The example `crawler`, run as its user runs it, against servers that misbehave.
//!
//! The servers are plain OS threads on std's sockets, so that they share nothing with what is tested;
//! what they saw is compared with what the crawler reported.

#[path = "crawler/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::site::{Site, hostile, serve_tls};

/// Paths of the hostile site, each of which the index links to, with the outcome, the sort of failure
/// and the number of requests that it must come to (one retry is allowed).
const HOSTILE: &[(&str, &str, Option<&str>, usize)] = &[
    ("/endless", "failed", Some("too-large"), 1),
    ("/gzip-bomb", "failed", Some("too-large"), 1),
    ("/announced-huge", "failed", Some("too-large"), 1),
    ("/endless-image", "file", None, 1),
    ("/endless-head", "failed", Some("protocol"), 1),
    ("/slow-body", "failed", Some("timeout"), 2),
    ("/slow-head", "failed", Some("timeout"), 2),
    ("/silent", "failed", Some("timeout"), 2),
    ("/body-too-short", "failed", Some("disconnected"), 2),
    ("/body-too-long", "page", None, 1),
    ("/length-no-number", "failed", Some("protocol"), 1),
    ("/not-http", "failed", Some("protocol"), 1),
    ("/hangs-up", "failed", Some("disconnected"), 2),
    ("/not-gzip", "failed", Some("protocol"), 1),
    ("/bad-chunks", "failed", Some("protocol"), 1),
    ("/malformed", "page", None, 1),
    ("/found-in-malformed", "page", None, 1),
    ("/binary-as-html", "page", None, 1),
    ("/image", "file", None, 1),
    ("/no-type", "page", None, 1),
    ("/missing", "http-error", None, 1),
    ("/always-500", "http-error", None, 2),
    ("/flaky", "page", None, 2),
    ("/redirect-self", "failed", Some("redirect"), 1),
    ("/loop-1", "redirect", None, 1),
    ("/loop-2", "failed", Some("redirect"), 1),
    ("/chain-0", "redirect", None, 1),
    ("/chain-1", "redirect", None, 1),
    ("/chain-2", "redirect", None, 1),
    ("/chain-3", "failed", Some("redirect"), 1),
    ("/redirect-nowhere", "failed", Some("redirect"), 1),
    ("/redirect-mail", "failed", Some("redirect"), 1),
    ("/private/page", "disallowed", None, 0),
];

/// Reached through others: not on the index.
const NOT_ON_INDEX: [&str; 5] = [
    "/found-in-malformed",
    "/loop-2",
    "/chain-1",
    "/chain-2",
    "/chain-3",
];

#[test]
fn every_hostile_answer_is_a_result() {
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let index = {
        let links = HOSTILE.iter().map(|(path, ..)| *path);
        let links = links.filter(|path| !NOT_ON_INDEX.contains(path));
        let links: String = links
            .chain([&*refused, "http://[", "mailto:x@y.test"])
            .fold(String::new(), |html, link| {
                html + &format!("<a href='{link}'>{link}</a>\n")
            });
        format!("<!DOCTYPE html>{links}")
    };
    let flaky = Mutex::new(0);
    let site = Site::start(move |path, stream| hostile(path, stream, &index, &flaky));
    // The name has two addresses on many machines, and the server listens on one of them.
    let start = format!("http://localhost:{}/", site.port);
    let output = OutputFile::new("hostile");
    let ended = crawler()
        .args([&start, "--scope", "all", "--output"])
        .arg(&output.path)
        .args(["--timeout", "1s", "--retries", "1", "--retry-delay", "20ms"])
        .args(["--max-size", "64K", "--max-redirects", "3"])
        .output()
        .unwrap();
    let text = assert_success(&ended);

    let results = output.results();
    let mut expected: BTreeSet<String> = HOSTILE
        .iter()
        .map(|(path, ..)| format!("{}{}", start.trim_end_matches('/'), path))
        .collect();
    expected.extend([start.clone(), refused.clone()]);
    let found: BTreeSet<_> = results.keys().cloned().collect();
    assert_eq!(found, expected, "every URL has a result, and nothing else");
    for (path, outcome, failure, requests) in HOSTILE {
        let result = &results[&format!("{}{}", start.trim_end_matches('/'), path)];
        assert_eq!(result["outcome"], *outcome, "{path}: {result}");
        assert_eq!(
            result["error"]["kind"].as_str(),
            *failure,
            "{path}: {result}"
        );
        assert_eq!(site.requests(path), *requests, "requests for {path}");
        assert_eq!(result["attempts"], *requests, "{path}: {result}");
    }
    let result = &results[&refused];
    assert_eq!(result["outcome"], "failed", "{result}");
    assert_eq!(result["error"]["kind"], "connect", "{result}");

    let broken = output.lines("broken");
    let broken = |url: &str| broken.iter().find(|line| line["url"] == url).cloned();
    let missing = broken(&format!("{start}missing")).expect("a 404 is a broken link");
    assert_eq!(missing["reason"], "404 Not Found");
    assert_eq!(missing["linked_from"], json!([start]));
    assert!(
        broken(&format!("{start}loop-1")).is_some(),
        "a loop leads nowhere"
    );
    assert!(
        broken(&format!("{start}chain-0")).is_some(),
        "a chain without end"
    );
    assert!(broken("http://[").is_some(), "a reference that is no URL");
    assert!(broken(&format!("{start}flaky")).is_none(), "a retry helped");
    assert!(
        text.contains("404 Not Found") && text.contains("1 disallowed"),
        "{text}"
    );
}

#[test]
fn the_demonstration_is_quick_and_right() {
    let started = Instant::now();
    let ended = crawler().output().unwrap();
    let text = assert_success(&ended);
    assert!(started.elapsed() < Duration::from_secs(15), "{text}");
    let ratio = text
        .split_once("one OS thread: ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .and_then(|(ratio, _)| ratio.parse::<f64>().ok())
        .unwrap_or_else(|| panic!("no ratio in:\n{text}"));
    // It is 35 in a debug build on an idle machine, and falls with the share of a core that is left.
    assert!(ratio > 3.0, "concurrency hardly helped:\n{text}");
    assert!(
        text.contains("506 HTML pages"),
        "505 pages and one that needs a retry:\n{text}"
    );
    assert!(text.contains("broken links  5"), "{text}");
}

#[test]
fn an_interrupt_ends_the_crawl_with_a_summary() {
    let site = Site::start(|path, mut stream| {
        if path == "/robots.txt" {
            return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
        // Requests in flight end after the interrupt, for the first one starts with it.
        thread::sleep(Duration::from_millis(300));
        let links: String = (0..100).map(|i| format!("<a href='{path}{i}/'>")).collect();
        let length = links.len();
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
        stream.write_all(format!("{head} {length}\r\n\r\n{links}").as_bytes())
    });
    let output = OutputFile::new("interrupt");
    let mut child = crawler()
        .arg(site.url("/"))
        .arg("--output")
        .arg(&output.path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    site.wait_for_requests(12);
    interrupt(&child);
    wait(&mut child, Duration::from_secs(5));
    let text = assert_success(&child.wait_with_output().unwrap());
    let summary = output.summary();
    assert_eq!(summary["interrupted"], true, "{summary}");
    assert!(
        text.contains("Interrupted") && text.contains("not visited"),
        "{text}"
    );

    let results = output.results();
    let visited: BTreeSet<_> = results
        .values()
        .filter(|result| result["outcome"] != "not-visited")
        .map(|result| result["url"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        visited,
        site.urls(),
        "whatever was asked for has its result"
    );
    let linked = 1 + 100 * visited.len();
    assert_eq!(results.len(), linked, "and so has whatever was met");
}

#[test]
fn hosts_are_spared() {
    let in_flight = Mutex::new((0, 0));
    let site = Site::start(move |path, mut stream| {
        {
            let mut counts = in_flight.lock().unwrap();
            counts.0 += 1;
            counts.1 = counts.1.max(counts.0);
            assert!(counts.0 <= 3, "more requests at once than allowed");
        }
        thread::sleep(Duration::from_millis(20));
        in_flight.lock().unwrap().0 -= 1;
        let text = match path {
            "/robots.txt" => {
                "User-agent: *\nDisallow: /\nUser-agent: polite-bot\nCrawl-delay: 0.05"
            }
            "/" => "<a href=1><a href=2><a href=3><a href=4><a href=5><a href=6>",
            _ => "<a href=/deeper>",
        };
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length:";
        stream.write_all(format!("{head} {}\r\n\r\n{text}", text.len()).as_bytes())
    });
    let url = site.url("/");
    let ended = crawler()
        .args([&url, "--per-host", "3", "--depth", "1", "--max-pages", "6"])
        .args(["--user-agent", "Polite-Bot/3.0 (test)"])
        .output()
        .unwrap();
    let text = assert_success(&ended);
    let mut starts = site.starts();
    starts.sort();
    assert_eq!(starts.len(), 1 + 6, "robots.txt and six pages:\n{text}");
    assert_eq!(site.requests("/deeper"), 0, "too deep");
    // Arrivals are late now and then, each by itself; all in all the pauses show.
    let span = *starts.last().unwrap() - starts[0];
    assert!(
        span > Duration::from_millis(250),
        "six pauses of 50 ms in {span:?}"
    );

    let before = site.starts().len();
    let text = assert_success(&crawler().arg(&url).output().unwrap());
    assert_eq!(
        site.starts().len(),
        before + 1,
        "only robots.txt was asked for"
    );
    assert!(text.contains("1 disallowed by robots.txt"), "{text}");
}

#[test]
fn a_start_may_redirect_to_another_host() {
    let reply = |mut stream: &TcpStream, head: &str, page: &str| {
        let length = page.len();
        let end = "Connection: close\r\nContent-Length";
        stream.write_all(format!("HTTP/1.1 {head}\r\n{end}: {length}\r\n\r\n{page}").as_bytes())
    };
    let foreign = Site::start(move |_, stream| reply(stream, "200 OK", "<p>"));
    let foreign_url = foreign.url("/far");
    let home = Site::start(move |path, stream| match path {
        "/robots.txt" => reply(stream, "404 Not Found", ""),
        "/" => reply(
            stream,
            "200 OK",
            &format!(
                "<a href=/out>moved away</a><a href='{foreign_url}'>far</a><a href=/near>near</a>"
            ),
        ),
        "/out" => reply(stream, &format!("301 Moved\r\nLocation: {foreign_url}"), ""),
        _ => reply(stream, "200 OK", "<p>"),
    });
    let target = home.url("/");
    let door = Site::start(move |path, stream| match path {
        "/robots.txt" => reply(stream, "404 Not Found", ""),
        _ => reply(stream, &format!("302 Found\r\nLocation: {target}"), ""),
    });
    let output = OutputFile::new("redirect");
    let start = door.url("/");
    assert_success(
        &crawler()
            .args([&start, "-o"])
            .arg(&output.path)
            .output()
            .unwrap(),
    );
    let results = output.results();
    let outcome = |url: &str| results[url]["outcome"].as_str().unwrap().to_owned();
    assert_eq!(results.len(), 4, "{results:?}");
    assert_eq!(outcome(&start), "redirect");
    assert_eq!(outcome(&home.url("/")), "page");
    assert_eq!(results[&home.url("/")]["found_on"], start);
    assert_eq!(outcome(&home.url("/near")), "page");
    let out = &results[&home.url("/out")];
    assert_eq!(
        out["redirect_to"],
        foreign.url("/far"),
        "out of scope, but said"
    );
    assert!(foreign.starts().is_empty(), "and not followed");
}

#[test]
fn https_needs_a_certificate_that_is_trusted() {
    let port = serve_tls();
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crawler/certificate.pem");
    let summary = |host: &str, args: &[&str]| {
        let url = format!("https://{host}:{port}/");
        let args = args.iter().chain(&["--quiet", "--output", "-"]);
        let text = assert_success(&crawler().arg(url).args(args).output().unwrap());
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (summary["outcomes"].clone(), summary["failures"].clone())
    };
    let pages = (json!({"page": 2}), json!({}));
    let refused = (json!({"failed": 1}), json!({"tls": 1}));
    assert_eq!(summary("localhost", &["--ca-file", certificate]), pages);
    assert_eq!(summary("localhost", &["--insecure"]), pages);
    let unknown_issuer = summary("localhost", &["--retries", "0"]);
    assert_eq!(unknown_issuer, refused, "nobody vouches for it");
    let wrong_name = summary("127.0.0.1", &["--ca-file", certificate, "--retries", "0"]);
    assert_eq!(wrong_name, refused, "it is for another name");
}

#[test]
fn mistakes_of_the_user_end_with_a_message() {
    let site = Site::start(|_, mut stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    });
    let url = site.url("/");
    let fails = |args: &[&str], status: i32, message: &str| {
        let ended = crawler().args(args).output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(message), "{args:?}: {text}");
    };
    fails(&["example.test"], 2, "did you mean https://example.test");
    fails(&[&url, "--output", "/dev/full"], 2, "--output /dev/full: ");
    fails(
        &[&url, "--output", "/nowhere/x"],
        2,
        "--output /nowhere/x: ",
    );
    fails(&[&url, "--ca-file", "/dev/null"], 2, "no certificate in it");
    fails(&[&url, "--fail-on-broken", "--quiet"], 1, "");
}

/// The built example, which stands beside the directory of this test's own executable.
fn crawler() -> Command {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let path = profile.join("examples/crawler");
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --examples` (plain `cargo test` does)",
        path.display()
    );
    Command::new(path)
}

fn assert_success(ended: &Output) -> String {
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}\n{text}\n{errors}", ended.status);
    text
}

fn interrupt(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::INT).unwrap();
}

fn wait(child: &mut Child, limit: Duration) {
    let end = Instant::now() + limit;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("still running {limit:?} after the interrupt");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A file of JSON lines that goes with its test.
struct OutputFile {
    path: PathBuf,
}

impl OutputFile {
    fn new(name: &str) -> OutputFile {
        let name = format!("crawler-{name}-{}.jsonl", std::process::id());
        OutputFile {
            path: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
        }
    }

    fn lines(&self, sort: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &Value| line["type"] == sort).collect()
    }

    fn results(&self) -> BTreeMap<String, Value> {
        let mut results = BTreeMap::new();
        for line in self.lines("page") {
            let url = line["url"].as_str().unwrap().to_owned();
            let twice = results.insert(url, line);
            assert!(twice.is_none(), "two results for one URL: {twice:?}");
        }
        results
    }

    fn summary(&self) -> Value {
        let mut lines = self.lines("summary");
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
