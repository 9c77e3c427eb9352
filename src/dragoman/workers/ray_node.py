"""A Ray cluster of one machine, for one server: the process that starts it, and ends with the server.

Ray's own processes are forked; from a server with threads, above all those of gRPC, that goes wrong now and then. Says
the cluster's address on standard output and waits for the end of its input.
"""

import os
import sys


def main() -> None:
    address = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever else is printed is no address
    import ray

    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    os.write(address, ray.get_runtime_context().gcs_address.encode() + b"\n")
    sys.stdin.buffer.read()
    ray.shutdown()


if __name__ == "__main__":
    main()
