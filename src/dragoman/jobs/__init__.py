"""Requests that are answered later: accepted and kept, run when there is time, told of when they have ended.

One machine needs no broker: the table of jobs is the queue. Several processes may share it.
"""
