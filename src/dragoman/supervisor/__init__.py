"""Several server processes behind one port: started, watched and stopped as if they were one.

    cli ──supervise──► parent ──socket, signals──► child (an ``App``), child, …

The parent loads no model and answers no request: it imports nothing heavy.
"""

from dragoman.supervisor.parent import supervise

__all__ = ["supervise"]
