"""A client, the Azure fabric and a VM behind its load balancer, connected by cables.

client 198.51.100.7, 2001:db8:7::7
  |
fabric 169.254.169.254 (metadata), 168.63.129.16 and fe80::1234:5678:9abc (probes, gateway)
  |
vm     10.1.0.4, ace:cab:deca:deed::1
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .fabric import CLIENT4, CLIENT6, Body, Fabric
from .hosts import Host, require, wait_for
from .vm import VM_LINKS, Vm

CLIENT_LINKS = f"""
link set eth0 up
addr add {CLIENT4}/24 dev eth0
addr add {CLIENT6}/64 dev eth0 nodad
route add default via 198.51.100.1
route add default via 2001:db8:7::1
"""


@dataclass(frozen=True)
class Lab:
    """The three of them, wired and serving."""

    client: Host
    fabric: Fabric
    vm: Vm

    def balance(self, body: Body) -> None:
        """Let Azure have these rules: packets follow them, and the metadata service tells."""
        self.fabric.load_balance(body)
        self.fabric.answer(body)


@contextmanager
def laboratory() -> Iterator[Lab]:
    """Build the laboratory; it is gone without a trace when the context ends."""
    require("nft", "nginx", "ss")
    with Host("client") as client, Fabric(client) as fabric, Vm(client) as vm:
        fabric.connect(client, vm)
        client.links(CLIENT_LINKS)
        vm.links(VM_LINKS)
        # They start side by side.
        fabric.serve_metadata()
        vm.run(["nginx"])
        vm.serve("tcp,::,22", "tcp,::,9000", "udp,::,5353")
        wait_for(fabric.serves_metadata, "metadata service")
        yield Lab(client, fabric, vm)
