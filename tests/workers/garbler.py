"""A worker that was never honest: it greets as a model does, or nearly so, and then says what comes to its mind.

Started by the server in the place of its own workers, with the same arguments. ``CORPUS`` names a file with what an
honest worker says, ``SEED`` decides what becomes of it.
"""

import json
import mmap
import os
import random
import re
import signal
import socket
import sys

from dragoman.workers import sweep
from dragoman.workers.shared import HERE, IN_FILE, Ring, make_file, write_file

KINDS = ("hello", "frame", "turn", "ring", "count", "socket", "file", "memory", "close")


class Garbler:
    def __init__(self, fds, seed, corpus):
        control, ring_in, ring_out, self.wake_in, self.count_out, self.wake_out, _ = fds
        self.sock = socket.socket(fileno=control)
        self.ring_in, self.ring_out = Ring(ring_in), Ring(ring_out)
        self.chance = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        self.hello = corpus["hello"].encode()
        self.frames = [bytes.fromhex(frame) for frame in corpus["frames"]]

    def run(self):
        hello = self.garble(self.hello) if self.kind == "hello" else self.hello
        self.tell(b"L", hello)
        os.set_blocking(self.wake_in, True)
        os.eventfd_read(self.wake_in)
        getattr(self, self.kind)()
        signal.pause()

    def mutate(self, data):
        data = bytearray(data)
        for _ in range(self.chance.randint(1, 6)):
            at = self.chance.randrange(len(data) + 1)
            match self.chance.randrange(4):
                case 0:
                    data[at : at + 1] = bytes([self.chance.randrange(256)])
                case 1:
                    del data[at : at + self.chance.randint(1, 16)]
                case 2:
                    data[at:at] = self.chance.choice([b"-1", b"9" * 30, b"[" * 99, b"null", b"\xff" * 8])
                case 3:
                    data[at : at + 4] = (2**32 - 1).to_bytes(4, "little")
        return bytes(data)

    def garble(self, text):
        """Still JSON, mostly, but not what it should say."""
        words = [b"null", b"-1", b"1e999", b"[]", b"{}", b'"FP65"', b"true", b"[" * 2000, b'"x"', b"9" * 400]
        spans = [match.span() for match in re.finditer(rb'"\w+"|-?\d+|true|false', text)]
        for start, end in sorted(self.chance.sample(spans, self.chance.randint(1, 3)), reverse=True):
            text = text[:start] + self.chance.choice(words) + text[end:]
        return text

    def tell(self, kind, text):
        self.sock.sendall(kind + len(text).to_bytes(4, "little") + text)

    def send(self, data, count=1):
        data = data if data == IN_FILE else HERE + data
        self.ring_out.write([data], len(data), wait=False)
        os.eventfd_write(self.count_out, count)
        os.eventfd_write(self.wake_out, 1)

    def frame(self):
        """A good frame, nearly."""
        for frame in self.frames:
            self.send(self.mutate(frame))

    def turn(self):
        """Good frames: too many, too few, of no batch, twice."""
        for frame in self.chance.choices(self.frames, k=4):
            self.send(frame, self.chance.choice([0, 1, 2, 1000]))

    def ring(self):
        """Positions and sizes that jump, in both rings."""
        for ring in (self.ring_in, self.ring_out):
            with mmap.mmap(ring.fd, 4096) as memory:
                for _ in range(8):
                    at = self.chance.choice([0, 4, 64, 68, 128, self.chance.randrange(4088)])
                    memory[at : at + 8] = self.chance.randbytes(8)
        self.count()

    def count(self):
        for fd in (self.count_out, self.wake_out):
            os.eventfd_write(fd, self.chance.choice([1, 5, 10**6, 2**63]))

    def socket(self):
        os.set_blocking(self.sock.fileno(), False)
        try:
            for _ in range(100):
                kind = self.chance.choice([b"L", b"X", b"F", b"?", b""])
                text = self.garble(self.hello)
                self.sock.send(kind + len(text).to_bytes(4, "little") + text)
                if self.chance.randrange(4) == 0:
                    self.sock.send(self.mutate(self.hello))
        except BlockingIOError:
            pass

    def file(self):
        """Files that are none: a pipe, one that could shrink, one of a damaged frame, more than anybody asked for."""
        reading, writing = os.pipe()
        loose = os.memfd_create("loose")
        os.write(loose, self.frames[0])
        bad = self.mutate(self.frames[0])
        good = write_file([bad], len(bad))
        fds = [reading, writing, loose, good, make_file("wide", 1 << 40), os.open("/dev/zero", os.O_RDWR)]
        self.chance.shuffle(fds)
        for fd in fds:
            socket.send_fds(self.sock, [b"F"], [fd] * self.chance.choice([1, 3]))
            self.send(IN_FILE)

    def memory(self):
        """An answer that is damaged while it is read."""
        frame = bytearray(self.frames[0])
        self.send(bytes(frame))
        with mmap.mmap(self.ring_out.fd, 8192) as memory:
            for _ in range(10_000):
                at = self.chance.randrange(128, 8192)
                memory[at] = self.chance.randrange(256)

    def close(self):
        os.closerange(3, 256)


def main():
    signal.alarm(60)
    sweep.carry(os.environ[sweep.MARK])
    fds = [int(each) for each in sys.argv[-8:-1]]
    with open(os.environ["CORPUS"]) as file:
        corpus = json.load(file)
    Garbler(fds, int(os.environ["SEED"]), corpus).run()


if __name__ == "__main__":
    main()
