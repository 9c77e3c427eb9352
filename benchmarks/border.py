"""What the border between processes costs: the same models on the event loop, on a thread and in a process.

One server has all three, and they take turns: what is left of the difference between their medians is the border.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import wrk
from cases import ADD, IDENTITY, Case, model_folder, server
from measuring import Options, Table, measure
from processes import Server, cores, free_port

#: Where a model may run; the first is what the others are compared with.
_PLACES: Final = ("inline", "thread", "process")
_READY: Final = "/readyz"


def border(options: Options) -> Table:
    """one model inline, on a thread and in a process; 1 connection, p50 in µs: small body, then 1 MiB"""
    mine, others = cores()
    table: Table = []
    with tempfile.TemporaryDirectory() as folder:
        models = [_copy(case, place, Path(folder)) for case in (ADD, IDENTITY) for place in _PLACES]
        for used in sorted({f"{mine}", f"{mine},{others}"}, key=len):
            port = free_port()
            with Server(server(port, *models), port, used, _READY) as ours:
                for case in (ADD, IDENTITY):
                    table.append(
                        {"case": case.name, "cores": used.count(",") + 1, **_run(ours, case, options)}
                    )
    return table


def _copy(case: Case, place: str, folder: Path) -> Path:
    """The case's model under a name of its own, made to run in this place."""
    model = shutil.copytree(model_folder(case.model), folder / f"{case.model}-{place}")
    with (model / "model.toml").open("a") as description:
        description.write(f'execution = "{place}"\n')
    return Path(model)


def _run(ours: Server, case: Case, options: Options) -> dict[str, Any]:
    requests = {
        place: wrk.Request(
            case.request.path.replace(f"/{case.model}/", f"/{case.model}-{place}/"),
            case.request.body,
            case.request.headers,
        )
        for place in _PLACES
    }
    for request in requests.values():
        measure(ours, request, 1, 1)
    rounds = [
        {place: measure(ours, request, 1, options.seconds) for place, request in requests.items()}
        for _ in range(options.rounds)
    ]
    row: dict[str, Any] = {place: round(median(each[place].p50 for each in rounds)) for place in _PLACES}
    for place in _PLACES[1:]:
        row[f"+{place}"] = round(median(each[place].p50 - each[_PLACES[0]].p50 for each in rounds))
    for place in _PLACES:
        row[f"{place} CPU"] = round(median(each[place].cpu for each in rounds))
    return row
