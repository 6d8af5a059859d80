"""Every message that lbhook's code has, for docs/messages.md to be compared with.

`python -m tests.messages` lists those that the page lacks, each with its place."""

import ast
import re
from collections.abc import Iterator

from .program import REPO

# What these modules have to say is a result, a page, a file or HTTP, and no message.
_NO_MESSAGES = {
    *("cli/demo", "layout", "telling/metrics", "system/sd_notify", "rendering/provenance"),
    *("emulator/faults", "emulator/http"),
    *(
        "traffic/diagram",
        "traffic/html",
        "traffic/probes",
        "traffic/fates",
        "traffic/trace_marks",
        "tables/table_file",
        "tables/changes",
        "mirror/rule_copy",
        "firewall/decisions",
    ),
}
# What a command line says of itself is in its help; a hint or a remedy says itself what to do.
_ELSEWHERE = {"help", "short_help", "metavar", "hint", "remedy"}
_PROSE = re.compile(r"[A-Za-z'`]{2,}[,;:]? [a-z`\"]{2,}")
# What is told to programs, or heard from them and from Azure.
_NOT_OURS = re.compile(
    r"\n?(compdef|add table|ssl_certificate \$|# configuration file|text/plain|application/json"
    r"|http \{|--descr|\(24: Too many"
    r"|Message too|inet (lbhook|firewalld) |# (\{|end of)"
    r"|Operation not|Cannot assign|No route|Network is|Connection ref|reset by|No such file"
    r"|unable to|could not open|.*: perhaps endless"
    r"|(no )?load balancer metadata (is|api)|/metadata/loadbalancer is not|api is not"
    r"|imds endpoint is)"
    r"|.*\n.*\n.*\n|.* here; changed: |no file$",
    re.S,
)
_PAGES = ("docs/messages.md", "docs/troubleshooting.md")


def said(*, everything: bool = False) -> Iterator[tuple[str, str]]:
    """Every text of the code and its place, with NUL for what is put into it; unless it is for
    nobody to read."""
    package = REPO / "lbhook"
    for file in sorted(package.rglob("*.py")):
        module = str(file.relative_to(package).with_suffix(""))
        tree = ast.parse(file.read_text(encoding="utf-8"))
        left_out = set() if everything else set(map(id, _left_out(tree)))
        for node in ast.walk(tree):
            text = _text(node)
            wanted = everything or (module not in _NO_MESSAGES and not _NOT_OURS.match(text))
            if text and wanted and id(node) not in left_out:
                yield text, f"lbhook/{module}.py:{getattr(node, 'lineno', 0)}"


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        parts = (one.value if isinstance(one, ast.Constant) else "\0" for one in node.values)
        return "".join(map(str, parts))
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _left_out(tree: ast.AST) -> Iterator[ast.AST]:
    """Docstrings, help, hints, annotations; and the parts of what is put together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr | ast.JoinedStr):
            yield from list(ast.walk(node))[1:]
        elif isinstance(node, ast.keyword) and node.arg in _ELSEWHERE:
            yield from ast.walk(node)
        elif isinstance(node, ast.Assign) and _names(node) & _ELSEWHERE:
            yield from ast.walk(node.value)
        elif isinstance(node, ast.Compare) or _is_expression(node):
            yield from ast.walk(node)
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield from ast.walk(node.annotation)
        elif isinstance(node, ast.FunctionDef) and node.returns:
            yield from ast.walk(node.returns)


def _is_expression(node: ast.AST) -> bool:
    """Whether it is a call of `re`."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")


def _names(node: ast.Assign) -> set[str]:
    return {one.id.lower().strip("_") for one in ast.walk(node) if isinstance(one, ast.Name)}


def documented() -> str:
    """The messages of the pages' tables: what stands in their first cells."""
    lines = "\n".join((REPO / page).read_text(encoding="utf-8") for page in _PAGES).splitlines()
    return "\n".join(line for line in lines if line.startswith("| ")).replace("`", "")


def lacking() -> Iterator[tuple[str, str]]:
    """Messages that no page has, and their places."""
    page = documented()
    for text, place in said():
        for line in text.replace("`", "").replace("\0", "\n").splitlines():
            if _PROSE.search(line) and line.strip(" ;:,\"'()") not in page:
                yield line.strip(), place


if __name__ == "__main__":
    for message, place in lacking():
        print(f"{place}: {message}")
