"""The numbers of one server in TorchServe's words: for whoever scrapes them, and for the log files."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from dragoman.engine.engine import Engine
from dragoman.metrics.host import Host
from dragoman.metrics.torchserve import LEGACY, Sample, View, count, queue_time
from dragoman.profiles.torchserve.metrics_log import MetricsLog
from dragoman.profiles.torchserve.settings import Configuration


class Numbers:
    """Shows what ``metrics_mode`` says is shown."""

    def __init__(self, engine: Engine, said: Configuration) -> None:
        self._engine = engine
        self._said = said
        self._view = View(
            frontend=said.declared_metrics.frontend,
            backend=said.declared_metrics.backend,
            detect=said.detect_metrics,
        )
        self._host = Host()

    def scrape(self, names: Collection[str] = ()) -> bytes:
        """What Prometheus gets: all metrics, or those in ``names`` only. In log mode nothing, as from TorchServe."""
        mode = self._said.metrics_mode
        if mode == "prometheus":
            host = self._measures() if self._said.system_metrics else ()
            return self._view.render(self._engine.stats, [*self._counts(), *host], names)
        if mode == "legacy":
            return self._split()[0].render(self._engine.stats, self._counts(), names)
        return b""

    def open_log(self) -> MetricsLog | None:
        """The log files, in the modes that have some. Hears every value of handlers' metrics from now on."""
        said = self._said
        if said.metrics_mode == "prometheus":
            return None
        view = self._split()[1] if said.metrics_mode == "legacy" else self._view
        interval = said.metrics_interval if said.system_metrics else 0
        log = MetricsLog(view, said.metrics_folder, self._counts, self._measures, interval)
        self._engine.stats.told = log.take
        return log

    def _split(self) -> tuple[View, View]:
        """What "legacy" mode shows to Prometheus, and what it logs."""
        shown = {name: each for name, each in self._view.frontend.items() if name in LEGACY}
        logged = {name: each for name, each in self._view.frontend.items() if name not in LEGACY}
        return View(frontend=shown, backend={}), replace(self._view, frontend=logged)

    def _counts(self) -> Iterator[Sample]:
        registry, stats = self._engine.registry, self._engine.stats
        yield from count(stats, {name: registry.default(name) for name in registry.names()})
        yield from queue_time(stats)

    def _measures(self) -> Iterator[Sample]:
        return (Sample(name, ("Host",), value) for name, value in self._host.measure())
