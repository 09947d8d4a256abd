"""The deployment of k8s/overlays/shared-volume on one machine: every service is a host of a network, the store is a folder
that they share, and HAProxy balances requests."""

import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cli"))
sys.path.insert(0, str(ROOT / "tests" / "deployment"))

from ilre_cli import MODEL, Ilre  # noqa: E402
from network import Network  # noqa: E402

PATIENCE_S = 120  # before something counts as never happening, on a machine that is busy otherwise
TOKEN = "a-token-for-this-test-alone"
HAPROXY = """
global
  log stderr format raw local0 warning
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout http-request 120s
  timeout check 10s
  option redispatch
  retries 3
  retry-on conn-failure empty-response
"""
BALANCED = """
listen {name}
  bind :{port} proto h2
  balance roundrobin
  option httpchk
  http-check connect port 9090 proto h1
  http-check send meth GET uri /readyz
  http-check expect status 200
  default-server inter 500ms fall 2 rise 1 check proto h2
"""


class NeverHappened(AssertionError):
    pass


def wait_for(what: str, condition, seconds: float = PATIENCE_S):
    """-> the first true result of `condition`"""
    end = time.monotonic() + seconds
    while True:
        if result := condition():
            return result
        if time.monotonic() > end:
            raise NeverHappened(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def http_get(address: str, path: str) -> str | None:
    """Of a host's HTTP port; None if it does not answer with 200."""
    try:
        with urllib.request.urlopen(f"http://{address}:9090{path}", timeout=10) as response:
            return response.read().decode()
    except OSError:
        return None


class Cluster:
    """Hosts: encoder, spare, retriever1, retriever2, generator1, generator2, proxy; client is this process."""

    def __init__(self, programs: pathlib.Path, folder: pathlib.Path):
        self.programs, self.folder = programs, folder
        self.processes: dict[str, subprocess.Popen] = {}
        self.network = Network(folder)
        try:
            for host in ("encoder", "spare"):
                self.network.add_host(host)
            for host in ("retriever1", "retriever2"):
                self.network.add_host(host, "retrievers")
            for host in ("generator1", "generator2", "proxy", "client"):
                self.network.add_host(host)
            self.prepare()
            self.network.enter("client")
        except BaseException:
            self.close()
            raise

    def prepare(self) -> None:
        tiny = Ilre(str(self.programs / "ilre"))
        self.profile = self.folder / "profile.json"
        self.profile.write_text((tiny.folder / "tiny.json").read_text())
        tiny.close()
        (self.folder / "tokens").write_text(f"# of this test\nalice {TOKEN}\n")
        (self.folder / "store").mkdir()
        self.write_proxy_configuration()

    def write_proxy_configuration(self) -> None:
        text = HAPROXY
        for name, port, hosts in (
            ("encoder", 50051, ["encoder"]),
            ("retriever", 50052, ["retriever1", "retriever2"]),
            ("generator", 50053, ["generator1", "generator2"]),
        ):
            text += BALANCED.format(name=name, port=port)
            text += "".join(f"  server {host} {self.network.addresses[host]}:50051\n" for host in hosts)
        (self.folder / "haproxy.cfg").write_text(text)

    def address(self, host: str) -> str:
        return self.network.addresses[host]

    def command(self, host: str, kind: str) -> list:
        command = [
            self.programs / f"ilre-{kind}", "--listen", "0.0.0.0:50051", "--http-listen", "0.0.0.0:9090",
            "--model", MODEL, "--profile", self.profile, "--tokens-file", self.folder / "tokens", "--threads", "1",
            "--drain-seconds", "10",
        ]  # fmt: skip
        if kind != "generator":
            command += ["--data-dir", self.folder / "store"]
        if kind == "generator":
            command += ["--retriever", "dns:///retrievers:50051"]
        return command

    def launch(self, host: str, command: list) -> subprocess.Popen:
        with open(self.folder / f"{host}.log", "ab") as log:
            self.processes[host] = self.network.start(host, command, stdout=log, stderr=log)
        return self.processes[host]

    def start(self, host: str) -> None:
        """Returns when the service is ready."""
        process = self.launch(host, self.command(host, re.sub(r"\d", "", host)))
        self.wait_until_ready(host, process, lambda: http_get(self.address(host), "/readyz") is not None)

    def start_proxy(self) -> None:
        process = self.launch("proxy", ["haproxy", "-db", "-f", self.folder / "haproxy.cfg"])

        def listens() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection((self.address("proxy"), 50053), timeout=10).close()
                return True
            return False

        self.wait_until_ready("proxy", process, listens)

    def wait_until_ready(self, host: str, process: subprocess.Popen, condition) -> None:
        def ready() -> bool:
            if process.poll() is not None:
                raise NeverHappened(f"{host} ended with {process.returncode}: {self.log(host)}")
            return condition()

        wait_for(f"{host} is ready", ready)

    def kill(self, host: str) -> None:
        process = self.processes.pop(host)
        process.kill()
        process.wait()

    def terminate(self, host: str) -> int:
        """SIGTERM. -> exit status"""
        process = self.processes.pop(host)
        process.terminate()
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise NeverHappened(f"{host} ends after SIGTERM: {self.log(host)}") from None

    def calls(self, host: str, method: str) -> int:
        """Calls of a method that the host answered with success."""
        text = http_get(self.address(host), "/metrics") or ""
        total = 0
        for labels, value in re.findall(r"^ilre_requests_total\{(.*)\} ([0-9.e+]+)$", text, re.MULTILINE):
            if re.search(rf'method="[\w.]+/{method}"', labels) and 'code="OK"' in labels:
                total += int(float(value))
        return total

    def log(self, host: str) -> str:
        path = self.folder / f"{host}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else "no log"

    def logs(self) -> str:
        return "".join(f"---- {path.stem}\n{self.log(path.stem)}" for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()
        self.network.close()
