"""Settings, read from TOML and checked."""
