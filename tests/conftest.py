"""What every test may use."""

from hypothesis import HealthCheck, settings

# How fast an example runs says something about the machine, and nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
