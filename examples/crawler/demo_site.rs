//! The site that the crawler visits when it is given none: several hundred pages on the loopback
//! interface, each of which takes about a tenth of a second.
//!
//! The server is a green thread per connection, in the same process, on the same OS thread as the crawler.

use std::cell::Cell;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::Duration;

use greenhub::net::{TcpListener, TcpStream};
use url::Url;

/// Sections of the site, and articles in each.
pub const SECTIONS: u32 = 24;
/// Articles in each section.
pub const ARTICLES: u32 = 20;

/// How long a response takes: a fixed part, and one that depends on the page.
const LATENCY: Duration = Duration::from_millis(80);
const LATENCY_SPREAD_MS: u64 = 40;

const PARAGRAPH: &str =
    "A green thread that waits costs a few kilobytes of stack and no OS thread. ";

struct Response {
    status: &'static str,
    content_type: &'static str,
    location: Option<String>,
    body: String,
}

/// Serves the site on a port of the system's choice until the process ends.
///
/// # Errors
///
/// Returns the error of opening the port.
pub fn serve() -> io::Result<Url> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    // One page fails at its first request, to show that retries work.
    let shaky_requests = Rc::new(Cell::new(0));
    greenhub::spawn(move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let shaky_requests = Rc::clone(&shaky_requests);
                    // A client that hangs up ends its own connection and nothing else.
                    greenhub::spawn(move || converse(stream, &shaky_requests).ok());
                }
                // Out of descriptors, most likely: the clients will give some back.
                Err(_) => greenhub::sleep(LATENCY),
            }
        }
    });
    Url::parse(&url).map_err(io::Error::other)
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: TcpStream, shaky_requests: &Cell<u32>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(&stream);
    while let Some(path) = read_request(&mut reader)? {
        let spread = path.bytes().map(u64::from).sum::<u64>() * 7 % LATENCY_SPREAD_MS;
        greenhub::sleep(LATENCY + Duration::from_millis(spread));
        let response = respond(&path, shaky_requests);
        (&stream).write_all(&response.into_bytes())?;
    }
    Ok(())
}

/// Reads the head of a request and returns its path, or nothing at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line)?;
    }
    Ok(Some(path))
}

fn respond(path: &str, shaky_requests: &Cell<u32>) -> Response {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let number = |text: &str| text.parse::<u32>().ok();
    match parts[..] {
        [""] => Response::html("Home", &section_links()),
        ["robots.txt"] => Response::text("User-agent: *\nDisallow: /private/\n"),
        ["report.pdf"] => Response {
            content_type: "application/pdf",
            ..Response::text("%PDF-1.7 (not really)")
        },
        ["shaky"] if shaky_requests.replace(shaky_requests.get() + 1) == 0 => {
            Response::error("503 Service Unavailable")
        }
        ["shaky"] => Response::html("Better now", ""),
        ["old", article] => Response::redirect(format!("/section/1/{article}")),
        ["left"] => Response::redirect("/right".to_owned()),
        ["right"] => Response::redirect("/left".to_owned()),
        ["section", section] => match number(section) {
            Some(section @ 1..=SECTIONS) => section_page(section),
            _ => Response::error("404 Not Found"),
        },
        ["section", section, article] => match (number(section), number(article)) {
            (Some(section @ 1..=SECTIONS), Some(article @ 1..=ARTICLES)) => {
                article_page(section, article)
            }
            _ => Response::error("404 Not Found"),
        },
        _ => Response::error("404 Not Found"),
    }
}

fn section_links() -> String {
    (1..=SECTIONS).fold(String::new(), |mut links, section| {
        let _ = writeln!(
            links,
            "<li><a href='/section/{section}'>Section {section}</a>"
        );
        links
    })
}

fn section_page(section: u32) -> Response {
    let mut links = String::from("<a href='/'>Home</a>\n");
    for article in 1..=ARTICLES {
        let _ = writeln!(
            links,
            "<li><a href='{section}/{article}#top'>Article {article}</a>"
        );
    }
    Response::html(&format!("Section {section}"), &links)
}

fn article_page(section: u32, article: u32) -> Response {
    let next = article % ARTICLES + 1;
    let other = section % SECTIONS + 1;
    let mut links = format!(
        "<a href='/'>Home</a> <a href='./{next}'>Next</a> <a href='../{other}/{article}'>See also</a>\n"
    );
    // A few articles have what real sites have: leftovers.
    links.push_str(match (section, article) {
        (2, 3) | (5, 8) => "<a href='/section/99'>A section that was dropped</a>",
        (3, 4) => "<a href='/section/3/21'>An article that never came</a>",
        (7, 7) => "<a href='/old/5'>Moved</a> <a href='/old/77'>Moved, and then lost</a>",
        (8, 1) => "<a href='/left'>Turn left</a>",
        (9, 9) => "<a href='http://[half-an-address/'>A typo</a>",
        (4, 2) => "<a href='/report.pdf'>The report</a> <a href='/shaky'>Try twice</a>",
        (6, 6) => "<a href='/private/diary'>Not for robots</a>",
        _ => "",
    });
    Response::html(&format!("Article {section}.{article}"), &links)
}

impl Response {
    fn text(body: &str) -> Response {
        Response {
            status: "200 OK",
            content_type: "text/plain",
            location: None,
            body: body.to_owned(),
        }
    }

    fn html(title: &str, links: &str) -> Response {
        let text = PARAGRAPH.repeat(20);
        let body = format!(
            "<!DOCTYPE html><title>{title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n<ul>{links}</ul>\n"
        );
        Response {
            content_type: "text/html; charset=utf-8",
            ..Response::text(&body)
        }
    }

    fn error(status: &'static str) -> Response {
        Response {
            status,
            ..Response::text(status)
        }
    }

    fn redirect(location: String) -> Response {
        Response {
            status: "301 Moved Permanently",
            location: Some(location),
            ..Response::text("")
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let location = self
            .location
            .map_or(String::new(), |to| format!("Location: {to}\r\n"));
        let length = self.body.len();
        format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\n{location}Content-Length: {length}\r\n\r\n{}",
            self.status, self.content_type, self.body
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_answer() {
        let shaky_requests = Cell::new(0);
        let status = |path: &str| respond(path, &shaky_requests).status;
        assert_eq!(status("/"), "200 OK");
        assert_eq!(status("/section/24/20"), "200 OK");
        assert_eq!(status("/section/0"), "404 Not Found");
        assert_eq!(status("/section/25"), "404 Not Found");
        assert_eq!(status("/section/1/21"), "404 Not Found");
        assert_eq!(status("/section/x/1"), "404 Not Found");
        assert_eq!(status("/old/5"), "301 Moved Permanently");
        assert_eq!(status("/shaky"), "503 Service Unavailable");
        assert_eq!(status("/shaky"), "200 OK");
    }

    #[test]
    fn requests_are_read_one_after_the_other() {
        let mut text = &b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n"[..];
        assert_eq!(read_request(&mut text).unwrap().as_deref(), Some("/a"));
        assert_eq!(read_request(&mut text).unwrap().as_deref(), Some("/b"));
        assert_eq!(read_request(&mut text).unwrap(), None);
    }
}
