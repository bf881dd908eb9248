//! The policies of pods on a screen.

use super::page::{Page, bold, doubtful};
use super::units::many;
use sluice_control::api::{PolicyRow, PolicySide};

/// What `sluice policies [POD]` shows.
pub(super) fn page(rows: &[PolicyRow], pod: Option<&str>) -> Page {
    let mut page = Page::default();
    let isolated = rows
        .iter()
        .filter(|row| row.ingress.isolated || row.egress.isolated)
        .count();
    match (rows, pod) {
        ([], _) => page.line(["no pods are attached to this node".into()]),
        (rows, None) => page.line([format!("{isolated} of {} isolated by a policy", many(rows.len(), "pod")).into()]),
        (_, Some(_)) => {}
    }
    for row in rows {
        page.line([bold(&row.pod), format!("   {}", row.addresses.join(", ")).into()]);
        side(&mut page, "ingress", &row.ingress);
        side(&mut page, "egress", &row.egress);
    }
    page
}

fn side(page: &mut Page, name: &str, side: &PolicySide) {
    if !side.isolated && side.policies.is_empty() {
        page.line([format!("  {name:9}open: no policy selects the pod").into()]);
        return;
    }
    let (state, why) = if !side.isolated {
        ("open".into(), ": what no rule denies may pass")
    } else if side.policies.is_empty() {
        (
            doubtful("isolated"),
            ": nothing may pass, as no Pod object is known  (sluice status)",
        )
    } else {
        (doubtful("isolated"), ": only what a rule allows may pass")
    };
    page.line([format!("  {name:9}").into(), state, why.into()]);
    for policy in &side.policies {
        let nothing = if policy.rules.is_empty() {
            "   no rule: allows nothing"
        } else {
            ""
        };
        let place = match (&policy.tier, policy.priority) {
            (Some(tier), Some(priority)) => format!("   cluster policy, {tier} tier, priority {priority}"),
            _ => String::new(),
        };
        page.line([format!("    {}{place}{nothing}", policy.policy).into()]);
        for (index, rule) in policy.rules.iter().enumerate() {
            page.line([format!("      rule {index}  {rule}").into()]);
        }
    }
}
