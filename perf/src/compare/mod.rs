//! `sluice-perf compare`: Sluice beside others in the same topology under the same traffic. Decides whose turn it is: all of them take
//! turns in shuffled order, so that a machine that changes its speed does so for all alike. It never measures two at once.

mod apart;
mod awake;
mod goals;
mod load;
mod manifests;
mod options;
mod peers;
mod probe;
mod results;
mod scene;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod traffic;

pub(crate) use options::Options;

use crate::report::{Machine, Progress, files, summary};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use options::Plan;
use peers::{Peer, Site};
use probe::Probe;
use results::{About, Results, Series};
use scene::{Scene, Size, Way};
use std::io::IsTerminal;
use std::time::Duration;
use traffic::Kinds;

/// Share of the slowest peer's rate at which costs are compared.
const SHARE: f64 = 0.7;

/// Builds, measures and prints.
pub(crate) fn command(options: &Options) -> Result<()> {
    let (peers, probes, sizes) = (options.chosen()?, options.probes(), options.sizes());
    let plan = options.plan();
    for probe in &probes {
        let carried = peers.iter().any(|peer| peer.carries(*probe));
        ensure!(carried, "--probes {}: none of the peers does that", probe.name());
    }
    let scenes = scenes(&sizes, &probes);
    let steps = scenes.iter().map(|(_, probes)| {
        let turns = peers
            .iter()
            .flat_map(|peer| probes.iter().filter(|p| peer.carries(**p)));
        peers.len() + turns.count() * plan.rounds as usize
    });
    let mut progress = Progress::new(steps.sum());
    let mut series = Vec::new();
    let abouts = peers.iter().map(|peer| About::new(peer.name(), peer.about()));
    let mut abouts: Vec<About> = abouts.collect();
    for (scene, probes) in &scenes {
        series.extend(measure(&peers, &mut abouts, probes, scene, &plan, &mut progress)?);
    }
    progress.end();
    let results = Results {
        machine: Machine::this(),
        plan,
        peers: abouts,
        series,
    };
    summary::write("compare/", results.summary())?;
    files::write("compare.json", &results.json())?;
    match options.output {
        crate::cli::Output::Json => println!("{:#}", results.json()),
        crate::cli::Output::Table => print!("{}", results.table(std::io::stdout().is_terminal())),
    }
    Ok(())
}

/// What is built one after the other, and what is measured in each. A machine outside needs a segment, whose bridge costs time: it is there
/// only for who asks from outside.
fn scenes(sizes: &[Size], probes: &[Probe]) -> Vec<(Scene, Vec<Probe>)> {
    let scene = |size, outside| {
        let some = probes
            .iter()
            .copied()
            .filter(|probe| (probe.way() == Way::NodePort) == outside);
        let some: Vec<Probe> = some.collect();
        let flows = some.iter().filter_map(|probe| probe.flows()).max().unwrap_or(1);
        (Scene { size, outside, flows }, some)
    };
    let both = sizes.iter().flat_map(|&size| [scene(size, false), scene(size, true)]);
    both.filter(|(_, probes)| !probes.is_empty()).collect()
}

/// All rounds of all probes with all peers that carry them. Everybody stays up from the first round to the last.
fn measure(
    peers: &[Box<dyn Peer>],
    abouts: &mut [About],
    probes: &[Probe],
    scene: &Scene,
    plan: &Plan,
    progress: &mut Progress,
) -> Result<Vec<Series>> {
    let mut sites: Vec<Option<Site>> = Vec::new();
    for (peer, about) in peers.iter().zip(abouts) {
        progress.step(format!("{} is set up", peer.name()));
        let wanted = probes.iter().any(|probe| peer.carries(*probe));
        let site = wanted.then(|| ready(peer.as_ref(), scene, probes)).transpose()?;
        if let Some(site) = &site {
            about.add(peer.settings(scene, site)?);
        }
        sites.push(site);
    }
    let mut series: Vec<Series> = Vec::new();
    let mut at = Vec::new();
    for &probe in probes {
        for (peer, site) in peers.iter().zip(&sites).filter(|(peer, _)| peer.carries(probe)) {
            let Some(site) = site else { continue };
            at.push((probe, series.len(), site));
            series.push(Series {
                size: scene.size,
                probe,
                peer: peer.name().to_owned(),
                runs: Vec::new(),
            });
        }
    }
    let kinds: Vec<Probe> = at.iter().map(|(probe, ..)| *probe).collect();
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let time = Duration::from_secs_f64(plan.seconds);
    for round in 0..plan.rounds {
        for order in turns(probes, &kinds, &mut random) {
            let mut slowest = f64::MAX;
            for &turn in &order {
                let (probe, index, site) = at[turn];
                let series = &mut series[index];
                progress.step(format!("{}, {}", series.peer, probe.name()));
                let run = probe.run(site, round, time).with_context(|| named(series, round))?;
                slowest = slowest.min(run.values[0]);
                series.runs.push(run);
            }
            // What a packet costs is compared at one rate that all of them reach.
            for &turn in &order {
                let (probe, index, site) = at[turn];
                let series = &mut series[index];
                let Some(run) = series.runs.last_mut().filter(|_| probe.flows().is_some()) else {
                    continue;
                };
                progress.say(format!("{}, {}, cost", series.peer, probe.name()));
                let cost = probe.cost(site, slowest * SHARE, time, run);
                cost.with_context(|| named(series, round))?;
            }
        }
    }
    Ok(series)
}

fn named(series: &Series, round: u32) -> String {
    format!("{}, {}, round {}", series.peer, series.probe.name(), round + 1)
}

/// A peer that is up, and whose word was not taken for it: traffic has gone all ways, and it knows what went through its service.
fn ready(peer: &dyn Peer, scene: &Scene, probes: &[Probe]) -> Result<Site> {
    let site = peer
        .up(scene)
        .with_context(|| format!("{} cannot be set up", peer.name()))?;
    let carried = probes.iter().filter(|probe| peer.carries(**probe));
    let mut ways: Vec<Way> = carried.map(|probe| probe.way()).collect();
    ways.sort();
    ways.dedup();
    for &way in &ways {
        let kinds = kinds(peer, way);
        traffic::rehearse(&site.lab, way, kinds).with_context(|| format!("{} does not carry {way:?}", peer.name()))?;
    }
    if ways.contains(&Way::Service) {
        let translated = peer.translated(&site)?;
        ensure!(translated != Some(0), "{} has translated nothing", peer.name());
    }
    Ok(site)
}

/// All that the peer says it carries this way, measured or not.
fn kinds(peer: &dyn Peer, way: Way) -> Kinds {
    let carries = |datagrams: bool| {
        let mut probes = Probe::value_variants().iter().filter(|probe| probe.way() == way);
        probes.any(|probe| probe.flows().is_some() == datagrams && peer.carries(*probe))
    };
    Kinds {
        tcp: carries(false),
        datagrams: carries(true),
    }
}

/// The order of a round: probes are shuffled, and peers within each, so that what is compared is close in time.
fn turns(probes: &[Probe], all: &[Probe], random: &mut fastrand::Rng) -> Vec<Vec<usize>> {
    let mut probes = probes.to_vec();
    random.shuffle(&mut probes);
    let peers = probes.into_iter().map(|probe| {
        let mut peers: Vec<usize> = (0..all.len()).filter(|at| all[*at] == probe).collect();
        random.shuffle(&mut peers);
        peers
    });
    peers.collect()
}
