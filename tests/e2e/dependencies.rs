//! What the programs are made of: licences, versions and sources as `.cargo/deny.toml` allows them.

mod bill;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::read_to_string,
    process::Command,
};

use e2e::workspace;
use serde::Deserialize;

/// `.cargo/deny.toml`. A key that is not checked here is not known here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    graph: Graph,
    /// Needs a database, so only cargo-deny checks it.
    #[serde(rename = "advisories")]
    _advisories: BTreeMap<String, String>,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Graph {
    targets: Vec<String>,
    exclude: Vec<String>,
    exclude_dev: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Bans {
    multiple_versions: String,
    wildcards: String,
    allow_wildcard_paths: bool,
    skip: Vec<Skipped>,
}

/// A version of a package that may exist in addition to another one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skipped {
    #[serde(rename = "crate")]
    package: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Sources {
    unknown_registry: String,
    unknown_git: String,
    allow_registry: Vec<String>,
}

fn rules() -> Rules {
    let text = read_to_string(workspace::root().join(".cargo/deny.toml")).unwrap();
    let rules: Rules = toml_edit::de::from_str(&text).unwrap();
    let denied = [
        &rules.bans.multiple_versions,
        &rules.bans.wildcards,
        &rules.sources.unknown_registry,
        &rules.sources.unknown_git,
    ];
    assert!(denied.iter().all(|rule| *rule == "deny"), "{rules:?}");
    assert!(rules.graph.exclude_dev && rules.bans.allow_wildcard_paths);
    rules
}

/// What a command of cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output = command
        .args(arguments)
        .current_dir(workspace::root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A package that a program consists of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    dependencies: Vec<Dependency>,
    id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    kind: Option<String>,
}

/// The packages of the programs on all targets of the rules: what they are linked with, and what builds that.
fn packages(rules: &Rules) -> BTreeSet<Package> {
    let mut found = BTreeSet::new();
    for target in &rules.graph.targets {
        let arguments = [
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
        ];
        let text = cargo(&[&arguments[..], &[target]].concat());
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        let packages = metadata.packages.into_iter();
        let packages: BTreeMap<_, _> = packages.map(|one| (one.id.clone(), one)).collect();
        let nodes = metadata.resolve.nodes.into_iter();
        let nodes: BTreeMap<_, _> = nodes.map(|node| (node.id, node.deps)).collect();
        let mut open = metadata.workspace_members;
        open.retain(|id| !rules.graph.exclude.contains(&packages[id].name));
        assert_eq!(open.len(), 3, "{open:?}");
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            let is_part = |edge: &&Edge| {
                edge.dep_kinds
                    .iter()
                    .any(|one| one.kind.as_deref() != Some("dev"))
            };
            if reached.insert(id.clone()) {
                open.extend(
                    nodes[&id]
                        .iter()
                        .filter(is_part)
                        .map(|edge| edge.pkg.clone()),
                );
            }
        }
        found.extend(reached.iter().map(|id| packages[id].clone()));
    }
    assert!(found.len() > 200, "{}", found.len());
    found
}

#[test]
fn every_licence_is_allowed_and_every_allowed_licence_occurs() {
    let rules = rules();
    let mut seen = BTreeSet::new();
    for package in packages(&rules) {
        let license = package.license.as_deref().unwrap_or_default();
        let parsed = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX);
        let parsed = parsed.unwrap_or_else(|err| panic!("{}: {err}", package.name));
        let is_allowed = parsed.evaluate(|required| {
            let name = required.license.id().map_or("", |id| id.name);
            let is_allowed = required.addition.is_none() && rules.licenses.allow.contains(name);
            if is_allowed {
                seen.insert(name.to_owned());
            }
            is_allowed
        });
        assert!(
            is_allowed,
            "{} {}: {license}",
            package.name, package.version
        );
    }
    assert_eq!(seen, rules.licenses.allow);
}

#[test]
fn no_package_is_there_in_two_versions_unless_the_rules_say_why() {
    let rules = rules();
    let mut versions = BTreeMap::<_, BTreeSet<_>>::new();
    for package in packages(&rules) {
        versions
            .entry(package.name)
            .or_default()
            .insert(package.version);
    }
    for Skipped { package, reason } in &rules.bans.skip {
        assert!(!reason.is_empty(), "{package}");
        let (name, skipped) = package.split_once('@').unwrap();
        let versions = versions.get_mut(name).unwrap();
        let before = versions.len();
        versions.retain(|version| !version.starts_with(&format!("{skipped}.")));
        let is_needed = before > 1 && versions.len() == before - 1;
        assert!(is_needed, "{package} need not be skipped");
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "{versions:?}");
}

#[test]
fn every_package_is_of_the_registry_and_says_which_version_it_needs() {
    let rules = rules();
    let registries = rules.sources.allow_registry.iter();
    let registries: Vec<_> = registries.map(|url| format!("registry+{url}")).collect();
    for package in packages(&rules) {
        let Some(source) = &package.source else {
            assert!(
                ["shared", "aggregator", "publisher"].contains(&package.name.as_str()),
                "{package:?}"
            );
            for needed in &package.dependencies {
                assert!(
                    needed.req != "*" || needed.path.is_some(),
                    "{}",
                    needed.name
                );
            }
            continue;
        };
        assert!(registries.contains(source), "{}: {source}", package.name);
    }
    // Of the tests too.
    let lock = read_to_string(workspace::root().join("Cargo.lock")).unwrap();
    for line in lock.lines().filter(|line| line.starts_with("source = ")) {
        let source = line.trim_start_matches("source = ").trim_matches('"');
        assert!(
            registries.iter().any(|registry| registry == source),
            "{line}"
        );
    }
}

#[test]
fn cargo_deny_says_the_same_where_it_is_installed() {
    let installed = Command::new("cargo-deny").arg("--version").output();
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("there is no cargo-deny; only the tests above check the rules");
        return;
    }
    cargo(&[
        "deny",
        "--offline",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]);
}
