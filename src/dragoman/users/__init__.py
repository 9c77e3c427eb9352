"""Who may: users with passwords, keys for programs, what each has left, and what was done by whom.

::

    header ──► guards ──► authority: a digest in a table ──► caller: roles, models, limits ──► the route's handler
                             ▲ told of every change
    login ──► passwords ──► tokens        registrar ──► store        recorder ──► log, store

Nothing on a request's way blocks or asks a database.
"""
