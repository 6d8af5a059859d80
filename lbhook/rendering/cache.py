"""The content of a target's file: rendered, or recognised as what it was rendered to before."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..config.shipped import kind_of
from ..config.targets import Target
from ..metadata.facts import Facts
from ..plan import FileState
from . import fingerprint

if TYPE_CHECKING:
    from .render import Renderer


class Rendered(NamedTuple):
    """What a file is to hold, and what must stay in it when its target goes, because another
    program's configuration includes it by name. `made_of` is the digest of content and
    ingredients, empty if it may not be recognised."""

    content: bytes
    resting: str
    made_of: str = ""


class RenderCache:
    """Makes the files of one answer; without one, of none."""

    def __init__(self, places: Sequence[Path], lb: Facts | None, vm: object = None) -> None:
        self.places = places
        self.lb = lb
        self.vm = vm
        self._renderer: Renderer | None = None
        self._common: tuple[str, str] | None = None

    def rest(self, target: Target) -> Rendered:
        """The file as it is without an answer."""
        content = self._rendering.rest(target)
        return Rendered(content, content.decode() if kind_of(target).named else "")

    def make(
        self, target: Target, lb: Facts, left_out: Sequence[str], before: Rendered | None
    ) -> Rendered:
        """The file as the answer has it. `lb` is what is left of that where this machine lacks
        what is `left_out`; `before` is what is there, and what that was made of."""
        if before and self.recognises(target, left_out, before):
            return before
        common = self.made_of  # looked at before anything is made of it
        content = self._rendering.render(target, lb, self.vm)
        made = Rendered(content, self.rest(target).resting if kind_of(target).named else "")
        return self._marked(made, target, left_out) if common[0] else made

    def is_sure(self) -> bool:
        """Whether the templates are still those that `made_of` has. One that was edited meanwhile
        may be what a file was rendered from, or not."""
        rendered = self._renderer is not None
        return not rendered or fingerprint.templates(self.places) == self.made_of[0]

    def recognises(self, target: Target, left_out: Sequence[str], before: Rendered | None) -> bool:
        """Whether what is there was made of the same."""
        return bool(before and before.made_of and before == self._marked(before, target, left_out))

    @property
    def made_of(self) -> tuple[str, str]:
        """The digests of the templates and of the answer, taken once."""
        if self._common is None:
            answer = fingerprint.answer(self.lb, self.vm)
            self._common = (fingerprint.templates(self.places), answer)
        return self._common

    def _marked(self, made: Rendered, target: Target, left_out: Sequence[str]) -> Rendered:
        """With the digest of what it is made of."""
        if not self.made_of[0]:
            return made._replace(made_of="")
        file = FileState(content=made.content, mode=target.mode).digest
        parts = (self.made_of, target, left_out, file, made.resting)
        return made._replace(made_of=fingerprint.digest(*parts))

    @property
    def _rendering(self) -> "Renderer":
        if self._renderer is None:
            # Not above: an answer that is recognised needs no jinja2.
            from .render import renderer

            self._renderer = renderer(self.places)
        return self._renderer
