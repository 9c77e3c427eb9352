"""Regions that clients register: what may be opened, what is read and written, and who tries more than that."""

import json
import os
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import Conflict, InvalidInput, NotFound, Overloaded, TooLarge, Unsupported
from dragoman.protocols.kserve_v2.shared_memory import SharedMemory
from dragoman.protocols.kserve_v2.shared_memory_http import decode_register
from dragoman.protocols.kserve_v2.windows import Shared, no_regions, open_window
from dragoman.tensors import encode_raw
from dragoman.types import DTYPES, Tensor
from tests.memory import FOLDER, shared_object
from tests.test_tensors import arrays


@pytest.fixture
def memory():
    return SharedMemory(enabled=True)


@pytest.fixture
def eight():
    with shared_object(8, b"abcdefgh") as made:
        yield made


def window(memory, size, offset=0, name="r"):
    found = {
        "shared_memory_region": name,
        "shared_memory_byte_size": size,
        "shared_memory_offset": offset,
    }
    return open_window(found, memory.find)


def descriptors():
    return set(os.listdir("/proc/self/fd"))


def test_a_region_is_read_and_written_from_its_offset_on(memory, eight):
    memory.register("r", eight.key, 2, 4)
    assert bytes(window(memory, 4).read()) == b"cdef"
    assert bytes(window(memory, 2, 1).read()) == b"de"
    memory.find("r").write(1, b"XY")
    assert eight.read() == b"abcXYfgh"


def test_what_was_read_stays_what_it_was(memory, eight):
    memory.register("r", eight.key, 0, 8)
    data = window(memory, 8).read()
    eight.write(b"________")
    assert bytes(data) == b"abcdefgh"


def test_a_key_may_lack_its_slash_as_with_shm_open(memory, eight):
    memory.register("r", eight.key.removeprefix("/"), 0, 8)
    assert bytes(window(memory, 8).read()) == b"abcdefgh"


def test_an_object_without_a_name_any_more_is_still_there(memory, eight):
    memory.register("r", eight.key, 0, 8)
    eight.unlink()
    assert bytes(window(memory, 8).read()) == b"abcdefgh"


@pytest.mark.parametrize(
    "key",
    ["", "/", ".", "..", "/.", "/..", "/../etc/passwd", "//a", "/a/b", "a\0b", "/" + 256 * "a", "/\udcff"],
)
def test_a_key_leads_nowhere_else(memory, key):
    with pytest.raises(NotFound, match="Unable to open shared memory region"):
        memory.register("r", key, 0, 1)


@given(st.text(max_size=12) | st.text("./a", max_size=9))
def test_any_key_is_found_or_refused(key):
    before = descriptors()
    with pytest.raises((NotFound, InvalidInput)):
        SharedMemory(enabled=True).register("r", key, 0, 2**62)
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_only_memory_can_be_registered(memory, eight, kind):
    path = FOLDER / f"{eight.path.name}-{kind}"
    make = {
        "link": lambda: path.symlink_to("/etc/hostname"),
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
    }
    make[kind]()
    try:
        with pytest.raises(NotFound):
            memory.register("r", f"/{path.name}", 0, 1)
    finally:
        (path.rmdir if kind == "folder" else path.unlink)()


@pytest.mark.parametrize(
    "prefix", ["triton_python_backend_shm_region_", "/triton_python_backend_shm_region_", "/sem."]
)
def test_reserved_keys_are_refused_whether_there_is_such_an_object_or_not(memory, eight, prefix):
    key = prefix + eight.path.name
    path = FOLDER / key.removeprefix("/")
    try:
        for _ in range(2):
            with pytest.raises(InvalidInput, match="reserved prefix"):
                memory.register("r", key, 0, 1)
            path.write_bytes(b"a")
    finally:
        path.unlink()


@pytest.mark.parametrize(("offset", "size"), [(0, 9), (8, 1), (1, 8), (0, 0), (8, 0), (2**63 - 1, 2**63 - 1)])
def test_a_region_lies_within_its_object(memory, eight, offset, size):
    before = descriptors()
    with pytest.raises(InvalidInput, match="Invalid shared memory region"):
        memory.register("r", eight.key, offset, size)
    assert descriptors() == before


@pytest.mark.parametrize(("offset", "size"), [(0, 5), (4, 1), (2, 3), (0, 0), (0, None), (None, 2**80)])
def test_a_window_lies_within_its_region(memory, eight, offset, size):
    memory.register("r", eight.key, 0, 4)
    with pytest.raises(InvalidInput, match="Invalid offset \\+ byte size for shared memory region: 'r'"):
        window(memory, size, offset)


@pytest.mark.parametrize(("offset", "size"), [(-1, 4), (0, -4), (0, 4.0), ("0", 4), (0, True)])
def test_a_window_is_given_in_whole_numbers(memory, eight, offset, size):
    memory.register("r", eight.key, 0, 4)
    with pytest.raises(InvalidInput, match="non-unsigned-integer"):
        window(memory, size, offset)


def test_a_name_is_taken_once_and_free_again(memory, eight):
    memory.register("r", eight.key, 0, 8)
    with pytest.raises(Conflict, match="shared memory region 'r' already in manager"):
        memory.register("r", eight.key, 0, 8)
    memory.unregister("r")
    memory.unregister("r")
    memory.register("r", eight.key, 0, 4)
    assert [entry.byte_size for entry in memory.status()] == [4]


def test_truncated_memory_is_the_client_s_mistake_and_no_crash(memory, eight):
    memory.register("r", eight.key, 0, 8)
    part = window(memory, 8)
    eight.truncate(4)
    with pytest.raises(InvalidInput, match="smaller now"):
        part.read()
    with pytest.raises(InvalidInput, match="smaller now"):
        part.region.write(0, b"12345678")
    assert eight.read() == b"abcd"


def test_a_region_is_let_go_when_the_last_who_uses_it_has_gone(memory, eight):
    before = descriptors()
    memory.register("r", eight.key, 0, 8)
    part = window(memory, 8)
    memory.unregister()
    with pytest.raises(NotFound):
        memory.find("r")
    assert bytes(part.read()) == b"abcdefgh"
    assert descriptors() != before
    del part
    assert descriptors() == before


def test_ten_thousand_registrations_leave_descriptors_for_others(memory, eight):
    before = descriptors()
    refused = 0
    for number in range(10_000):
        try:
            memory.register(str(number), eight.key, 0, 8)
        except Overloaded:
            refused += 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert len(memory.status()) == 10_000 - refused <= min(1024, limit // 4)
    memory.unregister()
    assert descriptors() == before


def test_where_clients_share_nothing_nothing_is_there(eight):
    memory = SharedMemory(enabled=False)
    for ask in (memory.status, memory.unregister, lambda: memory.register("r", eight.key, 0, 8)):
        with pytest.raises(Unsupported, match="--allow-client-shm=true"):
            ask()


def test_the_inputs_of_a_request_have_a_limit_together():
    shared = Shared(no_regions, 10)
    shared.check_total(10)
    with pytest.raises(TooLarge, match="may have 10 bytes"):
        shared.check_total(11)


@pytest.mark.parametrize("datatype", DTYPES)
@given(st.data())
def test_an_output_is_written_as_it_would_be_sent(datatype, data):
    tensor = Tensor("y", datatype, data.draw(arrays(datatype)))
    sent = bytes(encode_raw(tensor))
    with shared_object(4096, b"!" * 4096) as made:
        memory = SharedMemory(enabled=True)
        memory.register("r", made.key, 0, 4096)
        window(memory, 4096).write(tensor)
        assert made.read() == sent + b"!" * (4096 - len(sent))


def test_an_output_that_is_too_large_is_not_written(memory, eight):
    memory.register("r", eight.key, 0, 8)
    with pytest.raises(InvalidInput, match=r"'y' \(2 bytes\) should be at least 4 bytes to hold the results"):
        window(memory, 2).write(Tensor("y", "UINT8", np.zeros(4, np.uint8)))
    assert eight.read() == b"abcdefgh"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.dictionaries(st.sampled_from(["key", "byte_size", "offset"]), inner),
    )
)
def test_any_registration_is_one_or_refused(document):
    try:
        key, offset, size = decode_register(json.dumps(document).encode())
    except InvalidInput:
        return
    assert type(key) is str
    assert 0 <= offset < 2**63 > size >= 0
