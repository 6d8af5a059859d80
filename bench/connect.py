"""New connections per second, one after the other: run inside a host of the laboratory."""

import socket
import sys
import time

host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
begin = time.perf_counter()
count = 0
while time.perf_counter() - begin < seconds:
    with socket.create_connection((host, port), timeout=5):
        count += 1
print(count / (time.perf_counter() - begin))
