"""Ask the metadata service as the Azure agent does, and print what it makes of it as JSON.

Run by the interpreter of the agent. Words: `compute`, `validate` or `get` and a path; then
`hurry` (note how long it would wait, and don't), `times=3`, `header=Name: value`.
"""

import inspect
import json
import sys
import time
from typing import Any

from azurelinuxagent.common import version
from azurelinuxagent.common.exception import HttpError
from azurelinuxagent.common.protocol.imds import ImdsClient

WIRESERVER = "168.63.129.16"


def _client(header: str) -> Any:
    # 2.7, of Debian 12, turns to the wireserver when the metadata service is out of reach.
    old = "wireserver_endpoint" in inspect.signature(ImdsClient.__init__).parameters
    client = ImdsClient(WIRESERVER) if old else ImdsClient()
    name, _, value = header.partition(": ")
    for headers in (client._headers, client._health_headers):
        headers.update({name: value} if name else {})
    return client


def _ask(client: Any, question: str, path: str = "") -> Any:
    if question == "validate":
        return client.validate()
    if question == "get":
        success, service_error, response = client.get_metadata(path, is_health=False)
        said = response.decode() if isinstance(response, bytes) else response
        return [success, service_error, said]
    try:
        compute = client.get_compute()
    except HttpError as error:
        return {"error": str(error)}
    # A key of the answer that the agent has no field for is not among these.
    return {**vars(compute), "image_info": compute.image_info, "origin": compute.image_origin}


def _main() -> None:
    question, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words if "=" in word)
    waits: list[float] = []
    if "hurry" in words:
        # A module's function is no variable to mypy; the agent sleeps by this very name.
        time.sleep = waits.append  # type: ignore[assignment]
    client = _client(options.get("header", ""))
    said = [_ask(client, question, *words[:1]) for _ in range(int(options.get("times", 1)))]
    old = "wireserver_endpoint" in inspect.signature(ImdsClient.__init__).parameters
    print(
        json.dumps(
            {"said": said, "waits": waits, "wireserver": old, "version": version.AGENT_VERSION}
        )
    )


if __name__ == "__main__":
    _main()
