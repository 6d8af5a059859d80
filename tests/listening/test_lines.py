"""What a target's file asks to listen at."""

from lbhook.listening import lines


def test_the_ports_at_which_one_socket_takes_both_families() -> None:
    """By the word of their lines, whatever else stands there."""
    file = (
        b"listen [::]:80 ipv6only=off;  # from 50.0.0.1:80\n"
        b"    listen [::]:443 ssl ipv6only=off;\n"
        b"listen [::]:8080;\nlisten 81;\n# listen [::]:82 ipv6only=off;\n"
    )
    assert lines.duals(file) == {80, 443}
