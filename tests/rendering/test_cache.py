"""Files recognised as what they were rendered to before, and never where anything differs."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, cast

import pytest

from lbhook.config.targets import Target
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.instance import Vm
from lbhook.rendering import fingerprint
from lbhook.rendering.cache import RenderCache, Rendered
from lbhook.rendering.render import Renderer, renderer

from ..stand import PORTS, body

LB = facts.derive(parse(body(80, 443)))
TARGET = Target(name="one", template="ports.j2", path=PurePosixPath("/etc/one"), vars={"a": 1})
OTHER_LB = facts.derive(parse(body(80)))


class Kitchen:
    """A directory of templates, and all that one file is made of."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.target, self.lb, self.vm, self.left_out = TARGET, LB, Vm(name="vm-1"), ("10.0.0.9",)
        (place / "ports.j2").write_text(PORTS, encoding="utf-8")
        (place / "parts").mkdir()
        (place / "parts" / "head.j2").write_text("head\n", encoding="utf-8")
        self.before: Rendered | None = None

    def make(self) -> tuple[Rendered, bool]:
        """The file, and whether it took a renderer."""
        cache = RenderCache([self.place], self.lb, self.vm)
        made = cache.make(self.target, self.lb, self.left_out, self.before)
        assert cache.is_sure()
        return made, cache._renderer is not None

    def install(self) -> Rendered:
        """As an apply does it."""
        self.before = self.make()[0]
        return self.before


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """One with nothing made yet."""
    return Kitchen(tmp_path)


def test_what_is_made_of_the_same_is_recognised(kitchen: Kitchen) -> None:
    """Rendered once, then known without jinja2's environment."""
    first = kitchen.install()
    assert first.content == b"80\n443\n"
    assert kitchen.make() == (first, False)


def _edit(kitchen: Kitchen) -> None:
    (kitchen.place / "ports.j2").write_text(PORTS + "more\n", encoding="utf-8")


def _edit_below(kitchen: Kitchen) -> None:
    (kitchen.place / "parts" / "head.j2").write_text("HEAD\n", encoding="utf-8")


def _spoil(kitchen: Kitchen, **values: Any) -> None:
    assert kitchen.before
    kitchen.before = kitchen.before._replace(**values)


DIFFERENCES: dict[str, Callable[[Kitchen], object]] = {
    "the template": _edit,
    "a file beside it": _edit_below,
    "a new file beside it": lambda one: (one.place / "new").touch(),
    "a file beside it that goes": lambda one: (one.place / "parts" / "head.j2").unlink(),
    "the installed file": lambda one: _spoil(one, content=b"80\n443\nedited\n"),
    "what rests in it": lambda one: _spoil(one, resting="edited\n"),
    "nothing known of it": lambda one: _spoil(one, made_of=""),
    "no file": lambda one: setattr(one, "before", None),
    "the answer": lambda one: setattr(one, "lb", OTHER_LB),
    "what is here": lambda one: setattr(one, "left_out", ()),
    "the VM": lambda one: setattr(one, "vm", Vm(name="vm-2")),
    "a variable": lambda one: setattr(one, "target", TARGET._replace(vars={"a": 2})),
    "another template": lambda one: setattr(
        one, "target", TARGET._replace(template="parts/head.j2")
    ),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_what_differs_is_rendered(kitchen: Kitchen, what: str) -> None:
    """Whatever it is made of, and the file itself."""
    kitchen.install()
    DIFFERENCES[what](kitchen)
    assert kitchen.make()[1]


def test_a_template_that_may_be_anywhere_is_rendered(kitchen: Kitchen) -> None:
    """A link to a directory is not followed, so what is behind it is not known."""
    (kitchen.place / "link").symlink_to(kitchen.place)
    assert kitchen.install().made_of == ""
    assert kitchen.make()[1]


def test_a_template_that_is_edited_meanwhile(kitchen: Kitchen) -> None:
    """Nobody knows which of the two it was."""
    real = renderer([kitchen.place])

    class Slow:
        """Takes so long that the template is edited behind its back."""

        def render(self, *asked: Any) -> bytes:
            content = real.render(*asked)
            _edit(kitchen)
            return content

    cache = RenderCache([kitchen.place], LB)
    cache._renderer = cast(Renderer, Slow())
    assert cache.is_sure()
    cache.make(TARGET, LB, (), None)
    assert not cache.is_sure()


def test_another_program_renders_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another jinja2 or another lbhook may make something else of the same."""
    (tmp_path / "jinja2").mkdir()
    (tmp_path / "jinja2" / "__init__.py").write_text("", encoding="utf-8")
    before = fingerprint.templates([])
    assert before == fingerprint.templates([])
    monkeypatch.syspath_prepend(tmp_path)
    assert fingerprint.templates([]) not in ("", before)
    monkeypatch.setattr(fingerprint, "_PACKAGE", tmp_path)
    assert fingerprint.templates([]) != before


def test_nothing_to_go_by_is_never_recognised(tmp_path: Path) -> None:
    """Templates that can't be read make no digest; without an answer there is none to know."""
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert fingerprint.templates([tmp_path]) == ""
    assert RenderCache([], None).rest(TARGET._replace(template="lb.env.j2", vars={})).made_of == ""
