"""From a plan to a machine."""
