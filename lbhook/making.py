"""The content of a target's file: rendered, or recognised as what it was rendered to before."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import ingredients
from .facts import Facts
from .plan import FileState
from .records import Installed
from .shipped import kind_of
from .targets import Target

if TYPE_CHECKING:
    from .render import Renderer


@dataclass(frozen=True, slots=True)
class Made:
    """What a file is to hold, and what must stay in it when its target goes, because another
    program's configuration includes it by name. `made_of` is the digest of content and
    ingredients, empty if it may not be recognised."""

    content: bytes
    resting: str
    made_of: str = ""


@dataclass(slots=True)
class Maker:
    """Makes the files of one answer; without one, of none."""

    places: Sequence[Path]
    lb: Facts | None
    vm: object = None
    _renderer: "Renderer | None" = None
    _answer: str = field(init=False)
    _templates: str = field(init=False)

    def __post_init__(self) -> None:
        self._answer = ingredients.digest(self.lb, self.vm)
        self._templates = ingredients.templates(self.places)

    def rest(self, target: Target) -> Made:
        """The file as it is without an answer."""
        content = self._rendering.rest(target)
        return Made(content, content.decode() if kind_of(target).named else "")

    def make(
        self,
        target: Target,
        lb: Facts,
        left_out: Sequence[str],
        known: Installed | None,
        actual: FileState | None,
    ) -> Made:
        """The file as the answer has it. `lb` is what is left of that where this machine lacks
        what is `left_out`; `known` the record of the file, `actual` what it is now."""
        if known and actual:
            made_of = self._made_of(target, left_out, actual.content)
            if made_of and made_of == known.made_of:
                return Made(actual.content, known.resting, made_of)
        content = self._rendering.render(target, lb, self.vm)
        # A template that was edited meanwhile may be what it was rendered from, or not.
        sure = ingredients.templates(self.places) == self._templates
        made_of = self._made_of(target, left_out, content) if sure else ""
        return Made(content, self.rest(target).resting if kind_of(target).named else "", made_of)

    def _made_of(self, target: Target, left_out: Sequence[str], content: bytes) -> str:
        if not self._templates:
            return ""
        common = self._templates, self._answer
        return ingredients.digest(*common, target, left_out, hashlib.sha256(content).digest())

    @property
    def _rendering(self) -> "Renderer":
        if self._renderer is None:
            # Not above: an answer that is recognised needs no jinja2.
            from .render import renderer

            self._renderer = renderer(self.places)
        return self._renderer
