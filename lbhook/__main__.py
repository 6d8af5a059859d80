"""Where the program begins: `python -m lbhook`, and what every script named lbhook imports."""

# What `signal` is made of, without its enums, whose import would leave a few milliseconds open; it
# has no types of its own.
import _signal  # type: ignore[import-not-found]

# Until `main` has its way to end: by the signal, and without a traceback of what was imported.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

from .program import main

if __name__ == "__main__":
    main()
