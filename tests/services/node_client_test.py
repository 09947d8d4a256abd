#!/usr/bin/env python3
"""Runs the JavaScript client's own tests, and checks that its package carries what it needs.

Usage: node_client_test.py
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients/node"


def packed_files() -> set[str]:
    """Packs a copy, as its users would, and says what is in it."""
    with tempfile.TemporaryDirectory(prefix="ilre-node-") as folder:
        copy = pathlib.Path(folder) / "clients/node"
        shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("node_modules", "protos"))
        shutil.copytree(ROOT / "protos", pathlib.Path(folder) / "protos")
        command = ["npm", "pack", "--json", "--offline", "--pack-destination", folder]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"npm pack: {done.stderr}")
        (archive,) = pathlib.Path(folder).glob("*.tgz")
        listed = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True, check=True).stdout
        return {line.removeprefix("package/") for line in listed.splitlines()}


def main() -> int:
    if not (CLIENT / "node_modules/@grpc/grpc-js").is_dir():
        raise SystemExit("the JavaScript client's dependencies are missing: run scripts/setup --for-tests")
    pinned = json.loads((CLIENT / "package.json").read_text())["dependencies"]
    for name, version in pinned.items():
        found = json.loads((CLIENT / "node_modules" / name / "package.json").read_text())["version"]
        assert found == version, f"{name} {found} is installed, {version} is wanted: run scripts/setup --for-tests"
    files = packed_files()
    for wanted in (
        "src/index.js",
        "types/index.d.ts",
        "protos/ilre/v1/encoder.proto",
        "protos/google/rpc/status.proto",
    ):
        assert wanted in files, f"the package lacks {wanted}"
    return subprocess.run(["node", "--test", "test/client.test.js"], cwd=CLIENT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
