"""Which VM it is, told by what can be read of it."""

import pytest

from lbhook.imds.identity import Identity

from .test_last_good import SWAPPED, UUID


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Identity(), Identity(), None),
        (Identity(uuid="a"), Identity(machine_id="b"), None),
        (Identity(uuid="a"), Identity(uuid="A"), True),
        (Identity(uuid="a"), Identity(uuid="b", machine_id="c"), False),
        (Identity(uuid=UUID), Identity(uuid=SWAPPED), True),
        (Identity(uuid=SWAPPED), Identity(uuid=UUID), True),
        (Identity(machine_id="a"), Identity(machine_id="A"), False),
    ],
)
def test_identities_are_compared_both_ways(
    one: Identity, other: Identity, same: bool | None
) -> None:
    """Who asks whom does not matter."""
    assert one.same(other) is other.same(one) is same
