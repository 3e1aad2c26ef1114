//! systemd accepts the unit in the deployment document.

use std::{fs, process::Command};

use e2e::{browser::needed, workspace};

use super::{blocks::blocks, document};

#[test]
fn systemd_accepts_the_unit() {
    let Some(program) = needed("E2E_SYSTEMD_ANALYZE", "systemd-analyze") else {
        return;
    };
    let blocks = blocks("compose/README.md", &document("compose/README.md"));
    let unit = blocks
        .iter()
        .find(|block| block.language == "ini")
        .expect("there is a unit");
    let installed = "/usr/local/bin/aggregator";
    assert!(unit.text.contains(installed), "{}", unit.location());
    let built = workspace::binary("aggregator");
    let text = unit.text.replace(installed, built.to_str().unwrap());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("aggregator.service");
    fs::write(&file, text).unwrap();
    let checked = Command::new(program)
        .arg("verify")
        .arg(&file)
        .output()
        .expect("systemd-analyze can be started");
    // It also warns about other units, which it loads with this one.
    let printed = String::from_utf8_lossy(&checked.stderr);
    let warnings: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("aggregator.service"))
        .collect();
    assert!(warnings.is_empty(), "{}: {warnings:?}", unit.location());
    assert!(checked.status.success(), "{printed}");
}
