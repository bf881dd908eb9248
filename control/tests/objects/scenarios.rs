//! Scenario files: what is done line by line, and the tables that must come out. `SLUICE_REGENERATE=1` writes the tables anew,
//! to be reviewed as a difference.
//!
//! A line `== write FILE` is followed by the file's text, `== expect TABLE` by what is expected; `== delete FILE`,
//! `== attach POD ADDR..`, `== detach POD`, `== neighbour ADDR MAC|gone` and `== tunnel port NUMBER` stand alone.

use crate::render;
use crate::world::World;
use std::path::Path;

fn play(text: &str) -> String {
    let mut world = World::new();
    let mut out = String::new();
    let mut sections = text.split("\n== ");
    out.push_str(sections.next().unwrap_or_default().trim_end());
    out.push('\n');
    for section in sections {
        let (command, body) = section.split_once('\n').unwrap_or((section, ""));
        let words: Vec<&str> = command.split_whitespace().collect();
        out.push_str(&format!("\n== {command}\n"));
        match words.as_slice() {
            ["write", file] => {
                world.write(file, body);
                out.push_str(body.trim_end());
                out.push('\n');
            }
            ["delete", file] => world.remove(file),
            ["attach", pod, addrs @ ..] => world.attach(pod, addrs),
            ["detach", pod] => world.pods.retain(|p| p.pod != *pod),
            ["tunnel", "port", number] => world.settings.tunnel_port = number.parse().unwrap(),
            ["neighbour", who, "gone"] => world.neighbour(who, None),
            ["neighbour", who, mac] => world.neighbour(who, Some(mac.parse().unwrap())),
            ["expect", table] => out.push_str(&render::section(table, &mut world)),
            other => panic!("no such command: {other:?}"),
        }
    }
    out
}

#[test]
fn scenarios_give_the_expected_tables() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "scenarios are missing in {}", dir.display());
    let regenerate = std::env::var_os("SLUICE_REGENERATE").is_some();
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let played = play(&text);
        if regenerate {
            std::fs::write(&file, played).unwrap();
        } else if played != text {
            let at = played.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let (got, want) = (played.lines().nth(at), text.lines().nth(at));
            wrong.push(format!(
                "{} line {}:\n  got  {got:?}\n  want {want:?}",
                file.display(),
                at + 1
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nSLUICE_REGENERATE=1 rewrites them",
        wrong.join("\n")
    );
}
