"""Azure as a booted machine sees it: a network, and the metadata service at its address."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..lab.fabric import IMDS, VM4, Body, Fabric, body, rule
from ..lab.hosts import Host, wait_for
from ..lab.lab import CLIENT_LINKS
from ..lab.vm import VM_LINKS

FRONT = "50.0.0.1"


@dataclass(frozen=True)
class Azure:
    """A client, the fabric, and the network of the machine."""

    client: Host
    fabric: Fabric
    network: Host

    def send(self, *ports: int, unsaid: Sequence[int] = ()) -> None:
        """Let the load balancer send these ports here, and the metadata service say so, but for
        those that are to be `unsaid`."""
        self.fabric.load_balance(_body([*ports, *unsaid]))
        self.fabric.answer(_body(ports))

    def play(self, playbook: str) -> None:
        """Let what goes wrong with the metadata service follow a script from now on."""
        self.fabric.write("/run/playbook.toml", playbook)
        self.fabric.serve_metadata(playbook="/run/playbook.toml")

    def leave_pool(self) -> None:
        """Let the metadata service say that there is no load balancer, until `join_pool`."""
        self.fabric.serve_metadata("absent")
        wait_for(self.fabric.serves_metadata, "metadata service")

    def join_pool(self) -> None:
        """Let it say what is sent here, from now on."""
        self.fabric.serve_metadata()
        wait_for(self.fabric.serves_metadata, "metadata service")

    def fall_silent(self) -> None:
        """Let the metadata service answer nothing at all, as on a network that loses packets."""
        self.fabric.links(f"addr del {IMDS}/32 dev lo")

    def speak(self) -> None:
        """Let it answer again."""
        self.fabric.links(f"addr add {IMDS}/32 dev lo")

    def ask(self, port: int, seconds: float = 30) -> str:
        """What the client gets from the load balancer's port; empty if nothing in time."""
        argv = ["curl", "-s", "--max-time", f"{seconds}", f"http://{FRONT}:{port}/"]
        return self.client.run(argv, check=False).stdout.strip()


def _body(ports: Sequence[int]) -> Body:
    return body(*(rule(FRONT, port, VM4, port) for port in ports))


@contextmanager
def azure_of() -> Iterator[Azure]:
    """Lay the cables and start the metadata service; all is gone when the context ends."""
    with Host("client") as client, Fabric(client) as fabric, Host("vm", client) as network:
        fabric.connect(client, network)
        client.links(CLIENT_LINKS)
        network.links(VM_LINKS)
        fabric.serve_metadata()
        wait_for(fabric.serves_metadata, "metadata service")
        yield Azure(client, fabric, network)
