//! How fast the machine is at this moment: its clock, small copies, loads from memory. Figures are judged by them, never changed.

use super::time::cpu_ns;
use std::hint::black_box;

/// The clock that goals are given for, GHz.
pub(crate) const REFERENCE_GHZ: f64 = 3.85;

const STEPS: u64 = 200_000;
const COPIES: usize = 200_000;
const LOADS: u64 = 200_000;

/// A step of the chain is an exclusive or and an addition, each waiting for the one before: two cycles on every core of the last
/// decades. Operands come from registers, as additions of constants may cost nothing.
pub(crate) fn ghz() -> f64 {
    let (a, b) = black_box((0x9e37_79b9_7f4a_7c15u64, 0x2545_f491_4f6c_dd1du64));
    let once = || {
        let mut x = black_box(1u64);
        let before = cpu_ns();
        for _ in 0..STEPS {
            x = (x ^ a).wrapping_add(b);
        }
        black_box(x);
        (2 * STEPS) as f64 / (cpu_ns() - before).max(1) as f64
    };
    // The best of three: an interruption makes the clock seem slower, nothing makes it seem faster.
    (0..3).map(|_| once()).fold(0.0, f64::max)
}

/// Time of a copy of 64 bytes from one place in the first-level cache to another, ns.
pub(crate) fn copy_ns() -> f64 {
    let from = black_box(vec![[7u8; 64]; 64]);
    let mut to = vec![[0u8; 64]; 64];
    let before = cpu_ns();
    for _ in 0..COPIES / 64 {
        for (to, from) in to.iter_mut().zip(&from) {
            *to = *from;
        }
        black_box(&mut to);
    }
    (cpu_ns() - before) as f64 / COPIES as f64
}

/// Memory as large as `flows` flows need it, if each has 128 bytes.
pub(crate) struct Table(Vec<[u64; 16]>);

impl Table {
    pub(crate) fn new(flows: usize) -> Self {
        // Not zero, so that each page is really there.
        Self(vec![[1; 16]; flows.max(1)])
    }

    /// Time of a load of 128 bytes anywhere in it, many of them under way at once, ns.
    pub(crate) fn load_ns(&self) -> f64 {
        let table = &self.0[..];
        let count = table.len() as u64;
        let before = cpu_ns();
        let mut sum = 0u64;
        for n in 0..LOADS {
            // A multiplicative hash, scaled to the table (Lemire, "Fast random integer generation in an interval").
            let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let entry = &table[((random * count) >> 32) as usize];
            sum = sum.wrapping_add(entry[0]).wrapping_add(entry[8]);
        }
        black_box(sum);
        (cpu_ns() - before) as f64 / LOADS as f64
    }
}
