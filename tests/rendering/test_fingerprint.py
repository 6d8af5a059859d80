"""What a file is rendered from, as a digest that outlives a boot."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ..program import REPO


def test_the_next_version_is_another_though_its_files_look_the_same(tmp_path: Path) -> None:
    """An image that gives all files one time, and a version that differs by a figure."""
    package = tmp_path / "lbhook"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "lbhook", package, ignore=ignored)
    shutil.copytree(REPO / "templates", tmp_path / "templates")
    init = package / "__init__.py"

    def digest(version: str) -> str:
        text = init.read_text(encoding="utf-8").partition("__version__ = ")[0]
        init.write_text(f'{text}__version__ = "{version}"\n', encoding="utf-8")
        for file in package.rglob("*"):
            os.utime(file, (0, 0))
        code = "from lbhook.rendering import fingerprint; print(fingerprint.templates(()))"
        argv = (sys.executable, "-B", "-c", code)
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    before = digest("1.0.1")
    assert before.strip()
    assert digest("1.0.1") == before
    assert digest("1.0.2") != before
