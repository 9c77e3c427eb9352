"""gRPC, carried as bytes: ``call`` is the door that protocols know, ``routes`` says who answers which method, and
``completion`` is the engine behind the door. Nobody else knows what carries the bytes.
"""
