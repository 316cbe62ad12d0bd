"""For all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How long an example takes, or takes to be made up, is the machine's doing: what has a time limit measures it.
settings.register_profile("jitsudo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jitsudo")
