//! What one port may take of what all share: so many connections, so many new flows and answers a second. It never measures time.

use core::sync::atomic::{AtomicU64, Ordering};
use sluice_wire::Scope;

/// What each port may take. The uplink's own port, where all clients outside the cluster come in, may take [`OUTSIDE`] times as
/// much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections that a port may have opened and not ended.
    pub connections: u32,
    /// Flows that a port may begin in a second, in the long run. At least 1.
    pub new_flows_per_s: u32,
    /// Flows that it may begin at once after a silence. At least 1.
    pub new_flows_burst: u32,
    /// ICMP errors and resets that it may have sent back in a second, in the long run. At least 1.
    pub answers_per_s: u32,
    /// Of these at once. At least 1.
    pub answers_burst: u32,
}

/// How many ports the uplink counts as, for what comes in outside of tunnels.
pub const OUTSIDE: u32 = 2;

const SECOND_NS: u64 = 1_000_000_000;
const SETS: usize = 1024;
const WAYS: usize = 4;

struct Bucket {
    /// Whose: the scope's number plus 1; 0 is nobody's.
    owner: AtomicU64,
    /// When the bucket will be full again.
    full_ns: AtomicU64,
}

/// A token bucket for each port and peer, shared by the workers. It is kept as the moment at which it will be full (the generic cell
/// rate algorithm, ITU-T I.371), one word, so that taking a token is one compare-and-swap, and a bucket that is full may be forgotten.
pub struct TokenBuckets {
    buckets: Box<[[Bucket; WAYS]]>,
    interval_ns: u64,
    burst: u64,
}

impl TokenBuckets {
    /// Buckets that fill at `per_s` tokens a second, and hold `burst` of them.
    pub fn new(per_s: u32, burst: u32) -> Self {
        let bucket = || Bucket {
            owner: AtomicU64::new(0),
            full_ns: AtomicU64::new(0),
        };
        Self {
            buckets: (0..SETS).map(|_| core::array::from_fn(|_| bucket())).collect(),
            interval_ns: SECOND_NS / u64::from(per_s.max(1)),
            burst: u64::from(burst.max(1)),
        }
    }

    /// Takes a token of `owner`, who counts as `weight` ports; false when there is none.
    pub fn take(&self, owner: Scope, weight: u32, now_ns: u64) -> bool {
        let cost = self.interval_ns / u64::from(weight.max(1));
        let most_ns = self.burst * self.interval_ns;
        let bucket = self.bucket(owner, now_ns);
        let step = |full_ns: u64| {
            let after = full_ns.max(now_ns) + cost;
            (after - now_ns <= most_ns).then_some(after)
        };
        bucket
            .full_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .is_ok()
    }

    /// The owner's bucket, or a full one that becomes the owner's: whose it was loses nothing by that. With thousands of owners at work at
    /// once some share one.
    fn bucket(&self, owner: Scope, now_ns: u64) -> &Bucket {
        let number = u64::from(owner.get());
        let set = &self.buckets[(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % SETS];
        let name = number + 1;
        if let Some(own) = set.iter().find(|b| b.owner.load(Ordering::Relaxed) == name) {
            return own;
        }
        for bucket in set {
            let old = bucket.owner.load(Ordering::Relaxed);
            let unused = old == 0 || bucket.full_ns.load(Ordering::Relaxed) <= now_ns;
            let swap = || {
                bucket
                    .owner
                    .compare_exchange(old, name, Ordering::Relaxed, Ordering::Relaxed)
            };
            if unused && swap().is_ok() {
                return bucket;
            }
        }
        &set[0]
    }
}
