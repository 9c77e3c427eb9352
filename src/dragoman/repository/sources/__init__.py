"""Where models come from: names in the store, folders, and files fetched by URL under rules the operator sets.

::

    location ──► location.py ──► rules.py ──► local.py | http.py | objects.py ──► staging.py ──► a name in the store
                 one reading     allowed?     connection.py: to whom, really?      counted, hashed, checked

Knows nothing of what is in a model.
"""

from dragoman.repository.sources.background import fetch
from dragoman.repository.sources.connection import Egress
from dragoman.repository.sources.effort import Effort
from dragoman.repository.sources.fetching import Fetched, Sources
from dragoman.repository.sources.rules import Rules, parse_rules
from dragoman.repository.sources.staging import Budget

__all__ = ["Budget", "Effort", "Egress", "Fetched", "Rules", "Sources", "fetch", "parse_rules"]
