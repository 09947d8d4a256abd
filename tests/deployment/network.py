"""A network of hosts on one machine: each in a network namespace of its own, joined by a bridge in another one. Nothing of
the machine's own network is touched or reachable."""

import ctypes
import os
import pathlib
import re
import subprocess

CLONE_NEWNET = 0x40000000
# Nothing outlives a test that was killed. Not by a `preexec_fn`: for it Python makes a real fork of a process in which
# gRPC runs, and gRPC's threads, started anew in the child, now and then abort it when they find their files closed.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")
LIBC = ctypes.CDLL(None, use_errno=True)


class Unavailable(Exception):
    """This machine does not let us make namespaces."""


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Network:
    """`folder` holds files that hosts see in place of the machine's own."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.addresses: dict[str, str] = {}
        self.names: dict[str, list[str]] = {}
        self.made: list[str] = []
        self.remove_left_over()
        try:
            self.make("hub")
            ip("-n", self.namespace("hub"), "link", "add", "br0", "type", "bridge")
            ip("-n", self.namespace("hub"), "link", "set", "br0", "up")
        except (Unavailable, OSError) as error:
            self.close()
            raise Unavailable(str(error)) from error
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.write_hosts()

    @staticmethod
    def remove_left_over() -> None:
        """Namespaces of tests that were killed."""
        for path in pathlib.Path("/run/netns").glob("ilre-*"):
            match = re.fullmatch(r"ilre-(\d+)-\w+", path.name)
            if match and not pathlib.Path("/proc", match[1]).exists():
                subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)

    def namespace(self, host: str) -> str:
        return f"ilre-{os.getpid()}-{host}"

    def make(self, host: str) -> None:
        ip("netns", "add", self.namespace(host))
        self.made.append(host)
        ip("-n", self.namespace(host), "link", "set", "lo", "up")

    def add_host(self, host: str, name: str | None = None) -> str:
        """A new host; several may share a `name`, which then resolves to all of them. -> its address"""
        number = len(self.made)
        address = f"10.87.0.{number}"
        self.make(host)
        hub, own, port = self.namespace("hub"), self.namespace(host), f"v{number}"
        ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", own)
        ip("-n", hub, "link", "set", port, "master", "br0", "up")
        ip("-n", own, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", own, "link", "set", "eth0", "up")
        self.addresses[host] = address
        self.names.setdefault(name or host, []).append(address)
        self.write_hosts()
        return address

    def write_hosts(self) -> None:
        lines = [f"{address} {name}\n" for name, addresses in self.names.items() for address in addresses]
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))

    def start(self, host: str, command: list, **options) -> subprocess.Popen:
        """Runs a program on a host; the process is the program's own. Mounts are seen by it alone."""
        script = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
        enter = ["ip", "netns", "exec", self.namespace(host), "sh", "-c", script, str(self.folder)]
        return subprocess.Popen([*DIE_WITH_PARENT, *enter, *map(str, command)], stdin=subprocess.DEVNULL, **options)

    def enter(self, host: str) -> None:
        """This thread, and threads and processes that it starts from now on, are on that host."""
        with open(f"/run/netns/{self.namespace(host)}", "rb") as namespace:
            if LIBC.setns(namespace.fileno(), CLONE_NEWNET):
                raise Unavailable(f"setns: {os.strerror(ctypes.get_errno())}")

    def close(self) -> None:
        for host in self.made:
            subprocess.run(["ip", "netns", "del", self.namespace(host)], capture_output=True, check=False)
        self.made.clear()
