//! Decides where frames' bytes live and who owns them: buffers, pools over a shared depot; and what memory other processes can be
//! handed; and which of its instructions a processor is asked for. It never knows a packet format.

mod buf;
mod pool;
mod processor;
mod shared;
mod table;
#[cfg(test)]
mod tests;

pub use buf::Buf;
pub use pool::{HEADROOM, LARGE_CHUNK, Memory, MemoryError, Pool, Pools};
pub use processor::{Processor, Work};
pub use shared::{SharedError, SharedWords};
pub use table::Table;

/// Asks the processor to bring the cache line that holds the start of `value` close. A hint: never an error, and nothing
/// where the processor has none.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch reads nothing that the program can see, for any address; SSE is part of x86-64.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::from_ref(value).cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = value;
}

/// The processor's time stamp counter, in its own ticks; 0 where it has none that programs may read.
#[inline(always)]
pub fn cycles() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: reading the counter touches no memory; a kernel that forbids it ends the process, and none does by default.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    0
}
