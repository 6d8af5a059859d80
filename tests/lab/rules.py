"""The rules that most tests start from: web, administration and names, in both families."""

from typing import Any

from .fabric import VM4, VM6, body, rule

FRONT4, FRONT6, OWN = "50.0.0.1", "2603:10e1:100:2::1:1", "51.0.0.1"
PAIRS: dict[str, Any] = {
    "public": [(OWN, VM4)],
    "outbound": [(FRONT4, VM4), (FRONT6, VM6)],
}
WEB = (rule(FRONT4, 80, VM4, 443), rule(FRONT6, 80, VM6, 443))
ADMIN = (rule(FRONT4, 81, VM4, 8081), rule(FRONT6, 81, VM6, 8081))
NAMES = (rule(FRONT4, 53, VM4, 5353, "Udp"), rule(FRONT6, 53, VM6, 5353, "Udp"))
ALL = body(*WEB, *ADMIN, *NAMES, **PAIRS)
