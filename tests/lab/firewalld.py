"""A running firewalld in the VM, with the bus that it needs."""

from __future__ import annotations

from .hosts import require, wait_for
from .vm import Vm

# As the system's own bus, but open to every program of the VM: in a user namespace there is
# nobody but root, and no `messagebus` to become.
BUS = """
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
POLICY = "/etc/firewalld/policies/lbhook.xml"


def start(vm: Vm) -> None:
    """Install and start it as its package would: the default zone opens ssh and dhcpv6-client."""
    require("firewalld", "firewall-cmd", "firewall-offline-cmd", "dbus-daemon")
    vm.write("/etc/firewalld/firewalld.conf", "DefaultZone=public\n")
    vm.write("/run/dbus.conf", BUS)
    vm.path("/run/dbus").mkdir()
    vm.run(["dbus-daemon", "--config-file=/run/dbus.conf", "--fork"])
    start_again(vm)


def start_again(vm: Vm) -> None:
    """Start firewalld, and wait until it filters."""
    vm.run(["firewalld"])
    wait_for(lambda: running(vm), "firewalld")


def stop(vm: Vm) -> None:
    """Stop firewalld, which takes its table along."""
    pid_file = "/run/firewalld.pid"
    vm.run(["kill", vm.read(pid_file)])
    wait_for(lambda: not vm.path(pid_file).exists(), "the end of firewalld")


def running(vm: Vm) -> bool:
    """Say whether firewalld answers."""
    return vm.run(["firewall-cmd", "--state"], check=False).returncode == 0
