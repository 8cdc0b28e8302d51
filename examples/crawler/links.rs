//! From a page's bytes to the URLs that it points at.
//!
//! The HTML is read by a WHATWG tokenizer, not by a tree builder: links need no tree, a tokenizer takes
//! time linear in the page's length whatever the page contains, and everything here shares one OS thread
//! (building the tree of 100 KB of unclosed `<div>`s was measured to take a second).
//!
//! Bytes are taken for UTF-8. In any other encoding that extends ASCII, markup and ASCII URLs read the same.

use std::collections::{BTreeMap, HashSet};

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{HtmlString, Spanned, Token, Tokenizer, naive_next_state};
use url::Url;

/// Tokens parsed before other green threads get a turn: a few milliseconds' worth.
const TOKENS_PER_TURN: usize = 10_000;

/// Elements whose attribute leads to another page.
const PAGES: &[(&[u8], &[u8])] = &[
    (b"a", b"href"),
    (b"area", b"href"),
    (b"iframe", b"src"),
    (b"frame", b"src"),
];

/// Elements whose attribute names a part of the page.
const ASSETS: &[(&[u8], &[u8])] = &[
    (b"img", b"src"),
    (b"script", b"src"),
    (b"link", b"href"),
    (b"source", b"src"),
    (b"video", b"src"),
    (b"video", b"poster"),
    (b"audio", b"src"),
    (b"track", b"src"),
    (b"embed", b"src"),
    (b"object", b"data"),
    (b"input", b"src"),
];

/// `link` relations that announce a connection or describe the page, and name nothing to fetch.
const NOT_FETCHED: [&str; 3] = ["preconnect", "dns-prefetch", "canonical"];

/// What a page points at, each target once, in the order of their first appearance.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// `http` and `https` URLs, resolved against the page's base, without fragments.
    pub urls: Vec<Url>,
    /// References that are no URL at all, as they stand in the page.
    pub malformed: Vec<String>,
}

/// Finds the links of the page `html` that was fetched from `page`.
pub fn extract(page: &Url, html: &[u8], assets: bool) -> Links {
    let mut tokenizer = Tokenizer::new_with_emitter(html, DefaultEmitter::default());
    let mut references = Vec::new();
    let mut base = None;
    let mut count = 0;
    while let Some(Ok(token)) = tokenizer.next() {
        if let Token::StartTag(tag) = token {
            let attributes = Attributes(&tag.attributes);
            match &tag.name[..] {
                b"base" if base.is_none() => base = attributes.text(b"href"),
                b"meta" => references.extend(attributes.refresh()),
                name => references.extend(attributes.references(name, assets)),
            }
            // The content of scripts and the like is no markup. That of `noscript` is, for us.
            if let Some(state) = naive_next_state(&tag.name)
                && **tag.name != *b"noscript"
            {
                tokenizer.set_state(state);
            }
        }
        count += 1;
        if count % TOKENS_PER_TURN == 0 {
            greenhub::yield_now();
        }
    }
    let base = base.and_then(|href| page.join(&href).ok());
    resolve(base.as_ref().unwrap_or(page), &references)
}

fn resolve(base: &Url, references: &[String]) -> Links {
    let mut links = Links::default();
    let mut seen = HashSet::new();
    for reference in references {
        match base.join(reference) {
            Ok(mut url) => {
                url.set_fragment(None);
                if matches!(url.scheme(), "http" | "https") && seen.insert(url.to_string()) {
                    links.urls.push(url);
                }
            }
            Err(_) => {
                if seen.insert(reference.clone()) {
                    links.malformed.push(reference.clone());
                }
            }
        }
    }
    links
}

/// The attributes of one start tag.
struct Attributes<'a>(&'a BTreeMap<HtmlString, Spanned<HtmlString, ()>>);

impl Attributes<'_> {
    fn text(&self, name: &[u8]) -> Option<String> {
        Some(String::from_utf8_lossy(self.0.get(name)?).into_owned())
    }

    fn references(&self, element: &[u8], assets: bool) -> Vec<String> {
        let assets = if assets { ASSETS } else { &[] };
        let skipped = element == b"link" && self.relation_is_not_fetched();
        let mut found: Vec<String> = PAGES
            .iter()
            .chain(assets)
            .filter(|(name, _)| *name == element && !skipped)
            .filter_map(|(_, attribute)| self.text(attribute))
            .collect();
        if !assets.is_empty() && (element == b"img" || element == b"source") {
            let candidates = self.text(b"srcset").unwrap_or_default();
            found.extend(srcset(&candidates).map(str::to_owned));
        }
        found
    }

    fn relation_is_not_fetched(&self) -> bool {
        let relations = self.text(b"rel").unwrap_or_default();
        relations
            .split_ascii_whitespace()
            .any(|relation| NOT_FETCHED.iter().any(|r| relation.eq_ignore_ascii_case(r)))
    }

    /// The target of `<meta http-equiv="refresh" content="0; url=...">`.
    fn refresh(&self) -> Option<String> {
        if !self.text(b"http-equiv")?.eq_ignore_ascii_case("refresh") {
            return None;
        }
        let content = self.text(b"content")?;
        let (_, target) = content.split_once([';', ','])?;
        let target = target.trim_start();
        let target = match target.get(..3) {
            Some(key) if key.eq_ignore_ascii_case("url") => target[3..]
                .trim_start()
                .strip_prefix('=')
                .map_or(target, str::trim),
            _ => target.trim(),
        };
        let quotes = ['"', '\''];
        Some(target.trim_matches(quotes).to_owned())
    }
}

/// The URLs of a `srcset` attribute: candidates end at a comma that a space or the end follows.
fn srcset(candidates: &str) -> impl Iterator<Item = &str> {
    candidates
        .split(", ")
        .filter_map(|candidate| candidate.split_ascii_whitespace().next())
        .map(|url| url.trim_matches(','))
        .filter(|url| !url.is_empty() && !url.starts_with("data:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(html: &str) -> Vec<String> {
        let page = Url::parse("http://site.test/dir/page.html").unwrap();
        let links = extract(&page, html.as_bytes(), false);
        links.urls.iter().map(Url::to_string).collect()
    }

    #[test]
    fn references_are_resolved_and_normalised() {
        let html = r#"
            <a href="other.html#part">relative, with a fragment</a>
            <a href="other.html">the same again</a>
            <a href="../up?x=1&amp;y=2">an entity</a>
            <a href="HTTP://Site.Test:80/./a/../b">case, default port, dots</a>
            <a href="//else.test/ä b">another host, not ASCII</a>
            <a href="  /spaces
            ">white space around</a>
            <a href="">the page itself</a><a>no target</a><a href="mailto:x@y.z">mail</a>
            <a href="javascript:void(0)">script</a><a href="data:text/html,x">data</a>"#;
        assert_eq!(
            urls(html),
            [
                "http://site.test/dir/other.html",
                "http://site.test/up?x=1&y=2",
                "http://site.test/b",
                "http://else.test/%C3%A4%20b",
                "http://site.test/spaces",
                "http://site.test/dir/page.html",
            ]
        );
    }

    #[test]
    fn the_first_base_counts_wherever_it_stands() {
        let html = "<a href=a><base href='/base/'><base href=/second/><a href=b>";
        assert_eq!(
            urls(html),
            ["http://site.test/base/a", "http://site.test/base/b"]
        );
        assert_eq!(
            urls("<base href='http://['><a href=a>"),
            ["http://site.test/dir/a"],
            "a base that is no URL is ignored"
        );
    }

    #[test]
    fn frames_areas_and_refreshes_are_links() {
        let html = "<iframe src=1></iframe><frame src=2><area href=3>
            <meta http-equiv=Refresh content='0; URL=4'><meta http-equiv=refresh content=\"5;url='5'\">
            <meta http-equiv=refresh content=30><meta name=refresh content='0;url=no'>
            <meta http-equiv=refresh content='0; URL = 6'>";
        let names: Vec<_> = urls(html)
            .iter()
            .map(|url| url.rsplit('/').next().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["1", "2", "3", "4", "5", "6"]);
    }

    #[test]
    fn text_that_only_looks_like_a_link_is_none() {
        let html = "<!-- <a href=comment> --><script>'<a href=script>'</script>
            <style><a href=style></style><textarea><a href=textarea></textarea>
            <title><a href=title></title><p title='<a href=attribute>'>&lt;a href=text&gt;";
        assert_eq!(urls(html), [""; 0]);
    }

    #[test]
    fn what_stands_in_for_a_script_is_read() {
        let html = "<noscript><iframe src=toc></iframe><a href=plain></noscript><a href=after>";
        let paths = ["toc", "plain", "after"].map(|name| format!("http://site.test/dir/{name}"));
        assert_eq!(urls(html), paths);
    }

    #[test]
    fn malformed_html_gives_what_it_can() {
        let html = "<a href=one<a href='two'><b><A HREF = \"three\" href=ignored /></i></b
            <p><a\nhref\n=\nfour>\u{0}</a></p></p><a href='five\u{fffd}' <a href=\"unclosed";
        let found = urls(html);
        assert!(found.contains(&"http://site.test/dir/three".to_owned()));
        assert!(found.contains(&"http://site.test/dir/four".to_owned()));
        let page = Url::parse("http://site.test/").unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| ((i * 7919) >> 3) as u8).collect();
        extract(&page, &bytes, true);
        assert_eq!(
            extract(&page, b"<a href=\xff\xfe/x>", false).urls[0].as_str(),
            "http://site.test/%EF%BF%BD%EF%BF%BD/x"
        );
    }

    #[test]
    fn references_that_are_no_url_are_kept() {
        let page = Url::parse("http://site.test/").unwrap();
        let html = b"<a href='http://[broken'><a href='https://a b/'><a href='http://:80/'>";
        let links = extract(&page, html, false);
        assert_eq!(links.urls, []);
        assert_eq!(
            links.malformed,
            ["http://[broken", "https://a b/", "http://:80/"]
        );
    }

    #[test]
    fn assets_are_found_only_on_request() {
        let page = Url::parse("http://site.test/").unwrap();
        let html = b"<img src=a.png srcset='b.png 1x, c.png 2x'><script src=d.js></script>
            <link rel=stylesheet href=e.css><link rel='preconnect' href=/no><video poster=f.png>";
        assert_eq!(extract(&page, html, false), Links::default());
        let links = extract(&page, html, true);
        let names: Vec<_> = links.urls.iter().map(|url| &url.path()[1..]).collect();
        assert_eq!(names, ["a.png", "b.png", "c.png", "d.js", "e.css", "f.png"]);
    }
}
