"""A policy that denies everything and says what its interpreter was given; it stands in for the real plugin."""
# ruff: noqa: ARG002  the signatures are sudo's

from __future__ import annotations

import sys

import sudo


class Probe(sudo.Plugin):
    """Deny, and tell."""

    def __init__(self, user_env, settings, version, user_info, plugin_options):
        self._path = next((entry for entry in user_env if entry.startswith("PATH=")), "no PATH")

    def check_policy(self, argv, env_add):
        sudo.log_error(f"probe: {argv} user {self._path} prefix {sys.prefix}")
        return sudo.RC.REJECT

    def list(self, argv, is_verbose, user):
        sudo.log_error("probe: list")
        return sudo.RC.REJECT
