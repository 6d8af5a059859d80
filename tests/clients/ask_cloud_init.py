"""Ask the metadata service as cloud-init does, and print what it makes of the answer as JSON.

Run by the interpreter of cloud-init. Words: `fetch` (with `briefly`: give up after two retries),
or `send` and headers as JSON.
"""

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

from cloudinit import helpers, url_helper, version
from cloudinit.sources import DataSourceAzure

try:
    from cloudinit.sources.azure import imds
except ImportError:  # 22.4, of Debian 12, has it in DataSourceAzure
    imds = None

URL = "http://169.254.169.254/metadata/instance?api-version=2021-08-01&extended=true"
PLACES = {"cloud_dir": "/tmp/cloud", "run_dir": "/tmp/run", "templates_dir": "/tmp"}


def _fetch(source: Any, briefly: bool) -> Any:
    if imds is None:
        return source.get_imds_data_with_api_fallback(retries=2 if briefly else 10)
    # The newer ones wait 30 s for an answer, where the older ones wait 2 s.
    imds._fetch_url.__kwdefaults__["timeout"] = 2
    deadline = time.monotonic() + (1.5 if briefly else 60)
    try:
        return imds.fetch_metadata_with_api_fallback(retry_deadline=deadline)
    except (url_helper.UrlError, ValueError):
        return {}  # as DataSourceAzure has it, which would tell the fabric first


def _understand(source: Any, metadata: Any) -> dict[str, Any]:
    source._metadata_imds = metadata
    source.metadata = {"imds": metadata}
    return {
        "user": DataSourceAzure._username_from_imds(metadata),
        "host": DataSourceAzure._hostname_from_imds(metadata),
        "password": DataSourceAzure._disable_password_from_imds(metadata),
        "keys": source.get_public_ssh_keys(),
        "region": source.region,
        "fault_domain": source.availability_zone,
        "pps": source._ppstype_from_imds(metadata),
        "nics": source.validate_imds_network_metadata(metadata),
        "network": source._generate_network_config(),
    }


def _send(headers: dict[str, str]) -> dict[str, Any]:
    if imds is None:
        rule = {"exception_cb": DataSourceAzure.imds_readurl_exception_callback, "retries": 3}
    else:
        handler = imds.ReadUrlRetryHandler(retry_deadline=time.monotonic() + 5)
        rule = {"exception_cb": handler.exception_callback, "infinite": True}
    try:
        url_helper.readurl(URL, headers=headers, timeout=2, **rule)
    except url_helper.UrlError as error:
        return {"status": error.code, "error": error.cause.response.json()["error"]}
    return {"status": 200, "error": ""}


def _main() -> None:
    if sys.argv[1] == "send":
        said = _send(json.loads(sys.argv[2]))
    else:
        source = DataSourceAzure.DataSourceAzure({}, SimpleNamespace(), helpers.Paths(PLACES))
        metadata = _fetch(source, "briefly" in sys.argv)
        said = {
            "metadata": metadata,
            "understood": _understand(source, metadata) if metadata else {},
            "insists_on_503": hasattr(url_helper, "_handle_error"),
        }
    print(json.dumps({**said, "version": version.version_string()}))


if __name__ == "__main__":
    _main()
