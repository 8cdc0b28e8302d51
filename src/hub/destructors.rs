//! Being the first of a thread's destructors to run.
//!
//! The C library runs the destructors of thread-locals, which std and C++ register with `__cxa_thread_atexit_impl`, in the
//! reverse order of their registration. To be run before all of them, the hub's has to be registered again after each
//! of them. So this file defines that function for the whole program: it calls the C library's, and, if the thread has
//! a hub, calls it once more for the hub. The first of the hub's registrations that comes up ends the hub; the others
//! find nothing to do.
//!
//! Whether the program's calls arrive here is found out at run time, with a thread-local of our own: they do not in a shared
//! object that is loaded into a program which has its own std, nor without glibc.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::NonNull;

/// What is registered: called with the pointer that it was registered with.
pub(super) type Destructor = unsafe extern "C" fn(*mut c_void);

#[cfg(target_env = "gnu")]
pub(super) use glibc::{are_followed, register};
#[cfg(not(target_env = "gnu"))]
pub(super) use portable::{are_followed, register};

#[cfg(target_env = "gnu")]
mod glibc {
    use std::cell::Cell;
    use std::mem;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::CURRENT;
    use super::super::exit::end;
    use super::{Destructor, NonNull, c_void};

    type Register = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> i32;

    thread_local! {
        /// Whether a registration has arrived here on this thread.
        static ARRIVED: Cell<bool> = const { Cell::new(false) };
        /// Has a destructor, so that std registers it at the first use.
        static PROBE: Probe = const { Probe };
    }

    struct Probe;

    impl Drop for Probe {
        fn drop(&mut self) {}
    }

    /// Whether every registration is followed by one of the hub's.
    #[inline]
    pub(in super::super) fn are_followed() -> bool {
        static FOLLOWED: OnceLock<bool> = OnceLock::new();
        *FOLLOWED.get_or_init(|| {
            ARRIVED.set(false);
            PROBE.try_with(|_| ()).is_ok() && ARRIVED.get()
        })
    }

    /// Has `destructor` called with `object` before those that are registered already.
    pub(in super::super) fn register(destructor: Destructor, object: NonNull<c_void>) {
        unsafe extern "C" {
            safe static __dso_handle: u8;
        }
        let dso = (&raw const __dso_handle).cast_mut().cast();
        // SAFETY: `end`, which is all that is registered here, checks that it is still the thread's hub that it is called for.
        // The handle keeps a shared object that contains this code loaded until then.
        unsafe { c_library()(destructor, object.as_ptr(), dso) };
    }

    /// The function that the one below stands in for.
    fn c_library() -> Register {
        // Not a lock that initialises once: whatever `dlsym` does must be free to come back here.
        static ADDRESS: AtomicUsize = AtomicUsize::new(0);
        let mut address = ADDRESS.load(Ordering::Relaxed);
        if address == 0 {
            // SAFETY: the name is a C string.
            let found =
                unsafe { libc::dlsym(libc::RTLD_NEXT, c"__cxa_thread_atexit_impl".as_ptr()) };
            address = found.addr();
            assert_ne!(address, 0, "glibc has had the function since 2.18");
            ADDRESS.store(address, Ordering::Relaxed);
        }
        // SAFETY: the function of this name has this type.
        unsafe { mem::transmute::<usize, Register>(address) }
    }

    /// Stands in for the C library's function; see the top of the file.
    ///
    /// # Safety
    ///
    /// As for the function that it stands in for.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __cxa_thread_atexit_impl(
        destructor: Destructor,
        object: *mut c_void,
        dso: *mut c_void,
    ) -> i32 {
        ARRIVED.set(true);
        // SAFETY: the caller's contract.
        let result = unsafe { c_library()(destructor, object, dso) };
        if let Some(hub) = NonNull::new(CURRENT.get().cast_mut()) {
            register(end, hub.cast());
        }
        result
    }
}

#[cfg(not(target_env = "gnu"))]
mod portable {
    use std::cell::Cell;

    use super::{Destructor, NonNull, c_void};

    struct Registered(Cell<Option<(Destructor, NonNull<c_void>)>>);

    impl Drop for Registered {
        fn drop(&mut self) {
            if let Some((destructor, object)) = self.0.take() {
                // SAFETY: as for glibc.
                unsafe { destructor(object.as_ptr()) };
            }
        }
    }

    thread_local! {
        static REGISTERED: Registered = const { Registered(Cell::new(None)) };
    }

    pub(in super::super) fn are_followed() -> bool {
        false
    }

    /// Has `destructor` called with `object` among the thread's destructors, as early as std can.
    pub(in super::super) fn register(destructor: Destructor, object: NonNull<c_void>) {
        // In a thread whose thread-locals are already gone nothing is left to register with, and the hub is lost.
        let _ = REGISTERED.try_with(|registered| registered.0.set(Some((destructor, object))));
    }
}
