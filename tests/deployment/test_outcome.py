"""What the deployments of one run came to."""

from pathlib import PurePosixPath

from lbhook.config.targets import Target
from lbhook.deployment import outcome
from lbhook.deployment.outcome import Done
from lbhook.plan import Change, FileState, Outcome, Reload


def test_what_two_deployments_of_one_run_came_to() -> None:
    """The later one's changes, with what was paid or written before."""
    file = FileState(content=b"x", mode=0o644)

    def made(name: str, became: Outcome, reload: Reload) -> Change:
        one = Target(name=name, template="t", path=PurePosixPath(f"/{name}"))
        reason = "" if reload is Reload.NONE else f"why {name}"
        return Change(
            target=one, expected=file, actual=file, outcome=became, reload=reload, reason=reason
        )

    first = Done(
        changes=(
            made("paid", Outcome.UNCHANGED, Reload.DONE),
            made("rested", Outcome.CHANGED, Reload.DONE),
            made("again", Outcome.UNCHANGED, Reload.FAILED),
            made("other", Outcome.UNCHANGED, Reload.DONE),
            made("idle", Outcome.UNCHANGED, Reload.NONE),
        )
    )
    then = Done(
        changes=(
            made("paid", Outcome.UNCHANGED, Reload.NONE),
            made("rested", Outcome.UNCHANGED, Reload.NONE),
            made("again", Outcome.CHANGED, Reload.DONE),
            made("idle", Outcome.UNCHANGED, Reload.NONE),
        )
    )
    changes = outcome.together(first, then)
    assert [one.reason for one in changes] == [
        "why paid",
        "why rested",
        "why again",
        "",
        "why other",
    ]
    found = [(c.target.name, c.outcome, c.reload) for c in changes]
    assert found == [
        ("paid", Outcome.UNCHANGED, Reload.DONE),
        ("rested", Outcome.CHANGED, Reload.DONE),
        ("again", Outcome.CHANGED, Reload.DONE),
        ("idle", Outcome.UNCHANGED, Reload.NONE),
        ("other", Outcome.UNCHANGED, Reload.DONE),
    ]
