//! The executables of the examples.

use std::path::PathBuf;

/// The example's executable. Cargo builds examples before it runs the tests of a package.
pub fn executable(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(name);
    assert!(
        path.exists(),
        "{path:?} is missing: run `cargo build --example {name}`"
    );
    path
}
