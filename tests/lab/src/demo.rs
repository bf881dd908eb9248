//! The demonstration: what is checked, in which order, and what a person sees of it. It never changes a result to look
//! better: a row that differs is shown and makes the command fail.

mod capture;
mod checks;
mod table;
#[cfg(test)]
mod tests;

use crate::{Lab, Topology};
use anyhow::Result;
use checks::{Check, POLICY_FILE};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;
use table::{Row, Style};

const TOPOLOGY: &str = include_str!("../topologies/two-nodes.yaml");
/// The demo's lab, so that `KEEP=1` and a later `down` agree.
const NAME: &str = "demo";

/// Builds the two-node lab, tries every row and prints the table. `keep` leaves the lab up.
///
/// # Errors
/// The lab cannot be built. Rows that differ are no error but a failing exit code.
pub fn run(keep: bool) -> Result<ExitCode> {
    let style = Style {
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let started = Instant::now();
    let mut progress = |what: &str| {
        eprintln!("{:>5.1} s  {what}", started.elapsed().as_secs_f64());
    };
    let lab = Lab::up_named(&Topology::parse(TOPOLOGY)?, NAME, &mut progress)?;
    let rows = rows(&lab, checks::all(), &mut progress);
    println!("\n{}", table::render(&rows, style));
    let wrong = rows.iter().filter(|row| !row.ok).count();
    match wrong {
        0 => println!(
            " all {} as expected, after {:.0} s.",
            rows.len(),
            started.elapsed().as_secs_f64()
        ),
        _ => println!(" {wrong} of {} not as expected.", rows.len()),
    }
    if keep {
        print!("{}", explore(&lab));
        lab.keep()?;
    } else {
        println!(" Look around with:  make demo KEEP=1");
    }
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Does each of `checks`. One that cannot even be tried is a row that differs.
fn rows(lab: &Lab, checks: Vec<Check>, progress: &mut dyn FnMut(&str)) -> Vec<Row> {
    let mut rows = Vec::new();
    for Check {
        what,
        detail,
        expected,
        see,
    } in checks
    {
        progress(&format!("{what}  {detail}"));
        let seen = see(lab).unwrap_or_else(|error| checks::Seen::wrong(format!("{error:#}")));
        rows.push(Row {
            what,
            detail,
            expected,
            seen: seen.text,
            ok: seen.ok,
            below: seen.below,
        });
    }
    rows
}

fn explore(lab: &Lab) -> String {
    let (name, dir) = (lab.name(), lab.dir().display());
    let (sluice, sluice_lab) = (program("sluice"), program("sluice-lab"));
    format!(
        "
 The lab stays up. For example:
   {sluice} --socket {dir}/node-a.sock status
   {sluice} --socket {dir}/node-a.sock services web
   {sluice_lab} exec web-1 --lab {name} -- curl -s http://10.96.0.10/
   {sluice_lab} exec net --lab {name} -- tcpdump -ni n0 udp port 8472
   $EDITOR {dir}/manifests/{POLICY_FILE}
   less {dir}/node-a.log
 Take it down with:
   {sluice_lab} down {name}
"
    )
}

/// How to call one of our programs from here: by a path below the current folder where there is one.
fn program(name: &str) -> String {
    let path = crate::place::binary(name).unwrap_or_else(|_| name.into());
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(&path).display().to_string()
}
