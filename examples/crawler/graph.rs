//! Every URL that the crawl met, and how they hang together: links, redirects, and what came of each.

use std::collections::HashMap;
use std::rc::Rc;

use url::Url;

/// A page's place in the [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId(u32);

/// One URL.
#[derive(Debug)]
pub struct Page {
    /// Where it is.
    pub url: Rc<Url>,
    /// Clicks away from the start. A redirect is no click.
    pub depth: u32,
    /// Redirects that led here in a row, when it was first met.
    pub hops: u32,
    /// The page whose link or redirect led here first.
    pub found_on: Option<PageId>,
    /// Pages with a link to it, each once.
    pub linked_from: Vec<PageId>,
    /// What is known of it.
    pub state: State,
}

/// What is known of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not visited (yet).
    Pending,
    /// A good response, or one that is none of our business.
    Fine,
    /// As good as the page it leads to.
    Redirect(PageId),
    /// A link to it is a broken one, for this reason.
    Broken(String),
}

/// A link that leads nowhere.
#[derive(Debug)]
pub struct BrokenLink<'a> {
    /// Where it leads.
    pub url: &'a str,
    /// Why that is nowhere.
    pub reason: String,
    /// The pages that have it; none for a start URL.
    pub linked_from: Vec<&'a Url>,
}

/// All URLs met so far.
#[derive(Debug, Default)]
pub struct Graph {
    ids: HashMap<Rc<Url>, PageId>,
    pages: Vec<Page>,
    /// References that are no URL, with the pages that hold them.
    malformed: HashMap<String, Vec<PageId>>,
}

impl Graph {
    /// The page of `id`.
    pub fn page(&self, id: PageId) -> &Page {
        &self.pages[id.0 as usize]
    }

    /// The page of `id`, to change what is known of it.
    pub fn page_mut(&mut self, id: PageId) -> &mut Page {
        &mut self.pages[id.0 as usize]
    }

    /// All pages, in the order in which they were met.
    pub fn pages(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter()
    }

    /// Whether `url` was met.
    pub fn contains(&self, url: &Url) -> bool {
        self.ids.contains_key(url)
    }

    /// Finds the page of `url`, or adds it as met on `found_on`. The flag says that it is new.
    pub fn insert(
        &mut self,
        url: Url,
        found_on: Option<PageId>,
        depth: u32,
        hops: u32,
    ) -> (PageId, bool) {
        if let Some(&id) = self.ids.get(&url) {
            return (id, false);
        }
        let id =
            PageId(u32::try_from(self.pages.len()).expect("fewer than 2^32 URLs fit in memory"));
        let url = Rc::new(url);
        self.ids.insert(Rc::clone(&url), id);
        self.pages.push(Page {
            url,
            depth,
            hops,
            found_on,
            linked_from: Vec::new(),
            state: State::Pending,
        });
        (id, true)
    }

    /// Notes that page `from` has a link to page `to`. A page's own links come once each.
    pub fn add_link(&mut self, from: PageId, to: PageId) {
        self.page_mut(to).linked_from.push(from);
    }

    /// Notes that page `from` has a reference that is no URL.
    pub fn add_malformed(&mut self, from: PageId, reference: String) {
        self.malformed.entry(reference).or_default().push(from);
    }

    /// Notes that page `from` redirects to page `to`.
    ///
    /// # Errors
    ///
    /// If that closes a circle, returns it in words and changes nothing.
    pub fn redirect(&mut self, from: PageId, to: PageId) -> Result<(), String> {
        let mut circle = format!("redirect loop: {}", self.page(to).url);
        let mut at = to;
        while at != from {
            match self.page(at).state {
                State::Redirect(next) => at = next,
                _ => {
                    self.page_mut(from).state = State::Redirect(to);
                    return Ok(());
                }
            }
            circle.push_str(&format!(" -> {}", self.page(at).url));
        }
        Err(circle)
    }

    /// The links that lead nowhere: every page that is broken, or redirects to one that is, and is
    /// linked to or a start; then the references that are no URL.
    pub fn broken_links(&self) -> Vec<BrokenLink<'_>> {
        let pages = self.pages.iter().filter_map(|page| {
            let is_start = page.depth == 0 && page.hops == 0;
            if page.linked_from.is_empty() && !is_start {
                return None;
            }
            Some(BrokenLink {
                url: page.url.as_str(),
                reason: self.reason(page)?,
                linked_from: self.urls(&page.linked_from),
            })
        });
        let mut malformed: Vec<_> = self.malformed.iter().collect();
        malformed.sort();
        let malformed = malformed.into_iter().map(|(reference, from)| BrokenLink {
            url: reference,
            reason: "not a URL".to_owned(),
            linked_from: self.urls(from),
        });
        pages.chain(malformed).collect()
    }

    fn urls(&self, ids: &[PageId]) -> Vec<&Url> {
        ids.iter().map(|&id| &*self.page(id).url).collect()
    }

    /// Why a link to `page` is broken, if it is.
    fn reason(&self, page: &Page) -> Option<String> {
        let mut at = page;
        // This ends, for `redirect` lets no circle close.
        while let State::Redirect(next) = at.state {
            at = self.page(next);
        }
        match &at.state {
            State::Broken(reason) if at.url == page.url => Some(reason.clone()),
            State::Broken(reason) => Some(format!("redirects to {}: {reason}", at.url)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(graph: &mut Graph, path: &str, depth: u32) -> PageId {
        let url = Url::parse("http://site.test/").unwrap().join(path).unwrap();
        graph.insert(url, None, depth, 0).0
    }

    #[test]
    fn a_url_is_met_once() {
        let mut graph = Graph::default();
        let a = add(&mut graph, "a", 0);
        assert_eq!(add(&mut graph, "a", 7), a);
        assert_eq!(graph.page(a).depth, 0, "the first meeting counts");
        assert_ne!(add(&mut graph, "b", 1), a);
        assert_eq!(graph.pages().count(), 2);
    }

    #[test]
    fn a_redirect_is_as_broken_as_its_target() {
        let mut graph = Graph::default();
        let [home, old, gone] = ["home", "old", "gone"].map(|path| add(&mut graph, path, 1));
        graph.add_link(home, old);
        graph.redirect(old, gone).unwrap();
        graph.page_mut(home).state = State::Fine;
        assert!(graph.broken_links().is_empty(), "nothing is known of /gone");
        graph.page_mut(gone).state = State::Broken("404".to_owned());
        let broken = graph.broken_links();
        assert_eq!(broken.len(), 1, "nobody links to /gone itself");
        assert_eq!(broken[0].url, "http://site.test/old");
        assert_eq!(broken[0].reason, "redirects to http://site.test/gone: 404");
        assert_eq!(broken[0].linked_from[0].path(), "/home");
    }

    #[test]
    fn circles_of_redirects_are_found_where_they_close() {
        let mut graph = Graph::default();
        let [a, b, c, own] = ["a", "b", "c", "own"].map(|path| add(&mut graph, path, 1));
        assert_eq!(graph.redirect(a, b), Ok(()));
        assert_eq!(graph.redirect(b, c), Ok(()));
        let circle = graph.redirect(c, a).unwrap_err();
        assert_eq!(circle.matches("http://").count(), 3, "{circle}");
        assert!(graph.redirect(own, own).is_err());
        assert_eq!(graph.page(c).state, State::Pending);
    }

    #[test]
    fn malformed_references_are_broken_links() {
        let mut graph = Graph::default();
        let [a, b] = ["a", "b"].map(|path| add(&mut graph, path, 1));
        graph.add_malformed(a, "http://[".to_owned());
        graph.add_malformed(b, "http://[".to_owned());
        let broken = graph.broken_links();
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].linked_from.len(), 2);
    }
}
