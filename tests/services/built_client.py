"""The Python client as its users get it: a source distribution, a wheel made from that, unpacked below build/.

Import `ilre` after importing this module. As a program it prints the folder for PYTHONPATH.
"""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "clients/python"
BUILT = ROOT / "build/clients/python"
PARTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "src", "examples", "tests")


def _sources() -> list[pathlib.Path]:
    of_client = [path for part in PARTS for path in (SOURCE / part).rglob("*")] + [SOURCE / part for part in PARTS]
    made = ("__pycache__", "egg-info", str(SOURCE / "src/ilre/v1"))
    files = [path for path in of_client if path.is_file() and not any(word in str(path) for word in made)]
    return sorted([*files, *(ROOT / "protos/ilre").rglob("*.proto")])


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in _sources():
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _run(*command: str, cwd: pathlib.Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")


def _build(target: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ilre-client-") as folder:
        checkout = pathlib.Path(folder) / "checkout"
        for path in _sources():
            copy = checkout / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        make = f"from setuptools import build_meta; build_meta.build_sdist({folder!r})"
        _run(sys.executable, "-c", make, cwd=checkout / "clients/python")
        (archive,) = pathlib.Path(folder).glob("*.tar.gz")
        pip = (sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-index", "--no-deps")
        _run(*pip, "--no-build-isolation", "-w", folder, str(archive), cwd=pathlib.Path(folder))
        (wheel,) = pathlib.Path(folder).glob("*.whl")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        with zipfile.ZipFile(wheel) as unpacked:
            unpacked.extractall(target)
        shutil.copy(wheel, target.parent)


def path() -> pathlib.Path:
    """The folder to import from, built anew where the sources have changed. Several processes may ask at once."""
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    with open(BUILT.parent / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = BUILT.parent / "fingerprint"
        wanted = _fingerprint()
        if not mark.exists() or mark.read_text() != wanted:
            _build(BUILT)
            mark.write_text(wanted)
    return BUILT


sys.path.insert(0, str(path()))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(BUILT), os.environ.get("PYTHONPATH")]))
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # connections are broken on purpose here

if __name__ == "__main__":
    print(BUILT)
