"""``dragoman torchserve`` as scripts for TorchServe call it: started, asked, stopped, in processes of its own."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.running import DRAGOMAN, LIMIT, environment
from tests.profiles.archives import BROKEN, write_archive

CONFIG = """\
inference_address=http\\://127.0.0.1\\:0
management_address=http://127.0.0.1:0
metrics_address=http://127.0.0.1:0
grpc_inference_port=0
grpc_management_port=0
default_workers_per_model=1
"""


class Place:
    """A directory to start servers in, with a model store, a configuration and a temporary folder of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.store = directory / "store"
        self.temporary = directory / "tmp"
        for folder in (self.store, self.temporary):
            folder.mkdir()
        (directory / "config.properties").write_text(CONFIG)

    @property
    def environment(self):
        more = {"TMPDIR": str(self.temporary), "XDG_CACHE_HOME": str(self.directory / "cache")}
        return {name: value for name, value in environment(**more).items() if not name.startswith("TS_")}

    def run(self, *arguments, **environ):
        done = subprocess.run(
            [*DRAGOMAN, "torchserve", *arguments],
            cwd=self.directory,
            env={**self.environment, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    @property
    def pid_file(self):
        return self.temporary / ".model_server.pid"

    @property
    def key_file(self):
        return self.directory / "key_file.json"

    @property
    def log_file(self):
        return self.directory / "logs" / "ts_log.log"

    @property
    def events(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines() if line.startswith("{")]

    def urls(self):
        return [event["url"] for event in self.events if event["event"] == "listening"][-3:]

    def ask(self, port, path, method="GET", key="", body=None):
        parts = urlsplit(self.urls()[port])
        connection = HTTPConnection(parts.hostname, parts.port, timeout=LIMIT)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {key}"} if key else {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def key(self, name):
        return json.loads(self.key_file.read_text())[name]["key"]

    def kill(self):
        if self.pid_file.exists() and self.pid_file.read_text():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.kill()


#: A handler that says when it was asked, and takes its time.
SLOW = """
import time
from pathlib import Path


def handle(data, context):
    if data is not None:
        Path(%r).touch()
        time.sleep(60)
    return None
"""


def ask_in_vain(place, key):
    with contextlib.suppress(OSError, HTTPException):
        place.ask(0, "/predictions/slow", "POST", key, b"x")


def wait_until(true):
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def listening(pid):
    """The addresses a process listens on over TCP, as /proc writes them."""
    links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    found = []
    for file in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                found.append(fields[1].partition(":")[0])
    return found


def children(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # nobody may be there to take notice of its end


def test_a_server_is_started_asked_and_stopped(place):
    write_archive(place.store, "echo")
    done = place.run("--start", "--model-store", "store", "--models", "echo.mar")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Model server started.\n", "")
    pid = int(place.pid_file.read_text())
    assert alive(pid)
    assert os.getpgid(pid) == os.getsid(pid) == pid
    assert place.key_file.stat().st_mode & 0o777 == 0o600
    addresses = listening(pid)
    assert len(addresses) == 5
    assert set(addresses) <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, in both notations
    assert not any(listening(child) for child in children(pid))

    assert place.ask(0, "/ping")[0] == 400
    assert place.ask(0, "/ping", key=place.key("inference")) == (200, b'{\n  "status": "Healthy"\n}\n')
    status, answer = place.ask(0, "/predictions/echo", "POST", place.key("inference"), b"hello")
    assert (status, json.loads(answer)["got"]) == (200, "hello")
    assert json.loads(place.ask(1, "/models", key=place.key("management"))[1]) == {
        "models": [{"modelName": "echo", "modelUrl": "echo.mar"}]
    }
    assert place.ask(2, "/metrics") == (200, b"")

    again = place.run("--model-store", "store")
    text = "TorchServe is already running, please use torchserve --stop to stop TorchServe.\n"
    assert (again.returncode, again.stdout) == (1, text)

    keys = [place.key(name) for name in ("inference", "management", "API")]
    for process in [pid, *children(pid)]:
        for file in ("environ", "cmdline"):
            assert not any(key.encode() in Path(f"/proc/{process}/{file}").read_bytes() for key in keys)
    stopped = place.run("--stop")
    assert (stopped.returncode, stopped.stdout, stopped.stderr) == (0, "TorchServe has stopped.\n", "")
    assert not alive(pid)
    assert not place.pid_file.exists()
    assert not place.key_file.exists()
    assert not any(key in place.log_file.read_text() for key in keys)
    assert place.run("--stop").stdout == "TorchServe is not currently running.\n"


def test_a_server_in_the_foreground_says_when_it_is_up_and_stops_at_a_signal(place):
    write_archive(place.store, "echo")
    with subprocess.Popen(
        [*DRAGOMAN, "torchserve", "--foreground", "--model-store", "store", "--models", "all", "--dt"],
        cwd=place.directory,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "Model server started.\n"
        assert int(place.pid_file.read_text()) == process.pid
        assert not place.key_file.exists()
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert out == ""
    assert '"event": "listening"' in errors
    assert not place.pid_file.exists()


def test_a_second_signal_does_not_leave_the_keys_behind(place):
    write_archive(place.store, "slow", SLOW % str(place.directory / "asked"))
    place.run("--model-store", "store", "--models", "all")
    pid, key = int(place.pid_file.read_text()), place.key("inference")
    asking = threading.Thread(target=ask_in_vain, args=(place, key))
    asking.start()
    wait_until(lambda: (place.directory / "asked").exists())
    for _ in range(2):
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
    wait_until(lambda: not alive(pid))
    asking.join(LIMIT)
    assert not place.key_file.exists()


def test_models_by_blanks_commas_and_names(place):
    write_archive(place.store, "echo")
    write_archive(place.store, "other")
    place.run(
        "--model-store", "store", "--models", "echo.mar,b=other.mar", "c=echo.mar", "--disable-token-auth"
    )
    listed = json.loads(place.ask(1, "/models")[1])["models"]
    assert [(model["modelName"], model["modelUrl"]) for model in listed] == [
        ("b", "other.mar"),
        ("c", "echo.mar"),
        ("echo", "echo.mar"),
    ]


def test_a_model_that_fails_does_not_keep_the_others_away(place):
    write_archive(place.store, "echo")
    write_archive(place.store, "broken", BROKEN)
    done = place.run("--model-store", "store", "--models", "all", "--dt")
    assert (done.returncode, done.stdout) == (0, "Model server started.\n")
    assert place.ask(0, "/predictions/echo", "POST", body=b"x")[0] == 200
    assert place.ask(0, "/predictions/broken", "POST", body=b"x")[0] == 503


def test_what_is_not_understood_is_in_the_log(place):
    (place.directory / "my.properties").write_text(
        CONFIG + "model_store=store\njob_queue_sise=7\nvmargs=-Xmx4g\n"
    )
    assert place.run("--ts-config", "my.properties", "--dt").returncode == 0
    told = {event["event"]: event["level"] for event in place.events}
    assert told["unknown key 'job_queue_sise' is ignored: did you mean 'job_queue_size'?"] == "warning"
    assert told["vmargs has no meaning here: there is no JVM"] == "info"


def test_handlers_do_not_see_variables_that_are_hidden(place):
    write_archive(place.store, "echo")
    config = place.directory / "config.properties"
    config.write_text(CONFIG + "blacklist_env_vars=.*SECRET.*\n")
    place.run("--model-store", "store", "--models", "all", "--dt", MY_SECRET="x", SEEN="y")
    seen = json.loads(place.ask(0, "/predictions/echo", "POST", body=b"environment")[1])
    assert "SEEN" in seen
    assert "MY_SECRET" not in seen


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "Missing mandatory parameter --model-store"),
        (("--start",), "Missing mandatory parameter --model-store"),
        (("--model-store", "none"), "--model-store directory not found: none"),
        (("--model-store", "store", "--ts-config", "none"), "--ts-config file not found: none"),
        (("--model-store", "store", "--log-config", "none"), "--log-config file not found: none"),
        (
            ("--model-store", "store", "--workflow-store", "none"),
            "--workflow-store directory not found: none",
        ),
    ],
)
def test_what_is_not_there_is_told_in_torchserves_words(place, arguments, text):
    done = place.run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, text + "\n", "")
    assert not place.pid_file.exists()


def test_a_temporary_folder_that_is_not_there_is_told(place):
    done = place.run("--model-store", "store", TEMP="/no/such/place")
    assert done.returncode == 1
    assert done.stdout == "Invalid temp directory: /no/such/place, please check TEMP environment variable.\n"


def test_the_version_comes_first(place):
    assert place.run("-v").stdout.splitlines()[0] == "TorchServe Version is 0.12.0"
    assert place.run("--version").returncode == 0


def test_values_that_make_no_sense_end_with_the_code_of_configurations(place):
    (place.directory / "config.properties").write_text("job_queue_size=many")
    done = place.run("--model-store", "store")
    assert done.returncode == 78
    assert done.stderr == "error: job_queue_size must be a whole number, at least 1, got 'many'\n"


def test_flags_that_exclude_each_other_and_flags_that_are_none(place):
    for arguments in (("--start", "--stop"), ("--no-such-flag",), ("--models",)):
        done = place.run(*arguments)
        assert done.returncode == 2
        assert "usage: dragoman torchserve" in done.stderr


def test_a_start_that_fails_says_why(place):
    config = place.directory / "config.properties"
    config.write_text(
        CONFIG.replace("management_address=http://127.0.0.1:0", "management_address=http://192.0.2.1:1")
    )
    done = place.run("--model-store", "store")
    assert done.returncode == 78
    assert done.stdout == ""
    assert "error: can't listen on 192.0.2.1 port 1" in done.stderr
    assert not place.pid_file.exists()
    assert not place.key_file.exists()


def test_a_server_that_was_killed_is_not_in_the_way(place):
    assert place.run("--model-store", "store").returncode == 0
    pid, old = int(place.pid_file.read_text()), place.key("API")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    assert place.run("--stop").stdout == "TorchServe is not currently running.\n"
    assert place.run("--model-store", "store").stdout == "Model server started.\n"
    assert place.key("API") != old
    assert int(place.pid_file.read_text()) != pid
    assert place.run("--stop").stdout == "TorchServe has stopped.\n"


def test_a_pid_file_that_is_a_link_is_not_followed(place):
    place.pid_file.symlink_to(place.directory / "elsewhere")
    done = place.run("--model-store", "store")
    assert done.returncode == 78
    assert "can't open" in done.stderr
    assert not (place.directory / "elsewhere").exists()
    place.pid_file.unlink()


def test_logs_go_where_log_location_says(place):
    assert place.run("--model-store", "store", LOG_LOCATION="elsewhere").returncode == 0
    assert '"event": "listening"' in (place.directory / "elsewhere" / "ts_log.log").read_text()
    place.run("--stop")
