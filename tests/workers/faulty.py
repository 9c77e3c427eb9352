"""A model that does everything wrong, and ways to serve it and to ask it."""

import asyncio
import json
import os
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dragoman.config import ModelSettings, Settings
from dragoman.testing import TestClient
from tests.cli.running import Server

#: Seconds that a machine with other things to do may take longer than a pass condition says.
SLACK = 0.25

MODEL = '''
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np

kept = []


def tasks():
    """Processes and threads of the whole machine."""
    with open("/proc/loadavg") as file:
        return int(file.read().split()[3].partition("/")[2])


class Faulty:
    """Does what it is told to."""

    inputs = {"command": ("BYTES", [1]), "argument": ("FP64", [1])}
    outputs = {"value": ("FP64", [-1])}

    def __init__(self, path):
        self.path = path
        self.most = tasks() + 2_000
        if (path / "broken").exists():
            os._exit(7)

    def predict(self, command, argument):
        result = self.do(command[0], argument[0])
        return {"value": np.ones(1)} if result is None else result

    def do(self, name, argument):
        return getattr(self, name.decode() if isinstance(name, bytes) else name)(argument)

    def say(self, name, text=""):
        """A file that is complete as soon as it is there."""
        (self.path / f"{name}.tmp").write_text(str(text))
        os.rename(self.path / f"{name}.tmp", self.path / name)

    # The good ones.

    def work(self, _):
        pass

    def pid(self, _):
        return {"value": np.array([float(os.getpid())])}

    def echo(self, value):
        return {"value": np.array([value])}

    def sleep(self, seconds):
        self.say("asleep")
        time.sleep(seconds)

    # How it ends.

    def exit(self, code):
        sys.exit(int(code))

    def _exit(self, code):
        print("about to exit")
        os._exit(int(code))

    def segv(self, _):
        ctypes.string_at(0)

    def abort(self, _):
        os.abort()

    def kill(self, _):
        os.kill(os.getpid(), signal.SIGKILL)

    def raise_(self, _):
        raise RuntimeError("the secret is in /srv/secret")

    def kill_parent(self, _):
        os.kill(os.getppid(), signal.SIGKILL)

    # How it hangs.

    def hang(self, _):
        while True:
            pass

    def hang_stubborn(self, _):
        signal.signal(signal.SIGTERM, lambda *_: self.say("asked to end", time.monotonic()))
        while True:
            pass

    def hang_gil(self, _):
        ctypes.PyDLL(None).sleep(3600)

    def hang_c(self, _):
        ctypes.CDLL(None).sleep(3600)

    # How it takes memory, processes and threads.

    def oom(self, _):
        while True:
            kept.append(bytearray(1 << 24))

    def oom_c(self, _):
        sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc'\\n")
        os.abort()

    def leak_10mb(self, _):
        kept.append(b"x" * 10_000_000)

    def thread_leak(self, count):
        for _ in range(int(count)):
            threading.Thread(target=time.sleep, args=(3600,)).start()

    def fork(self, _):
        """A daemon as the books have it."""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                self.say("daemon", os.getpid())
                signal.pause()
            os._exit(0)

    def program(self, _):
        child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
        kept.append(child)
        return {"value": np.array([float(child.pid)])}

    def clean_program(self, _):
        """Without a trace of its parents: another session, another environment, no open file, and no parent."""
        command = f"sleep 3600 & echo $! > {self.path}/daemon.tmp; mv {self.path}/daemon.tmp {self.path}/daemon"
        subprocess.run(["sh", "-c", command], env={"PATH": os.environ["PATH"]}, start_new_session=True)

    def bomb(self, _):
        """Ten thousand forks, or rather as many as are allowed: a test must not take the machine with it."""
        for _ in range(10_000):
            self.fork_safely(signal.pause)

    def bomb_of_sessions(self, _):
        for _ in range(10_000):
            self.fork_safely(self.hide)

    def bomb_of_zombies(self, _):
        for _ in range(10_000):
            self.fork_safely(lambda: None)
        time.sleep(3600)

    def bomb_of_bombs(self, _):
        while True:
            self.fork_safely(lambda: self.bomb_of_bombs(0))

    def hide(self):
        os.setsid()
        signal.pause()

    def fork_safely(self, child):
        if tasks() > self.most:
            self.say("the bomb went off")
            time.sleep(3600)
        if os.fork() == 0:
            signal.alarm(30)
            child()
            os._exit(0)

    # What it prints.

    def stdout_2mb(self, size):
        sys.stdout.write("x" * 2_000_000)

    def stderr_non_utf8(self, _):
        os.write(2, b"caf\\xe9 \\xff\\xfe" * 1000)

    def many_lines(self, count):
        """A million lines a second, for as many as these."""
        block = b"a line of output, as long as they are\\n" * 10_000
        start = time.monotonic()
        for number in range(int(count) // 10_000):
            time.sleep(max(0.0, start + number / 100 - time.monotonic()))
            os.write(1, block)

    # What it answers.

    def wrong_count(self, _):
        return {"value": np.ones(1), "more": np.ones(1)}

    def wrong_dtype(self, _):
        return {"value": np.ones(1, np.int32)}

    def wrong_shape(self, _):
        return {"value": np.ones((2, 2))}

    def wrong_kind(self, _):
        return object()

    def huge(self, size):
        return {"value": np.zeros(int(size) // 8)}

    def nan(self, _):
        """Each kind of it: a quiet one, a signalling one, and both with something to tell."""
        bits = [0x7FF8 << 48, 0x7FF0 << 48 | 1, 0xFFF8 << 48 | 0xDEAD, 0x7FF4 << 48 | 0xBEEF, 0x7FF0 << 48]
        return {"value": np.array(bits, np.uint64).view(np.float64)}

    # What it does to its way to the server.

    def _files(self, kind):
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if kind in os.readlink(f"/proc/self/fd/{fd}"):
                    yield fd
            except OSError:
                pass

    def garbage_eventfds(self, _):
        for fd in self._files("eventfd"):
            os.write(fd, b"\\xfe" + b"\\xff" * 7)
        time.sleep(3600)

    def garbage_socket(self, _):
        for fd in self._files("socket"):
            os.write(fd, os.urandom(4096))
        time.sleep(3600)

    def false_metrics(self, _):
        text = b'{"series": [["n", "counter", "u", []]], "values": [[0, 1.0, "", "now"]]}'
        for fd in self._files("socket"):
            os.write(fd, b"M" + len(text).to_bytes(4, "little") + text)
        time.sleep(3600)

    def endless_metrics(self, _):
        for fd in self._files("socket"):
            os.write(fd, b"M" + (1 << 21).to_bytes(4, "little"))
        time.sleep(3600)

    def garbage_rings(self, _):
        for fd in self._files("dragoman-ring"):
            os.pwrite(fd, os.urandom(1 << 20), 0)

    def garbage_frames(self, _):
        self.garbage_rings(_)
        for fd in self._files("eventfd"):
            os.eventfd_write(fd, 3)
        time.sleep(3600)

    def zeros_in_rings(self, _):
        for fd in self._files("dragoman-ring"):
            os.pwrite(fd, bytes(1 << 20), 0)

    def close_fds(self, _):
        os.closerange(3, 256)

    def damage_frames(self, seed):
        """From now on, every frame that it sends is damaged."""
        import random

        line = sys.modules["__main__"].Line
        send, chance = line.send, random.Random(seed)

        def send_damaged(self, frame, *, at_once=True):
            data = bytearray(b"".join(frame.pieces))
            for _ in range(chance.randint(1, 8)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            frame.size = len(data) - chance.choice([0, 0, chance.randrange(len(data))])
            frame.pieces = [bytes(data[: frame.size])]
            send(self, frame, at_once=True)

        line.send = send_damaged


class Steady(Faulty):
    """Takes 50 ms for up to four rows, and keeps a journal of what it does. A row may have a command, too."""

    inputs = {"command": ("BYTES", [-1, 1]), "argument": ("FP64", [-1, 1]), "number": ("INT64", [-1, 1])}
    outputs = {"value": ("FP64", [-1, 1])}
    batched = True
    max_batch = 4

    def __init__(self, path):
        super().__init__(path)
        self.journal = os.open(path / "journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        self.note("loaded", started=ticks / os.sysconf("SC_CLK_TCK"))

    def predict(self, command, argument, number):
        self.note("began", numbers=number.ravel().tolist())
        good = {"value": number * 2.0}
        results = [self.do(name, each) for name, each in zip(command.ravel(), argument.ravel())]
        time.sleep(0.05)
        self.note("ended", numbers=number.ravel().tolist())
        return next((result for result in results if result is not None), good)

    def bad_count(self, _):
        return {}

    def bad_dtype(self, _):
        return {"value": np.ones((4, 1), np.float32)}

    def bad_shape(self, _):
        return {"value": np.ones((4, 2))}

    def bad_rows(self, _):
        return {"value": np.ones((9, 1))}

    def note(self, event, **fields):
        fields |= {"event": event, "pid": os.getpid(), "time": time.monotonic()}
        os.write(self.journal, json.dumps(fields).encode() + b"\\n")
'''


def until(condition, seconds=30):
    """Wait for a condition; its value. The bound is generous: nothing here is about speed."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return value


def alive(pid):
    return state_of(pid) not in ("", "Z", "X")


def state_of(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def read_later(path):
    """What a file says, as soon as it is there."""
    until(path.exists)
    return path.read_text()


def refused_softly(answer):
    return answer.status == 503 and int(answer.headers["retry-after"]) > 0


def memory_of(pid):
    """Bytes that a process has in memory."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss: +(\d+) kB", text, re.MULTILINE)[1]) * 1024


def seconds_of(pid):
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def question(command, argument=0.0, id="", parameters=None):
    """The body of a v2 request to the faulty model."""
    inputs = [
        {"name": "command", "shape": [1], "datatype": "BYTES", "data": [command]},
        {"name": "argument", "shape": [1], "datatype": "FP64", "data": [argument]},
    ]
    return {"id": id, "inputs": inputs, "parameters": parameters or {}}


class Served:
    """A server on a thread of the test, with the faulty model in it."""

    def __init__(self, client, folder):
        self.client, self.folder = client, folder

    def ask(self, command, argument=0.0, id="", **parameters):
        return self.client.post("/v2/models/Faulty/infer", question(command, argument, id, parameters))

    def value(self, command, argument=0.0):
        answer = self.ask(command, argument)
        assert answer.status == 200, answer.body
        return answer.json()["outputs"][0]["data"][0]

    def works(self):
        answer = self.ask("echo", 5.0)
        return answer.status == 200 and answer.json()["outputs"][0]["data"] == [5.0]

    def later(self, *calls):
        """Ask these from threads of their own; gives a function that waits for all answers."""
        answers = [None] * len(calls)

        def run(place, call):
            answers[place] = self.ask(*call)

        threads = [threading.Thread(target=run, args=item) for item in enumerate(calls)]
        for thread in threads:
            thread.start()

        def wait():
            for thread in threads:
                thread.join(60)
            return answers

        return wait

    def unload(self):
        work = self.client.app.engine.lifecycle.unload("Faulty", "1")
        asyncio.run_coroutine_threadsafe(work, self.client._loop).result(60)

    @property
    def model(self):
        return self.client.app.engine.find("Faulty", "")

    @property
    def crashes(self):
        return self.client.call(lambda: self.model.crashes)

    @property
    def exits(self):
        """How many processes ended, by reason."""
        return exits_in(self.client.get("/metrics").body.decode())

    @property
    def waiting(self):
        return self.client.call(lambda: self.model.stats.waiting)

    @property
    def running(self):
        return self.client.call(lambda: self.model.stats.running)


def exits_in(text):
    found = re.findall(r'^dragoman_worker_exits_total\{.*reason="(\w+)".*\} (\d+)', text, re.MULTILINE)
    return {reason: int(float(count)) for reason, count in found if float(count)}


@contextmanager
def served(folder, strict=True, **settings):
    (folder / "app.py").write_text(MODEL)
    client = TestClient(
        f"{folder / 'app.py'}:Faulty", settings=Settings(models=ModelSettings(**settings)), strict=strict
    )
    with client:
        yield Served(client, folder)


@dataclass(frozen=True)
class Note:
    """A line of the steady model's journal. Times are those of ``time.monotonic``."""

    event: str
    pid: int
    time: float
    numbers: tuple[int, ...] = ()
    started: float = 0.0


class Front(Server):
    """The command with the steady model, in a process of its own. Settings are those of the model."""

    def __init__(self, folder, target="Steady", *flags, cgroup=None, **settings):
        (folder / "app.py").write_text(MODEL)
        self.folder = folder
        if cgroup is not None:
            joining = ("sh", "-c", 'echo $$ > "$0" && exec "$@"', str(cgroup / "cgroup.procs"))
            self.command = (*joining, *self.command)
        environ = {f"DRAGOMAN_MODELS__{name.upper()}": str(value) for name, value in settings.items()}
        super().__init__(folder, f"app.py:{target}", *flags, **environ)

    @property
    def pid(self):
        return self.process.pid

    @property
    def journal(self):
        path = self.folder / "journal"
        whole, _, _ = path.read_text().rpartition("\n") if path.exists() else ("", "", "")
        return [Note(**json.loads(line)) for line in whole.splitlines()]  # one may be half written

    @property
    def workers(self):
        """The pids of those that have loaded and live, oldest first."""
        return [note.pid for note in self.journal if note.event == "loaded" and alive(note.pid)]

    def value(self, command, argument=0.0):
        """What the faulty model answers."""
        status, body = self.ask("POST", "/v2/models/Faulty/infer", question(command, argument))
        assert status == 200, body
        return json.loads(body)["outputs"][0]["data"][0]

    def began(self, pid):
        """The numbers of the batch that a worker has begun and not ended."""
        last = [note for note in self.journal if note.pid == pid][-1]
        return set(last.numbers) if last.event == "began" else set()

    @property
    def exits(self):
        return exits_in(self.ask("GET", "/metrics")[1].decode())

    @property
    def crashes(self):
        return json.loads(self.ask("GET", "/crashes")[1])
