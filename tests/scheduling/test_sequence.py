import pytest

from dragoman.errors import NotReady, Overloaded, SequenceUnknown
from dragoman.scheduling.sequence import Limits, SequenceScheduler
from dragoman.stats import ModelStats
from dragoman.types import InferResponse
from tests.fakes import FakeClock, FakeInstance, request


class Bench:
    def __init__(self, instances=1, queue_size=100, **limits):
        self.clock = FakeClock()
        self.instances = [FakeInstance() for _ in range(instances)]
        self.stats = ModelStats()
        self.answers = {}
        limits = Limits(**{"places": 2, "most": 8, "waiting": 8} | limits)
        self.scheduler = SequenceScheduler(self.instances, limits, self.stats, self.clock, queue_size)

    def submit(self, id, sequence="", start=False, end=False, **more):
        said = {"sequence_id": sequence, "sequence_start": start, "sequence_end": end} if sequence else {}
        said |= more
        made = request(id=id, parameters=said)
        return self.scheduler.submit(made, lambda outcome: self.answers.setdefault(id, outcome), "test")

    def ran(self, place=0):
        return [[one.id for one in batch] for batch in self.instances[place].batches]

    @property
    def at_rest(self):
        return self.stats.waiting == self.stats.running == 0


def test_a_batch_has_one_request_of_each_sequence_in_its_order():
    bench = Bench()
    bench.submit("a1", "a", start=True)
    for id, name, start in [("a2", "a", False), ("a3", "a", False), ("b1", "b", True), ("b2", "b", False)]:
        bench.submit(id, name, start=start)
    for _ in range(3):
        bench.instances[0].finish()
    assert bench.ran() == [["a1"], ["a2", "b1"], ["a3", "b2"]]
    assert bench.at_rest


def test_a_sequence_stays_with_its_instance():
    bench = Bench(instances=2, places=1)
    bench.submit("a1", "a", start=True)
    bench.submit("b1", "b", start=True)
    for instance in bench.instances:
        instance.finish()
    for _ in range(2):
        bench.submit("b", "b")
        bench.submit("a", "a")
        for instance in bench.instances:
            instance.finish()
    assert [len({id[0] for batch in bench.ran(place) for id in batch}) for place in (0, 1)] == [1, 1]


def test_who_finds_no_place_waits_until_a_sequence_ends():
    bench = Bench(places=1)
    bench.submit("a1", "a", start=True)
    bench.submit("b1", "b", start=True)
    bench.instances[0].finish()
    assert bench.ran() == [["a1"]]
    bench.submit("a2", "a", end=True)
    bench.instances[0].finish()
    assert bench.ran() == [["a1"], ["a2"], ["b1"]]


def test_a_request_without_an_id_is_a_sequence_of_its_own():
    bench = Bench(most=1, places=1)
    for id in "xyz":
        bench.submit(id)
        bench.instances[0].finish()
    assert bench.ran() == [["x"], ["y"], ["z"]]


def test_what_is_not_known_or_too_much_is_refused():
    bench = Bench(most=1, waiting=1)
    with pytest.raises(SequenceUnknown, match="begin it"):
        bench.submit("1", "a")
    bench.submit("1", "a", start=True)
    with pytest.raises(Overloaded, match="1 sequences"):
        bench.submit("2", "b", start=True)
    bench.submit("2", "a", end=True)
    with pytest.raises(SequenceUnknown, match="last request"):
        bench.submit("3", "a")
    assert bench.stats.waiting == 1


def test_more_than_its_most_waiting_requests_are_refused():
    bench = Bench(waiting=1)
    bench.submit("1", "a", start=True)
    bench.submit("2", "a")
    with pytest.raises(Overloaded, match="waiting"):
        bench.submit("3", "a")


def test_an_idle_sequence_ends_and_a_busy_one_does_not():
    bench = Bench(most=1, idle=10)
    bench.submit("1", "a", start=True)
    bench.clock.advance(25)
    bench.instances[0].finish()
    bench.clock.advance(6)
    bench.submit("2", "a")
    bench.instances[0].finish()
    bench.clock.advance(21)
    with pytest.raises(SequenceUnknown):
        bench.submit("3", "a")
    bench.submit("4", "b", start=True)


def test_a_sequence_that_lasts_too_long_ends_and_tells_who_waits():
    bench = Bench(lifetime=10)
    bench.submit("1", "a", start=True)
    bench.submit("2", "a")
    bench.clock.advance(10)
    assert isinstance(bench.answers["2"], NotReady)
    assert "too long" in bench.answers["2"].message
    bench.instances[0].finish()
    assert isinstance(bench.answers["1"], InferResponse)
    assert bench.at_rest


def test_an_instance_that_goes_takes_its_sequences_with_it():
    bench = Bench(places=1)
    bench.submit("1", "a", start=True)
    bench.submit("2", "a")
    bench.scheduler.withdrawn(bench.instances[0])
    assert "gone" in bench.answers["2"].message
    with pytest.raises(SequenceUnknown):
        bench.submit("3", "a")


def test_a_last_request_that_is_cancelled_ends_its_sequence():
    bench = Bench(most=1)
    bench.submit("1", "a", start=True)
    last = bench.submit("2", "a", end=True)
    last.cancel()
    bench.instances[0].finish()
    bench.submit("3", "b", start=True)
    assert bench.ran() == [["1"], ["3"]]


def test_closing_waits_for_what_was_accepted():
    bench = Bench()
    closed = []
    bench.submit("1", "a", start=True)
    bench.submit("2", "a")
    bench.scheduler.close(lambda: closed.append(True))
    with pytest.raises(NotReady):
        bench.submit("3", "a")
    bench.instances[0].finish()
    assert not closed
    bench.instances[0].finish()
    assert closed


def test_a_broken_model_takes_a_sequence_as_soon_as_an_instance_is_there():
    bench = Bench()
    (instance,) = bench.instances
    bench.scheduler.withdrawn(instance)
    bench.scheduler.failing(instance, "it died")
    with pytest.raises(NotReady, match="it died"):
        bench.submit("early", "a", start=True)
    bench.scheduler.returned(instance)
    bench.submit("probe", "a", start=True)
    with pytest.raises(NotReady, match="it died"):
        bench.submit("many", "b", start=True)
    bench.scheduler.failing(instance, "")
    instance.finish()
    bench.submit("after", "a", end=True)
    instance.finish()
    assert bench.answers.keys() == {"probe", "after"}
    assert bench.at_rest


def test_where_ids_begin_sequences_by_being_new_none_has_to_say_that_it_starts():
    bench = Bench()
    bench.submit("1", "a", sequence_implicit=True)
    bench.submit("2", "a", sequence_implicit=True, end=True)
    bench.instances[0].finish()
    bench.instances[0].finish()
    bench.submit("3", "a", sequence_implicit=True)
    assert bench.ran() == [["1"], ["2"], ["3"]]


def test_whose_sequence_was_lost_with_its_instance_is_told_so_once():
    bench = Bench(places=1)
    bench.submit("1", "a", sequence_implicit=True)
    bench.submit("1", "b", sequence_implicit=True)
    bench.instances[0].finish()
    bench.scheduler.withdrawn(bench.instances[0])
    with pytest.raises(SequenceUnknown, match="'a' has ended: the worker that knew it has gone"):
        bench.submit("2", "a", sequence_implicit=True)
    bench.submit("3", "a", sequence_implicit=True)


def test_who_begins_a_lost_sequence_anew_is_not_told():
    bench = Bench(places=1)
    bench.submit("1", "a", sequence_implicit=True)
    bench.scheduler.withdrawn(bench.instances[0])
    bench.submit("2", "a", start=True, sequence_implicit=True)
    bench.submit("3", "a", sequence_implicit=True)


def test_lost_sequences_are_not_remembered_for_ever():
    bench = Bench(queue_size=2000, places=2000, most=2000)
    for number in range(1500):
        bench.submit(f"{number}", f"s{number}", sequence_implicit=True)
    bench.instances[0].finish()
    bench.scheduler.withdrawn(bench.instances[0])
    assert len(bench.scheduler._lost) == 1000
    bench.submit("x", "s0", sequence_implicit=True)
    with pytest.raises(SequenceUnknown):
        bench.submit("y", "s1499", sequence_implicit=True)


def answer(name, ended):
    return InferResponse("m", "1", (), name, {"ended_sequences": ended})


def test_an_answer_may_end_sequences_its_own_and_others():
    bench = Bench(most=2)
    bench.submit("a1", "a", start=True)
    bench.instances[0].finish()
    bench.submit("b1", "b", start=True)
    bench.submit("b2", "b")
    bench.instances[0].finish([answer("b1", ["a", "b", "unknown"])])
    with pytest.raises(SequenceUnknown, match="has come already"):
        bench.submit("b3", "b")
    bench.instances[0].finish()  # b2 had been accepted
    for name in ("a", "b"):
        with pytest.raises(SequenceUnknown, match="knows no sequence"):
            bench.submit("x", name)
        bench.submit("y", name, start=True)


@pytest.mark.parametrize("ended", [None, "a", 5, {"a": 1}, [["a"], {}, None, 7]])
def test_nonsense_about_ended_sequences_ends_none(ended):
    bench = Bench()
    bench.submit("1", "a", start=True)
    bench.instances[0].finish([answer("1", ended)])
    bench.submit("2", "a")
    assert bench.ran() == [["1"], ["2"]]


class Steps(FakeInstance):
    """Takes requests one by one while others run, up to ``most``."""

    def __init__(self, most):
        super().__init__()
        self.most, self.dones = most, {}

    @property
    def up(self):
        return not self.dones

    @property
    def spare(self):
        return len(self.dones) < self.most

    def run(self, requests, done, emit):
        (one,) = requests
        self.batches.append(requests)
        self.dones[one.id] = done

    def finish_one(self, id):
        self.dones.pop(id)([InferResponse("m", "1", (), id)], 0.1)


class StepsBench(Bench):
    def __init__(self, most=4, **limits):
        super().__init__()
        self.instances = [Steps(most)]
        limits = Limits(**{"places": 2, "most": 8, "waiting": 8} | limits)
        self.scheduler = SequenceScheduler(self.instances, limits, self.stats, self.clock, 100, singly=True)


def test_one_by_one_requests_of_a_sequence_need_not_wait_for_its_former_ones():
    bench = StepsBench()
    for id, name in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("a4", "a")]:
        bench.submit(id, name, sequence_implicit=True)
    assert bench.ran() == [["a1"], ["b1"], ["a2"], ["a3"]]  # a4 finds no room
    bench.instances[0].finish_one("a2")
    assert bench.ran()[-1] == ["a4"]


def test_one_by_one_a_sequence_ends_when_its_last_running_request_is_answered():
    bench = StepsBench(most=1)
    bench.submit("a1", "a", sequence_implicit=True)
    bench.scheduler._limits = Limits(2, 1, 8)
    bench.instances[0].most = 4
    bench.submit("a2", "a", end=True, sequence_implicit=True)
    bench.instances[0].finish_one("a1")
    bench.instances[0].finish_one("a2")
    assert bench.at_rest
    bench.submit("b1", "b", sequence_implicit=True)
    assert bench.ran()[-1] == ["b1"]
