"""What a run came to, in the text format of Prometheus."""

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from .. import __version__
from ..deployment.report import Report
from ..memory.records import Standstill

if TYPE_CHECKING:
    from .traffic_metrics import Traffic

OUTCOMES = ("changed", "unchanged", "kept", "absent", "held", "failed")
HELP: Mapping[str, str] = {
    "lbhook_info": "Always 1; version is that of lbhook.",
    "lbhook_last_run_timestamp_seconds": "When the last run ended, whatever its end.",
    "lbhook_last_success_timestamp_seconds": "When a run last ended with status 0; 0 if none has.",
    "lbhook_last_run_duration_seconds": "How long the last run took.",
    "lbhook_last_run_status": "The exit status of the last run.",
    "lbhook_last_run_outcome": "1 for what the last run came to, 0 for everything else.",
    "lbhook_last_run_attempts": "Requests that it took to get the last run's answer.",
    "lbhook_answer_timestamp_seconds": "When the answer in force was read; 0 if none was.",
    "lbhook_inbound_rules": "Inbound rules of the answer in force.",
    "lbhook_outbound_rules": "Outbound rules of the answer in force.",
    "lbhook_metadata_guarded": "1 if metadata is guarded on this VM, as it was last seen; else 0.",
    "lbhook_reloads_owed": "Files that their program has not loaded.",
    "lbhook_held_since_timestamp_seconds": "Since when nothing new is applied; 0 if it is.",
    "lbhook_reverted": "1 if an apply was put back since nobody confirmed it; else 0.",
    "lbhook_drained_since_timestamp_seconds": "Since when this VM is drained; 0 if it is not.",
    "lbhook_drained_by_azure": "1 if this VM is drained by its tag or a scheduled event; else 0.",
}
# Of what the firewall's table counts; not there without one.
HELP_OF_TRAFFIC: Mapping[str, str] = {
    "lbhook_listener_packets_total": "Packets let in to a listener; of a connection the first.",
    "lbhook_listener_bytes_total": "Their bytes.",
    "lbhook_listeners": "Listeners that count.",
    "lbhook_listeners_left_out": "Listeners beyond the limit, which are in the totals alone.",
    "lbhook_accepted_packets_total": "The same packets, of all listeners.",
    "lbhook_accepted_bytes_total": "Their bytes.",
    "lbhook_dropped_packets_total": "Packets that the firewall has dropped, by reason.",
    "lbhook_dropped_bytes_total": "Their bytes.",
    "lbhook_probe_packets_total": "First packets of health probes, by source.",
    "lbhook_last_probe_timestamp_seconds": "The last run that found a new health probe; 0 if none.",
    "lbhook_tracked_connections": "Connections that the kernel tracks.",
    "lbhook_tracked_connections_limit": "How many it can track; 0 if it tracks none.",
}
_SUCCESS, _ANSWER = "lbhook_last_success_timestamp_seconds", "lbhook_answer_timestamp_seconds"
_RULES = ("lbhook_inbound_rules", "lbhook_outbound_rules")
_SAMPLE = re.compile(r'^(\w+)\{command="\w+"\} (\d{1,15}(?:\.\d+)?)$', re.M)


def files(textfile: PurePosixPath | None) -> Mapping[str, PurePosixPath]:
    """Where the metrics of each command are; nowhere, unless there is a `textfile`."""
    if textfile is None:
        return {}
    fetch = textfile.with_name(f"{textfile.stem}-fetch{textfile.suffix}")
    return {"apply": textfile, "fetch": fetch}


class Measured:
    """One run of a command, which ended `now` (seconds since the epoch) after so many `seconds`;
    `owed` are reloads, None of a command that reloads nothing; `standstill` is why nothing new is
    applied from now on, and `traffic` what the firewall has counted."""

    def __init__(
        self,
        *,
        command: str,
        report: Report,
        now: float,
        seconds: float,
        owed: int | None = None,
        standstill: Standstill | None = None,
        traffic: "Traffic | None" = None,
    ) -> None:
        self.command = command
        self.report = report
        self.now = now
        self.seconds = seconds
        self.owed = owed
        self.standstill = standstill
        self.traffic = traffic

    def text(self, before: str) -> str:
        """The metrics; what this run does not know is as it was `before`."""
        samples = [
            ("lbhook_info", f',version="{__version__}"', 1),
            *(("lbhook_last_run_outcome", *one) for one in self._outcomes()),
            *((name, "", value) for name, value in self._values(before).items()),
            *(self.traffic.samples(before, round(self.now, 3)) if self.traffic else ()),
        ]
        lines = []
        for name, about in {**HELP, **HELP_OF_TRAFFIC}.items():
            found = [(label, value) for known, label, value in samples if known == name]
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {_type(name)}"] if found else []
            lines += [f'{name}{{command="{self.command}"{label}}} {n}' for label, n in found]
        return "".join(f"{line}\n" for line in lines)

    def _outcomes(self) -> Iterator[tuple[str, float]]:
        for one in OUTCOMES:
            yield f',outcome="{one}"', int(one == self.report.outcome)

    def _values(self, before: str) -> Mapping[str, float]:
        report, now = self.report, round(self.now, 3)
        values: dict[str, float] = dict.fromkeys((_SUCCESS, _ANSWER, *_RULES), 0)
        known = _SAMPLE.findall(before)
        values |= {name: float(value) for name, value in known if name in HELP}
        values |= {
            "lbhook_last_run_timestamp_seconds": now,
            "lbhook_last_run_duration_seconds": round(self.seconds, 3),
            "lbhook_last_run_status": report.status,
            "lbhook_last_run_attempts": report.attempts,
        }
        if report.status == 0:
            values[_SUCCESS] = now
        if report.age is not None:
            # The last good answer is kept with the time of an older one that says the same.
            values[_ANSWER] = min(now, max(values[_ANSWER], round(now - report.age, 3)))
        if report.outcome != "failed":
            rules = (report.lb.inbound_rules, report.lb.outbound_rules)
            values |= zip(_RULES, map(len, rules), strict=True)
        if report.guarded is not None:
            values["lbhook_metadata_guarded"] = int(report.guarded)
        if self.owed is not None:
            still = self.standstill
            values["lbhook_reloads_owed"] = self.owed
            values["lbhook_held_since_timestamp_seconds"] = round(still.since, 3) if still else 0
            values["lbhook_reverted"] = int(bool(still and still.kind == "reverted"))
            since = report.drained.since if report.drained else 0
            values["lbhook_drained_since_timestamp_seconds"] = round(since, 3)
            values["lbhook_drained_by_azure"] = int(bool(report.drained and report.drained.azures))
        return values


def _type(name: str) -> str:
    return "counter" if name.endswith("_total") else "gauge"
