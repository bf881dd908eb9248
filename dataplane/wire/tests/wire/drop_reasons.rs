//! docs/drop-reasons.md says what the list says.

use sluice_wire::{DropGroup, DropReason};
use std::fmt::Write;
use std::path::PathBuf;

const HEAD: &str = "\
# Why packets are dropped

Every frame that goes nowhere is counted under one of these reasons. `sluice counters` shows how many there were of each, by what can be
done about them; `sluice drops` shows the latest dropped packets themselves. Names and codes are stable: they are never renamed or reused.

This page is made from the list in `dataplane/wire/src/drop.rs`. After a change there:
`SLUICE_UPDATE=1 cargo test -p sluice-wire drop_reasons`.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for group in DropGroup::ALL {
        write!(
            page,
            "\n## {}\n\n`{}`: {}.\n\n",
            capital(group.title()),
            group.label(),
            group.hint()
        )
        .unwrap();
        page.push_str("| name | code | cause | what to do |\n|---|---|---|---|\n");
        for reason in DropReason::ALL.iter().filter(|reason| reason.group() == group) {
            let (label, code, text, remedy) = (reason.label(), reason.index(), reason.text(), reason.remedy());
            writeln!(page, "| `{label}` | {code} | {text} | {remedy} |").unwrap();
        }
    }
    page
}

fn capital(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + rest
}

#[test]
fn the_page_of_drop_reasons_is_up_to_date() {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../docs/drop-reasons.md"]
        .iter()
        .collect();
    let page = page();
    if std::env::var_os("SLUICE_UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page,
        "docs/drop-reasons.md differs from the list; SLUICE_UPDATE=1 cargo test -p sluice-wire drop_reasons writes it anew"
    );
}
