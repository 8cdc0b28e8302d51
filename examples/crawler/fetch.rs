//! One URL, one request, one result.
//!
//! Whatever a server does comes back as a [`Fetched`]: nothing here panics, retries, or follows a
//! redirect. Redirects are handed to the caller, who knows which URLs are in scope and were seen before.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;
use ureq::http::{HeaderMap, Response, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, Body, Error};
use url::Url;

use crate::connector::{GreenConnector, GreenResolver, LookupError};
use crate::options::Options;

/// A body that nobody needs is still read if it is at most this long: the connection can then be used
/// again, which is cheaper than a new one.
const DRAINED_BYTES_MAX: u64 = 64 << 10;

/// What one request came to.
#[derive(Debug)]
pub struct Fetched {
    /// The status of the response, if one came.
    pub status: Option<u16>,
    /// The media type that the server announced, without parameters.
    pub content_type: Option<String>,
    /// Bytes of the body that were read, after decompression.
    pub bytes: u64,
    /// From the start of the request to the end of its body.
    pub elapsed: Duration,
    /// How long the server asks us to stay away.
    pub retry_after: Option<Duration>,
    /// What the response holds, or why there is none.
    pub content: Result<Content, Failure>,
}

/// What a response holds for a crawler.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A body to look for links in (or the text of a robots.txt).
    Text(Vec<u8>),
    /// Another place to look at.
    Redirect(Url),
    /// Nothing that could hold links: not HTML, or an error page.
    Nothing,
}

/// Which bodies the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// HTML pages, whole.
    Html,
    /// Any text, of which at most this many bytes count.
    Text(u64),
}

/// Why a request has no usable result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The sort of failure.
    pub kind: FailureKind,
    /// What happened, in words.
    pub message: String,
}

/// The sorts of failure, by what a user would do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The host's name has no address.
    Dns,
    /// No connection.
    Connect,
    /// A connection, but no trust.
    Tls,
    /// Not done in time.
    Timeout,
    /// The server hung up in the middle of its response.
    Disconnected,
    /// The body is larger than `--max-size`.
    TooLarge,
    /// The response is no HTTP.
    Protocol,
    /// A redirect to nowhere, in a circle, or once too often.
    Redirect,
    /// robots.txt could not be had, so the host must be left alone.
    Robots,
    /// Everything else.
    Other,
}

impl Fetched {
    /// The result of a request without a response.
    pub fn nothing(content: Result<Content, Failure>) -> Fetched {
        Fetched {
            status: None,
            content_type: None,
            bytes: 0,
            elapsed: Duration::ZERO,
            retry_after: None,
            content,
        }
    }
}

impl Failure {
    /// Makes a failure of `kind` that is described by `message`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { kind, message }
    }

    /// Whether the same request may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Dns
                | FailureKind::Connect
                | FailureKind::Timeout
                | FailureKind::Disconnected
        )
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureKind::Dns => "unknown host",
            FailureKind::Connect => "no connection",
            FailureKind::Tls => "TLS",
            FailureKind::Timeout => "timeout",
            FailureKind::Disconnected => "disconnected",
            FailureKind::TooLarge => "too large",
            FailureKind::Protocol => "not HTTP",
            FailureKind::Redirect => "redirect",
            FailureKind::Robots => "robots.txt",
            FailureKind::Other => "other",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The crawler's HTTP client. Connections are kept and shared by all green threads.
#[derive(Debug)]
pub struct Fetcher {
    agent: Agent,
    max_size: u64,
}

impl Fetcher {
    /// Makes the client that `options` describe.
    ///
    /// # Errors
    ///
    /// Returns a message if the file of `--ca-file` holds no certificate.
    pub fn new(options: &Options) -> Result<Fetcher, String> {
        let mut tls = TlsConfig::builder().disable_verification(options.insecure);
        if let Some(path) = &options.ca_file {
            let roots = std::fs::read(path)
                .map_err(|error| error.to_string())
                .and_then(|pem| certificates(&pem))
                .map_err(|error| format!("--ca-file {}: {error}", path.display()))?;
            tls = tls.root_certs(RootCerts::new_with_certs(&roots));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .user_agent(options.user_agent.as_str())
            .accept("text/html,application/xhtml+xml;q=0.9,*/*;q=0.1")
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(options.connect_timeout))
            .max_idle_connections(options.concurrency as usize)
            .max_idle_connections_per_host(options.per_host as usize)
            .build();
        let connector = ().chain(GreenConnector).chain(RustlsConnector::default());
        Ok(Fetcher {
            agent: Agent::with_parts(config, connector, GreenResolver),
            max_size: options.max_size,
        })
    }

    /// Requests `url`, reads its body if it is wanted, and says what came of it.
    pub fn fetch(&self, url: &Url, wanted: Wanted) -> Fetched {
        let started = Instant::now();
        let mut fetched = match self.agent.get(url.as_str()).call() {
            Ok(response) => self.receive(url, response, wanted),
            Err(error) => Fetched::nothing(Err(failure(url, error))),
        };
        fetched.elapsed = started.elapsed();
        fetched
    }

    fn receive(&self, url: &Url, response: Response<Body>, wanted: Wanted) -> Fetched {
        let (head, mut body) = response.into_parts();
        let content_type = body.mime_type().map(str::to_ascii_lowercase);
        let status = head.status;
        let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
        let is_wanted = status.is_success()
            && match wanted {
                Wanted::Html => may_be_html(content_type.as_deref()),
                Wanted::Text(_) => true,
            };
        let mut text = Vec::new();
        let content = if is_redirect {
            redirect_target(url, &head.headers).map(Content::Redirect)
        } else if is_wanted {
            self.read(url, &mut body, wanted, &mut text)
                .map(|()| Content::Nothing)
        } else {
            Ok(Content::Nothing)
        };
        let mut bytes = text.len() as u64;
        let content = match content {
            Ok(Content::Nothing) if is_wanted => Ok(Content::Text(text)),
            other => {
                if !is_wanted
                    && body
                        .content_length()
                        .is_some_and(|n| n <= DRAINED_BYTES_MAX)
                {
                    bytes = io::copy(&mut body.as_reader(), &mut io::sink()).unwrap_or(0);
                }
                other
            }
        };
        Fetched {
            status: Some(status.as_u16()),
            content_type,
            bytes,
            elapsed: Duration::ZERO,
            retry_after: retry_after(&head.headers),
            content,
        }
    }

    fn read(
        &self,
        url: &Url,
        body: &mut Body,
        wanted: Wanted,
        text: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let announced = body.content_length();
        let (limit, limit_is_error) = match wanted {
            Wanted::Html => (self.max_size, true),
            Wanted::Text(limit) => (limit, false),
        };
        let too_large = || {
            let message = format!("the body is larger than {limit} bytes");
            Err(Failure::new(FailureKind::TooLarge, message))
        };
        if limit_is_error && announced.is_some_and(|length| length > limit) {
            return too_large();
        }
        // One byte more than allowed tells a body of exactly the limit from a longer one.
        let result = body.as_reader().take(limit + 1).read_to_end(text);
        match result.map_err(Error::from) {
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let of = announced.map_or(String::new(), |length| format!(" of {length}"));
                let message = format!("the body ended after {}{of} bytes", text.len());
                Err(Failure::new(FailureKind::Disconnected, message))
            }
            Err(error) => Err(failure(url, error)),
            Ok(_) if limit_is_error && text.len() as u64 > limit => too_large(),
            Ok(_) => Ok(()),
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            roots.push(certificate);
        }
    }
    match roots.is_empty() {
        true => Err("no certificate in it".to_owned()),
        false => Ok(roots),
    }
}

/// Pages without a media type are taken for HTML, as browsers do.
fn may_be_html(content_type: Option<&str>) -> bool {
    matches!(
        content_type,
        None | Some("text/html" | "application/xhtml+xml")
    )
}

fn redirect_target(url: &Url, headers: &HeaderMap) -> Result<Url, Failure> {
    let Some(location) = headers.get(header::LOCATION) else {
        let message = "a redirect without a Location";
        return Err(Failure::new(FailureKind::Redirect, message));
    };
    let location = String::from_utf8_lossy(location.as_bytes());
    let refuse = |why: &str| {
        let message = format!("a redirect to {location}, {why}");
        Err(Failure::new(FailureKind::Redirect, message))
    };
    match url.join(&location) {
        Err(_) => refuse("which is no URL"),
        Ok(target) if !matches!(target.scheme(), "http" | "https") => {
            refuse("which is not on the web")
        }
        Ok(mut target) => {
            target.set_fragment(None);
            Ok(target)
        }
    }
}

/// The seconds of a `Retry-After` header. Its other form, a date, is left to our own back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn failure(url: &Url, error: Error) -> Failure {
    use FailureKind::*;
    let kind = match &error {
        Error::Io(error) => return io_failure(url, error),
        Error::Other(inner) if inner.is::<LookupError>() => {
            return Failure::new(Dns, inner.to_string());
        }
        Error::Timeout(ureq::Timeout::Connect) => {
            return Failure::new(Timeout, "no connection in time");
        }
        Error::Timeout(_) => return Failure::new(Timeout, "not complete in time"),
        Error::HostNotFound => Dns,
        Error::ConnectionFailed => Connect,
        Error::Tls(_) | Error::Rustls(_) | Error::Pem(_) | Error::TlsRequired => Tls,
        Error::Protocol(_)
        | Error::LargeResponseHeader(..)
        | Error::Decompress(..)
        | Error::BodyStalled => Protocol,
        _ => Other,
    };
    Failure::new(kind, error.to_string())
}

fn io_failure(url: &Url, error: &io::Error) -> Failure {
    use io::ErrorKind::*;
    let kind = match error.kind() {
        // Out of descriptors: other requests will give theirs back.
        _ if error.raw_os_error() == Some(Errno::MFILE.raw_os_error()) => FailureKind::Connect,
        ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
        | PermissionDenied => FailureKind::Connect,
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected => {
            FailureKind::Disconnected
        }
        // rustls wraps its verdicts on certificates and records in this kind.
        InvalidData if url.scheme() == "https" => FailureKind::Tls,
        InvalidData | InvalidInput => FailureKind::Protocol,
        _ => FailureKind::Other,
    };
    Failure::new(kind, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    fn location(value: &'static [u8]) -> Result<String, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_bytes(value).unwrap());
        let page = Url::parse("http://site.test/a/b?q").unwrap();
        redirect_target(&page, &headers).map(String::from)
    }

    #[test]
    fn redirects_are_resolved_or_refused() {
        assert_eq!(location(b"c#x").unwrap(), "http://site.test/a/c");
        assert_eq!(location(b"//b.test").unwrap(), "http://b.test/");
        assert_eq!(
            location(b"/\xc3\xa4").unwrap(),
            "http://site.test/%C3%A4",
            "not ASCII, against the rules and common"
        );
        for bad in [&b"http://["[..], b"mailto:x@y.z", b"http://a b/"] {
            assert_eq!(location(bad).unwrap_err().kind, FailureKind::Redirect);
        }
        let page = Url::parse("http://site.test/").unwrap();
        let missing = redirect_target(&page, &HeaderMap::new()).unwrap_err();
        assert_eq!(missing.message, "a redirect without a Location");
    }

    #[test]
    fn retry_after_takes_seconds_only() {
        let after = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers)
        };
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("-1"), None);
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn failures_keep_their_sort() {
        let http = Url::parse("http://site.test/").unwrap();
        let https = Url::parse("https://site.test/").unwrap();
        let kind = |url: &Url, kind: io::ErrorKind| failure(url, Error::Io(kind.into())).kind;
        use io::ErrorKind::*;
        assert_eq!(kind(&http, ConnectionRefused), FailureKind::Connect);
        assert_eq!(kind(&http, ConnectionReset), FailureKind::Disconnected);
        assert_eq!(kind(&https, InvalidData), FailureKind::Tls);
        assert_eq!(kind(&http, InvalidData), FailureKind::Protocol);
        let slow = failure(&http, Error::Timeout(ureq::Timeout::Global));
        assert!(slow.kind == FailureKind::Timeout && slow.is_transient());
    }

    #[test]
    fn a_ca_file_must_hold_a_certificate() {
        assert_eq!(certificates(b"").unwrap_err(), "no certificate in it");
        assert_eq!(certificates(b"hello").unwrap_err(), "no certificate in it");
        assert!(
            certificates(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----").is_err()
        );
    }
}
