"""(facts, target, loader) → text."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    FileSystemLoader,
    PackageLoader,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
)
from jinja2.sandbox import SandboxedEnvironment

from ..config.shipped import SHIPPED, kind_of
from ..config.targets import Target
from ..errors import ConfigError
from ..layout import nearest
from ..metadata.facts import Facts, on_every_address
from . import template_errors
from .fingerprint import SHIPPED_TEMPLATES
from .sandbox import Values, environment

_NO_RULES = Facts()


@dataclass(frozen=True, slots=True)
class Renderer:
    """Renders targets with the templates of one loader."""

    environment: SandboxedEnvironment
    places: Sequence[Path] = ()

    def render(self, target: Target, lb: Facts, vm: object = None) -> bytes:
        """The content of a target's file. Raises `ConfigError` with template and line."""
        if target.vars.get("listen") == "port":
            lb = on_every_address(lb)
        values = Values(target.vars)
        content = self._render(target.template, target, lb, vm, values)
        for name in ("restrict", "snippets") if target.kind == "nftables" else ():
            if target.vars.get(name) and name not in values._asked:
                problem = (
                    f"does not use {name} of vars, which is set; compare it with the shipped one"
                )
                raise _refused(target, f"{target.template}: {problem}")
        return content

    def rest(self, target: Target) -> bytes:
        """What the file holds when there is no answer: a form that opens nothing and that
        every program can read."""
        template = target.resting_template or target.template
        return self._render(template, target, _NO_RULES, None, Values(target.vars))

    def _render(self, name: str, target: Target, lb: Facts, vm: object, values: Values) -> bytes:
        context: dict[str, object] = {"lb": lb, "vars": values, "resting": _resting(target)}
        if vm is not None:
            context["vm"] = vm
        where = name
        try:
            template = self.environment.get_template(name)
            where = template.filename or name
            text = template.render(context)
        except TemplateNotFound as error:
            raise _refused(target, f"{error.name}: {self._not_found(str(error.name))}") from None
        except Exception as error:  # whatever a template calls may raise anything
            raise _refused(target, self._mistake(error, where)) from None
        if not text.strip():
            problem = "renders to an empty file; write at least a comment"
            raise _refused(target, f"{where}: {problem}")
        return text.encode()

    def _mistake(self, error: Exception, where: str) -> str:
        """What is wrong with a template, and where, as far as that is known."""
        plain = isinstance(error, (TemplateError, ValueError))
        problem = str(error) if plain else f"{type(error).__name__}: {error}"
        place = _place(error)
        if isinstance(error, TemplateSyntaxError):
            problem, place = str(error.message), (str(error.filename or error.name), error.lineno)
        known = {"filter": self.environment.filters, "test": self.environment.tests}
        problem = template_errors.explained(problem, known)
        return template_errors.pointed(*place, problem) if place else f"{where}: {problem}"

    def _not_found(self, name: str) -> str:
        """Where a template was looked for, and which one is near."""
        own = ", ".join(map(str, self.places))
        where = f" in {own} or among the shipped ones" if own else ""
        beside = [file.name for place in self.places for file in place.glob("*.j2")]
        return f"no such template{where}{nearest(name, [*beside, *_shipped().list_templates()])}"


def renderer(places: Sequence[Path]) -> Renderer:
    """A renderer whose templates come from `places`, then from the shipped ones."""
    own = FileSystemLoader([*map(str, places)])
    return Renderer(environment(ChoiceLoader([own, _shipped()])), places)


def prepare(find: Callable[[str], str | None]) -> None:
    """Compile the templates of the shipped targets whose programs `find` finds, for whatever this
    process renders later."""
    kinds = [one.defaults for one in SHIPPED.values()]
    there = [one for one in kinds if all(map(find, one.get("requires", ())))]
    stems = tuple(str(one["template"]).removesuffix("j2") for one in there)
    shipped = environment(_shipped())
    for name in shipped.list_templates(filter_func=lambda one: one.startswith(stems)):
        shipped.get_template(name)


def _shipped() -> BaseLoader:
    if SHIPPED_TEMPLATES.is_dir():
        return FileSystemLoader(SHIPPED_TEMPLATES)
    return PackageLoader("lbhook")  # out of the single file


def _resting(target: Target) -> str:
    """An address of loopback for each path: nginx does not start if one server block names the
    same place twice, nor if another nginx has it."""
    if target.kind and str(target.path) == kind_of(target).defaults["path"]:
        return "127.0.0.127"
    number = zlib.crc32(str(target.path).encode())
    return f"127.{1 + number % 250}.{number // 250 % 250}.127"


def _refused(target: Target, problem: str) -> ConfigError:
    return ConfigError(
        problem, hint=f"its file was not changed; fix the template of target {target.name}"
    )


def _place(error: Exception) -> tuple[str, int] | None:
    """File and line of an error, which jinja2 puts into the traceback."""
    place, trace = None, error.__traceback__
    while trace:
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    return place
