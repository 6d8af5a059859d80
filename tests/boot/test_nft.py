"""Each version of nft that Debian has had since 2021, on its own root file system."""

import random
import re
import subprocess
from pathlib import Path

import pytest

from lbhook.metadata import facts
from lbhook.metadata.body import parse

from ..program import BODIES
from ..rendering.test_openings import POLICIES, Asked, firewall, misjudged, packets, target
from .rootfs import BULLSEYE, MACHINES, rootfs

pytestmark = pytest.mark.needs("debootstrap", "nft", "unshare")
GOLDEN = Path(__file__).parents[1] / "golden"
# Ubuntu 22.04 has 1.0.2, which is between the first two.
ROOTS = {
    "0.9.8": BULLSEYE,
    "1.0.6": MACHINES["bookworm"],
    "1.1.3": MACHINES["trixie"],
    # Debian's testing: 1.1.7 in November 2026, and whatever comes.
    "1": MACHINES["forky"],
}
# Checked, loaded, and loaded over itself; then over what the file before has left.
EACH = """
mount --bind "$2" "$1/mnt"
[ ! -e "$1/etc/protocols" ] || mount --bind /dev/null "$1/etc/protocols"
exec chroot "$1" sh -euc '
    for file in /mnt/*.nft; do
        echo "$file"
        nft -c -f "$file"
        nft -f "$file"
        nft -f "$file"
    done
    nft -f /mnt/varied.nft
    nft -f /mnt/resting.nft
    nft list ruleset
'
"""
SETTINGS = {
    "ssh_ports": [22, 2222],
    "ssh_from": ["10.0.0.0/8", "10.1.0.0/16", "fd00::/8"],
    "allow": [
        {"protocol": "tcp", "port": 9100, "from": "10.0.0.0/8"},
        {"protocol": "udp", "port": "60000-61000"},
        {"protocol": "vrrp"},
        {"port": 53, "from": "fd00::/8"},
    ],
    "trusted_interfaces": ["docker0"],
}


@pytest.fixture(scope="module", params=ROOTS)
def root(request: pytest.FixtureRequest) -> Path:
    """A root file system that has this version."""
    place = rootfs(ROOTS[request.param])
    said = subprocess.run(
        ["chroot", str(place), "nft", "--version"], capture_output=True, check=True
    )
    assert re.match(rf"nftables v{re.escape(request.param)}[ .]", said.stdout.decode())
    return place


def test_every_firewall_is_taken(root: Path) -> None:
    """Each golden file, without a file of protocols, in any order; then the resting form leaves
    nothing behind."""
    argv = ["unshare", "--net", "--mount", "sh", "-euc", EACH, "each", str(root), str(GOLDEN)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"/mnt/{file.name}" for file in sorted(GOLDEN.glob("*.nft"))
    ]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_open_is_the_same(root: Path, policy: str) -> None:
    """Rules of both families, HA ports, tunnels and settings open what they say."""
    given = {"policy": policy, **SETTINGS}
    values = target(given).vars
    for name in ("dual-stack-bracketed", "gateway-ha-ports"):
        lb = facts.derive(parse((BODIES / f"{name}.json").read_bytes()))
        some = packets(values, lb, random.Random(1))
        assert misjudged(firewall(given, lb, root), Asked(values, lb), some) is None
