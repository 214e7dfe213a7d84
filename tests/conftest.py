"""For every test: property tests draw the same examples each time, so that a red run means a change. Searching anew is a campaign of
its own: `HYPOTHESIS_PROFILE=search python -m pytest`.
"""

import os

from hypothesis import HealthCheck, settings

# A busy machine draws slowly: that says nothing of the code.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
