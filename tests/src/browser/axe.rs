//! An automated accessibility check with axe-core.

use serde::Deserialize;

use super::{Browser, needed};

/// A rule that the page violates.
#[derive(Debug, Deserialize)]
pub struct Violation {
    /// The rule's name in axe-core.
    pub id: String,
    /// What it requires.
    pub help: String,
    /// Where it is violated: the HTML of each element, and what is wrong with it.
    pub nodes: Vec<String>,
}

/// Levels A and AA of WCAG 2.0 and 2.1, and best practices.
const CHECK: &str = "
    const done = arguments[arguments.length - 1];
    axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'],
        resultTypes: ['violations'],
        preload: false,
    }).then(
        found => done({checked: found.passes.length, violations: found.violations.map(rule => ({
            id: rule.id,
            help: rule.help,
            nodes: rule.nodes.map(node => `${node.target}: ${node.html}: ${node.failureSummary}`),
        }))}),
        error => done(String(error)),
    );";

#[derive(Debug, Deserialize)]
struct Found {
    checked: usize,
    violations: Vec<Violation>,
}

impl Browser {
    /// Checks the page in its current state. None if axe-core is not available: `tests/run.sh` names its file in
    /// `E2E_AXE`.
    pub async fn violations(&self) -> Option<Vec<Violation>> {
        let file = needed("E2E_AXE", "axe-core")?;
        let axe = std::fs::read_to_string(&file)
            .unwrap_or_else(|err| panic!("{} cannot be read: {err}", file.display()));
        self.run(&axe, Vec::new()).await;
        let found = self.client.execute_async(CHECK, Vec::new()).await;
        let found = found.expect("axe-core runs");
        let found: Found = serde_json::from_value(found.clone())
            .unwrap_or_else(|err| panic!("{err}: axe-core returned {found}"));
        assert!(found.checked > 0, "axe-core found nothing to check");
        Some(found.violations)
    }
}
