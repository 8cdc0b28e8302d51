//! Spawning with a name or a stack size.
#![allow(unsafe_code)]

use std::io;
use std::panic::Location;
use std::ptr;

use super::JoinHandle;
use super::packet::{self, Spawn, Start};
use super::scope::{Scope, ScopedJoinHandle};

/// Configures a new green thread: its name and the size of its stack.
///
/// # Differences from std
///
/// Neither the closure nor its result has to be `Send`, because a green thread runs on the OS thread that spawned it. Names
/// may contain any character.
///
/// # Examples
///
/// ```
/// let handle = greenhub::thread::Builder::new()
///     .name("worker".into())
///     .stack_size(64 * 1024)
///     .spawn(|| greenhub::thread::current().name().map(String::from))?;
/// assert_eq!(handle.join().unwrap().as_deref(), Some("worker"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "must eventually spawn the green thread"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
    inherit_locals: bool,
}

impl Builder {
    /// A configuration with no name and the default stack size.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::thread::Builder::new().spawn(|| 1)?;
    /// assert_eq!(handle.join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the green thread; the name appears in reports about it.
    ///
    /// # Examples
    ///
    /// ```
    /// let handle = greenhub::thread::Builder::new().name("reader".into()).spawn(|| ())?;
    /// assert_eq!(handle.thread().name(), Some("reader"));
    /// # handle.join().unwrap();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: String) -> Builder {
        self.name = Some(name);
        self
    }

    /// Sets the usable size of the green thread's stack in bytes, rounded up to whole pages and to at least 16 KiB.
    ///
    /// The default is 256 KiB, or the value of the environment variable `GREENHUB_STACK_SIZE` (bytes) when the thread's
    /// hub was created. Memory is committed only as it is touched. A signal handler that is installed without
    /// `SA_ONSTACK` runs on the stack of the green thread that it interrupts, and needs about 4 KiB there for the
    /// registers alone.
    ///
    /// # Examples
    ///
    /// ```
    /// let deep = greenhub::thread::Builder::new().stack_size(4 << 20).spawn(|| {
    ///     fn depth(n: u32) -> u32 { if n == 0 { 0 } else { 1 + std::hint::black_box(depth(n - 1)) } }
    ///     depth(10_000)
    /// })?;
    /// assert_eq!(deep.join().unwrap(), 10_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, size: usize) -> Builder {
        self.stack_size = Some(size);
        self
    }

    /// Whether the green thread begins with copies of those [locals](crate::local) of its spawner that are declared as
    /// `inherited`. It does not by default.
    ///
    /// The copies are made by `spawn`, in the spawner, with `Clone`. What the spawner has not used is not copied.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// greenhub::green_local! {
    ///     inherited static REQUEST: Cell<u64> = const { Cell::new(0) };
    /// }
    ///
    /// REQUEST.set(7);
    /// let builder = greenhub::thread::Builder::new().inherit_locals(true);
    /// assert_eq!(builder.spawn(|| REQUEST.get())?.join().unwrap(), 7);
    /// assert_eq!(greenhub::spawn(|| REQUEST.get()).join().unwrap(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn inherit_locals(mut self, inherit: bool) -> Builder {
        self.inherit_locals = inherit;
        self
    }

    /// Spawns a green thread, as [`spawn`](super::spawn) does, but makes sure now that there is a stack for it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a stack size beyond 1 TiB; `OutOfMemory` when the kernel gives no memory or mappings for the stack,
    /// saying which limit to raise; the error of creating the hub, if this is its thread's first call.
    ///
    /// # Examples
    ///
    /// ```
    /// let refused = greenhub::thread::Builder::new().stack_size(usize::MAX).spawn(|| ());
    /// assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_unchecked(f) }
    }

    /// Spawns a green thread whose closure may borrow, without any check.
    ///
    /// # Safety
    ///
    /// What the closure borrows must live until the green thread has finished, and what its result borrows until the handle
    /// is gone as well, as for std's method of this name.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let local = 5;
    /// let builder = greenhub::thread::Builder::new();
    /// // SAFETY: the handle is joined while `local` is alive.
    /// let handle = unsafe { builder.spawn_unchecked(|| local + 1) }?;
    /// assert_eq!(handle.join().unwrap(), 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T,
    {
        let options = self.options(ptr::null(), Location::caller());
        // SAFETY: the caller's contract.
        unsafe { packet::spawn(f, options, |_, _| ()) }.map(JoinHandle::new)
    }

    /// Spawns a green thread in a [`scope`](super::scope), with a name or a stack size.
    ///
    /// # Errors
    ///
    /// As [`spawn`](Builder::spawn).
    ///
    /// # Examples
    ///
    /// ```
    /// let words = ["a", "b"];
    /// greenhub::thread::scope(|scope| {
    ///     let builder = greenhub::thread::Builder::new().name("count".into());
    ///     let count = builder.spawn_scoped(scope, || words.len()).unwrap();
    ///     assert_eq!(count.join().unwrap(), 2);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + 'scope,
        T: 'scope,
    {
        let options = self.options(scope.address(), Location::caller());
        scope.adopt(f, options)
    }

    fn options(self, scope: *const (), site: &'static Location<'static>) -> Spawn {
        Spawn {
            name: self.name.map(String::into_boxed_str),
            stack_size: self.stack_size,
            reserve: true,
            start: Start::Soon,
            scope,
            inherit_locals: self.inherit_locals,
            site,
        }
    }
}
