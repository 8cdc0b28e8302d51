//! Starting several hubs.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;

use super::Hubs;
use super::state::State;
use crate::hub::Remote;

/// Configures [`Hubs`].
///
/// # Examples
///
/// ```
/// let hubs = greenhub::hubs::Builder::new().name("crawler").hubs(2).build()?;
/// let name = hubs.spawn_on(1, || std::thread::current().name().map(String::from));
/// assert_eq!(name.join().unwrap().as_deref(), Some("crawler-1"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "must eventually build the hubs"]
pub struct Builder {
    name: String,
    hubs: Option<NonZeroUsize>,
}

impl Builder {
    /// A configuration with the name "hub" and as many hubs as [`std::thread::available_parallelism`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::hubs::Builder::new().build()?;
    /// assert!(hubs.len() >= 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Builder {
        Builder {
            name: "hub".into(),
            hubs: None,
        }
    }

    /// Names the OS threads: a hyphen and the index of the hub are appended. Linux shows the first 15 bytes.
    ///
    /// # Panics
    ///
    /// Panics when the name contains a null byte.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::hubs::Builder::new().name("web").hubs(1).build()?;
    /// let name = hubs.spawn(|| std::thread::current().name().map(String::from));
    /// assert_eq!(name.join().unwrap().as_deref(), Some("web-0"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        assert!(
            !self.name.contains('\0'),
            "a thread's name must not contain a null byte"
        );
        self
    }

    /// Sets the number of hubs.
    ///
    /// # Panics
    ///
    /// Panics when it is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(greenhub::hubs::Builder::new().hubs(3).build()?.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn hubs(mut self, hubs: usize) -> Builder {
        self.hubs = Some(NonZeroUsize::new(hubs).expect("at least one hub is needed"));
        self
    }

    /// Starts the OS threads and their hubs.
    ///
    /// # Errors
    ///
    /// When an OS thread cannot be started, or its hub not be created for want of descriptors or memory. Those that had been
    /// started are ended.
    ///
    /// # Examples
    ///
    /// ```
    /// let hubs = greenhub::hubs::Builder::new().hubs(2).build()?;
    /// assert_eq!(hubs.spawn(|| 1).join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn build(self) -> io::Result<Hubs> {
        let default = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let len = self.hubs.unwrap_or_else(default).get();
        let state = Arc::new(State::new());
        let (teller, told) = mpsc::channel();
        let mut threads = Vec::with_capacity(len);
        let started: io::Result<()> = (0..len).try_for_each(|index| {
            let (state, teller) = (Arc::clone(&state), teller.clone());
            let thread = std::thread::Builder::new().name(format!("{}-{index}", self.name));
            threads.push(thread.spawn(move || live(&state, index, teller))?);
            Ok(())
        });
        drop(teller);
        // Each tells once, within the time that it takes to start a thread. On an error, this is dropped, which ends them.
        let joined: Vec<_> = told.iter().collect();
        let hubs = Hubs {
            state,
            threads: Mutex::new(threads),
            len,
        };
        started?;
        let mut members = joined.into_iter().collect::<io::Result<Vec<_>>>()?;
        members.sort_by_key(|(index, _)| *index);
        let members = members.into_iter().map(|(_, remote)| remote).collect();
        hubs.state.injector.open(members);
        Ok(hubs)
    }
}

impl Default for Builder {
    fn default() -> Self {
        Builder::new()
    }
}

type Joined = io::Result<(usize, Arc<Remote>)>;

/// The life of one of the OS threads.
fn live(state: &State, index: usize, teller: mpsc::Sender<Joined>) {
    let joined = state.join(index).map(|remote| (index, remote));
    let has_joined = joined.is_ok();
    // Whoever builds the hubs waits for this.
    let _ = teller.send(joined);
    drop(teller);
    if has_joined {
        state.serve();
    }
}
