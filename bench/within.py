"""What a command takes in a namespace, without the way there: ms the `first` time, or ms when it is
done `again`."""

import subprocess
import sys
import time

figure, argv = sys.argv[1], sys.argv[2:]
seconds = {}
for when in ("first", "again"):
    begin = time.perf_counter()
    subprocess.run(argv, check=True)
    seconds[when] = time.perf_counter() - begin
print(seconds[figure] * 1000)
