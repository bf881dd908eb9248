//! A verdict is part of the packet path: it must not allocate.

mod models;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use sluice_policy::{Direction, FlowView, Identities, compile};

#[test]
fn verdicts_allocate_nothing() {
    let mut runner = TestRunner::deterministic();
    let (mut judged, mut isolated) = (0, 0);
    for round in 0..100 {
        let model = match round % 2 {
            0 => models::model().new_tree(&mut runner).unwrap().current(),
            _ => models::tiered_model().new_tree(&mut runner).unwrap().current(),
        };
        let flows = vec((models::addr(), models::proto(), models::port()), 32)
            .new_tree(&mut runner)
            .unwrap()
            .current();
        let identities = Identities::default().next(&model);
        let policy = compile(&model, &identities, &model.pods[0]);
        isolated += usize::from(policy.ingress.is_some());
        let seen = allocation_counter::measure(|| {
            for &(peer_addr, proto, dport) in &flows {
                let flow = FlowView {
                    peer: identities.lookup(peer_addr),
                    peer_addr,
                    proto,
                    dport,
                };
                judged += usize::from(policy.verdict(Direction::Ingress, &flow).is_allowed());
                judged += usize::from(policy.verdict(Direction::Egress, &flow).is_allowed());
            }
        });
        assert_eq!(seen.count_total, 0);
    }
    assert!(
        judged > 0 && isolated > 5,
        "the models decided too little to prove anything: {judged}, {isolated}"
    );
}
