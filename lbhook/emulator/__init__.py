"""A metadata service that misbehaves on request."""
