use super::objects::{Change, Size};
use super::*;

#[test]
fn every_object_is_understood_and_every_change_is_one() {
    let size = Size::part(1000);
    let figures = measure(Served::here(size).unwrap(), size, 2, 0).unwrap();
    assert_eq!(figures.size.services, 10);
    assert!(figures.saved_bytes > 1000 && figures.requests >= 7, "{figures:?}");
    assert_eq!(figures.changes.len(), Change::ALL.len());
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
