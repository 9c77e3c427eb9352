import os

import pytest

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.pidfile import PidFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".model_server.pid"


def never(seconds):
    pass


def test_one_at_a_time(path):
    first, second = PidFile(path), PidFile(path)
    assert first.take()
    first.write()
    assert not second.take()
    holder = second.holder()
    assert holder.pid == os.getpid()
    assert path.stat().st_mode & 0o777 == 0o600
    first.release()
    assert not path.exists()
    assert not holder.wait(0.2, never)  # the process has not ended yet
    assert second.holder() is None
    assert second.take()
    second.close()
    first.close()


def test_a_file_that_nobody_holds_means_nothing(path):
    path.write_text("1")
    assert PidFile(path).holder() is None
    ours = PidFile(path)
    assert ours.take()
    ours.write()
    assert path.read_text() == str(os.getpid())
    ours.close()


def test_what_is_no_number_is_nobody(path):
    ours = PidFile(path)
    ours.take()
    path.write_text("nonsense")
    assert PidFile(path).holder() is None
    ours.close()


def test_waiting_ends_when_the_process_has(path):
    ours, waits = PidFile(path), []
    ours.take()
    ours.write()

    def pause(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            ours.release()
            ours.close()

    assert PidFile(path).holder().wait(10, pause)
    assert len(waits) == 3


def test_a_link_is_not_followed(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere")
    for attempt in (PidFile(path).take, PidFile(path).holder):
        with pytest.raises(ConfigError, match="can't open"):
            attempt()
    assert not (tmp_path / "elsewhere").exists()


def test_another_users_file_is_refused(path, monkeypatch):
    path.write_text("1")
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        PidFile(path).take()
