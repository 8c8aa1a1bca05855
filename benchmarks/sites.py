"""Bundles on several targets: `attar bench BUNDLE --target …`.

- Each target is a table of its own: a ratio never compares two machines.
- What each target is given first is the artefact that is meant for its kind of processor.
- A target that does not answer, and a model that fails there, are lines of their own; everything else is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import AttarError, UsageError
from ..export.processors import kind_of
from . import compare, guests, instructions, outputs
from .latency import OWN, Contender, Progress
from .outputs import Rows
from .protocol import Protocol
from .record import Cost, Placed, Site
from .targets import Target, arm, x86
from .targets.host import Host
from .worker import Worker


@dataclass(frozen=True)
class Plan:
    """What is measured on every target."""

    bundles: Sequence[Path]
    lengths: Sequence[int]
    threads: Sequence[int]
    protocol: Protocol
    every: bool = False  # all artefacts of the bundles
    rows: Rows | None = None  # to be scored on every target
    guests: Sequence[Contender] = ()  # models beside those of the first bundle; see `guests`


def measure(target: Target, plan: Plan, moved: Progress = lambda what, done, of: None) -> Site:
    """Everything on one target. Words that are wrong raise `UsageError`; what fails there is among the problems."""
    check([target], plan)
    site = Site(target=target.word, measures=target.measures)
    try:
        with target.open() as host:
            moved(f"{target.word}: starting", 0, 1)
            machine = describe(host)
            kind = kind_of(machine["architecture"], machine["features"])
            models = compare.contenders(plan.bundles, plan.lengths, plan.every, host, kind, _teller(site))
            models += [guests.seated(guest, plan.bundles[0], models) for guest in plan.guests]
            site = site.model_copy(update={"machine": machine, "reference": models[0].name})
            site.notes.extend(compare.unrun(models, plan.lengths))
            costs: dict[str, Cost] = {}
            if site.measures == "time":
                timed = compare.compare(models, plan.threads, plan.protocol, moved, _teller(site))
                site, costs = _conditions(site, timed), timed.costs
            fill(site, models, lambda model: plan.rows, costs, moved)
    except UsageError:
        raise
    except AttarError as error:
        site.problems.append(f"{target.word}: {error.line()}")
    return site


def check(targets: Sequence[Target], plan: Plan) -> None:
    """Raises `UsageError` where the plan is not for one of the targets: before anything is measured on the first."""
    if plan.rows is not None:
        outputs.check(plan.bundles, plan.rows)
    for target in targets:
        if target.measures == "instructions" and (set(plan.lengths) == {OWN} or set(plan.threads) != {1}):
            what = "instructions are counted at fixed lengths and on one thread"
            raise UsageError(what, where=f"--target {target.word}", fix="such as --length 16,64 --threads 1")


def describe(host: Host) -> dict[str, Any]:
    """The host's own description; of an emulated one only what the emulation decides."""
    with Worker(Path("attar"), "attar", host) as worker:
        found = worker.describe()
    if isinstance(host, arm.Emulated | x86.Emulated):
        kept = ("processor", "architecture", "features", "python", "versions")
        return {"processor": host.cpu, "emulator": host.emulator} | {
            name: found[name] for name in kept if name != "processor"
        }
    return found


def _conditions(site: Site, timed: compare.Comparison) -> Site:
    """How it was timed; how quiet it was is known of this machine alone."""
    here = site.target == "local"
    return site.model_copy(
        update={
            "protocol": asdict(timed.protocol) | {"quick": timed.protocol.quick},
            "conditions": timed.conditions.model_dump() if here else {},
            "warnings": timed.warnings() if here else timed.vague(),
        }
    )


def _teller(site: Site) -> Callable[[str], None]:
    return lambda line: site.problems.append(f"{site.target}: {line}")


def fill(
    site: Site,
    models: Sequence[Contender],
    rows_of: Callable[[Contender], Rows | None],
    costs: Mapping[str, Cost],
    moved: Progress,
) -> None:
    """Add a row for each model when it is whole, so that a target that is lost keeps those before."""
    for number, model in enumerate(models):
        moved(f"{site.target}: {model.name}", number, len(models))
        row = Placed(
            name=model.name,
            runtime=model.runtime,
            length=model.length,
            bytes=sum(file.stat().st_size for file in guests.files(model)),
            gzipped=sum(compare.gzipped(file) for file in guests.files(model)),
        )
        try:
            if site.measures == "instructions":
                lengths = sorted(length for length in model.queries or {} if length != OWN)
                row = row.model_copy(update={"instructions": instructions.measure(model, lengths)})
            elif site.measures == "time":
                if model.name not in costs:
                    continue  # it has failed, and its line is there
                row = row.model_copy(update={"cost": costs[model.name]})
            row = row.model_copy(update={"outputs": outputs.measure(model)})
            if rows := rows_of(model):
                row = row.model_copy(update={"outputs": outputs.measure(model, row.outputs, rows)})
        except AttarError as error:
            _teller(site)(AttarError(error.what, where=model.name, fix=error.fix).line())
        if row.instructions or row.cost or row.outputs:
            site.models.append(row)
