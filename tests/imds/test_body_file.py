"""An answer from a file: read whole, or refused with the reason."""

from functools import partial
from pathlib import Path

import pytest

from lbhook.errors import MetadataError, UsageError
from lbhook.imds import body_file
from lbhook.imds.answer import Answer
from lbhook.metadata.body import parse
from lbhook.metadata.reader import MOST_BYTES

from .test_last_good import Body


def test_an_answer_from_a_file(tmp_path: Path, body: Body) -> None:
    """By name, and from standard input; no request, no age."""
    file = tmp_path / "body.json"
    file.write_bytes(body("documented"))
    expected = Answer(metadata=parse(body("documented")), source="file")
    assert body_file.read(str(file), lambda: b"") == expected
    assert body_file.read("-", lambda: body("documented")) == expected


def test_a_shipped_body_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Body
) -> None:
    """Unless there is a file of that name, be it one that can't be read."""
    monkeypatch.chdir(tmp_path)
    shipped = body_file.read("documented", lambda: b"").metadata
    assert shipped == parse(body("documented"))
    (tmp_path / "documented").write_bytes(body("public-ip-only"))
    assert body_file.read("documented", lambda: b"").metadata == parse(body("public-ip-only"))
    (tmp_path / "dual-stack").mkdir()
    with pytest.raises(UsageError):
        body_file.read("dual-stack", lambda: b"")


def test_a_file_that_can_not_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """Status 2, with the name as it was given."""
    for name, reason in (
        (str(tmp_path / "no"), "No such file or directory"),
        (str(tmp_path), "Is a directory"),
    ):
        with pytest.raises(UsageError) as caught:
            body_file.read(name, lambda: b"")
        assert caught.value.problems == (f"--metadata {name}: {reason}",)
        assert caught.value.hint == "give a file, or - for standard input"


def test_a_body_that_is_misspelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest that ships is named."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        body_file.read("dual-stak", lambda: b"")
    (problem,) = caught.value.problems
    assert problem.endswith('; did you mean "dual-stack"?')


def test_a_file_without_an_end_is_a_usage_error() -> None:
    """No more than 4 MiB are read, as from the network."""
    for name, stdin in (("/dev/zero", b""), ("-", b" " * (MOST_BYTES + 1))):
        with pytest.raises(UsageError) as caught:
            body_file.read(name, partial(bytes, stdin))
        assert caught.value.problems == (f"--metadata {name}: longer than 4 MiB",)


def test_a_file_with_a_bad_body_is_a_metadata_error() -> None:
    """65, partial ones among them: a file does not get better by waiting."""
    with pytest.raises(MetadataError) as caught:
        body_file.read("-", lambda: b'{"loadbalancer": {"inboundRules": [], "outboundRules": []}}')
    assert caught.value.problems == ("loadbalancer.publicIpAddresses: missing",)
