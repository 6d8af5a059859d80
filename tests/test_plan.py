"""Expected, actual, difference."""

from pathlib import PurePosixPath

import pytest

from lbhook.config.targets import Target
from lbhook.deployment.plan_report import diff
from lbhook.plan import Change, FileState, Outcome, Plan, Reload, compare, same

TARGET = Target(
    name="one", template="t.j2", path=PurePosixPath("/etc/one"), reload=("load", "{path}")
)
NEW = FileState(content=b"80\n443\n", mode=0o644, uid=0, gid=0)
OLD = FileState(content=b"80\n", mode=0o640, uid=1, gid=2)


@pytest.mark.parametrize(
    ("expected", "actual", "written", "outcome", "original"),
    [
        (NEW, None, None, Outcome.CREATED, False),
        (NEW, None, "x", Outcome.RESTORED, False),
        (NEW, NEW, None, Outcome.UNCHANGED, True),
        (NEW, OLD, None, Outcome.CHANGED, True),
        (NEW, OLD, OLD.digest, Outcome.CHANGED, False),
        (NEW, OLD, NEW.digest, Outcome.RESTORED, False),
        (None, OLD, OLD.digest, Outcome.REMOVED, False),
        (None, None, "x", Outcome.UNCHANGED, False),
    ],
)
def test_what_becomes_of_a_file(
    expected: FileState | None,
    actual: FileState | None,
    written: str | None,
    outcome: Outcome,
    original: bool,
) -> None:
    """By what should be, what is, and what lbhook wrote there."""
    change = compare(TARGET, expected, actual, written=written, live=False)
    assert (change.outcome, change.original) == (outcome, original)
    assert change.reload is Reload.NONE


@pytest.mark.parametrize(
    ("reload", "remove", "gone", "expected"),
    [
        (("load", "{path}"), (), False, ("load", "{path}")),
        (("load", "{path}"), (), True, ()),
        (("load",), (), True, ("load",)),
        (("load",), ("unload",), True, ("unload",)),
        ((), ("unload",), False, ()),
    ],
)
def test_what_is_run_for_a_file_and_for_one_that_is_gone(
    reload: tuple[str, ...], remove: tuple[str, ...], gone: bool, expected: tuple[str, ...]
) -> None:
    """`remove` in place of the reload; a reload that needs the file can't do without."""
    target = Target(
        name="one", template="t", path=PurePosixPath("/etc/one"), reload=reload, remove=remove
    )
    change = compare(target, None if gone else NEW, OLD, written="x", live=True)
    assert change.reload_argv == expected
    assert (change.reload is Reload.DUE) == bool(expected)


def test_a_reload_can_be_due_without_a_difference() -> None:
    """With its reason; where there is a difference that is reason enough."""
    change = compare(TARGET, NEW, NEW, written="x", live=True, reload_due="asked for")
    assert (change.reload, change.reason) == (Reload.DUE, "asked for")
    change = compare(TARGET, NEW, OLD, written="x", live=True, reload_due="asked for")
    assert (change.reload, change.reason) == (Reload.DUE, "")
    change = compare(TARGET, NEW, NEW, written="x", live=False, reload_due="asked for")
    assert change.reload is Reload.NONE


def test_the_difference_of_content_mode_and_owner() -> None:
    """As a unified diff, attributes first."""
    assert diff(compare(TARGET, NEW, OLD, written=None, live=False)) == (
        "old mode 640\nnew mode 644\nold owner 1:2\nnew owner 0:0\n"
        "--- /etc/one\n+++ /etc/one\n@@ -1 +1,2 @@\n 80\n+443\n"
    )
    assert diff(compare(TARGET, NEW, None, written=None, live=False)) == (
        "--- /dev/null\n+++ /etc/one\n@@ -0,0 +1,2 @@\n+80\n+443\n"
    )
    assert diff(compare(TARGET, None, OLD, written=None, live=False)) == (
        "--- /etc/one\n+++ /dev/null\n@@ -1 +0,0 @@\n-80\n"
    )


def test_an_owner_that_can_not_be_set_is_not_compared() -> None:
    """Who is not root leaves it out."""
    anybody = FileState(content=OLD.content, mode=OLD.mode)
    assert same(anybody, OLD)
    assert not same(OLD, NEW)
    assert compare(TARGET, anybody, OLD, written=None, live=True).outcome is Outcome.UNCHANGED


def test_there_is_something_to_do_or_not() -> None:
    """A difference or a reload is; what is skipped, blocked, queued or done is not."""
    nothing = compare(TARGET, NEW, NEW, written="x", live=True)
    assert not Plan(changes=(nothing,)).to_do
    for outcome, reload, expected in (
        (Outcome.CHANGED, Reload.NONE, True),
        (Outcome.UNCHANGED, Reload.DUE, True),
        (Outcome.UNCHANGED, Reload.QUEUED, False),
        (Outcome.UNCHANGED, Reload.DONE, False),
        (Outcome.SKIPPED, Reload.NONE, False),
        (Outcome.BLOCKED, Reload.NONE, False),
    ):
        change = Change(target=TARGET, expected=NEW, actual=NEW, outcome=outcome, reload=reload)
        assert Plan(changes=(nothing, change)).to_do is expected
