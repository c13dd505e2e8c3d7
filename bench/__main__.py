"""`python -m bench`: the product, its peers and the floors in one run; see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.environments import DEFAULT_DIRECTORY, interpreter_for
from bench.field import CONTESTANTS
from bench.report import as_json, figures_table, targets_table
from bench.runs import Runner, Sample, Step, steps
from bench.sink import running_sink
from bench.targets import check, with_extra_seconds

WIDTH = 150  # the table's, where the output is no terminal


def main() -> None:
    arguments = _arguments()
    repeats = arguments.repeats or (2 if arguments.quick else 5)
    ordered = steps(repeats, quick=arguments.quick, peers=not arguments.without_peers)
    if arguments.only:
        ordered = [step for step in ordered if step.measurement.name in arguments.only]
    samples = with_extra_seconds(_run(ordered, arguments.environments, quick=arguments.quick))
    results = check(samples)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(as_json(samples, results), indent=1) + "\n")
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(figures_table(samples), targets_table(results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than two minutes, more noise")
    parser.add_argument("--repeats", type=int, help="5 unless told; 2 with --quick")
    parser.add_argument("--without-peers", action="store_true", help="installs nothing")
    parser.add_argument("--only", nargs="+", metavar="MEASUREMENT", help="hot, paced, delivery, …")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was found")
    parser.add_argument(
        "--environments",
        type=Path,
        metavar="DIR",
        default=DEFAULT_DIRECTORY,
        help=f"where the peers are installed: {DEFAULT_DIRECTORY}",
    )
    return parser.parse_args()


def _run(ordered: list[Step], environments: Path, *, quick: bool) -> list[Sample]:
    needed = {step.contestant.name for step in ordered}
    samples = []
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        tempfile.TemporaryDirectory() as home,
        running_sink() as sink,
    ):
        task = progress.add_task("installing peers", total=len(ordered))
        interpreters = {
            contestant.name: interpreter_for(contestant, environments)
            for contestant in CONTESTANTS
            if contestant.name in needed
        }
        runner = Runner(sink, interpreters, quick=quick, home=Path(home))
        with suppress(KeyboardInterrupt):  # then what has been found so far is reported
            for step, sample in runner.run(ordered):
                progress.update(task, advance=1, description=step.title)
                samples.append(sample)
    return samples


if __name__ == "__main__":
    main()
