//! The messages in the troubleshooting table are those that the programs print.

use std::{fs, path::Path};

use e2e::workspace;

use super::{blocks::rows, document};

/// All source text below a directory, with strings that continue on the next line joined.
fn sources(directory: &Path, to: &mut String) {
    for entry in fs::read_dir(directory).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            sources(&path, to);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).expect("it can be read");
            to.push_str(&text.replace("\\n", " "));
        }
    }
}

#[test]
fn the_messages_of_the_table_are_in_the_programs() {
    let mut all = String::new();
    for package in ["aggregator", "shared"] {
        sources(&workspace::root().join(package).join("src"), &mut all);
    }
    let all: String = all
        .split("\\\n")
        .map(str::trim_start)
        .collect::<Vec<_>>()
        .concat();
    let symptoms = rows(&document("compose/README.md"), "## Troubleshooting");
    let mut checked = 0;
    for symptom in symptoms.iter().map(|row| &row[0]) {
        let messages = symptom.split('`').skip(1).step_by(2);
        let parts = messages
            .filter(|message| message.contains(' '))
            .flat_map(|message| message.split('…'));
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            checked += 1;
            // The version is a constant.
            let part = part.trim_start_matches("2.10.6 ");
            assert!(all.contains(part), "no program prints {part:?}: {symptom}");
        }
    }
    assert!(checked > 10, "only {checked} messages were checked");
}
