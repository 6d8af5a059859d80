"""What can be read of a record that another version wrote, or a disk has damaged."""

import json
from typing import Any, NamedTuple

import pytest

from lbhook.config.schema import Misfit
from lbhook.memory import record_forms, records
from lbhook.storage import forms, rows
from lbhook.storage.forms import Form

from ..damage import documents, texts, written

_TARGET = {"name": "one", "path": "/etc/one", "digest": "d", "mode": 420, "reload": ["load"]}
_LOADED = {"digest": "d", "observed": "o", "queued": False, "others": "x", "held": True}
_FILES = {"/etc/one": {"name": "one", "digest": "d"}}
_MODEL = {"model": {"inbound_rules": [{}], "listeners": []}, "files": _FILES}
WHOLE: dict[str, tuple[Form, dict[str, Any]]] = {
    "installed": (record_forms.INSTALLED, {"files": {"/etc/one": _TARGET}}),
    "loaded": (
        record_forms.LOADED,
        {
            "boot": "b",
            "files": {"/etc/one": _LOADED},
            "foreign": {"/etc/one": _TARGET},
            "before": {"/etc/one": _LOADED},
            "addresses": {"/run/lbhook/floating-ips": ["50.0.0.1", "fd00::1"]},
            "applied": 12.5,
            "made": {"/etc/one": "m"},
            "proofs": {"/etc/one": "p"},
            "skipped": {"/etc/one": True},
            "judged": {"/etc/one": {"of": "o", "looked": ["/x"], "notes": ["n"], "mark": "m"}},
            "rested": ["/etc/one"],
            "closed": ["tcp 25"],
        },
    ),
    "ports": (record_forms.PORTS, {"ports": [{"port": 80, "protocol": "tcp", "ip": "0.0.0.0"}]}),
    "refused": (record_forms.REFUSED, {"groups": {"x": {"problems": ["p"], "at": 1.5}}}),
    "told": (record_forms.TOLD, {"told": _MODEL, "owed": _MODEL}),
    "history": (
        record_forms.HISTORY,
        {
            "rules": ["r"],
            "changes": [{"time": "t", "source": "s", "outcome": "o", "came": ["r"], "more": 1}],
        },
    ),
    "hold": (
        record_forms.STANDSTILL,
        {
            **dict.fromkeys(("since", "until", "due"), 1.0),
            **dict.fromkeys(("by", "reason", "boot"), "x"),
            "kind": "hold",
        },
    ),
    "drain": (
        record_forms.DRAIN,
        {
            **dict.fromkeys(("since", "until", "ends", "lasts"), 1.0),
            **dict.fromkeys(("by", "reason", "boot", "uuid", "machine_id"), "x"),
            "persist": True,
            "source": "tag",
            "events": ["x"],
        },
    ),
    "waived": (record_forms.WAIVED, {"events": ["x"]}),
    "answer": (
        record_forms.ANSWER,
        {"fetched": 1.0, "uuid": "u", "machine_id": "m", "body": "e30=", "instance": "e30="},
    ),
}


@pytest.fixture(params=WHOLE)
def sample(request: pytest.FixtureRequest) -> tuple[Form, dict[str, Any]]:
    """One of each kind of record, with all that can be in it."""
    form, values = WHOLE[request.param]
    return form, {**values, "version": forms.VERSION}


def test_a_record_comes_back(sample: tuple[Form, dict[str, Any]]) -> None:
    """All of it, and nothing is wrong."""
    form, values = sample
    found = forms.record(written(values), form)
    assert (found.wrong, found.lost) == ("", False)
    assert set(found.values) == set(form) == set(values) - {"version"}
    assert all(found.values.values())


def test_a_wrong_value_anywhere_is_left_out_and_named(sample: tuple[Form, dict[str, Any]]) -> None:
    """Of every type, at every place: what is left is a record again, with nothing wrong."""
    form, values = sample
    for document in documents(values):
        found = forms.record(written(document), form)
        lacking = any(part.needed and found.values[key] is None for key, part in form.items())
        if not lacking and form not in record_forms.WHOLE:  # which count whole or not at all
            again = forms.record(forms.written(found.values), form)
            assert again == forms.Record(again.values), document
            assert again.values == found.values, document


def test_what_is_no_record_is_lost(sample: tuple[Form, dict[str, Any]]) -> None:
    """Cut, no text, or deeper than any parser likes: it is named, and nothing of it counts."""
    form, values = sample
    for text in texts(written(values)):
        found = forms.record(text, form)
        assert (found.wrong, found.lost) == ("damaged: not JSON, or cut", True), text[:40]
        assert found.values == forms.nothing(form).values


def test_a_newer_version_says_so(sample: tuple[Form, dict[str, Any]]) -> None:
    """And what has the known form counts: an original is not to be lost for a number."""
    form, values = sample
    found = forms.record(written({**values, "version": 2, "later": {}}), form)
    assert found.wrong == "written by a newer lbhook, as version 2"
    assert found.values == forms.record(written(values), form).values


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [], {}])
def test_a_version_that_never_was_is_damage(version: object) -> None:
    """Nobody knows what else has become of it."""
    found = forms.record(written({"files": {}, "version": version}), record_forms.INSTALLED)
    assert found.wrong == "damaged: version: it has none that lbhook ever wrote"


def test_a_record_stands_at_its_own_path() -> None:
    """A target is undone at its path, so this may be no other."""
    values = {"files": {"/etc/one": {**_TARGET, "path": "/etc/shadow"}}, "version": 1}
    found = forms.record(written(values), record_forms.INSTALLED)
    problem = 'files./etc/one.path: "/etc/shadow" is another path'
    assert (found.values["files"], found.wrong) == ({}, f"damaged: {problem}")


def test_three_problems_are_named_and_the_rest_counted() -> None:
    """A line that somebody can read."""
    values = {"files": {f"/{one}": 1 for one in range(5)}, "version": 1}
    found = forms.record(written(values), record_forms.INSTALLED)
    parts = [f"files./{one}: 1 is not an object" for one in range(3)]
    assert found.wrong == f"damaged: {'; '.join(parts)}; and 2 more"


def test_a_list_of_those_that_were_skipped_is_an_older_form() -> None:
    """lbhook wrote it so for some hours, and a firewall hangs on it."""
    found = forms.record(b'{"skipped": ["/etc/one"], "version": 1}', record_forms.LOADED)
    assert (found.wrong, found.values["skipped"]) == ("", {"/etc/one": True})


def test_a_field_of_a_later_version_does_no_harm() -> None:
    """Nor does one that was not there yet, if there is something to stand for it."""

    class Row(NamedTuple):
        path: str
        more: int = 3

    read = rows.row(Row)
    assert read({"path": "/x", "later": {}}) == Row("/x")
    with pytest.raises(Misfit, match="missing"):
        read({"more": 4})


def test_a_record_is_written_the_same_each_time() -> None:
    """By key, in order, with the version."""
    content = forms.written({"b": ("x",), "a": records.Port(80, "tcp", "::")})
    assert json.loads(content)["a"]["port"] == 80
    assert content.decode().index('"a"') < content.decode().index('"b"')
    assert content.endswith(b'"version": 1\n}\n')
