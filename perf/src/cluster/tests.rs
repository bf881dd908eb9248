use super::objects::{Change, Size};
use super::*;

#[test]
fn every_object_is_understood_and_every_change_is_one() {
    let size = Size::part(1000);
    let options = Options {
        parts: Vec::new(),
        changes: 2,
        churn: 1,
        scheduler: SchedulerKind::Mh,
        one: true,
        output: Output::Table,
    };
    let figures = measure(Served::here(size).unwrap(), size, &options, 0).unwrap();
    assert_eq!(figures.size.services, 10);
    assert!(figures.saved_bytes > 1000 && figures.first.requests >= 9, "{figures:?}");
    assert_eq!(figures.changes.len(), Change::ALL.len());
    assert_eq!(
        (figures.again.requests, figures.churn[0].1.requests),
        (9, 0),
        "{figures:?}"
    );
    assert!(
        figures.churn.iter().all(|(_, churn)| churn.cpu_percent > 0.0),
        "{figures:?}"
    );
    let published = |change| {
        figures
            .changes
            .iter()
            .find(|(of, _)| *of == change)
            .unwrap()
            .1
            .published
    };
    assert_eq!((published(Change::Endpoint), published(Change::Node)), (2, 2));
    let table = table::render(&[figures], &Machine::this(), Paint(false));
    assert!(
        table
            .lines()
            .all(|line| line.len() <= 100 || line.starts_with("machine")),
        "{table}"
    );
    assert!(table.contains("an end point changes"), "{table}");
}
