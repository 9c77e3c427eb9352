"""An instance that runs elsewhere, as the scheduler sees it: what it is handed and gives up, what its death means."""

import asyncio

import pytest

from dragoman.errors import Cancelled, Code, Overloaded
from dragoman.scheduling.policy import Immediate
from dragoman.scheduling.scheduler import LoopClock, Scheduler
from dragoman.stats import ModelStats
from dragoman.types import InferResponse
from dragoman.workers.crash import Exits
from dragoman.workers.remote import RemoteInstance, ReplicaDied
from dragoman.workers.replica import Answer, Record
from dragoman.workers.reporting import Outlet
from tests.fakes import request


class FakeLine:
    """Answers when the test says so."""

    def __init__(self):
        self.asked = []
        self.back = asyncio.Event()
        self.closed = False
        self.given_up = 0

    async def ask(self, requests, emit):
        answer = asyncio.get_running_loop().create_future()
        self.asked.append((requests, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            self.given_up += 1
            raise

    async def probe(self):
        await self.back.wait()

    async def close(self):
        self.closed = True

    def answer(self, place=0, **more):
        requests, answer = self.asked[place]
        answer.set_result(Answer([InferResponse("m", "1", r.inputs, r.id) for r in requests], 0.1, **more))

    def fail(self, error, place=0):
        self.asked[place][1].set_exception(error)


class Bench:
    """A scheduler before remote instances, and what its clients are told."""

    def __init__(self, instances=1, most=2):
        self.lines = [FakeLine() for _ in range(instances)]
        self.exits = Exits()
        labels = {"model": "m", "version": "1"}
        self.instances = [
            RemoteInstance(line, labels, number, most, self.exits, Outlet())
            for number, line in enumerate(self.lines)
        ]
        self.stats = ModelStats()
        clock = LoopClock(asyncio.get_running_loop())
        self.scheduler = Scheduler(self.instances, Immediate(), self.stats, clock)
        self.told = {}

    def submit(self, id, **fields):
        return self.scheduler.submit(
            request(id=id, **fields), lambda told: self.told.__setitem__(id, told), "v2"
        )


async def turns():
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(test):
    """A test that is a coroutine."""

    def wrapped():
        asyncio.run(test())

    wrapped.__name__ = test.__name__
    return wrapped


@run
async def test_as_many_batches_are_on_their_way_as_it_may_have():
    bench = Bench(most=2)
    for id in "abc":
        bench.submit(id)
    await turns()
    assert [requests[0].id for requests, _ in bench.lines[0].asked] == ["a", "b"]
    bench.lines[0].answer()
    await turns()
    assert [requests[0].id for requests, _ in bench.lines[0].asked] == ["a", "b", "c"]
    assert list(bench.told) == ["a"]


@run
async def test_who_has_nothing_to_do_is_asked_first():
    bench = Bench(instances=2)
    for id in "abc":
        bench.submit(id)
    await turns()
    assert sorted(len(line.asked) for line in bench.lines) == [1, 2]


@run
async def test_a_client_that_leaves_gives_up_what_is_on_its_way():
    bench = Bench()
    entry = bench.submit("a")
    await turns()
    entry.cancel()
    await turns()
    assert bench.lines[0].given_up == 1
    assert bench.stats.running == 0
    assert bench.told == {}


@run
async def test_a_deadline_gives_it_up_too_and_is_told():
    bench = Bench()
    entry = bench.submit("a")
    await turns()
    entry.expire()
    await turns()
    assert bench.lines[0].given_up == 1
    assert bench.told["a"].code is Code.DEADLINE_EXCEEDED


@run
async def test_a_batch_goes_on_as_long_as_somebody_waits_for_it():
    bench = Bench()
    line, batch = bench.lines[0], [request(id="a"), request(id="b")]
    outcomes = []
    bench.instances[0].run(batch, lambda found, seconds: outcomes.extend(found), lambda place, part: True)
    await turns()
    bench.instances[0].unwanted(batch[0])
    await turns()
    assert (line.given_up, outcomes) == (0, [])
    bench.instances[0].unwanted(batch[1])
    await turns()
    assert line.given_up == 1
    assert [type(outcome) for outcome in outcomes] == [Cancelled, Cancelled]


@run
async def test_a_death_fails_what_was_handed_over_once_and_the_rest_waits_for_the_next():
    bench = Bench(most=2)
    for id in "abc":
        bench.submit(id)
    await turns()
    bench.lines[0].fail(ReplicaDied("its process ended"), 0)
    bench.lines[0].fail(ReplicaDied("its process ended"), 1)
    await turns()
    assert {id: told.code for id, told in bench.told.items()} == {"a": Code.NOT_READY, "b": Code.NOT_READY}
    (report,) = bench.exits.reports
    assert report.requests == ["a", "b"]
    assert report.id in bench.told["a"].message
    assert not bench.instances[0].alive
    bench.lines[0].back.set()
    await turns()
    assert bench.instances[0].alive
    bench.lines[0].answer(2)
    await turns()
    assert isinstance(bench.told["c"], InferResponse)


@run
async def test_others_get_the_work_of_one_that_has_died():
    bench = Bench(instances=2, most=1)
    bench.submit("a")
    bench.submit("b")
    await turns()
    bench.lines[0].fail(ReplicaDied("its process ended"))
    bench.lines[1].answer()
    await turns()
    bench.submit("c")
    await turns()
    assert [requests[0].id for requests, _ in bench.lines[1].asked][-1] == "c"


@run
async def test_what_the_cluster_refuses_is_told_as_it_is():
    bench = Bench()
    bench.submit("a")
    await turns()
    bench.lines[0].fail(Overloaded("too many"))
    await turns()
    assert bench.told["a"].code is Code.OVERLOADED
    assert bench.instances[0].alive


@pytest.mark.parametrize("wrong", [RuntimeError("what"), None])
def test_what_makes_no_sense_is_an_error_without_internals(wrong, caplog):
    @run
    async def test():
        bench = Bench()
        bench.submit("a")
        await turns()
        if wrong is None:
            bench.lines[0].asked[0][1].set_result(Answer([], 0.1))
        else:
            bench.lines[0].fail(wrong)
        await turns()
        assert bench.told["a"].code is Code.INTERNAL
        assert "what" not in bench.told["a"].message.partition(";")[0]

    test()


@run
async def test_lines_of_its_log_are_the_server_s():
    bench = Bench()
    bench.submit("a")
    await turns()
    bench.lines[0].answer(records=[Record(30, "it was close", "77")])
    await turns()
    assert isinstance(bench.told["a"], InferResponse)


@run
async def test_it_is_let_go_when_it_is_closed():
    bench = Bench()
    ended = asyncio.Event()
    bench.instances[0].close(ended.set)
    await ended.wait()
    assert bench.lines[0].closed
