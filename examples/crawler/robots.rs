//! What a host's robots.txt allows, after RFC 9309.

use std::time::Duration;

use robotxt::{Agent, BYTE_LIMIT, Robots};
use url::Url;

use crate::fetch::{Content, Failure, FailureKind, Fetched, Fetcher, Wanted};
use crate::options::Options;

/// Redirects that a request for robots.txt follows; the RFC asks for five at least.
const REDIRECTS_MAX: u32 = 5;

/// A longer `Crawl-delay` counts as this one: no file may stop the crawl for good.
const CRAWL_DELAY_MAX: Duration = Duration::from_secs(60);

/// What may be fetched from one host.
#[derive(Debug)]
pub enum Rules {
    /// What the file says.
    Known(Box<Robots>),
    /// There may be a file, but it could not be had: the host is to be left alone.
    Unreachable(Failure),
}

impl Rules {
    /// Rules that allow everything.
    pub fn none() -> Rules {
        Rules::Known(Box::new(Robots::allow_all()))
    }

    /// The pause between requests that the host asks for.
    pub fn crawl_delay(&self) -> Duration {
        match self {
            Rules::Known(robots) => robots
                .crawl_delay()
                .map_or(Duration::ZERO, |delay| delay.min(CRAWL_DELAY_MAX)),
            Rules::Unreachable(_) => Duration::ZERO,
        }
    }
}

/// Asks the host of `robots_url` for its rules. Transient failures are retried here.
pub fn ask(fetcher: &Fetcher, robots_url: &Url, options: &Options) -> Rules {
    let mut attempt = 0;
    loop {
        let answer = follow(fetcher, robots_url);
        let rules = judge(answer, options.robot_name());
        match &rules {
            Rules::Unreachable(_) if attempt < options.retries => {
                attempt += 1;
                greenhub::sleep(options.backoff(attempt));
            }
            _ => return rules,
        }
    }
}

fn follow(fetcher: &Fetcher, robots_url: &Url) -> Fetched {
    let mut url = robots_url.clone();
    for _ in 0..REDIRECTS_MAX {
        let fetched = fetcher.fetch(&url, Wanted::Text(BYTE_LIMIT as u64 + 1));
        match fetched.content {
            Ok(Content::Redirect(target)) => url = target,
            _ => return fetched,
        }
    }
    fetcher.fetch(&url, Wanted::Text(BYTE_LIMIT as u64 + 1))
}

fn judge(answer: Fetched, robot_name: &str) -> Rules {
    let status = answer.status.unwrap_or(0);
    match answer.content {
        Ok(Content::Text(text)) => {
            Rules::Known(Box::new(Robots::parse(&text, Agent::Exact(robot_name))))
        }
        Ok(_) if status == 429 || status >= 500 => {
            let message = format!("robots.txt: status {status}, so the host is left alone");
            Rules::Unreachable(Failure::new(FailureKind::Robots, message))
        }
        Ok(_) => Rules::none(),
        // A redirect to nowhere is a file that does not exist.
        Err(failure) if failure.kind == FailureKind::Redirect => Rules::none(),
        Err(failure) => {
            let message = format!("robots.txt: {}", failure.message);
            Rules::Unreachable(Failure::new(failure.kind, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content: Result<Content, Failure>) -> Fetched {
        Fetched {
            status: Some(status),
            content_type: None,
            bytes: 0,
            elapsed: Duration::ZERO,
            retry_after: None,
            content,
        }
    }

    fn allows(rules: &Rules, path: &str) -> bool {
        match rules {
            Rules::Known(robots) => robots.is_allowed(path),
            Rules::Unreachable(_) => false,
        }
    }

    #[test]
    fn the_group_of_our_name_wins() {
        let text =
            b"User-agent: *\nDisallow: /\n\nUser-agent: MyBot\nDisallow: /private\nCrawl-delay: 2";
        let content = || Ok(Content::Text(text.to_vec()));
        let ours = judge(answer(200, content()), "mybot");
        assert!(allows(&ours, "/open") && !allows(&ours, "/private/x"));
        assert_eq!(ours.crawl_delay(), Duration::from_secs(2));
        let other = judge(answer(200, content()), "otherbot");
        assert!(!allows(&other, "/open"));
    }

    #[test]
    fn no_file_allows_all_and_a_broken_server_nothing() {
        let status = |status| judge(answer(status, Ok(Content::Nothing)), "x");
        assert!(allows(&status(404), "/"));
        assert!(allows(&status(403), "/"));
        assert!(!allows(&status(503), "/"));
        assert!(!allows(&status(429), "/"));
        let lost = Failure::new(FailureKind::Connect, "refused");
        match judge(answer(0, Err(lost)), "x") {
            Rules::Unreachable(failure) => {
                assert_eq!(failure.kind, FailureKind::Connect);
                assert_eq!(failure.message, "robots.txt: refused");
            }
            Rules::Known(_) => panic!("nothing is known"),
        }
        let nowhere = Failure::new(FailureKind::Redirect, "no Location");
        assert!(allows(&judge(answer(301, Err(nowhere)), "x"), "/"));
    }

    #[test]
    fn an_endless_crawl_delay_is_cut() {
        let text = b"User-agent: *\nCrawl-delay: 999999".to_vec();
        let rules = judge(answer(200, Ok(Content::Text(text))), "x");
        assert_eq!(rules.crawl_delay(), CRAWL_DELAY_MAX);
    }
}
