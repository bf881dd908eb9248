//! Decides for which processor a piece of work is compiled: for any, or for x86-64-v3 as well, of which the one at hand is asked once. It
//! never decides what the work is.

/// What the processor at hand can do. Only [`Self::detect`] makes one that can do more than all can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// All of x86-64-v3 is there.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    v3: bool,
}

/// Work that is worth compiling for more than one kind of processor.
///
/// Only what is inlined into [`Self::run`] is: that function and what matters of what it calls should be `#[inline(always)]`. The rest runs as
/// it is compiled for any processor.
pub trait Work {
    /// What comes out.
    type Output;

    /// Does it.
    fn run(self) -> Self::Output;
}

impl Processor {
    /// One that can do what all can.
    pub const ANY: Self = Self { v3: false };

    /// Asks the one at hand.
    pub fn detect() -> Self {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            Self { v3: has_v3() }
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        Self::ANY
    }

    /// Does the work with as many of its instructions as work is compiled for.
    #[inline(always)]
    pub fn run<W: Work>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        if self.v3 {
            // SAFETY: `v3` is set by `detect` alone, and only if the processor has all that the function is compiled for.
            return unsafe { with_v3(work) };
        }
        work.run()
    }
}

/// What [`with_v3`] is compiled for.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn has_v3() -> bool {
    macro_rules! all {
        ($($name:tt)*) => { $(std::arch::is_x86_feature_detected!($name))&&* };
    }
    all!("avx" "avx2" "bmi1" "bmi2" "f16c" "fma" "lzcnt" "movbe" "popcnt" "sse3" "ssse3" "sse4.1" "sse4.2")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,avx2,bmi1,bmi2,f16c,fma,lzcnt,movbe,popcnt,sse3,ssse3,sse4.1,sse4.2")]
fn with_v3<W: Work>(work: W) -> W::Output {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sum<'a>(&'a [u64]);

    impl Work for Sum<'_> {
        type Output = u64;

        #[inline(always)]
        fn run(self) -> u64 {
            self.0.iter().fold(0, |sum, n| sum.rotate_left(7) ^ n.swap_bytes())
        }
    }

    #[test]
    fn work_comes_to_the_same_on_each() {
        let numbers: Vec<u64> = (0..100).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        assert_eq!(
            Processor::detect().run(Sum(&numbers)),
            Processor::ANY.run(Sum(&numbers))
        );
    }

    /// The kernel's list is what this processor has, and what may be used of it.
    #[test]
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn a_processor_is_taken_for_what_the_kernel_says_it_is() {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let flags = text.lines().find(|line| line.starts_with("flags")).unwrap();
        let has = |name: &&str| flags.split_whitespace().any(|flag| flag == *name);
        // LZCNT is a part of what the kernel calls abm, SSE3 is pni.
        let names = "avx avx2 bmi1 bmi2 f16c fma abm movbe popcnt pni ssse3 sse4_1 sse4_2";
        let names: Vec<&str> = names.split(' ').collect();
        assert_eq!(Processor::detect().v3, names.iter().all(has));
    }
}
