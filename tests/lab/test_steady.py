"""The client that asks every 10 ms itself: it sees a moment in which nobody answers."""

from .fabric import VM4, body, rule
from .hosts import wait_for
from .lab import Lab
from .rules import FRONT4
from .steady import Question, Steady

WEB = body(rule(FRONT4, 80, VM4, 8080))
ANSWER = Question(FRONT4, 80, "shop.example", "HTTP/1.1 200 OK\r\n")


def test_it_is_answered_across_a_reload(lab: Lab) -> None:
    """A reload of nginx refuses nobody."""
    lab.balance(WEB)
    lab.vm.apply()
    asking, old = Steady(lab.client, ANSWER), lab.vm.workers()
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: not lab.vm.workers() & old, "nginx's old workers are gone")
    asked, failures = asking.stop()
    assert asked > 1
    assert failures == []


def test_it_sees_a_restart(lab: Lab) -> None:
    """A restart refuses those who ask meanwhile; and another answer is none."""
    lab.balance(WEB)
    lab.vm.apply()
    other = ANSWER._replace(answer="HTTP/1.1 301")
    asking, unlike = Steady(lab.client, ANSWER), Steady(lab.client, other)
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.listens("tcp", 8080), "the end of nginx")
    lab.vm.run(["sleep", "0.2"])
    lab.vm.run(["nginx"])
    _, failures = asking.stop()
    assert any("ConnectionRefusedError" in one for one in failures)
    asked, failures = unlike.stop()
    assert len(failures) == asked
