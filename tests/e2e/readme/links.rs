//! The links of the documents have valid targets, and the files that they name exist.

use std::path::Path;

use e2e::workspace;

use super::{DOCUMENTS, document};

/// The lines of a document outside its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of links and pictures.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text).collect::<Vec<_>>().join("\n");
    let after = text.split("](").skip(1);
    after
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let lower = heading.trim_start_matches('#').trim().to_lowercase();
    lower
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_heading(text: &str, name: &str) -> bool {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line) == name)
}

#[test]
fn links_lead_to_files_and_headings() {
    for name in DOCUMENTS {
        let text = document(name);
        let directory = Path::new(name).parent().unwrap();
        let targets = targets(&text);
        for target in targets.iter().filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked = if path.is_empty() {
                Path::new(name).to_owned()
            } else {
                directory.join(path)
            };
            let file = workspace::root().join(&linked);
            assert!(file.exists(), "{name}: there is no {target}");
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(
                    has_heading(&text, heading),
                    "{name}: no heading for {target}"
                );
            }
        }
    }
}

#[test]
fn the_files_that_documents_name_exist() {
    let is_source = |code: &&str| {
        let extension = Path::new(code).extension().and_then(|it| it.to_str());
        code.contains('/')
            && code.split('/').next().is_some_and(|first| {
                ["aggregator", "compose", "publisher", "shared", "tests"].contains(&first)
            })
            && extension.is_some_and(|it| ["rs", "sql", "sh", "toml", "yml"].contains(&it))
    };
    let mut found = 0;
    for name in DOCUMENTS {
        let text = document(name);
        let text = prose(&text).collect::<Vec<_>>().join("\n");
        for path in text.split('`').skip(1).step_by(2).filter(is_source) {
            found += 1;
            assert!(workspace::root().join(path).exists(), "{name}: {path}");
        }
    }
    assert!(found > 10, "only {found} files are named");
}
