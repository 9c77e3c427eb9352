"""The page about TorchServe tells all of it."""

import re
from pathlib import Path

from dragoman.cli.torchserve import _parser
from dragoman.metrics.torchserve import METRICS
from dragoman.profiles.torchserve.keys import KEYS, Use, variable

PAGE = (Path(__file__).parents[2] / "docs" / "torchserve.md").read_text()


def table() -> str:
    """To write it anew: ``python -c "from tests.profiles.test_docs import table; print(table())"``."""
    rows = ["| key | default | | what it means here |", "|---|---|---|---|"]
    for name, default, use, meaning in KEYS:
        shown = f"`{default}`".replace("|", "\\|") if default else "–"
        rows.append(f"| `{name}` | {shown} | {'' if use is Use.HONOURED else use.value} | {meaning} |")
    return "\n".join(rows)


def test_the_table_of_keys_is_the_one_in_the_code():
    assert re.search(r"<!-- keys -->\n(.*?)\n?<!-- end -->", PAGE, re.S)[1].strip() == table()


def test_every_flag_is_told_of_and_no_other():
    flags = {option for action in _parser()._actions for option in action.option_strings}
    told = set(re.findall(r"`(--?[a-z][a-z-]*)`", "\n".join(re.findall(r"^\| (`-.*?) \|", PAGE, re.M))))
    assert told == flags - {"-h", "--help"}


def test_keys_that_the_environment_can_not_set_are_told_of():
    sentence = re.search(r"read from the file only: (.*?)\.\n", PAGE, re.S)[1]
    told = set(re.findall(r"`(\w+)`", sentence)) - {"allowed_urls"}
    silent = {"enable_envvars_config", "python", "tsConfigFile", "use_env_allowed_urls", "version"}
    assert told == {key.name for key in KEYS if not variable(key.name)} - silent


def test_every_metric_is_told_of():
    section = re.search(r"^## Metrics\n(.*?)^## ", PAGE, re.M | re.S)[1]
    for name, _, _ in METRICS:
        assert f"`{name}`" in section or name.startswith("GPU"), name
