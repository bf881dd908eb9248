//! Memory that another process can be handed: a sealed memfd, seen as atomic words. It never knows what the words mean, nor trusts
//! whoever else has the descriptor.

use crate::pool::{HUGE_PAGE, PAGE};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const WORD: usize = size_of::<AtomicU64>();
/// Without these the file could shrink under a mapping, and reading it would be a fault.
const SEALS: libc::c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Why memory could not be shared.
#[derive(Debug)]
pub enum SharedError {
    /// The kernel refused.
    Kernel {
        /// The call.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The file could still shrink under the mapping: it was not made by [`SharedWords::create`].
    NotSealed,
    /// The file is empty or no whole number of words, bytes.
    Size(u64),
}

impl core::fmt::Display for SharedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Kernel { call, source } => write!(f, "shared memory: {call}: {source}"),
            Self::NotSealed => write!(f, "shared memory: the file is not sealed against shrinking"),
            Self::Size(bytes) => write!(f, "shared memory: {bytes} bytes are no whole number of words"),
        }
    }
}

impl core::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Kernel { source, .. } => Some(source),
            Self::NotSealed | Self::Size(_) => None,
        }
    }
}

/// A mapping of words that other processes may map, too. All of it is atomics, because any of them may write at any time.
pub struct SharedWords {
    base: NonNull<AtomicU64>,
    words: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping belongs to this value alone within the process, and is reached as atomics only.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// A new file of `words` zeroes. All of it is reserved here, so that a machine without memory says so now and not in
    /// the middle of a packet. The name is for people who look at the process's descriptors.
    ///
    /// # Errors
    /// The kernel's refusal, by call.
    pub fn create(name: &CStr, words: usize) -> Result<Self, SharedError> {
        let bytes = words.checked_mul(WORD).and_then(|b| libc::off_t::try_from(b).ok());
        let bytes = bytes.filter(|b| *b > 0).ok_or(SharedError::Size(words as u64))?;
        // SAFETY: the name is a C string, and the call touches no other memory of ours.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
        check("memfd_create", fd)?;
        // SAFETY: the kernel just made this descriptor for us.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: a call about a descriptor that we own, with numbers only.
        check("fallocate", unsafe { libc::fallocate(fd.as_raw_fd(), 0, 0, bytes) })?;
        // SAFETY: as above.
        check("fcntl(F_ADD_SEALS)", unsafe {
            libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS)
        })?;
        Self::map(fd)
    }

    /// Maps a file that [`Self::create`] made, perhaps in another process.
    ///
    /// # Errors
    /// It is no such file, or the kernel's refusal.
    pub fn map(fd: OwnedFd) -> Result<Self, SharedError> {
        // SAFETY: a call about a descriptor that we own, with numbers only.
        let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
            return Err(SharedError::NotSealed);
        }
        let bytes = std::fs::File::from(fd.try_clone().map_err(|e| kernel("dup", e))?)
            .metadata()
            .map_err(|e| kernel("fstat", e))?
            .len();
        let len = usize::try_from(bytes).ok().filter(|b| *b > 0 && b.is_multiple_of(WORD));
        let len = len.ok_or(SharedError::Size(bytes))?;
        let base = map_aligned(&fd, len)?;
        // SAFETY: the range was just mapped; the advice changes no byte of it. Refused is slower, not wrong: connections lie in it in
        // random order, and ordinary pages of a large table miss the TLB each time. Collapsing does not ask for the machine's setting.
        unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_COLLAPSE) };
        let words = len / WORD;
        Ok(Self { base, words, fd })
    }

    /// The file, to hand it on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Deref for SharedWords {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `words` words were mapped at `base`, page-aligned, until `drop`; the seal keeps the file at its size, so each of
        // them stays backed. Every bit pattern is a word, and atomics allow that others write.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `map`; borrows of it ended before.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * WORD) };
    }
}

impl core::fmt::Debug for SharedWords {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SharedWords({})", self.words)
    }
}

/// Maps the file where huge pages begin, if it is as large as one.
fn map_aligned(fd: &OwnedFd, len: usize) -> Result<NonNull<AtomicU64>, SharedError> {
    let failed = || kernel("mmap", io::Error::last_os_error());
    let room = len + if len >= HUGE_PAGE { HUGE_PAGE } else { 0 };
    let (none, private) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: fresh address space at the kernel's choice; nothing of ours is replaced.
    let reserved = unsafe { libc::mmap(core::ptr::null_mut(), room, none, private, -1, 0) };
    if reserved == libc::MAP_FAILED {
        return Err(failed());
    }
    let skip = if len >= HUGE_PAGE {
        reserved.align_offset(HUGE_PAGE)
    } else {
        0
    };
    let (access, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: `skip + len` bytes were just reserved by us, and are in nobody's use.
    let base = unsafe { libc::mmap(reserved.byte_add(skip), len, access, shared, fd.as_raw_fd(), 0) };
    let mapped = NonNull::new(base.cast::<AtomicU64>()).filter(|_| base != libc::MAP_FAILED);
    let error = failed();
    // SAFETY: what is given back is the part of the reservation in front of the mapping and the one behind it; all of it, when there is
    // none. Lengths are rounded up to pages by the kernel, as it did in reserving.
    unsafe {
        let (front, behind) = if mapped.is_some() {
            (skip, skip + len.next_multiple_of(PAGE))
        } else {
            (room, room)
        };
        if front > 0 {
            libc::munmap(reserved, front);
        }
        if room > behind {
            libc::munmap(reserved.byte_add(behind), room - behind);
        }
    }
    mapped.ok_or(error)
}

fn kernel(call: &'static str, source: io::Error) -> SharedError {
    SharedError::Kernel { call, source }
}

fn check(call: &'static str, result: libc::c_int) -> Result<(), SharedError> {
    if result < 0 {
        return Err(kernel(call, io::Error::last_os_error()));
    }
    Ok(())
}

// Miri knows no memfd.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use core::sync::atomic::Ordering;
    use std::fs::File;

    #[test]
    fn two_mappings_are_one_memory() {
        let one = SharedWords::create(c"test", 1000).unwrap();
        let two = SharedWords::map(one.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((one.len(), two.len()), (1000, 1000));
        assert!(two.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        one[999].store(7, Ordering::Relaxed);
        drop(one);
        assert_eq!(two[999].load(Ordering::Relaxed), 7, "it lives as long as one of them");
    }

    #[test]
    fn a_file_that_could_shrink_is_refused() {
        let plain = File::open("/proc/self/exe").unwrap();
        assert!(matches!(SharedWords::map(plain.into()), Err(SharedError::NotSealed)));
        // SAFETY: a name, and a descriptor that is ours from here on.
        let open = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), libc::MFD_ALLOW_SEALING)) };
        File::from(open.try_clone().unwrap()).set_len(4096).unwrap();
        assert!(matches!(SharedWords::map(open), Err(SharedError::NotSealed)));
        let ours = SharedWords::create(c"test", 512).unwrap();
        let file = File::from(ours.fd().try_clone_to_owned().unwrap());
        assert!(
            file.set_len(8).is_err() && file.set_len(1 << 20).is_err(),
            "its size is sealed"
        );
    }

    #[test]
    fn odd_sizes_are_refused() {
        assert!(matches!(SharedWords::create(c"test", 0), Err(SharedError::Size(0))));
        // SAFETY: a name, and a descriptor that is ours from here on.
        let odd = unsafe { OwnedFd::from_raw_fd(libc::memfd_create(c"test".as_ptr(), libc::MFD_ALLOW_SEALING)) };
        File::from(odd.try_clone().unwrap()).set_len(4097).unwrap();
        // SAFETY: a descriptor of ours and numbers.
        assert_eq!(unsafe { libc::fcntl(odd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) }, 0);
        assert!(matches!(SharedWords::map(odd), Err(SharedError::Size(4097))));
    }
}
