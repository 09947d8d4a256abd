"""A certificate authority, a server's and a client's certificate, made with openssl for one test."""

from __future__ import annotations

import pathlib
import subprocess


class Certificates:
    """PEM files in `folder`: ca.crt, server.crt, server.key, client.crt, client.key, stranger.crt, stranger.key."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._run(
            "req", "-x509", *self._new_key("ca"), "-out", self.path("ca.crt"), "-days", "2", "-subj", "/CN=test-ca"
        )
        for name in ("server", "client"):
            self._run("req", *self._new_key(name), "-out", self.path(f"{name}.csr"), "-subj", f"/CN={name}")
            extensions = folder / f"{name}.ext"
            extensions.write_text("subjectAltName=DNS:localhost,DNS:ilre.test,IP:127.0.0.1\n")
            self._run(
                "x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path("ca.crt"), "-CAkey",
                self.path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", str(extensions),
                "-out", self.path(f"{name}.crt"),
            )  # fmt: skip
        stranger = ("-out", self.path("stranger.crt"), "-days", "2", "-subj", "/CN=stranger")
        self._run("req", "-x509", *self._new_key("stranger"), *stranger)

    def path(self, name: str) -> str:
        return str(self._folder / name)

    def _new_key(self, name: str) -> tuple[str, ...]:
        return (
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-keyout",
            self.path(f"{name}.key"),
        )

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"openssl {arguments[0]}: {done.stderr}")
