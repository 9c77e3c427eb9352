"""The way of a request, with the time at each door: for the client that asks, and for a collector of OpenTelemetry's.

What nobody wants to know costs one look at a header.
"""
