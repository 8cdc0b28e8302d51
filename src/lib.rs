//! gevent for Rust: green threads with std-shaped, blocking-looking I/O on an epoll hub.
