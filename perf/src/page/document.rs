//! The page: what was measured and on what, goals, pictures, tables. All text that comes from elsewhere is escaped by the templates.

use super::data::{Compare, Data, Instructions, Pipeline, Setting};
use super::{chart, draw, figures, peers};
use crate::report::summary::Entry;
use crate::report::{Machine, exact};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Colours for both schemes, and a layout for all widths. Ours, so it need not be escaped.
const STYLE: &str = include_str!("style.css");

pub(super) fn document(data: &Data) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Sluice: what a packet costs" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Sluice: what a packet costs" }
                    (verdict(&data.summary))
                    @if let Some(pipeline) = &data.pipeline { (origin(pipeline)) }
                }
                main {
                    (goals(&data.summary))
                    @if let Some(pipeline) = &data.pipeline { (path(pipeline)) }
                    @if let Some(compare) = &data.compare { (beside(compare)) }
                    @if let Some(counted) = &data.instructions { (instructions(counted)) }
                }
                footer {
                    p {
                        "Medians; whiskers reach from the 5 % to the 95 % quantile of the runs. What is compared took turns in one run, in shuffled "
                        "order. docs/performance.md has the method, and how to repeat this."
                    }
                }
            }
        }
    }
}

fn verdict(summary: &[Entry]) -> Markup {
    let judged: Vec<bool> = summary.iter().filter_map(|entry| entry.met).collect();
    let met = judged.iter().filter(|met| **met).count();
    html! {
        @if !judged.is_empty() {
            p.verdict { strong { (met) " of " (judged.len()) } " goals met" }
        }
    }
}

fn origin(pipeline: &Pipeline) -> Markup {
    let plan: Vec<String> = pipeline
        .plan
        .iter()
        .map(|(name, value)| match value.as_u64() {
            Some(number) => format!("{name} {}", exact(number)),
            None => format!("{name} {value}"),
        })
        .collect();
    html! {
        dl {
            (machine(&pipeline.machine))
            div { dt { "measured" } dd { (pipeline.date) } }
            div { dt { "plan" } dd { (plan.join(", ")) } }
        }
        @if pipeline.waiting > 0.02 {
            p.warning {
                "The machine was busy: workers waited " (format!("{:.0} %", 100.0 * pipeline.waiting))
                " of the time for a processor that others used."
            }
        }
    }
}

fn machine(machine: &Machine) -> Markup {
    html! {
        div { dt { "machine" } dd { (machine.cpu) ", " (machine.cores) @if machine.cores == 1 { " core" } @else { " cores" } } }
        div { dt { "kernel" } dd { "Linux " (machine.kernel) } }
        div { dt { "commit" } dd { (machine.commit) } }
    }
}

fn goals(summary: &[Entry]) -> Markup {
    let with: Vec<(&Entry, f64)> = summary.iter().filter_map(|entry| Some((entry, entry.goal?))).collect();
    html! {
        @if !with.is_empty() {
            section {
                h2 { "Goals" }
                div.wide {
                    table {
                        thead { tr { th scope="col" { "what" } th.number scope="col" { "goal" } th.number scope="col" { "is" }
                            th scope="col" { "goal is" } th.number scope="col" { "5 % .. 95 %" } th scope="col" { "unit" } } }
                        tbody {
                            @for (entry, goal) in with {
                                tr {
                                    th scope="row" { (entry.name) }
                                    td.number { (chart::short(goal)) }
                                    td.number { (chart::short(entry.value)) }
                                    @match entry.met {
                                        Some(true) => td.met { "met" },
                                        Some(false) => td.missed { "missed" },
                                        None => td {},
                                    }
                                    td.number { (chart::short(entry.low)) " .. " (chart::short(entry.high)) }
                                    td { (entry.unit) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn path(pipeline: &Pipeline) -> Markup {
    let charts = figures::charts(pipeline);
    html! {
        @if !charts.is_empty() {
            section {
                h2 { "The packet path alone" }
                p { "The engine with memory ports and nothing else, from a frame's arrival to its end, on one core." }
                div.figures { @for chart in &charts { (draw::figure(chart)) } }
            }
        }
    }
}

fn beside(compare: &Compare) -> Markup {
    html! {
        section {
            h2 { "Beside others" }
            p { "The same traffic over the same topology, taking turns on this machine; commit " (compare.machine.commit) "." }
            div.figures { @for chart in &peers::charts(compare) { (draw::figure(chart)) } }
            @for note in &compare.notes { p.warning[note.warns] { (note.text) } }
            dl {
                @for peer in &compare.peers { div { dt { (peer.name) } dd { (peer.about) @for setting in &peer.settings { "; " (set(setting)) } } } }
                @if let Some(control) = &compare.tcp_congestion_control { div { dt { "all" } dd { "TCP congestion control " (control) } } }
            }
        }
    }
}

fn set(setting: &Setting) -> Markup {
    html! {
        (setting.name) " " (setting.value)
        @if setting.value != setting.usual { " (usually " (setting.usual) ")" }
    }
}

fn instructions(counted: &Instructions) -> Markup {
    let memory = &counted.memory;
    html! {
        section {
            h2 { "Instructions a packet" }
            p {
                "From receive to free, 64-byte frames, one worker; counted, not timed. Made by rustc " (counted.rustc) " for "
                (counted.target_cpu) ", commit " (counted.machine.commit) ". A connection takes " (exact(memory.flow())) " bytes: two entries of "
                (exact(memory.cache_entry)) " in a worker's cache, and " (exact(memory.connection)) "."
            }
            div.wide {
                table {
                    thead { tr { th scope="col" { "point" } th.number scope="col" { "instructions" } } }
                    tbody {
                        @for (name, count) in &counted.cases {
                            tr { th scope="row" { (name) } td.number { (chart::short(count.instructions)) } }
                        }
                    }
                }
            }
        }
    }
}
