"""Where OpenAI's endpoints are, in KServe's words."""

import os
from collections.abc import Mapping


def openai_route_prefix(environ: Mapping[str, str] = os.environ) -> str:
    """``KSERVE_OPENAI_ROUTE_PREFIX``, which is ``/openai`` unless somebody sets it; empty is none."""
    prefix = environ.get("KSERVE_OPENAI_ROUTE_PREFIX", "/openai").strip("/")
    return f"/{prefix}" if prefix else ""
