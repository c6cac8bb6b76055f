//! What a check found: how bad it is, where, what, and what to do.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work, or something that was promised does not hold.
    Wrong,
    /// It works, and will not once something else happens.
    Warn,
    /// Good to know.
    Note,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// By which programs know it; docs/operating.md has them all.
    pub finding: &'static str,
    /// The node; none for what is about several.
    pub node: Option<String>,
    pub what: String,
    /// What to do; empty where nothing is to be done.
    #[serde(rename = "do")]
    pub todo: String,
}

impl Finding {
    pub fn wrong(finding: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Severity::Wrong, finding, what.into(), todo.into())
    }

    pub fn warn(finding: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Severity::Warn, finding, what.into(), todo.into())
    }

    pub fn note(finding: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self::new(Severity::Note, finding, what.into(), todo.into())
    }

    fn new(severity: Severity, finding: &'static str, what: String, todo: String) -> Self {
        Self { severity, finding, node: None, what, todo }
    }

    /// It is about this node.
    pub fn at(self, node: impl ToString) -> Self {
        Self { node: Some(node.to_string()), ..self }
    }
}

/// The names of findings, and where they are.
#[cfg(test)]
pub fn names(findings: &[Finding]) -> Vec<(&'static str, Option<&str>)> {
    findings.iter().map(|found| (found.finding, found.node.as_deref())).collect()
}
