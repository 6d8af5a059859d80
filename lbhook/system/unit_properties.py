"""What `systemctl show` prints: for each unit a block of lines, `Name=value`."""


def read(output: str) -> list[dict[str, str]]:
    """The properties of each unit, in the order in which systemctl was asked."""
    return [
        dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for block in output.split("\n\n")
    ]
