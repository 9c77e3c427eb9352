"""The table of jobs, in each kind of database: who gets a job, who loses it, and what comes of it."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from dragoman.errors import Conflict, NotFound, Overloaded
from dragoman.jobs.order import Order
from dragoman.jobs.webhooks import delay_after
from dragoman.store import open_jobs
from dragoman.store.job import CANCELLED, DONE, FAILED, GIVEN_UP, QUEUED, RUNNING, TOLD, UNTOLD, Job, Result

from ..store.conftest import place, postgres  # noqa: F401 - the databases that there are

ORDER = Order(model="m", path="/v2/models/m/infer", headers=(("content-type", "application/json"),))


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(place, clock):  # noqa: F811
    with closing(open_jobs(place)) as store:
        store._clock = clock
        yield store


def job(id="j", body=b"body", **fields):
    fields.setdefault("digest", ORDER.digest(body, ""))
    return Job(id=id, order=ORDER.encode(), **fields)


def add(store, id="j", **fields):
    return store.add(job(id, **fields), b"body", 10)


def test_a_job_is_accepted_once(store):
    first, new = add(store)
    assert (first.state, new) == (QUEUED, True)
    again, new = add(store)
    assert (again, new) == (first, False)
    with pytest.raises(Conflict):
        store.add(job(body=b"other"), b"other", 10)
    for n in range(9):
        add(store, f"more{n}")
    with pytest.raises(Overloaded):
        add(store, "one too many")
    assert add(store)[1] is False  # who asks again for what was accepted is not refused


def test_one_owner_has_a_job_and_its_result_is_the_one_that_counts(store, clock):
    add(store)
    mine = store.claim("a", 10, 5)
    assert (mine.job.state, mine.job.attempts, mine.body) == (RUNNING, 1, b"body")
    assert store.claim("b", 10, 5) is None
    clock.now += 9
    assert store.renew("a", ["j", "x"], 10) == {"j"}
    clock.now += 9
    assert store.claim("b", 10, 5) is None
    clock.now += 2
    theirs = store.claim("b", 10, 5)
    assert (theirs.owner, theirs.job.attempts) == ("b", 2)
    assert store.renew("a", ["j"], 10) == set()
    assert store.finish(mine, DONE, Result(pieces=(b"mine",))) is False
    assert store.put_back(mine, 0, "") is False
    assert store.add_part(mine, 0, b"", 1, 1) is False
    assert store.finish(theirs, DONE, Result(pieces=(b"the", b"irs"))) is True
    assert store.finish(theirs, DONE, Result(pieces=(b"again",))) is False
    found, result = store.result("j")
    assert (found.state, b"".join(result.pieces), found.ended) == (DONE, b"theirs", clock.now)


def test_of_many_who_want_a_job_one_gets_it(store):
    for n in range(5):
        add(store, f"j{n}")
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda owner: store.claim(str(owner), 100, 5), range(8)))
    assert sorted(work.job.id for work in got if work) == [f"j{n}" for n in range(5)]


def test_the_oldest_goes_first_and_what_was_put_back_waits_its_time(store, clock):
    for id in ("first", "second"):
        add(store, id)
        clock.now += 1
    first = store.claim("a", 10, 5)
    assert first.job.id == "first"
    assert store.put_back(first, 30, "busy")
    assert store.claim("a", 1000, 5).job.id == "second"
    assert store.claim("a", 10, 5) is None
    assert store.get("first").error == "busy"
    clock.now += 30
    assert store.claim("a", 10, 5).job.attempts == 2


def test_a_run_that_was_nobody_s_fault_is_not_counted(store):
    add(store)
    assert store.put_back(store.claim("a", 10, 5), 0, "", counts=False)
    assert store.claim("a", 10, 5).job.attempts == 1


def test_what_kills_its_process_again_and_again_has_failed(store, clock):
    add(store)
    for attempt in (1, 2, 3):
        assert store.claim("a", 10, 3).job.attempts == attempt
        clock.now += 11
    assert store.claim("a", 10, 3) is None
    failed = store.get("j")
    assert (failed.state, failed.error) == (FAILED, "it was begun 3 times and has never ended")


def test_rows_get_on_with_their_answers_and_then_no_attempt_was_in_vain(store, clock):
    add(store)
    work = store.claim("a", 10, 2)
    assert store.add_part(work, 0, b"1\n2\n", 2, 5)
    clock.now += 11
    work = store.claim("b", 10, 2)
    assert (work.job.rows_done, work.job.rows_total, work.job.attempts) == (2, 5, 2)
    assert store.add_part(work, 2, b"3\n", 1, 5)
    assert store.add_part(work, 2, b"3!\n", 1, 5)  # the same rows again take the place of what there was
    clock.now += 11
    assert store.finish(store.claim("b", 10, 2), DONE, Result())
    assert b"".join(store.result("j")[1].pieces) == b"1\n2\n3!\n"
    store.cancel("j")
    with pytest.raises(NotFound):
        store.result("j")


def test_cancelling_takes_a_job_from_whoever_has_it(store):
    add(store)
    work = store.claim("a", 10, 5)
    assert store.cancel("j").state == RUNNING
    assert store.get("j").state == CANCELLED
    assert store.renew("a", ["j"], 10) == set()
    assert store.finish(work, DONE, Result()) is False


def test_jobs_are_forgotten_when_they_ended_long_ago(store, clock):
    add(store, "old")
    store.finish(store.claim("a", 10, 5), DONE, Result())
    clock.now += 100
    add(store, "new")
    store.finish(store.claim("a", 10, 5), DONE, Result())
    add(store, "waiting")
    assert store.forget(50) == 1
    assert {each.id for each in store.newest()} == {"new", "waiting"}
    assert [each.id for each in store.newest(before=clock.now)] == []


def test_somebody_is_told_once_at_a_time_and_again_later(store, clock):
    add(store, webhook="https://example.org/hook")
    assert store.untold(60) is None
    store.finish(store.claim("a", 10, 5), DONE, Result())
    told = store.untold(60)
    assert (told.webhook, told.webhook_attempts) == ("https://example.org/hook", 1)
    assert store.untold(60) is None
    store.told("j", UNTOLD, 5)
    clock.now += 5
    assert store.untold(60).webhook_attempts == 2
    clock.now += 61  # who was telling has died
    assert store.untold(60).webhook_attempts == 3
    store.told("j", TOLD)
    clock.now += 1000
    assert store.untold(60) is None
    assert store.get("j").webhook_state == TOLD
    store.told("j", GIVEN_UP)
    assert store.get("j").webhook_state == GIVEN_UP


def test_tries_come_later_and_later():
    assert [delay_after(n) for n in range(1, 9)] == [1, 4, 16, 64, 256, 1024, 3600, 3600]


def test_an_order_is_kept_as_it_was():
    for order in (ORDER, Order(model="m", version="2", format="csv", file="a.csv", stored=True)):
        assert Order.decode(order.encode()) == order
    digests = {
        ORDER.digest(b"", ""),
        ORDER.digest(b"x", ""),
        ORDER.digest(b"", "x"),
        replace(ORDER, query="x").digest(b"", ""),
    }
    assert len(digests) == 4
