"""The page of `show --html`, looked at in a real browser: three widths, by day and by night."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbhook.firewall.verdict import Counter
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.model import Metadata
from lbhook.traffic import html
from lbhook.traffic.paths import Picture, Process, rules_only

from ..browser import Browser, browser
from ..program import BODIES, Desk, run_lbhook
from .test_diagram import DROPPED, NGINX, way

WIDTHS = (360, 768, 1280)
FAR, HERE = "2603:10e1:1000:2222:3333:4444:5555:6666", "fd00:1111:2222:3333:4444:5555:6666:7777"
EVIL = Process(program="</td><img src=x onerror=document.title='caught'>", unit="<b>&amp;.service")
LONG = Process(program="docker-proxy", unit=f"docker-{'0a1b' * 16}.scope")
MANY = Counter(packets=91234567, bytes=5474074020)
WAYS = (
    way(80, counter=MANY),
    way(443, listening=(LONG, Process())),
    way(444, listening=(EVIL,), verdict=None),
    way(8081, listening=(), counter=Counter(packets=3, bytes=180)),
    way(5353, verdict=DROPPED),
    way(80, "50.0.0.2", "10.1.0.5", local=False, listening=(), counter=MANY),
    way(443, "11.11.11.11", "11.11.11.11", listening=None),
    way(60443, FAR, HERE, counter=MANY),
)
PICTURE = Picture(ways=WAYS, unseen=("the firewall: only root may list it",))
# Text runs that a reader sees: their rectangles, and the element that they are in.
SEEN = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const runs = [];
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const owner = node.parentElement;
  const hidden = owner.closest("script, caption") || owner.closest("thead")?.clientHeight < 2;
  if (!node.textContent.trim() || hidden || !owner.checkVisibility()) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const boxes = [...range.getClientRects()].map((one) => one.toJSON());
  runs.push({ owner, text: node.textContent.trim(), boxes });
}
for (const owner of document.querySelectorAll("input, svg")) {
  if (owner.checkVisibility())
    runs.push({ owner, text: owner.tagName, boxes: [owner.getBoundingClientRect().toJSON()] });
}
"""
OVERLAPS = f"""{SEEN}
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
  && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const found = [];
runs.forEach((one, at) => runs.slice(at + 1).forEach((other) => {{
  if (one.boxes.some((a) => other.boxes.some((b) => meet(a, b))))
    found.push([one.text, other.text]);
}}));
return found;
"""
OVERFLOWS = f"""{SEEN}
const found = runs.filter(({{ owner, boxes }}) => boxes.some((box) => {{
  const parent = (owner.closest("td, th, li, h1, h2, h3, form, p") ?? document.body)
    .getBoundingClientRect();
  return box.left < parent.left - 1 || box.right > parent.right + 1
    || box.right > innerWidth || box.top < parent.top - 1 || box.bottom > parent.bottom + 1;
}})).map(({{ text }}) => text);
return [...found, ...(document.documentElement.scrollWidth > innerWidth ? ["page"] : [])];
"""
# WCAG 2: contrast of relative luminances, of text on what is painted behind it.
CONTRAST = f"""{SEEN}
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => parts(colour).slice(0, 3).map((part) => part / 255)
  .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const behind = (element) => {{
  for (let one = element; one; one = one.parentElement) {{
    const colour = getComputedStyle(one).backgroundColor;
    const alpha = parts(colour)[3] ?? 1;
    if (alpha > 0 && alpha < 1) throw new Error(`half transparent: ${{one.className}}`);
    if (alpha === 1) return colour;
  }}
  throw new Error("nothing behind");
}};
return runs.map(({{ owner, text }}) => {{
  const colours = [getComputedStyle(owner).color, behind(owner)].map(light).sort((a, b) => b - a);
  return [(colours[0] + 0.05) / (colours[1] + 0.05), text];
}}).sort((a, b) => a[0] - b[0])[0];
"""
BASICS = """
const all = (what) => [...document.querySelectorAll(what)];
const levels = all("h1, h2, h3, h4").map((one) => Number(one.tagName[1]));
const ids = all("[id]").map((one) => one.id);
return {
  language: document.documentElement.lang,
  title: document.title,
  landmarks: ["header", "main", "footer", "[role=search]"].map((one) => all(one).length),
  first: levels.filter((one) => one === 1).length,
  skipped: levels.filter((one, at) => at && one > levels[at - 1] + 1),
  emptyHeadings: all("h1, h2, h3").filter((one) => !one.textContent.trim()).length,
  unlabelled: all("input").filter((one) => !one.labels[0]?.textContent.trim()).length,
  namelessPictures: all("svg, img").filter((one) => !one.getAttribute("aria-label")).length,
  namelessTables: all("table").filter((one) => !one.caption?.textContent).length,
  cellsWithoutHead: all("th").filter((one) => !one.scope).length,
  unevenTables: all("table").filter(
    (one) => new Set([...one.rows].map((row) => row.cells.length)).size > 1).length,
  twice: ids.length - new Set(ids).size,
  loaded: performance.getEntriesByType("resource").length,
  moving: document.getAnimations().length
    + all("*").filter((one) => getComputedStyle(one).transitionDuration !== "0s").length,
  small: all("input").filter((one) => one.getBoundingClientRect().height < 20).length,
};
"""

pytestmark = pytest.mark.needs("chromium", "chromedriver")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A page with everything that may go wrong."""
    metadata = parse((BODIES / "gateway-ha-ports.json").read_bytes())
    lb = facts.derive(metadata)
    pairs = facts.derive(parse((BODIES / "documented.json").read_bytes()))
    shown = html.to_html(pairs, Metadata(warnings=("<odd>",)), PICTURE, "vm-<1>, today")
    (tmp_path / "tunnels.html").write_text(html.to_html(lb, metadata, rules_only(lb), "vm"))
    (tmp_path / "page.html").write_text(shown)
    return tmp_path / "page.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_what_it_looks_like(chromium: Browser, file: Path, width: int, dark: bool) -> None:
    """Nothing overlaps or overflows, and all text stands out from its ground; the picture is
    left beside the page, to be looked at."""
    for one in (file.with_name("tunnels.html"), file):
        chromium.open(one, width, dark=dark)
        assert chromium.run(OVERLAPS) == []
        assert chromium.run(OVERFLOWS) == []
        contrast, text = chromium.run(CONTRAST)
        assert contrast >= 4.5, text
    picture = file.with_name(f"{width}-{'dark' if dark else 'light'}.png")
    chromium.screenshot(picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    ground = chromium.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) is dark


def test_the_checks_themselves(chromium: Browser, tmp_path: Path) -> None:
    """A page with each fault is found out."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><body style='background:#fff'><p>one</p>"
        "<p style='margin-top:-2em;color:#999'>two</p>"
        "<p style='width:50px;white-space:nowrap'>long, longer, longest</p>"
        "<input><svg></svg><h3>three</h3><table><tr><th>x</table>"
    )
    chromium.open(bad, 360)
    assert ["one", "two"] in chromium.run(OVERLAPS)
    assert "long, longer, longest" in chromium.run(OVERFLOWS)
    assert chromium.run(CONTRAST)[0] < 4.5
    basics = chromium.run(BASICS)
    assert (basics["unlabelled"], basics["namelessTables"], basics["cellsWithoutHead"]) == (1, 1, 1)
    assert (basics["first"], basics["namelessPictures"]) == (0, 1)


@pytest.mark.parametrize("name", ["page.html", "tunnels.html"])
def test_for_those_who_do_not_see_it(chromium: Browser, file: Path, name: str) -> None:
    """Landmarks, headings in order, labels, captions and heads of tables; nothing moves, and
    nothing is loaded."""
    chromium.open(file.with_name(name), 1280)
    basics: dict[str, Any] = chromium.run(BASICS)
    assert basics.pop("language") == "en"
    assert basics.pop("title") == "What Azure's load balancer sends here"
    assert basics.pop("landmarks") == [1, 1, 1, 1]
    assert basics.pop("first") == 1
    assert {key: value for key, value in basics.items() if value} == {}


@pytest.mark.parametrize("width", [360, 1280])
def test_tables_are_tables_at_every_width(chromium: Browser, file: Path, width: int) -> None:
    """A screen reader hears rows and cells with their heads, also where they are stacked."""
    chromium.open(file, width)
    nodes = chromium.tell("Accessibility.getFullAXTree")["nodes"]
    fetched = [node["role"]["value"] for node in nodes if not node["ignored"]]
    rows = len(WAYS) + len({(one.rule.frontend_ip, one.rule.private_ip) for one in WAYS})
    assert fetched.count("row") >= rows
    assert fetched.count("rowheader") >= len(WAYS)
    assert fetched.count("columnheader") >= 4


def rows(chromium: Browser) -> list[str]:
    """The first cell of each row of a rule that is to be seen."""
    return list(
        chromium.run(
            'return [...document.querySelectorAll(".way tbody tr")]'
            ".filter((one) => one.checkVisibility()).map((one) => one.cells[0].textContent)"
        )
    )


def test_search_with_the_keyboard(chromium: Browser, file: Path) -> None:
    """From the top two keys away, with a ring around what has the focus; each word counts."""
    chromium.open(file, 360)
    assert len(rows(chromium)) == len(WAYS)
    chromium.press("\ue004", *"8 NGINX")
    ring = "return getComputedStyle(document.activeElement).outlineStyle"
    assert chromium.run(ring) == "solid"
    assert rows(chromium) == ["tcp 80"]
    said = 'return document.querySelector("output").value'
    assert chromium.run(said) == f"1 of {len(WAYS)} rules"
    chromium.press(*["\ue003"] * len("8 nginx"), *"50.0.0.2")
    assert rows(chromium) == ["tcp 80"]
    chromium.press(*["\ue003"] * len("50.0.0.2"), "\ue004", " ")
    assert chromium.run(ring) == "solid"
    assert rows(chromium) == ["tcp 8081", "tcp 5353", "tcp 80"]


def test_without_a_script(chromium: Browser, file: Path) -> None:
    """Every rule is there, and no field that does nothing."""
    chromium.tell("Emulation.setScriptExecutionDisabled", value=True)
    try:
        chromium.open(file, 1280)
    finally:
        chromium.tell("Emulation.setScriptExecutionDisabled", value=False)
    assert len(rows(chromium)) == len(WAYS)
    assert chromium.run("return document.querySelector('form').checkVisibility()") is False


def test_a_name_is_only_text(chromium: Browser, file: Path) -> None:
    """What calls itself HTML is shown as it is; and were it not, no script of it would run."""
    chromium.open(file, 1280)
    text = chromium.run("return document.body.textContent")
    for one in (EVIL.program, EVIL.unit, "<odd>", "vm-<1>, today"):
        assert one in text
    assert chromium.run("return document.querySelectorAll('img, b b').length") == 0
    add = "document.body.innerHTML += arguments[0]; return document.title"
    assert "caught" not in chromium.run(add, EVIL.program)
    assert "caught" not in chromium.run("return document.title")


def test_three_hundred_rules(chromium: Browser, tmp_path: Path) -> None:
    """All are there, and can be searched."""
    file = tmp_path / "many.html"
    ways = tuple(way(port, listening=() if port == 300 else (NGINX,)) for port in range(1, 301))
    file.write_text(html.to_html(facts.Facts(), Metadata(), Picture(ways=ways), "vm"))
    chromium.open(file, 768)
    assert chromium.run(OVERLAPS) == []
    assert len(rows(chromium)) == 300
    chromium.press("\ue004", *"nobody")
    assert rows(chromium) == ["tcp 300"]


def test_the_command(tmp_path: Path) -> None:
    """`--html FILE` writes it and prints nothing; `-` prints it; with --root it has two columns."""
    desk = Desk(tmp_path)
    file = tmp_path / "lb.html"
    ended = desk.run("show", "--html", file)
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    text = file.read_text()
    assert "who listens" not in text
    assert "problem" not in text
    assert desk.run("show", "--html", "-").out.startswith("<!doctype html>\n")
    here = run_lbhook("show", "--html", "-", "--metadata", BODIES / "documented.json").out
    assert "not an address of this machine" in here
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", here)


def test_a_file_that_can_not_be_written(tmp_path: Path) -> None:
    """Status 73, as for any other file."""
    ended = Desk(tmp_path).run("show", "--html", tmp_path / "no/lb.html")
    assert ended.status == 73
    assert ended.err == "lbhook: --html TMP/no/lb.html: No such file or directory\n"


def test_the_page_asks_nobody() -> None:
    """Whatever it shows, there is no address in it that a browser would go to."""
    text = html.to_html(facts.Facts(), Metadata(), Picture(ways=WAYS[:1]), "vm")
    assert not re.search(r"//\w|\b(?:src|href)=|@import|url\(", text)
    assert "default-src 'none'" in text
