"""How soon an answer is read once it is there, and how often lbhook asks meanwhile.

    python bench/pace.py [RUNS]

The metadata service gets ready at a moment uniform in 0 to 60 s. Until then it refuses, says
404, 503 or 410, hangs, or nobody takes the connection. Clock, sleep and the one GET are fakes;
the rest is `imds.Service` as it runs. Ends with status 1 if the requirement is not met: mean at
most 0.6 s, never above 2 s, never more than 2 requests in any second. For a service that takes
the connection and hangs there is no requirement: whoever asks must choose between hanging up on
a slow answer and waiting for one that never comes.
"""

import json
import random
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from lbhook.imds.client import Service
from lbhook.imds.transport import NoResponseError, Response

BODY = json.dumps(
    {"loadbalancer": {"publicIpAddresses": [], "inboundRules": [], "outboundRules": []}}
).encode()
JSON = {"content-type": "application/json"}
MOST_MEAN, MOST_DELAY, MOST_REQUESTS = 0.6, 2.0, 2
BUDGET = 300.0
ANSWER_TAKES = 0.005
CONNECT = 1.0  # transport.py waits so long for a connection


@dataclass(slots=True)
class Simulation:
    """One boot: a clock, a service that gets ready at `ready`, and what it does before."""

    ready: float
    fault: str
    now: float = 0.0
    asked: list[float] = field(default_factory=list)

    def clock(self) -> float:
        """Seconds since the start."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass the time; a kernel wakes a little late."""
        self.now += seconds + 0.001

    def get(
        self,
        url: str,
        parameters: dict[str, str],
        request_id: str,
        deadline: float,
        clock: Callable[[], float],
    ) -> Response:
        """What transport.get would give, and the time that it would take."""
        self.asked.append(self.now)
        if self.now >= self.ready:
            self.now += ANSWER_TAKES
            return Response(status=200, headers=JSON, body=BODY)
        if self.fault == "black hole":
            # The kernel knocks once, and again after a second, when lbhook has given up.
            self.now = min(self.now + CONNECT, deadline)
            raise NoResponseError("connection timed out", hung=True)
        if self.fault == "hang":
            self.now = deadline
            raise NoResponseError("response timed out", hung=True)
        self.now += ANSWER_TAKES
        if self.fault == "refuse":
            raise NoResponseError("connection refused", hung=False)
        words = {
            "404": "/metadata/loadbalancer is not currently available",
            "410": "Gone",
            "503": "Internal service unavailable. Please retry later",
        }
        body = json.dumps({"error": words[self.fault]}).encode()
        return Response(status=int(self.fault), headers=JSON, body=body)

    def run(self) -> float:
        """Seconds from ready to read."""
        service = Service(
            endpoint="http://127.0.0.1:9",
            api_version="2020-10-01",
            wait=BUDGET,
            clock=self.clock,
            sleep=self.sleep,
            get=self.get,
        )
        service.fetch()
        return self.now - self.ready


def most_in_a_second(times: list[float]) -> int:
    """The largest number of requests that any second holds."""
    return max(
        sum(start <= one < start + 1.0 for one in times[at:]) for at, start in enumerate(times)
    )


def measure(fault: str, runs: int, chance: random.Random) -> bool:
    """Print one line of the table, and return whether it is within the requirement."""
    delays, busiest = [], 0
    for _ in range(runs):
        simulation = Simulation(ready=chance.uniform(0.0, 60.0), fault=fault)
        delays.append(simulation.run())
        busiest = max(busiest, most_in_a_second(simulation.asked))
    delays.sort()
    mean = statistics.fmean(delays)
    spots = [delays[int(share * (runs - 1))] for share in (0.5, 0.9, 0.99, 1.0)]
    print(f"{fault:12} {mean:6.3f}" + "".join(f" {one:6.3f}" for one in spots) + f" {busiest:9}")
    return busiest <= MOST_REQUESTS and (
        fault == "hang" or (mean <= MOST_MEAN and spots[-1] <= MOST_DELAY)
    )


def main() -> int:
    """Print the table; 0 if all of it is within the requirement."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    chance = random.Random(1)
    print(f"ready -> read, in seconds, {runs} boots each")
    print(f"{'before':12} {'mean':>6} {'p50':>6} {'p90':>6} {'p99':>6} {'max':>6} {'most/s':>9}")
    faults = ("refuse", "404", "503", "410", "black hole", "hang")
    held = [measure(fault, runs, chance) for fault in faults]
    print(
        f"required: mean <= {MOST_MEAN}, max <= {MOST_DELAY}, most/s <= {MOST_REQUESTS}"
        f" (hang: most/s only): {'held' if all(held) else 'NOT held'}"
    )
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
