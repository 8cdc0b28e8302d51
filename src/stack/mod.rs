//! Stacks for green threads: slabs of guarded, lazily committed memory.
//!
//! Owns every mapping that a green thread runs on. One pool belongs to one hub and is used from its thread only. A slab is
//! one `mmap` that holds many stacks of one size, each below its own guard region:
//!
//! ```text
//! low address                                                        high address
//! | guard | stack ............... | guard | stack ............... | guard | ...
//!         ^ limit of usable memory ^ about here the stack pointer starts: see `COLORING`
//! ```
//!
//! Guards are made with `MADV_GUARD_INSTALL` (Linux 6.13), which marks page-table entries and leaves the mapping whole; all
//! slabs of a process merge into a handful of mappings. On older kernels `mprotect` makes them, at the price of two
//! mappings a stack, which `vm.max_map_count` limits.
//!
//! Memory is committed by the first touch. A freed stack gives its pages back (`MADV_DONTNEED`), is reused last-in
//! first-out, and a slab that holds no stack in use is unmapped. Whoever wants warm stacks keeps them allocated: see the
//! worker cache of the hub.
#![allow(unsafe_code)]

mod guard;

use std::ffi::c_void;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;

use slab::Slab as Arena;

use guard::guard_size;

pub(crate) use guard::Guard;

/// Usable bytes of a stack unless something else is asked for. Pages are committed only when touched, so that the size
/// costs address space, not memory; it is large enough for a full backtrace of a panic in a debug build.
pub(crate) const DEFAULT_SIZE: usize = 256 * 1024;

/// Smaller requests are raised to this, as std raises them to `PTHREAD_STACK_MIN`.
pub(crate) const MIN_SIZE: usize = 16 * 1024;

/// Larger requests are refused without asking the kernel: an address space has no room for more than a handful.
const MAX_SIZE: usize = 1 << 40;

/// Where a stack begins varies by up to this much, in steps of `COLOR_STEP`, below the end of its memory.
///
/// All stacks end at a page boundary. If all began there too, the lines that every waiting green thread is woken through would
/// have the same page offset in all of them and compete for the same few sets of the processor's caches, of which a thousand
/// green threads would find most of theirs evicted each time. The room comes on top of the size asked for.
const COLORING: usize = 4096;
const COLORS: usize = 16;
const COLOR_STEP: usize = 64;

/// A class's first slab holds this many stacks, each further one twice as many, up to the limits below.
const FIRST_SLAB_STACKS: usize = 16;
const MAX_SLAB_STACKS: usize = 1024;
const MAX_SLAB_BYTES: usize = 512 * 1024 * 1024;

/// A stack's size class within its pool: stacks of one class are interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u16);

impl Class {
    /// The class that a pool is first asked for. Every hub's is the default one, so that tasks without a home can have it.
    pub(crate) const FIRST: Class = Class(0);

    /// Classes of a pool are numbered from 0 in the order of their creation.
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A stack in use. It must go back to the pool it came from (`Pool::free`); dropping it leaks the memory.
#[derive(Debug)]
pub(crate) struct Stack {
    limit: NonNull<u8>,
    base: NonNull<u8>,
    size: usize,
    class: Class,
    /// The slab within the class and the place within the slab.
    slab: u32,
    index: u32,
}

impl Stack {
    /// The first usable byte.
    pub(crate) fn limit(&self) -> NonNull<u8> {
        self.limit
    }

    /// The bytes below `limit` that fault when touched.
    pub(crate) fn guard(&self) -> Range<usize> {
        let limit = self.limit.addr().get();
        limit - guard_size()..limit
    }

    /// Where the stack pointer starts, aligned to a cache line.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes that the stack was asked to have, rounded up.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn class(&self) -> Class {
        self.class
    }
}

/// The stacks of one hub.
pub(crate) struct Pool {
    guard: Guard,
    classes: Vec<SizeClass>,
}

struct SizeClass {
    /// Usable bytes, a multiple of the page size.
    size: usize,
    slabs: Arena<Slab>,
    /// Guarded stacks not in use: the last freed is the first reused.
    free: Vec<(u32, u32)>,
    /// The slab that still has places never handed out.
    growing: Option<u32>,
    next_slab_stacks: usize,
}

struct Slab {
    start: NonNull<c_void>,
    bytes: usize,
    stacks: u32,
    /// Places handed out at least once, which therefore have their guard.
    guarded: u32,
    in_use: u32,
}

impl Pool {
    pub(crate) fn new(guard: Guard) -> Self {
        Pool {
            guard,
            classes: Vec::new(),
        }
    }

    /// The class of stacks with at least `size` usable bytes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a size that no address space holds.
    pub(crate) fn class_of(&mut self, size: usize) -> io::Result<Class> {
        if size > MAX_SIZE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a stack of {size} bytes is not possible: the largest is {MAX_SIZE} bytes"),
            ));
        }
        let size = size
            .max(MIN_SIZE)
            .next_multiple_of(rustix::param::page_size());
        if let Some(known) = self.classes.iter().position(|class| class.size == size) {
            return Ok(Class(known as u16));
        }
        let class = u16::try_from(self.classes.len()).map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "65,536 different stack sizes are in use on this thread: use fewer",
            )
        })?;
        self.classes.push(SizeClass {
            size,
            slabs: Arena::new(),
            free: Vec::new(),
            growing: None,
            next_slab_stacks: FIRST_SLAB_STACKS,
        });
        Ok(Class(class))
    }

    /// Takes a guarded stack.
    ///
    /// # Errors
    ///
    /// The kernel's refusal to map or to guard memory, with what to do about it.
    pub(crate) fn allocate(&mut self, class: Class) -> io::Result<Stack> {
        let guard = self.guard;
        let sizes = &mut self.classes[class.index()];
        let (slab, index) = match sizes.free.pop() {
            Some(place) => place,
            None => sizes.guard_new_place(guard)?,
        };
        let offset = index as usize * sizes.spacing() + guard_size();
        let owner = &mut sizes.slabs[slab as usize];
        owner.in_use += 1;
        let color = index as usize % COLORS * COLOR_STEP;
        // SAFETY: the place lies inside the slab's mapping, by the bounds of `index`.
        let (limit, base) = unsafe {
            let limit = owner.start.cast::<u8>().add(offset);
            (limit, limit.add(sizes.size + COLORING - color))
        };
        Ok(Stack {
            limit,
            base,
            size: sizes.size,
            class,
            slab,
            index,
        })
    }

    /// Takes back a stack that nothing runs on any more, and gives its memory back to the kernel.
    pub(crate) fn free(&mut self, stack: Stack) {
        let sizes = &mut self.classes[stack.class.index()];
        // SAFETY: the range is the usable part of a stack that the caller has given up.
        unsafe { discard(stack.limit, sizes.size + COLORING) };
        let owner = &mut sizes.slabs[stack.slab as usize];
        owner.in_use -= 1;
        if owner.in_use > 0 {
            sizes.free.push((stack.slab, stack.index));
            return;
        }
        let slab = sizes.slabs.remove(stack.slab as usize);
        // One pass over the free list for each slab that empties, which a slab's worth of calls has paid for.
        sizes.free.retain(|&(of, _)| of != stack.slab);
        if sizes.growing == Some(stack.slab) {
            sizes.growing = None;
        }
        if sizes.slabs.is_empty() {
            sizes.next_slab_stacks = FIRST_SLAB_STACKS;
        }
        slab.unmap(self.guard);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for class in &mut self.classes {
            for slab in class.slabs.drain() {
                // A slab with a stack in use holds the frames of a green thread that could not be unwound. Other frames
                // may point to them, so the memory is left to the process.
                if slab.in_use == 0 {
                    slab.unmap(self.guard);
                }
            }
        }
    }
}

impl SizeClass {
    /// Bytes from one stack of a slab to the next.
    fn spacing(&self) -> usize {
        guard_size() + (self.size + COLORING).next_multiple_of(rustix::param::page_size())
    }

    /// Installs the guard of a place that was never used, mapping a new slab when all have been.
    fn guard_new_place(&mut self, guard: Guard) -> io::Result<(u32, u32)> {
        let key = match self.growing {
            Some(key) => key,
            None => self.map_slab()?,
        };
        let spacing = self.spacing();
        let slab = &mut self.slabs[key as usize];
        let index = slab.guarded;
        // SAFETY: the place lies inside the slab's mapping and nothing is stored there yet.
        unsafe { guard.install(slab.start.add(index as usize * spacing))? };
        slab.guarded += 1;
        if slab.guarded == slab.stacks {
            self.growing = None;
        }
        Ok((key, index))
    }

    fn map_slab(&mut self) -> io::Result<u32> {
        let spacing = self.spacing();
        let mut stacks = self.next_slab_stacks.min((MAX_SLAB_BYTES / spacing).max(1));
        let start = loop {
            match map(stacks * spacing) {
                Ok(start) => break start,
                Err(_) if stacks > 1 => stacks /= 2,
                Err(error) => return Err(map_error(self.size, error)),
            }
        };
        self.next_slab_stacks = (stacks * 2).min(MAX_SLAB_STACKS);
        let key = self.slabs.insert(Slab {
            start,
            bytes: stacks * spacing,
            stacks: stacks as u32,
            guarded: 0,
            in_use: 0,
        }) as u32;
        self.growing = Some(key);
        Ok(key)
    }
}

impl Slab {
    fn unmap(self, guard: Guard) {
        guard.release(self.guarded as usize);
        // SAFETY: the mapping is ours and no stack in it is in use.
        unsafe { libc::munmap(self.start.as_ptr(), self.bytes) };
    }
}

/// Maps private memory that is committed page by page on first touch and never by huge pages, of which one would commit
/// the first pages of many stacks at once.
fn map(bytes: usize) -> io::Result<NonNull<c_void>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    // SAFETY: a new anonymous mapping touches no existing memory.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range was just mapped. A kernel without huge pages refuses, and needs no such advice.
    unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(NonNull::new(start).expect("mmap does not place a mapping at address zero"))
}

/// Gives the memory of a range back to the kernel; it stays mapped and reads as zeros.
///
/// # Safety
///
/// The range must be mapped, page-aligned and free of anything that is still needed.
pub(crate) unsafe fn discard(from: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's contract.
    unsafe { libc::madvise(from.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

fn map_error(size: usize, error: io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "cannot map a stack of {size} bytes for a green thread: {error}; use a smaller stack size, or raise the limits \
             on address space (ulimit -v) and on mappings (sysctl vm.max_map_count)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(stack: &Stack) {
        // SAFETY: the byte lies inside the stack.
        unsafe { stack.base().sub(1).write_volatile(1) };
    }

    fn both_guards(test: impl Fn(Pool)) {
        test(Pool::new(Guard::Mprotect));
        if Guard::detect() == Guard::Madvise {
            test(Pool::new(Guard::Madvise));
        }
    }

    #[test]
    fn the_last_freed_stack_is_the_first_reused() {
        both_guards(|mut pool| {
            let class = pool.class_of(DEFAULT_SIZE).unwrap();
            let kept = pool.allocate(class).unwrap();
            let first = pool.allocate(class).unwrap();
            let second = pool.allocate(class).unwrap();
            let (first_at, second_at) = (first.base(), second.base());
            pool.free(first);
            pool.free(second);
            let again = pool.allocate(class).unwrap();
            assert_eq!(again.base(), second_at);
            let older = pool.allocate(class).unwrap();
            assert_eq!(older.base(), first_at);
            for stack in [kept, again, older] {
                pool.free(stack);
            }
        });
    }

    #[test]
    fn stacks_do_not_overlap_and_are_writable_to_the_limit() {
        both_guards(|mut pool| {
            let class = pool.class_of(MIN_SIZE).unwrap();
            let mut stacks: Vec<_> = (0..100).map(|_| pool.allocate(class).unwrap()).collect();
            stacks.sort_by_key(Stack::base);
            for pair in stacks.windows(2) {
                assert!(pair[0].base() <= pair[1].limit());
            }
            for stack in stacks {
                touch(&stack);
                // SAFETY: the byte lies inside the stack.
                unsafe { stack.limit().write_volatile(1) };
                pool.free(stack);
            }
        });
    }

    #[test]
    fn an_empty_slab_is_unmapped() {
        both_guards(|mut pool| {
            let class = pool.class_of(DEFAULT_SIZE).unwrap();
            let stacks: Vec<_> = (0..200).map(|_| pool.allocate(class).unwrap()).collect();
            assert!(pool.classes[0].slabs.len() > 1);
            stacks.into_iter().for_each(|stack| pool.free(stack));
            assert!(pool.classes[0].slabs.is_empty());
            assert!(pool.classes[0].free.is_empty());
            let stack = pool.allocate(class).unwrap();
            touch(&stack);
            pool.free(stack);
        });
    }

    #[test]
    fn sizes_are_rounded_up_and_classes_shared() {
        let mut pool = Pool::new(Guard::Mprotect);
        let tiny = pool.class_of(1).unwrap();
        assert_eq!(pool.classes[tiny.index()].size, MIN_SIZE);
        assert_eq!(pool.class_of(MIN_SIZE).unwrap(), tiny);
        let odd = pool.class_of(MIN_SIZE + 1).unwrap();
        assert_eq!(
            pool.classes[odd.index()].size % rustix::param::page_size(),
            0
        );
    }

    #[test]
    fn an_impossible_size_is_refused() {
        let mut pool = Pool::new(Guard::Mprotect);
        let error = pool.class_of(usize::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn running_out_of_address_space_is_an_error_that_says_what_to_do() {
        let mut pool = Pool::new(Guard::Mprotect);
        let class = pool.class_of(MAX_SIZE).unwrap();
        let mut stacks = Vec::new();
        let error = loop {
            match pool.allocate(class) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
            assert!(stacks.len() < 256, "128 TiB of addresses hold fewer");
        };
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(error.to_string().contains("use a smaller stack size"));
        stacks.into_iter().for_each(|stack| pool.free(stack));
    }
}
