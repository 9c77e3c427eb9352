"""From a model that was found to a plan for loading it: the packages it asks for, the runtime, the place to run."""

import asyncio
import os
from functools import partial

from dragoman.engine.lifecycle import Plan
from dragoman.repository.cache import cache_directory
from dragoman.repository.environments import build_environment
from dragoman.repository.model_archive import requirements_of
from dragoman.repository.spec import ModelSource
from dragoman.runtimes.base import Artifact
from dragoman.runtimes.table import PLATFORMS
from dragoman.workers import pool


def plan(source: ModelSource) -> Plan:
    """How to load a version that was found."""
    options = dict(source.options)
    if source.inputs:
        options["inputs"] = source.inputs
    if source.outputs:
        options["outputs"] = source.outputs
    name = source.settings.runtime or "python"
    if name == "torchserve":
        options.setdefault("print_metrics", False)
        # A handler's working directory is its model's, as in TorchServe, where it has a process of its own.
        options.setdefault("chdir", source.settings.execution in ("auto", "process") and pool.PROCESSES_WORK)
    artifact = Artifact(source.name, source.version, source.path, source.entry, options, source.trusted)
    start = partial(_start_pool, source, artifact, name)
    return Plan(source.name, source.version, PLATFORMS.get(name, name), source.settings, start, source)


async def _start_pool(source: ModelSource, artifact: Artifact, runtime: str) -> pool.Pool:
    """The model's instances; before that, if the operator wants it, the packages that its archive asks for."""
    environment = None
    requirements = requirements_of(source) if source.settings.install_requirements else None
    if requirements is not None:
        build = partial(build_environment, requirements, cache_directory("environments"), model=source.name)
        packages = await asyncio.to_thread(build)
        paths = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return await pool.start(artifact, runtime, source.settings, environment)
