//! All that was found, for a person and as JSON.

use serde::Serialize;

use crate::deployment::Away;
use crate::output::{Cell, Report, Style, Table, Verdict};

use super::finding::{Finding, Severity};
use super::scratch::Tried;

#[derive(Serialize)]
pub struct Diagnosis {
    /// Nodes that were looked at.
    pub nodes: usize,
    /// In the order in which things break: what stands first may be the reason for what comes behind.
    pub findings: Vec<Finding>,
    /// The key of its own, at each primary.
    pub scratch: Vec<Tried>,
    /// What could not be looked at.
    pub away: Vec<Away>,
}

impl Diagnosis {
    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|found| found.severity == severity).count()
    }

    pub fn verdict(&self) -> Verdict {
        match (self.count(Severity::Wrong), self.away.is_empty()) {
            (1.., _) => Verdict::Wrong,
            (0, false) => Verdict::Blind,
            (0, true) => Verdict::Well,
        }
    }
}

impl Report for Diagnosis {
    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        for found in &self.findings {
            let severity = match found.severity {
                Severity::Wrong => style.bad("wrong"),
                Severity::Warn => style.warn("warn "),
                Severity::Note => style.dim("note "),
            };
            let node = found.node.as_ref().map(|node| format!("{node} ")).unwrap_or_default();
            text.push_str(&format!(
                "{severity} {node}{}: {}\n",
                style.bold(found.finding),
                found.what
            ));
            if !found.todo.is_empty() {
                text.push_str(&format!("      {} {}\n", style.dim("do:"), found.todo));
            }
        }
        text.push_str(&Away::lines(&self.away, style));
        if !self.scratch.is_empty() {
            text.push_str(&self.latencies(style));
        }
        let [wrong, warn, note] =
            [Severity::Wrong, Severity::Warn, Severity::Note].map(|of| self.count(of));
        text.push_str(&format!(
            "nodes: {}, wrong: {wrong}, warnings: {warn}, notes: {note}\n",
            self.nodes
        ));
        text
    }
}

impl Diagnosis {
    /// A row for each primary; of a step that was taken several times the quickest.
    fn latencies(&self, style: Style) -> String {
        let mut names: Vec<&str> = Vec::new();
        for step in self.scratch.iter().flat_map(|tried| &tried.steps) {
            if !names.contains(&step.step) {
                names.push(step.step);
            }
        }
        let headings: Vec<&str> = [&["milliseconds"], names.as_slice()].concat();
        let mut table = Table::new(&headings);
        for tried in &self.scratch {
            let best = |name: &&str| {
                let times =
                    tried.steps.iter().filter(|step| step.step == *name).map(|step| step.ms);
                let best = times.reduce(f64::min);
                Cell::text(best.map_or_else(|| "-".into(), |ms| format!("{ms:.2}")))
            };
            let mut cells = vec![Cell::text(&tried.address)];
            cells.extend(names.iter().map(best));
            table.row(cells);
        }
        table.lines(style)
    }
}
