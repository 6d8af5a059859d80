"""A real sshd at a port of one's own: the firewall comes before it, and nobody is locked out."""

from __future__ import annotations

import re
import sys

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from .azure import Azure
from .machine import Machine

DROP_IN = "/etc/ssh/sshd_config.d/port.conf"
SOCKET = "/etc/systemd/system/ssh.socket.d/port.conf"
WEB = 8080
# Restarts that follow each other, of a test alone.
OFTEN = "[Unit]\nStartLimitIntervalSec=0\n"


# Prints what the other end says first; a client that says nothing of SSH is reset.
GREET = """
import socket, sys
for port in sys.argv[2:]:
    try:
        with socket.create_connection((sys.argv[1], int(port)), 1) as line:
            print("open" if line.recv(4) == b"SSH-" else "mute")
    except ConnectionRefusedError:
        print("refused")
    except OSError:
        print("filtered")
"""


def reaches(azure: Azure, *ports: int) -> list[str]:
    """What a client of SSH finds at these ports of the machine."""
    words = [sys.executable, "-c", GREET, VM4, *map(str, ports)]
    return azure.client.run(words).stdout.split()


def test_sshd_is_reached_after_each_boot_and_each_move(machine: Machine, azure: Azure) -> None:
    """First boot, a port that was changed before a boot, one that was changed before a restart,
    one from the command line that the timer finds, and with sshd gone the port is closed."""
    machine.enable("ssh.service")
    machine.drop_in("ssh.service", OFTEN)
    machine.write(DROP_IN, "Port 2222\n")
    azure.send(WEB)
    machine.boot()
    assert reaches(azure, 2222, 9000) == ["open", "filtered"]
    machine.power_off()
    machine.write(DROP_IN, "Port 2223\n")
    machine.boot()
    assert reaches(azure, 2223, 2222) == ["open", "filtered"]
    # Only what was loaded before there was a network: it knew the port before sshd had it.
    said = machine.journal("-u", "lbhook-restore")
    assert re.search(r"nftables +changed", said), said
    machine.write(DROP_IN, "Port 2224\n")
    machine.run(["systemctl", "start", "lbhook-refresh"])
    machine.run(["systemctl", "restart", "ssh"])
    assert reaches(azure, 2224, 2223) == ["open", "refused"]
    machine.write("/etc/default/ssh", "SSHD_OPTS=-oPort=2225\n")
    machine.write(DROP_IN, "")
    machine.run(["systemctl", "restart", "ssh"])
    machine.run(["systemctl", "start", "lbhook-refresh"])
    assert reaches(azure, 2225, 2224) == ["open", "filtered"]
    machine.power_off()
    machine.boot()
    assert reaches(azure, 2225) == ["open"]
    machine.run(["systemctl", "disable", "--now", "ssh"])
    machine.run(["systemctl", "start", "lbhook-refresh"])
    assert (reaches(azure, 2225), azure.ask(WEB) != "") == (["filtered"], True)


def test_a_socket_that_systemd_keeps_for_sshd_is_followed(machine: Machine, azure: Azure) -> None:
    """At the places of its unit; also where each connection has an sshd of its own."""
    machine.enable("ssh.socket", "sockets.target")
    machine.write(SOCKET, f"[Socket]\nListenStream=\nListenStream={VM4}:2222\nFreeBind=yes\n")
    azure.send(WEB)
    machine.boot()
    assert reaches(azure, 2222) == ["open"]
    assert f"ip daddr {VM4} tcp dport 2222" in machine.read("/etc/nftables.d/lbhook.nft")
    machine.write(SOCKET, "[Socket]\nListenStream=\nListenStream=2223\n")
    machine.run(["systemctl", "daemon-reload"])
    # Which systemd refuses while the sshd that it has started has the socket.
    machine.run(["systemctl", "stop", "ssh.service", "ssh.socket"])
    machine.run(["systemctl", "start", "ssh.socket"])
    machine.run(["systemctl", "start", "lbhook-refresh"])
    assert reaches(azure, 2223, 2222) == ["open", "filtered"]
    machine.power_off()
    machine.boot()
    wait_for(lambda: reaches(azure, 2223) == ["open"], "sshd's socket")
    machine.run(["lbhook", "apply", "--cached"])
    assert reaches(azure, 2223) == ["open"]


GENERATOR = "/usr/lib/systemd/system-generators/sshd-socket-generator"
# What Ubuntu's does, for the ports of one drop-in.
GENERATE = f"""#!/bin/sh
mkdir -p "$1/ssh.socket.d"
sed -n 's/^Port /ListenStream=/p' {DROP_IN} | sed '1i [Socket]\\nListenStream=' \\
    >"$1/ssh.socket.d/addresses.conf"
"""


def test_a_socket_whose_ports_are_made_from_sshd_config(machine: Machine, azure: Azure) -> None:
    """As on Ubuntu 24.04: what is added to the file is open before the socket is started anew."""
    machine.write(GENERATOR, GENERATE)
    machine.path(GENERATOR).chmod(0o755)
    machine.enable("ssh.socket", "sockets.target")
    machine.write(DROP_IN, "Port 2222\n")
    azure.send(WEB)
    machine.boot()
    assert reaches(azure, 2222) == ["open"]
    machine.write(DROP_IN, "Port 2223\n")
    machine.run(["systemctl", "start", "lbhook-refresh"])
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "stop", "ssh.service", "ssh.socket"])
    machine.run(["systemctl", "start", "ssh.socket"])
    assert reaches(azure, 2223, 2222) == ["open", "refused"]
    machine.run(["lbhook", "apply", "--cached"])
    assert reaches(azure, 2223, 2222) == ["open", "filtered"]
