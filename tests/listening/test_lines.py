"""What a target's file asks to listen at."""

from ipaddress import ip_address

import pytest

from lbhook.listening import lines
from lbhook.metadata.facts import Listener
from lbhook.metadata.model import InboundRule, Protocol


def test_the_ports_at_which_one_socket_takes_both_families() -> None:
    """By the word of their lines, whatever else stands there."""
    file = (
        b"listen [::]:80 ipv6only=off;  # from 50.0.0.1:80\n"
        b"    listen [::]:443 ssl ipv6only=off;\n"
        b"listen [::]:8080;\nlisten 81;\n# listen [::]:82 ipv6only=off;\n"
    )
    assert lines.duals(file) == {80, 443}


@pytest.mark.parametrize(
    ("here", "frontend", "expected"),
    [(443, 443, True), (8080, 443, True), (8443, 8443, True), (80, 80, False), (4430, 81, False)],
)
def test_whose_clients_speak_tls(here: int, frontend: int, expected: bool) -> None:
    """Those of a port that ends as that of https does."""
    rule = InboundRule(
        protocol=Protocol.TCP,
        frontend_ip=ip_address("50.0.0.1"),
        frontend_port=frontend,
        private_ip=ip_address("10.1.0.4"),
        backend_port=here,
    )
    one = Listener(ip=rule.private_ip, protocol=Protocol.TCP, port=here, rules=(rule,))
    assert lines.is_tls([one]) is expected
    # A guess changes nothing of what is there.
    assert lines.is_tls([one], {here}) is (frontend == 443)
