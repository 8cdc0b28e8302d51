//! The command line: what may be asked for, in which units, with which defaults.
//!
//! Everything is validated here, so that the rest of the crawler can take an [`Options`] at its word.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use url::Url;

/// Crawls web sites with blocking-style code on green threads, and reports every broken link.
///
/// Without a URL it serves a site of its own on the loopback interface and crawls that: a part of it
/// one page at a time, then all of it concurrently.
#[derive(Parser, Debug, Clone)]
#[command(name = "crawler", version, max_term_width = 100)]
pub struct Options {
    /// Where to start, for instance https://example.com/docs/
    #[arg(value_name = "URL", value_parser = start_url)]
    pub start: Vec<Url>,

    /// Requests in flight at once, over all hosts
    #[arg(short, long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub concurrency: u32,

    /// Requests in flight at once to one host
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub per_host: u32,

    /// Pause between the starts of two requests to one host; a longer Crawl-delay in robots.txt wins
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub delay: Duration,

    /// Follow links up to this many clicks away from the start (default: no limit)
    #[arg(long, value_name = "N")]
    pub depth: Option<u32>,

    /// Request at most this many URLs (default: no limit)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_pages: Option<u64>,

    /// Which links to follow. If a start URL redirects elsewhere, that place counts as a start, too
    #[arg(long, value_enum, default_value_t = Scope::Host)]
    pub scope: Scope,

    /// Also request what pages embed: images, scripts, style sheets, media
    #[arg(long)]
    pub assets: bool,

    /// Give up on a request that takes longer than this, from its start to the end of its body
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_not_zero)]
    pub timeout: Duration,

    /// Give up on a connection, its TLS handshake included, after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration_not_zero)]
    pub connect_timeout: Duration,

    /// Try again this often after a network failure or a status of 429, 500, 502, 503 or 504
    #[arg(long, value_name = "N", default_value_t = 2,
          value_parser = clap::value_parser!(u32).range(0..=20))]
    pub retries: u32,

    /// Pause before the first retry; each further one waits twice as long, or as Retry-After says
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub retry_delay: Duration,

    /// Follow at most this many redirects in a row
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max_redirects: u32,

    /// Refuse bodies larger than this (bytes; K, M and G are powers of 1024)
    #[arg(long, value_name = "SIZE", default_value = "10M", value_parser = size)]
    pub max_size: u64,

    /// The User-Agent header; its first word, up to a slash, is the name looked up in robots.txt
    #[arg(short = 'A', long, value_name = "TEXT", value_parser = user_agent,
          default_value = concat!("greenhub-crawler/", env!("CARGO_PKG_VERSION")))]
    pub user_agent: String,

    /// Do not ask for robots.txt (for sites of your own)
    #[arg(long)]
    pub ignore_robots: bool,

    /// Trust the certificates of this PEM file instead of the built-in roots
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Accept any TLS certificate. Anyone on the way can then read and change what is fetched
    #[arg(long, conflicts_with = "ca_file")]
    pub insecure: bool,

    /// Write one JSON object per line for each URL, broken link and the summary ("-": standard output)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// End with status 1 if a link is broken
    #[arg(long)]
    pub fail_on_broken: bool,

    /// No progress bar and no summary
    #[arg(short, long)]
    pub quiet: bool,
}

/// Which of the links found are followed.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only below the directory of a start URL
    Path,
    /// Only the scheme, host and port of a start URL
    Host,
    /// Also the subdomains of a start URL's host, any scheme and port
    Subdomains,
    /// Every link
    All,
}

impl Scope {
    /// Says whether `url` is to be followed from the start URLs `starts`.
    pub fn contains(self, starts: &[Url], url: &Url) -> bool {
        starts.iter().any(|start| match self {
            Scope::All => true,
            Scope::Host => url.origin() == start.origin(),
            Scope::Path => {
                url.origin() == start.origin() && url.path().starts_with(directory(start))
            }
            Scope::Subdomains => match (url.host_str(), start.host_str()) {
                (Some(host), Some(base)) => host
                    .strip_suffix(base)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                _ => false,
            },
        })
    }
}

impl Options {
    /// The name under which robots.txt knows this crawler: the product token of the `User-Agent`.
    pub fn robot_name(&self) -> &str {
        let word = self.user_agent.split_whitespace().next().unwrap_or("");
        word.split('/').next().unwrap_or("")
    }

    /// The pause before retry number `attempt` (the first is 1).
    pub fn backoff(&self, attempt: u32) -> Duration {
        self.retry_delay
            .saturating_mul(1 << attempt.saturating_sub(1).min(20))
    }
}

fn directory(url: &Url) -> &str {
    let path = url.path();
    &path[..=path.rfind('/').unwrap_or(0)]
}

fn start_url(text: &str) -> Result<Url, String> {
    let mut url = match Url::parse(text) {
        Ok(url) => url,
        Err(url::ParseError::RelativeUrlWithoutBase) => {
            return Err(format!("no scheme; did you mean https://{text} ?"));
        }
        Err(error) => return Err(error.to_string()),
    };
    if !matches!(url.scheme(), "http" | "https") {
        let hint = match text.contains("://") {
            true => String::new(),
            false => format!("; did you mean https://{text} ?"),
        };
        return Err(format!("neither http:// nor https://{hint}"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit `{unit}`; use ms, s, m or h")),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "not a time such as 250ms, 1.5s or 2m".to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

fn duration_not_zero(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be more than zero".to_owned()),
        time => Ok(time),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let upper = text.to_ascii_uppercase();
    let (digits, shift) = match upper.trim_end_matches('B').trim_end_matches('I') {
        rest if rest.ends_with('K') => (&rest[..rest.len() - 1], 10),
        rest if rest.ends_with('M') => (&rest[..rest.len() - 1], 20),
        rest if rest.ends_with('G') => (&rest[..rest.len() - 1], 30),
        rest => (rest, 0),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "not a size such as 4096, 512K or 10M".to_owned())?;
    match number.checked_mul(1 << shift) {
        Some(0) => Err("must be more than zero".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("larger than any file".to_owned()),
    }
}

fn user_agent(text: &str) -> Result<String, String> {
    let word = text.split_whitespace().next().unwrap_or("");
    if word.split('/').next().unwrap_or("").is_empty() {
        return Err("must start with a name, as in `mybot/1.0`".to_owned());
    }
    match text.chars().find(|c| !(' '..='~').contains(c)) {
        Some(c) => Err(format!("{c:?} is not allowed in a header")),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = std::iter::once("crawler").chain(args.iter().copied());
        Options::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("10MiB"), Ok(10 << 20));
        for text in ["", "s", "-1s", "nan", "inf", "1x", "1e400", "ä"] {
            assert!(duration(text).is_err(), "{text:?} is no time");
        }
        for text in ["", "K", "0", "-1", "1.5M", "99999999999G"] {
            assert!(size(text).is_err(), "{text:?} is no size");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let error = |args: &[&str]| parse(args).expect_err("refused");
        assert!(error(&["example.com"]).contains("did you mean https://example.com"));
        assert!(error(&["localhost:8080"]).contains("did you mean https://localhost:8080"));
        assert!(error(&["ftp://example.com/"]).contains("neither http:// nor https://"));
        assert!(error(&["http://"]).contains("empty host"));
        assert!(error(&["--timeout", "0"]).contains("more than zero"));
        assert!(error(&["--concurrency", "0"]).contains("1..=100000"));
        assert!(error(&["--insecure", "--ca-file", "x"]).contains("cannot be used with"));
        assert!(error(&["-A", "a\nb"]).contains("not allowed in a header"));
    }

    #[test]
    fn scope_decides_by_path_host_or_domain() {
        let in_scope = |scope: &str, url: &str| {
            let options = parse(&["http://example.com/docs/index.html", "--scope", scope]).unwrap();
            let url = Url::parse(url).unwrap();
            options.scope.contains(&options.start, &url)
        };
        for (url, path, host, subdomains) in [
            ("http://example.com/docs/a/b", true, true, true),
            ("http://example.com:80/docs", false, true, true),
            ("https://example.com/docs/", false, false, true),
            ("http://www.example.com/docs/", false, false, true),
            ("http://notexample.com/docs/", false, false, false),
        ] {
            assert_eq!(in_scope("path", url), path, "path {url}");
            assert_eq!(in_scope("host", url), host, "host {url}");
            assert_eq!(in_scope("subdomains", url), subdomains, "subdomains {url}");
            assert!(in_scope("all", url));
        }
    }

    #[test]
    fn the_robot_name_is_the_first_product() {
        assert_eq!(parse(&["-A", "mybot/2 (x)"]).unwrap().robot_name(), "mybot");
        assert_eq!(parse(&[]).unwrap().robot_name(), "greenhub-crawler");
    }

    #[test]
    fn retries_wait_twice_as_long_each_time() {
        let options = parse(&["--retry-delay", "100ms"]).unwrap();
        let waits: Vec<_> = (1..=3).map(|n| options.backoff(n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400]);
    }
}
