use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn piece() -> impl Strategy<Value = (u16, u16, usize)> {
    let edge = prop_oneof![0u16..6, 65530u16..=65535, 100u16..110];
    let rule = prop_oneof![0usize..4, Just(63), Just(64), Just(255)];
    (edge.clone(), edge, rule)
}

fn row(rules: &[usize]) -> Row {
    let mut row = NONE;
    rules.iter().for_each(|&rule| set(&mut row, rule));
    row
}

proptest! {
    #[test]
    fn ranges_agree_with_asking_every_piece(pieces in vec(piece(), 0..12), base in vec(0usize..5, 0..2)) {
        let base = row(&base);
        let given: Vec<_> = pieces.iter().map(|&(first, last, rule)| Piece { first, last, rule }).collect();
        let ranges = Ranges::new(base, &given);
        for number in (0..12).chain(95..115).chain(65525..=65535) {
            let mut expected = base;
            for &(first, last, rule) in &pieces {
                if first <= number && number <= last {
                    set(&mut expected, rule);
                }
            }
            prop_assert_eq!(ranges.find(number), &expected, "at {}", number);
        }
        let repeated = ranges.steps.windows(2).any(|w| ranges.rows[w[0].1 as usize] == ranges.rows[w[1].1 as usize]);
        prop_assert!(!repeated, "a step that changes nothing: {:?}", ranges);
    }

    #[test]
    fn rows_in_line_are_found_again(rows in vec(vec(0usize..3, 0..2), 0..20), base in vec(0usize..3, 0..2)) {
        let base = row(&base);
        let rows: Vec<Row> = rows.iter().map(|rules| row(rules)).collect();
        let ranges = Ranges::from_rows(base, (0u32..).zip(rows.iter().copied()));
        for number in 0..25u32 {
            let own = rows.get(number as usize).copied().unwrap_or(NONE);
            prop_assert_eq!(ranges.find(number), &or(&base, &own));
        }
    }

    #[test]
    fn what_is_left_is_in_the_whole_and_in_no_hole(
        whole in (0u16..8, 0u16..20),
        holes in vec(prop_oneof![(0u16..20, 0u16..20), Just((0, 65535)), Just((65535, 65535))], 0..5),
    ) {
        let whole = (whole.0, whole.0 + whole.1);
        // A hole comes from a prefix and is never empty.
        let mut holes: Vec<_> = holes.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
        let left = subtract(whole, &mut holes);
        prop_assert!(left.windows(2).all(|w| w[0].1 < w[1].0));
        for number in 0..40 {
            let within = |&(first, last): &(u16, u16)| first <= number && number <= last;
            let expected = within(&whole) && !holes.iter().any(within);
            prop_assert_eq!(left.iter().any(within), expected, "{} in {:?}", number, left);
        }
    }

    #[test]
    fn the_first_common_rule_is_the_lowest(a in vec(0usize..ROW_RULES, 0..9), b in vec(0usize..ROW_RULES, 0..9)) {
        let expected = a.iter().filter(|rule| b.contains(rule)).min().copied();
        prop_assert_eq!(first_common(&row(&a), &row(&b)), expected);
    }
}
