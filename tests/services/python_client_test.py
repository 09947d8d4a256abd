#!/usr/bin/env python3
"""Builds the Python client's source distribution and its wheel from that, and runs the client's own tests on the wheel.

Usage: python_client_test.py [unittest arguments]
"""

import os
import pathlib
import sys
import zipfile

import built_client

TEST = built_client.SOURCE / "tests/client_test.py"


def main() -> None:
    (wheel,) = built_client.BUILT.parent.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in ("ilre/py.typed", "ilre/client.py", "ilre/v1/encoder_pb2.py", "ilre/v1/encoder_pb2.pyi"):
        assert wanted in names, f"{wheel.name} lacks {wanted}"
    environment = os.environ | {"PYTHONPATH": str(built_client.BUILT)}
    os.execve(sys.executable, [sys.executable, str(pathlib.Path(TEST)), *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
