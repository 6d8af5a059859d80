"""A real browser without a window, through chromedriver's own protocol (W3C WebDriver)."""

import base64
import contextlib
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# It asks nobody for anything, and leaves nothing behind.
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--hide-scrollbars"),
)
_TIMEOUT = 60


@dataclass(frozen=True)
class Browser:
    """One session of one browser."""

    session: str

    def call(self, method: str, path: str, **words: Any) -> Any:
        """Ask chromedriver."""
        data = json.dumps(words).encode() if method == "POST" else None
        request = urllib.request.Request(f"{self.session}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def tell(self, command: str, **words: Any) -> Any:
        """Use the browser's own protocol."""
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=words)

    def open(self, page: Path, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Show a file on a screen of this size."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.call("POST", "/url", url=page.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function's body returns, run in the page."""
        return self.call("POST", "/execute/sync", script=script, args=arguments)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        strokes = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        board = {"type": "key", "id": "board", "actions": strokes}
        self.call("POST", "/actions", actions=[board])

    def screenshot(self, file: Path) -> None:
        """The whole page as a picture."""
        size = self.tell("Page.getLayoutMetrics")["cssContentSize"]
        taken = self.tell(
            "Page.captureScreenshot", captureBeyondViewport=True, clip={**size, "scale": 1}
        )
        file.write_bytes(base64.b64decode(taken["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser whose profile is new; it ends with the context."""
    with subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        try:
            assert driver.stdout
            (port,) = next(filter(None, map(_PORT.findall, driver.stdout)))
            service = Browser(f"http://127.0.0.1:{port}")
            options = {"args": [*_FLAGS, f"--user-data-dir={profile}"]}
            wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
            begun = service.call("POST", "/session", capabilities=wanted)
            session = Browser(f"{service.session}/session/{begun['sessionId']}")
            yield session
            session.call("DELETE", "")
        finally:
            driver.terminate()


_PORT = re.compile(r"started successfully on port (\d+)")
