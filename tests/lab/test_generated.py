"""Rulesets at random: what is said of each door, and what packets meet.

As many as LBHOOK_RULESETS says, the same ones each time unless it says so; `make fuzz-rules` is for
longer.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings

from .grammar import rulesets, shells
from .rounds import Rounds, rounds

_ASKED = os.environ.get("LBHOOK_RULESETS", "")
_COUNT = int(_ASKED or 40)
_MOST_UNKNOWN = 0.03
few = settings(
    max_examples=_COUNT,
    deadline=None,
    derandomize=not _ASKED,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def played() -> Iterator[Rounds]:
    """One machine for all."""
    with rounds() as made:
        yield made


def _play(played: Rounds, found: Counter[str], rules: str, shell: str = "") -> None:
    outcomes = played.play(rules, shell)
    found.update(rulesets=1, refused=not outcomes, verdicts=len(outcomes))
    found.update(unknown=sum(one.unknown for one in outcomes))
    wrong = [one for one in outcomes if one.wrong]
    found.update(wrong=len(wrong))
    note(f"{rules}{shell}")
    assert wrong == [], f"{rules}{shell}"


def _tell(found: Counter[str]) -> None:
    print(dict(found), file=sys.stderr)
    assert found["verdicts"] > _COUNT
    assert found["unknown"] <= _MOST_UNKNOWN * found["verdicts"]


def test_rulesets_of_nft(played: Rounds) -> None:
    """None is wrong, and few are not known."""
    found: Counter[str] = Counter()

    @few
    @given(rulesets())
    def play(rules: str) -> None:
        _play(played, found, rules)

    play()
    _tell(found)


@pytest.mark.needs("iptables-nft")
def test_rules_of_iptables(played: Rounds) -> None:
    """The same, of what no listing tells."""
    found: Counter[str] = Counter()

    @few
    @given(shells())
    def play(shell: str) -> None:
        _play(played, found, "", shell)

    play()
    _tell(found)
