//! The unit tests of the crawler example.
//!
//! They stand beside the code that they test. An example whose own tests are switched on is no longer built as an example by
//! `cargo test`, which the crawler's integration test needs; so its modules are compiled into this test.
#![allow(dead_code)]

#[path = "../examples/crawler/connector.rs"]
mod connector;
#[path = "../examples/crawler/crawl.rs"]
mod crawl;
#[path = "../examples/crawler/demo_site.rs"]
mod demo_site;
#[path = "../examples/crawler/fetch.rs"]
mod fetch;
#[path = "../examples/crawler/frontier.rs"]
mod frontier;
#[path = "../examples/crawler/graph.rs"]
mod graph;
#[path = "../examples/crawler/interrupt.rs"]
mod interrupt;
#[path = "../examples/crawler/links.rs"]
mod links;
#[path = "../examples/crawler/options.rs"]
mod options;
#[path = "../examples/crawler/progress.rs"]
mod progress;
#[path = "../examples/crawler/report.rs"]
mod report;
#[path = "../examples/crawler/robots.rs"]
mod robots;
