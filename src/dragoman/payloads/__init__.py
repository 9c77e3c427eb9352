"""What clients send and what they are answered, kept elsewhere: events for a collector, or lines of a file.

Knows no protocol and no transport: it is handed bytes. Never slows or fails a request; what doesn't fit is counted.
"""

from dragoman.payloads.event import REQUEST, RESPONSE, Payload
from dragoman.payloads.log import PayloadLog

__all__ = ["REQUEST", "RESPONSE", "Payload", "PayloadLog"]
