import pytest

from dragoman.errors import DeadlineExceeded, Internal, InvalidInput, NotReady, Overloaded
from dragoman.scheduling.policy import DynamicBatching, Immediate
from dragoman.scheduling.scheduler import Scheduler
from dragoman.stats import ModelStats
from dragoman.types import InferResponse
from tests.fakes import FakeClock, FakeInstance, request


class Bench:
    """A scheduler with fake instances, and everything it answered."""

    def __init__(self, policy=None, instances=1, **options):
        self.clock = FakeClock()
        self.instances = [FakeInstance() for _ in range(instances)]
        self.stats = ModelStats()
        self.answers = []
        policy = policy or DynamicBatching(8)
        self.scheduler = Scheduler(self.instances, policy, self.stats, self.clock, batched=True, **options)

    def submit(self, **fields):
        made = request(**fields)
        return self.scheduler.submit(made, lambda outcome: self.answers.append((made.id, outcome)), "test")

    @property
    def ids(self):
        return [id for id, _ in self.answers]


def test_what_queues_while_the_instance_works_goes_together_when_it_is_free():
    bench = Bench()
    (instance,) = bench.instances
    for id in "abcde":
        bench.submit(id=id)
    assert instance.sizes == [1]
    instance.finish()
    assert instance.sizes == [1, 4]
    instance.finish()
    assert bench.ids == list("abcde")
    assert bench.stats.waiting == bench.stats.running == 0


def test_a_batch_waits_for_company_no_longer_than_its_delay():
    bench = Bench(DynamicBatching(8, max_delay=0.010))
    (instance,) = bench.instances
    bench.submit()
    bench.clock.advance(0.009)
    assert instance.sizes == []
    bench.submit()
    bench.clock.advance(0.002)
    assert instance.sizes == [2]


def test_a_full_batch_does_not_wait_for_its_delay():
    bench = Bench(DynamicBatching(2, max_delay=10))
    bench.submit()
    bench.submit()
    assert bench.instances[0].sizes == [2]


def test_a_full_batch_of_one_shape_passes_an_incomplete_one_of_another():
    bench = Bench(DynamicBatching(2, max_delay=10))
    bench.submit(width=3, id="lonely")
    bench.submit(id="a")
    bench.submit(id="b")
    assert [r.id for r in bench.instances[0].batches[0]] == ["a", "b"]
    bench.instances[0].finish()
    bench.clock.advance(10)
    assert [r.id for r in bench.instances[0].batches[1]] == ["lonely"]


def test_mixed_shapes_are_batched_by_shape_and_each_gets_its_own():
    bench = Bench()
    (instance,) = bench.instances
    bench.submit(id="first")
    for number in range(6):
        bench.submit(width=2 + number % 2, id=str(number))
    for _ in range(3):
        instance.finish()
    assert instance.sizes == [1, 3, 3]
    assert sorted(bench.ids) == sorted(["first", *"012345"])
    assert all(outcome.id == id for id, outcome in bench.answers)


def test_every_free_instance_takes_a_request():
    bench = Bench(Immediate(), instances=2)
    for _ in range(3):
        bench.submit()
    assert [i.sizes for i in bench.instances] == [[1], [1]]
    assert bench.stats.waiting == 1


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    bench = Bench(queue_size=2)
    for _ in range(3):
        bench.submit()
    with pytest.raises(Overloaded) as refused:
        bench.submit()
    assert refused.value.retry_after >= 1
    assert bench.stats.waiting == 2


def test_without_a_queue_only_a_free_instance_takes_a_request():
    bench = Bench(Immediate(), instances=2, queue_size=0)
    for _ in range(2):
        bench.submit()
    with pytest.raises(Overloaded, match="none may wait"):
        bench.submit()
    bench.instances[1].finish()
    bench.submit()
    assert [i.sizes for i in bench.instances] == [[1], [1, 1]]


def test_without_a_queue_a_request_may_wait_for_company_that_a_free_instance_has_for_it():
    bench = Bench(DynamicBatching(4, max_delay=1), instances=2, queue_size=0)
    for _ in range(2):
        bench.submit()
    with pytest.raises(Overloaded):
        bench.submit()
    bench.clock.advance(1)
    assert sorted(i.sizes for i in bench.instances) == [[], [2]]
    bench.submit()
    with pytest.raises(Overloaded):
        bench.submit()


def test_a_cancelled_request_is_never_executed_and_frees_its_place():
    bench = Bench(queue_size=2)
    bench.submit(id="running")
    gone = bench.submit(id="gone")
    bench.submit(id="stays")
    gone.cancel()
    gone.cancel()
    bench.submit(id="late")
    bench.instances[0].finish()
    assert [r.id for r in bench.instances[0].batches[1]] == ["stays", "late"]
    bench.instances[0].finish()
    assert "gone" not in bench.ids
    assert bench.stats.answers["test", "cancelled"] == 1


def test_the_result_of_a_request_cancelled_while_it_runs_is_dropped():
    bench = Bench()
    entry = bench.submit(id="a")
    entry.cancel()
    bench.instances[0].finish()
    assert bench.answers == []
    assert bench.stats.running == 0


def test_a_deadline_that_passes_in_the_queue_is_told_at_once_and_never_executed():
    bench = Bench()
    bench.submit(id="running")
    bench.submit(id="late", deadline=bench.clock.now + 0.5)
    bench.clock.advance(0.6)
    ((id, outcome),) = bench.answers
    assert id == "late"
    assert isinstance(outcome, DeadlineExceeded)
    bench.instances[0].finish()
    assert bench.instances[0].sizes == [1]


def test_a_deadline_that_passes_while_running_is_told_at_once_and_the_result_dropped():
    bench = Bench()
    bench.submit(deadline=bench.clock.now + 0.5)
    bench.clock.advance(0.6)
    assert isinstance(bench.answers[0][1], DeadlineExceeded)
    bench.instances[0].finish()
    assert len(bench.answers) == 1


@pytest.mark.parametrize("policy", [Immediate(), DynamicBatching(8)])
def test_a_deadline_already_past_is_refused_without_executing(policy):
    bench = Bench(policy)
    bench.submit(deadline=bench.clock.now - 1)
    assert isinstance(bench.answers[0][1], DeadlineExceeded)
    assert bench.instances[0].batches == []
    assert bench.stats.waiting == bench.stats.running == 0


def test_a_deadline_kept_leaves_no_timer_behind():
    bench = Bench()
    bench.submit(deadline=bench.clock.now + 1)
    bench.instances[0].finish()
    bench.clock.advance(2)
    assert len(bench.answers) == 1


def test_a_closing_scheduler_answers_what_it_accepted_and_takes_nothing_more():
    bench = Bench()
    bench.submit(id="a")
    bench.submit(id="b")
    closed = []
    bench.scheduler.close(lambda: closed.append(True))
    with pytest.raises(NotReady):
        bench.submit(id="c")
    bench.instances[0].finish()
    assert not closed
    bench.instances[0].finish()
    assert bench.ids == ["a", "b"]
    assert closed == [True]


def test_an_idle_scheduler_closes_at_once():
    closed = []
    Bench().scheduler.close(lambda: closed.append(True))
    assert closed == [True]


def test_outcomes_are_counted_by_dialect_and_code():
    bench = Bench()
    bench.submit()
    bench.instances[0].finish([InvalidInput("no")])
    bench.submit()
    bench.instances[0].finish()
    assert bench.stats.answers == {("test", "invalid_input"): 1, ("test", "ok"): 1}
    assert bench.stats.batch.count == 2
    assert bench.stats.total.count == 2


def test_an_answer_its_dialect_has_no_words_for_is_refused_and_counted_so():
    bench = Bench()
    told = []

    def reply(outcome):
        told.append(outcome)
        if not isinstance(outcome, InvalidInput):
            raise InvalidInput("ask for binary data")

    bench.scheduler.submit(request(), reply, "test")
    bench.instances[0].finish()
    assert [type(outcome) for outcome in told] == [InferResponse, InvalidInput]
    assert bench.stats.answers == {("test", "invalid_input"): 1}


def test_a_reply_that_raises_is_called_with_an_error_and_does_not_take_the_batchs_others_with_it(caplog):
    bench = Bench()
    bench.submit(id="running")
    told = []

    def broken(outcome):
        told.append(outcome)
        raise ValueError("broken")

    bench.scheduler.submit(request(), broken, "test")
    bench.submit(id="fine")
    bench.instances[0].finish()
    bench.instances[0].finish()
    assert bench.ids == ["running", "fine"]
    assert isinstance(told[1], Internal)
    assert bench.stats.answers["test", "internal"] == 1
    assert "an answer could not be written" in caplog.text


def test_a_request_that_can_run_at_once_is_answered_and_counted_before_submit_returns():
    bench = Bench(now=lambda asked: NotReady(asked.id))
    entry = bench.submit(id="a", rows=3)
    assert entry is None
    assert bench.ids == ["a"]
    assert bench.instances[0].sizes == []
    stats = bench.stats
    assert stats.answers["test", "not_ready"] == 1
    assert stats.queue.count == stats.execute.count == stats.batch.count == stats.total.count == 1
    assert stats.batch.total == 3
    assert stats.waiting == stats.running == 0


def test_a_request_that_waits_for_company_does_not_run_at_once():
    bench = Bench(DynamicBatching(8, max_delay=0.010), now=lambda asked: NotReady(asked.id))
    bench.submit(id="a")
    assert bench.ids == []
    bench.clock.advance(0.011)
    assert bench.instances[0].sizes == [1]


@pytest.mark.parametrize(
    "policy", [Immediate(), DynamicBatching(8), DynamicBatching(8, max_delay=1)], ids=str
)
def test_a_broken_model_takes_one_request_at_a_time_as_soon_as_an_instance_is_there(policy):
    bench = Bench(policy)
    (instance,) = bench.instances
    bench.scheduler.withdrawn(instance)
    bench.scheduler.failing(instance, "it died")
    with pytest.raises(NotReady, match="it died"):
        bench.submit(id="too early")
    bench.scheduler.returned(instance)
    bench.submit(id="probe")
    with pytest.raises(NotReady, match="it died"):
        bench.submit(id="too many")
    bench.clock.advance(1)
    bench.scheduler.failing(instance, "")
    instance.finish()
    bench.submit(id="after")
    bench.clock.advance(1)
    instance.finish()
    assert bench.ids == ["probe", "after"]
