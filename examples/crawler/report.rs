//! What the crawl tells its user: one JSON line per result as it comes, and a summary at the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, LineWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use ureq::http::StatusCode;

use crate::fetch::{Failure, FailureKind};
use crate::graph::{BrokenLink, Graph, State};

/// Broken links, and pages that hold one, that the summary names. The JSON lines name all.
const BROKEN_SHOWN: usize = 20;
const HOLDERS_SHOWN: usize = 3;

/// Characters of a URL that the summary shows.
const TEXT_SHOWN: usize = 240;

/// What became of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// An HTML page, searched for links.
    Page,
    /// Something else than HTML.
    File,
    /// It leads to another URL.
    Redirect,
    /// The server answered with an error.
    HttpError,
    /// The server gave no usable answer.
    Failed,
    /// robots.txt asks not to fetch it.
    Disallowed,
    /// The crawl ended before its turn: an interruption or the limit of pages.
    NotVisited,
}

/// The result of one URL.
#[derive(Debug, Serialize)]
pub struct PageResult<'a> {
    /// Where it is.
    pub url: &'a str,
    /// What became of it.
    pub outcome: Outcome,
    /// The status of the last response.
    pub status: Option<u16>,
    /// Why there is no usable answer.
    pub error: Option<&'a Failure>,
    /// Where it redirects to.
    pub redirect_to: Option<&'a str>,
    /// The media type that the server announced.
    pub content_type: Option<&'a str>,
    /// Bytes of the body that were read.
    pub bytes: u64,
    /// Duration of the last request, in milliseconds.
    pub elapsed_ms: f64,
    /// Requests made.
    pub attempts: u32,
    /// Clicks away from the start.
    pub depth: u32,
    /// The page whose link or redirect led here first.
    pub found_on: Option<&'a str>,
    /// Different links to `http` and `https` URLs on the page.
    pub links: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Line<'a> {
    Page(&'a PageResult<'a>),
    Broken {
        url: &'a str,
        reason: &'a str,
        linked_from: Vec<&'a str>,
    },
    Summary(&'a Summary),
}

/// The figures of a whole crawl.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// URLs by what became of them.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Responses by status, of the last request for each URL.
    pub statuses: BTreeMap<u16, u64>,
    /// URLs without a usable answer, by the sort of failure.
    pub failures: BTreeMap<FailureKind, u64>,
    /// Requests made, retries included, robots.txt not.
    pub requests: u64,
    /// Requests that repeated another.
    pub retries: u64,
    /// Bytes of all bodies.
    pub bytes: u64,
    /// Duration of the crawl.
    pub seconds: f64,
    /// URLs requested, in each second on average.
    pub pages_per_second: f64,
    /// Half the responses took at most so long.
    pub latency_p50_ms: f64,
    /// 95 of 100 responses took at most so long.
    pub latency_p95_ms: f64,
    /// Links that lead nowhere.
    pub broken_links: usize,
    /// The user ended the crawl.
    pub interrupted: bool,
}

/// Collects results while the crawl goes on.
#[derive(Debug)]
pub struct Report {
    output: Option<Output>,
    summary: Summary,
    latencies: Vec<Duration>,
}

impl Report {
    /// Makes a report that writes JSON lines to `output`, if there is one.
    ///
    /// # Errors
    ///
    /// Returns the error of creating the file.
    pub fn new(output: Option<&Path>) -> io::Result<Report> {
        Ok(Report {
            output: output.map(Output::create).transpose()?,
            summary: Summary::default(),
            latencies: Vec::new(),
        })
    }

    /// Adds the result of a URL, and writes its line.
    pub fn add(&mut self, page: &PageResult<'_>) {
        *self.summary.outcomes.entry(page.outcome).or_default() += 1;
        if let Some(status) = page.status {
            *self.summary.statuses.entry(status).or_default() += 1;
            self.latencies
                .push(Duration::from_secs_f64(page.elapsed_ms / 1000.0));
        }
        if let Some(failure) = page.error {
            *self.summary.failures.entry(failure.kind).or_default() += 1;
        }
        self.summary.requests += u64::from(page.attempts);
        self.summary.retries += u64::from(page.attempts.saturating_sub(1));
        self.summary.bytes += page.bytes;
        self.write(&Line::Page(page));
    }

    /// Whether a line could not be written, so that going on would lose results.
    pub fn is_failed(&self) -> bool {
        self.output.as_ref().is_some_and(|o| o.error.is_some())
    }

    /// URLs with a result so far.
    pub fn count(&self) -> u64 {
        self.summary.outcomes.values().sum()
    }

    /// Closes the report: writes the lines of unvisited URLs, broken links and the summary.
    ///
    /// # Errors
    ///
    /// Returns the first error that writing a line met.
    pub fn close(
        mut self,
        graph: &Graph,
        elapsed: Duration,
        interrupted: bool,
    ) -> io::Result<Summary> {
        let pending = graph.pages().filter(|page| page.state == State::Pending);
        for page in pending {
            let found_on = page.found_on.map(|id| &graph.page(id).url);
            self.add(&PageResult {
                url: page.url.as_str(),
                outcome: Outcome::NotVisited,
                status: None,
                error: None,
                redirect_to: None,
                content_type: None,
                bytes: 0,
                elapsed_ms: 0.0,
                attempts: 0,
                depth: page.depth,
                found_on: found_on.map(|url| url.as_str()),
                links: 0,
            });
        }
        let broken = graph.broken_links();
        for link in &broken {
            self.write(&Line::Broken {
                url: link.url,
                reason: &link.reason,
                linked_from: link.linked_from.iter().map(|url| url.as_str()).collect(),
            });
        }
        self.latencies.sort_unstable();
        let summary = &mut self.summary;
        summary.seconds = elapsed.as_secs_f64();
        summary.pages_per_second = summary.requested() as f64 / summary.seconds.max(1e-9);
        summary.latency_p50_ms = milliseconds(percentile(&self.latencies, 50));
        summary.latency_p95_ms = milliseconds(percentile(&self.latencies, 95));
        summary.broken_links = broken.len();
        summary.interrupted = interrupted;
        let summary = std::mem::take(summary);
        self.write(&Line::Summary(&summary));
        match self.output.and_then(|output| output.error) {
            Some(error) => Err(error),
            None => Ok(summary),
        }
    }

    fn write(&mut self, line: &Line<'_>) {
        if let Some(output) = &mut self.output {
            output.write(line);
        }
    }
}

impl Summary {
    fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// URLs of which at least one request was made.
    pub fn requested(&self) -> u64 {
        self.requests - self.retries
    }
}

/// The value that `percent` of the sorted `values` do not exceed (nearest rank).
fn percentile(values: &[Duration], percent: usize) -> Duration {
    let rank = (values.len() * percent).div_ceil(100);
    values
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// A duration in milliseconds, to the microsecond.
pub fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The file of JSON lines. It is written line by line, so that whatever ends the process, what it had
/// learnt is on disk.
struct Output {
    writer: Box<dyn Write>,
    error: Option<io::Error>,
}

impl Output {
    fn create(path: &Path) -> io::Result<Output> {
        let writer: Box<dyn Write> = match path.to_str() {
            Some("-") => Box::new(io::stdout()),
            _ => Box::new(LineWriter::new(File::create(path)?)),
        };
        Ok(Output {
            writer,
            error: None,
        })
    }

    fn write(&mut self, line: &Line<'_>) {
        if self.error.is_some() {
            return;
        }
        let mut text = serde_json::to_string(line).expect("text and finite numbers become JSON");
        text.push('\n');
        self.error = self.writer.write_all(text.as_bytes()).err();
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// The summary as text, with the broken links of `graph`.
pub struct Display<'a> {
    /// The figures.
    pub summary: &'a Summary,
    /// The broken links.
    pub broken: Vec<BrokenLink<'a>>,
}

impl fmt::Display for Display<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary;
        if summary.interrupted {
            writeln!(f, "Interrupted.")?;
        }
        let outcomes = [
            (Outcome::Page, "HTML pages"),
            (Outcome::File, "not HTML"),
            (Outcome::Redirect, "redirected"),
            (Outcome::HttpError, "HTTP errors"),
            (Outcome::Failed, "failed"),
            (Outcome::Disallowed, "disallowed by robots.txt"),
            (Outcome::NotVisited, "not visited"),
        ]
        .into_iter()
        .map(|(outcome, name)| (summary.count(outcome), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} {name}"));
        row(f, "URLs", &outcomes.collect::<Vec<_>>().join(", "))?;
        let retries = match summary.retries {
            0 => String::new(),
            retries => format!(", {retries} of them repeated"),
        };
        row(f, "requests", &format!("{}{retries}", summary.requests))?;
        let statuses = summary.statuses.iter().map(|(status, count)| {
            let reason = StatusCode::from_u16(*status).ok();
            let reason = reason.and_then(|s| s.canonical_reason()).unwrap_or("");
            format!("{count} x {status} {reason}")
        });
        row(f, "statuses", &statuses.collect::<Vec<_>>().join(", "))?;
        let failures = summary.failures.iter();
        let failures = failures.map(|(kind, count)| format!("{count} x {kind}"));
        row(f, "failures", &failures.collect::<Vec<_>>().join(", "))?;
        let bytes = indicatif::BinaryBytes(summary.bytes);
        row(f, "volume", &format!("{bytes} in {:.2} s", summary.seconds))?;
        let rate = format!("{:.1} pages/s", summary.pages_per_second);
        row(f, "rate", &rate)?;
        let (p50, p95) = (summary.latency_p50_ms, summary.latency_p95_ms);
        row(f, "latency", &format!("p50 {p50:.1} ms, p95 {p95:.1} ms"))?;
        row(f, "broken links", &self.broken.len().to_string())?;
        self.broken_links(f)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    match value {
        "" => Ok(()),
        _ => writeln!(f, "  {name:<14}{value}"),
    }
}

/// Leaves out the middle of a text that would fill the screen.
fn shorten(text: &str) -> Cow<'_, str> {
    let start = text.char_indices().nth(TEXT_SHOWN / 2);
    let end = text.char_indices().nth_back(TEXT_SHOWN / 2);
    match (start, end) {
        (Some((start, _)), Some((end, _))) if start < end => {
            Cow::Owned(format!("{} ... {}", &text[..start], &text[end..]))
        }
        _ => Cow::Borrowed(text),
    }
}

impl Display<'_> {
    fn broken_links(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in self.broken.iter().take(BROKEN_SHOWN) {
            let (url, reason) = (shorten(link.url), shorten(&link.reason));
            writeln!(f, "    {url}\n      {reason}")?;
            if link.linked_from.is_empty() {
                writeln!(f, "      given as a start")?;
            }
            for page in link.linked_from.iter().take(HOLDERS_SHOWN) {
                writeln!(f, "      on {page}")?;
            }
            if let Some(more @ 1..) = link.linked_from.len().checked_sub(HOLDERS_SHOWN) {
                writeln!(f, "      and on {more} more")?;
            }
        }
        match self.broken.len().checked_sub(BROKEN_SHOWN) {
            Some(more @ 1..) => writeln!(f, "    and {more} more (all of them: --output FILE)"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<_> = (1..=20).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(10));
        assert_eq!(percentile(&values, 95), Duration::from_millis(19));
        assert_eq!(percentile(&values[..1], 95), Duration::from_millis(1));
        assert_eq!(percentile(&[], 95), Duration::ZERO);
    }

    #[test]
    fn endless_urls_are_cut() {
        assert_eq!(shorten("http://site.test/"), "http://site.test/");
        let long = "ä".repeat(100_000);
        assert!(shorten(&long).chars().count() < 250);
    }

    #[test]
    fn a_failed_output_keeps_its_first_error() {
        let mut report = Report::new(Some(Path::new("/dev/full"))).unwrap();
        assert!(!report.is_failed());
        report.write(&Line::Summary(&Summary::default()));
        assert!(report.is_failed());
        let error = report.close(&Graph::default(), Duration::ZERO, false);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn an_empty_summary_has_finite_figures() {
        let report = Report::new(None).unwrap();
        let summary = report
            .close(&Graph::default(), Duration::ZERO, false)
            .unwrap();
        let text = serde_json::to_string(&Line::Summary(&summary)).unwrap();
        assert!(text.starts_with(r#"{"type":"summary""#), "{text}");
        assert_eq!(summary.pages_per_second, 0.0);
    }
}
