//! Stack overflow of a green thread: one clear message, then `abort`.
//!
//! The guard below a green thread's stack makes an overflow a SIGSEGV (SIGBUS on some systems). The handler installed
//! here recognises it by the address: inside the guard of the stack that this thread's running green thread is on. Every
//! other fault goes to the handler that was installed before, which is Rust's own unless the program set one; it reports
//! overflows of the OS thread's stack.
//!
//! The handler runs on the alternate signal stack, which std provides for the main thread and for its own threads; for
//! others the hub does. It calls nothing that is not async-signal-safe: it reads cells of the interrupted thread,
//! formats into a buffer on its stack, and calls `write` and `abort`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::{CURRENT, Hub};
use crate::coroutine::Worker;
use crate::task::Task;

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The handlers that were there before, in the order of `SIGNALS`.
static PREVIOUS: OnceLock<[libc::sigaction; 2]> = OnceLock::new();

/// An alternate signal stack for a thread that had none.
pub(super) struct SignalStack {
    start: *mut c_void,
    bytes: usize,
}

/// Sets the process up to recognise overflows on the calling thread. Returns what the thread's hub has to keep.
pub(super) fn install() -> Option<SignalStack> {
    PREVIOUS.get_or_init(|| SIGNALS.map(install_handler));
    SignalStack::install_if_missing()
}

fn install_handler(signal: c_int) -> libc::sigaction {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    // SAFETY: all-zero is a valid `sigaction`; both structures live through the call, and the handler has the signature that
    // `SA_SIGINFO` asks for.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        libc::sigaction(signal, &action, &mut previous);
        previous
    }
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes valid information; for these signals it holds the address.
    let address = unsafe { (*info).si_addr() }.addr();
    // SAFETY: the handler interrupted the code of this thread, on whichever stack, and it has not ended.
    if let Some((task, worker)) = unsafe { running_green_thread() }
        && worker.guard().contains(&address)
    {
        report_and_abort(task, worker);
    }
    pass_on(signal, info, context);
}

/// The green thread that this thread is running, and its worker.
///
/// # Safety
///
/// The references must be gone when the green thread goes on.
unsafe fn running_green_thread<'a>() -> Option<(&'a Task, &'a Worker)> {
    // SAFETY: the thread's hub, its running task and that one's worker stay alive while the task's code is interrupted.
    unsafe {
        let hub: &Hub = CURRENT.get().as_ref()?;
        let task = hub.current.get()?.as_ref();
        let worker = task.worker.get()?.as_ref();
        Some((task, worker))
    }
}

fn report_and_abort(task: &Task, worker: &Worker) -> ! {
    let mut line = Line {
        bytes: [0; 1024],
        len: 0,
    };
    // What does not fit is cut off.
    let _ = write!(
        line,
        "\n{task} has overflowed its stack of {} bytes (spawned at {}); give it a larger one with \
         thread::Builder::stack_size, or all of them with GREENHUB_STACK_SIZE",
        worker.stack_size(),
        task.site,
    );
    line.write_to_stderr();
    line.len = 0;
    let _ = line.write_str("\nfatal runtime error: stack overflow, aborting\n");
    line.write_to_stderr();
    // SAFETY: always sound.
    unsafe { libc::abort() };
}

/// Gives the signal to the handler that was there before.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = SIGNALS.iter().position(|known| *known == signal);
    let previous = index.and_then(|index| Some(&PREVIOUS.get()?[index]));
    let handler = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    match handler {
        // The faulting instruction runs again when this handler returns, and then has the default effect: the process dies
        // of the signal. (To ignore a fault that came from an instruction is the same to the kernel.)
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: as in `install_handler`.
            unsafe {
                let mut default = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, ptr::null_mut());
            }
        }
        handler if previous.is_some_and(|previous| previous.sa_flags & libc::SA_SIGINFO != 0) => {
            // SAFETY: whoever installed it with `SA_SIGINFO` gave it this signature.
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: as above, without `SA_SIGINFO`.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

/// Text in a buffer on the stack.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn write_to_stderr(&self) {
        // SAFETY: the bytes up to `len` are ours. There is nothing to be done about a failure.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.len) };
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.len += taken;
        Ok(())
    }
}

impl SignalStack {
    fn install_if_missing() -> Option<SignalStack> {
        // SAFETY: the structures live through the calls; the mapping is new and stays until `drop`.
        unsafe {
            let mut current = MaybeUninit::<libc::stack_t>::zeroed().assume_init();
            libc::sigaltstack(ptr::null(), &mut current);
            if current.ss_flags & libc::SS_DISABLE == 0 {
                return None;
            }
            // Room for the largest register state that a kernel saves, and for the formatting.
            let bytes =
                libc::SIGSTKSZ.max(libc::getauxval(libc::AT_MINSIGSTKSZ) as usize) + 64 * 1024;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0);
            if start == libc::MAP_FAILED {
                // An overflow on this thread then ends the process without a message.
                return None;
            }
            let stack = libc::stack_t {
                ss_sp: start,
                ss_flags: 0,
                ss_size: bytes,
            };
            libc::sigaltstack(&stack, ptr::null_mut());
            Some(SignalStack { start, bytes })
        }
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: the stack is this thread's, no handler runs on it now, and none will after the first call.
        unsafe {
            let none = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            libc::sigaltstack(&none, ptr::null_mut());
            libc::munmap(self.start, self.bytes);
        }
    }
}
