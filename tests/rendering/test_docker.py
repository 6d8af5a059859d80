"""docker's own reading of the env file, of which nothing but its command line is needed."""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from lbhook import processes

from ..conftest import lacking
from ..program import REPO

FETCHED = REPO / ".cache/docker/docker"


class Engine(BaseHTTPRequestHandler):
    """As much of docker's engine as `docker create` asks for; its server keeps what it asked."""

    def do_HEAD(self) -> None:
        """Say which API this is."""
        self._answer(200, b"")

    def do_POST(self) -> None:
        """Make no container, and say that it was made."""
        said = self.rfile.read(int(self.headers["Content-Length"]))
        vars(self.server)["environment"] = json.loads(said)["Env"]
        self._answer(201, b'{"Id": "none", "Warnings": []}')

    def _answer(self, status: int, said: bytes) -> None:
        self.send_response(status)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[UnixStreamServer]:
    """A docker engine that makes no container."""
    with UnixStreamServer(str(tmp_path / "docker.sock"), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", [file.name for file in (REPO / "tests/golden").glob("*.env")])
def test_docker_reads_what_stands_in_the_file(name: str, engine: UnixStreamServer) -> None:
    """`docker create --env-file` hands each line to its engine as it is, and no comment."""
    docker = processes.find("docker") or (str(FETCHED) if FETCHED.exists() else "")
    if not docker:
        lacking("no docker: tests/fetch-docker gets its command line")
    file = REPO / "tests/golden" / name
    done = subprocess.run(
        [docker, "create", "--env-file", str(file), "image"],
        env={"DOCKER_HOST": f"unix://{engine.server_address!s}", "DOCKER_CONFIG": "/nonexistent"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    assert sorted(vars(engine)["environment"]) == sorted(lines)
