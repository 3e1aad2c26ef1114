"""Prints the bill of materials of a program, in the JSON of CycloneDX 1.6: sbom.py aggregator | publisher

It lists the packages that the program is linked with on the target of this machine's compiler, or on TARGET if that is set, as
cargo resolves them from Cargo.lock. The same sources give the same text. Needs cargo and Python 3.11 or later.
"""

import json
import os
import pathlib
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def cargo(*arguments):
    # Set by cargo itself when it runs this from a test.
    command = [os.environ.get("CARGO", "cargo"), *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def host():
    lines = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


def tree(program, target):
    """Each package with the packages that it needs, by name and version; the program is the first."""
    lines = cargo("tree", "--locked", "--package", program, "--edges", "normal,no-proc-macro", "--target", target,
                  "--prefix", "depth", "--format", "\t{p}\t{l}").splitlines()
    needs, licenses, path = {}, {}, []
    for line in filter(None, lines):
        depth, package, license = line.removesuffix(" (*)").split("\t")
        name, version = package.split()[:2]
        package = (name, version.removeprefix("v"))
        licenses[package] = license
        needs.setdefault(package, set())
        del path[int(depth):]
        if path:
            needs[path[-1]].add(package)
        path.append(package)
    return needs, licenses


def reference(package):
    return "pkg:cargo/{}@{}".format(*package)


def component(package, kind, license, checksum):
    described = {"type": kind, "bom-ref": reference(package), "name": package[0], "version": package[1]}
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if license:
        # An old way to write that either licence may be chosen.
        described["licenses"] = [{"expression": license.replace(" / ", " OR ").replace("/", " OR ")}]
    if checksum:
        described["purl"] = reference(package)
        described["externalReferences"] = [
            {"type": "distribution", "url": "https://crates.io/crates/{}/{}".format(*package)}]
    return described


def bill(program):
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    needs, licenses = tree(program, os.environ.get("TARGET") or host())
    packages = sorted(needs)
    main = next(package for package in packages if package[0] == program)
    described = {
        package: component(package, "application" if package == main else "library", licenses[package], checksums[package])
        for package in packages
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": described[main]},
        "components": [described[package] for package in packages if package != main],
        "dependencies": [
            {"ref": reference(package), "dependsOn": [reference(other) for other in sorted(needs[package])]}
            for package in packages
        ],
    }


if len(sys.argv) != 2 or sys.argv[1] not in ("aggregator", "publisher"):
    sys.exit(__doc__)
json.dump(bill(sys.argv[1]), sys.stdout, indent=1)
print()
