from dragoman.stats import ModelStats
from dragoman.windows import Window


class Hand:
    now = 1000.0

    def __call__(self):
        return self.now


def test_what_is_older_than_the_window_falls_out_part_by_part():
    clock = Hand()
    window = Window(12.0, clock)
    for second in range(6):
        clock.now = 1000.0 + second
        window.add({"x": [1, 0]})
    assert window.totals() == {"x": [6, 0]}
    clock.now = 1013.0
    assert window.totals() == {"x": [4, 0]}
    clock.now = 1100.0
    assert window.totals() == {}


def test_counts_of_another_length_take_the_place_of_the_old_ones():
    window = Window(12.0, Hand())
    window.add({"x": [1, 0]})
    window.add({"x": [1, 0, 5], "y": [2]})
    assert window.totals() == {"x": [1, 0, 5], "y": [2]}


def test_the_windows_of_several_processes_are_added():
    own, other, total = ModelStats(), ModelStats(), ModelStats()
    for stats in (own, other):
        stats.window = Window(12.0, Hand())
        stats.see({"x": [1, 2]})
        total.add(stats.snapshot())
    assert total.seen == {"x": [2, 4]}
