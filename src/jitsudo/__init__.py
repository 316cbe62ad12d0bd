"""jitsudo: just-in-time root for Linux hosts, with guardrails on every action."""

__version__ = "0.1.0"
