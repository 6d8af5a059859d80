"""Coverage-guided fuzzing of `parse`: any bytes give a model or a `MetadataError`.

    python fuzz/fuzz_parse.py -max_total_time=600 -max_len=4096 -dict=fuzz/words.dict \\
        NEW fuzz/corpus

NEW is a directory for what is found on the way; the corpus itself is only read. Needs atheris,
which nothing else does, and lbhook on the path (PYTHONPATH=.). An exception of any other kind
ends the run, and its input is left in the current directory.
"""

import sys

import atheris

with atheris.instrument_imports(include=["lbhook"]):
    from lbhook.errors import MetadataError
    from lbhook.imds.classification import classify
    from lbhook.metadata.body import parse
    from lbhook.metadata.facts import derive

_JSON = {"content-type": "application/json"}


def try_body(body: bytes) -> None:
    """Read the body as an answer and as an error; what was read once is read alike again."""
    for status in (200, 400, 404):
        classify(status, _JSON, body)
    problems: tuple[str, ...] = ()
    try:
        metadata = parse(body)
    except MetadataError as error:
        metadata, problems = None, error.problems
    if metadata:
        assert derive(metadata) == derive(parse(body))
        problems = metadata.warnings
    else:
        assert problems
    assert all(problem.isascii() and problem.isprintable() for problem in problems)


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_body)
    atheris.Fuzz()
