//! The unit tests of the chat_server example.
//!
//! They stand beside the code that they test. An example whose own tests are switched on is no longer built as an example by
//! `cargo test`, which the integration test needs; so its modules are compiled into this test.
#![allow(dead_code)]

#[path = "../examples/chat_server/bucket.rs"]
mod bucket;
#[path = "../examples/chat_server/client.rs"]
mod client;
#[path = "../examples/chat_server/lines.rs"]
mod lines;
#[path = "../examples/chat_server/options.rs"]
mod options;
#[path = "../examples/chat_server/protocol.rs"]
mod protocol;
#[path = "../examples/chat_server/rooms.rs"]
mod rooms;
#[path = "../examples/chat_server/stats.rs"]
mod stats;
