"""Real Debian, booted under its own systemd: what only a booted machine can prove."""
