"""Rulesets at random: what is said of each door, and what packets meet.

As many as LBHOOK_RULESETS says, the same ones each time unless it says so, loaded by the nft that
LBHOOK_NFT names; `make fuzz-rules` is for longer.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from .grammar import rulesets, shells
from .hosts import REPO
from .rounds import Rounds, rounds

_ASKED = os.environ.get("LBHOOK_RULESETS", "")
_NFT = os.environ.get("LBHOOK_NFT", "")
_COUNT, _FEWER = int(_ASKED or 40), 12
_MOST_UNKNOWN = 0.03
_TELL_EVERY = 100
# As tests/fetch-nft leaves them: what the kernel is told differs from version to version.
_FETCHED = {one: REPO / ".cache" / "nft" / one / "nft" for one in ("trixie", "testing")}


def _few(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not _ASKED,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def played() -> Iterator[Rounds]:
    """One machine for all."""
    with rounds(_NFT or "nft") as made:
        yield made


class Tally:
    """What came of many rulesets; the wrong ones are told when they are met."""

    def __init__(self, played: Rounds) -> None:
        self._played = played
        self.found: Counter[str] = Counter(wrong=0)

    def play(self, rules: str, shell: str = "") -> None:
        """One more."""
        outcomes = self._played.play(rules, shell)
        wrong = [one for one in outcomes if one.wrong]
        self.found.update(rulesets=1, refused=not outcomes, verdicts=len(outcomes))
        self.found.update(wrong=len(wrong), unknown=sum(one.unknown for one in outcomes))
        if wrong:
            print(rules, shell, *wrong, sep="\n", file=sys.stderr)
        if _ASKED and self.found["rulesets"] % _TELL_EVERY == 0:
            print(dict(self.found), file=sys.stderr)

    def check(self) -> None:
        """None is wrong, and few are not known."""
        found = self.found
        print(dict(found), file=sys.stderr)
        assert found["verdicts"] > found["rulesets"]
        assert found["wrong"] == 0
        assert found["unknown"] <= _MOST_UNKNOWN * found["verdicts"]


def test_rulesets_of_nft(played: Rounds) -> None:
    """None is wrong, and few are not known."""
    tally = Tally(played)

    @_few(_COUNT)
    @given(rulesets())
    def play(rules: str) -> None:
        tally.play(rules)

    play()
    tally.check()


@pytest.mark.skipif(bool(_ASKED), reason="NFT= chooses the version")
@pytest.mark.parametrize("suite", _FETCHED)
def test_rulesets_of_a_newer_nft(suite: str) -> None:
    """The same with Debian 13's nft, and with that of Debian's next release, if it can be had."""
    if not _FETCHED[suite].exists():
        pytest.skip(f"no nft of Debian {suite}: tests/fetch-nft gets it")
    with rounds(str(_FETCHED[suite])) as played:
        tally = Tally(played)

        @_few(_FEWER)
        @given(rulesets())
        def play(rules: str) -> None:
            tally.play(rules)

        play()
        tally.check()


@pytest.mark.needs("iptables-nft")
def test_rules_of_iptables(played: Rounds) -> None:
    """The same, of what no listing tells."""
    tally = Tally(played)

    @_few(_COUNT)
    @given(shells())
    def play(shell: str) -> None:
        tally.play("", shell)

    play()
    tally.check()
