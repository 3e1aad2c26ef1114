//! What axe-core finds: an automated check of accessibility, as far as one can be had.

use serde::Deserialize;

use super::{Browser, needed};

/// A rule that the page breaks.
#[derive(Debug, Deserialize)]
pub struct Violation {
    /// The rule's name in axe-core.
    pub id: String,
    /// What it asks for.
    pub help: String,
    /// Where it is broken: the HTML of each element, and what is wrong with it.
    pub places: Vec<String>,
}

/// Level A and AA of WCAG 2.0 and 2.1, and what is good practice beside.
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
            places: rule.nodes.map(node => `${node.target}: ${node.html}: ${node.failureSummary}`),
        }))}),
        error => done(String(error)),
    );";

#[derive(Debug, Deserialize)]
struct Found {
    checked: usize,
    violations: Vec<Violation>,
}

impl Browser {
    /// Checks the page as it is now. None where axe-core is not to be had: `tests/run.sh` names its file in `E2E_AXE`.
    pub async fn violations(&self) -> Option<Vec<Violation>> {
        let file = needed("E2E_AXE", "axe-core")?;
        let axe = std::fs::read_to_string(&file)
            .unwrap_or_else(|err| panic!("{} cannot be read: {err}", file.display()));
        self.run(&axe, Vec::new()).await;
        let found = self.client.execute_async(CHECK, Vec::new()).await;
        let found = found.expect("axe-core runs");
        let found: Found = serde_json::from_value(found.clone())
            .unwrap_or_else(|err| panic!("{err}: axe-core says {found}"));
        assert!(found.checked > 0, "axe-core found nothing to check");
        Some(found.violations)
    }
}
