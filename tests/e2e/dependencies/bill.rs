//! The bill of materials.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::read_to_string,
    process::Command,
};

use e2e::workspace;
use serde::Deserialize;
use serde_json::Value;

use super::{packages, rules};

/// The published programs.
const PROGRAMS: [&str; 2] = ["aggregator", "publisher"];

/// The packages of Cargo.lock, with their checksums.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

#[test]
fn the_bill_of_materials_names_exactly_what_the_lock_file_has_of_a_program() {
    let lock = read_to_string(workspace::root().join("Cargo.lock")).unwrap();
    let lock: Lock = toml_edit::de::from_str(&lock).unwrap();
    let locked = lock.package.into_iter();
    let locked: BTreeMap<_, _> = locked
        .map(|one| ((one.name, one.version), one.checksum))
        .collect();
    let known = packages(&rules());
    for program in PROGRAMS {
        let script = workspace::root().join("compose/sbom.py");
        let run = || {
            Command::new("python3")
                .arg(&script)
                .arg(program)
                .output()
                .unwrap()
        };
        let output = run();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(output.stdout, run().stdout, "it is the same each time");
        let bill: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&bill["bomFormat"], &bill["specVersion"]),
            (&"CycloneDX".into(), &"1.6".into())
        );
        assert_eq!(bill["metadata"]["component"]["name"], program);
        let components = bill["components"].as_array().unwrap();
        let text = |component: &Value, member: &str| component[member].as_str().unwrap().to_owned();
        let mut references = BTreeSet::from([text(&bill["metadata"]["component"], "bom-ref")]);
        for component in components {
            let (name, version) = (text(component, "name"), text(component, "version"));
            let is_known = known
                .iter()
                .any(|one| (&one.name, &one.version) == (&name, &version));
            assert!(is_known, "{name} {version}");
            let checksum = &locked[&(name.clone(), version.clone())];
            let hash = component["hashes"][0]["content"].as_str();
            assert_eq!(hash, checksum.as_deref(), "{name}");
            if checksum.is_some() {
                assert_eq!(component["purl"], format!("pkg:cargo/{name}@{version}"));
            }
            assert!(
                references.insert(text(component, "bom-ref")),
                "{name} {version} twice"
            );
        }
        let has = |name: &str| components.iter().any(|component| component["name"] == name);
        assert!(has("tokio") && has("async-nats") && has("shared") && !has("proptest"));
        assert_eq!(has("libsqlite3-sys"), program == "aggregator");
        // Everything is needed by something, and everything that is needed is in the bill.
        let edges = bill["dependencies"].as_array().unwrap();
        let named: BTreeSet<_> = edges.iter().map(|edge| text(edge, "ref")).collect();
        assert_eq!(named, references);
        let needed = edges
            .iter()
            .flat_map(|edge| edge["dependsOn"].as_array().unwrap());
        let mut needed: BTreeSet<_> = needed.map(|one| one.as_str().unwrap().to_owned()).collect();
        needed.insert(text(&bill["metadata"]["component"], "bom-ref"));
        assert_eq!(needed, references);
    }
}
