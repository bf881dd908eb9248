//! How full the rings are, as each kind of entry comes and goes.

use super::*;

#[test]
fn rings_say_how_full_they_are() {
    const RING: u32 = 64;
    let mut bench = Bench::new(Lake::of(2048, 1024), 1, RING);
    let far = raw(&bench.far, "peer0");
    let (queue, pools) = (&mut bench.queues[0], &mut bench.pools);
    let used = |queue: &XskQueue| {
        let rings = queue.occupancy().unwrap();
        let all = [rings.rx, rings.fill, rings.tx, rings.completion];
        (all.map(|level| level.used), all.map(|level| level.size))
    };
    let (empty, sizes) = used(queue);
    assert_eq!((empty, sizes), ([0, 2 * RING, 0, 0], [RING, 2 * RING, RING, 2 * RING]));
    for n in 0..10 {
        far.send(&steered(100, n));
    }
    until("ten frames", || (used(queue).0[0] == 10).then_some(()));
    assert_eq!(used(queue).0, [10, 2 * RING - 10, 0, 0]);
    let mut burst = Burst::new();
    queue.receive(pools, &mut burst, 4);
    assert_eq!(used(queue).0, [6, 2 * RING - 10, 0, 0]);
    // Sent at once, as the kernel is asked to; nobody takes them back.
    assert_eq!(queue.transmit(pools, &mut burst).frames, 4);
    until("completions", || (used(queue).0[3] == 4).then_some(()));
    assert_eq!(used(queue).0, [6, 2 * RING - 10, 0, 4]);
    queue.recycle(pools);
    assert_eq!(used(queue).0, [6, 2 * RING, 0, 0]);
    // With its interface down, frames stay.
    bench.near.ip("link set up0 down");
    let mut burst: Burst = (0..5).map(|n| frame_of(pools, &plain(60, n))).collect();
    queue.transmit(pools, &mut burst);
    assert_eq!((used(queue).0, burst.len()), ([6, 2 * RING, 5, 0], 0));
    bench.finish();
}
