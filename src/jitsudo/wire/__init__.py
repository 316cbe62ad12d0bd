"""The wire protocol, sans-I/O: framing, strict JSON, text, and the Varlink interface files."""
