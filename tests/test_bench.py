"""`python -m bench` runs, and finds what it says it finds; how fast anything is, is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.field import CONTESTANTS
from bench.report import ROWS
from bench.runs import MEASUREMENTS, Sample, steps
from bench.sink_server import decoded
from bench.targets import TARGETS, Result, check
from bench.workload import Workload

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_finds_every_figure_loses_nothing_and_judges_what_it_measured(tmp_path: Path) -> None:
    # One test, not three that share a run: tests side by side would each make their own.
    report = run_without_peers(tmp_path / "report.json")
    found = report["figures"]["sessionbat"]
    assert set(found) == {measurement.name for measurement in MEASUREMENTS}
    for _, measurement, figure, _ in ROWS:
        assert found[measurement][figure] >= 0, (measurement, figure)
    for measurement in ("delivery", "delivery_20kb", "burst", "single"):
        assert found[measurement]["events"] == found[measurement]["recorded"], measurement
    for target in report["targets"]:
        beside_a_peer = str(target["rival"]).startswith("otel")
        assert (target["met"] is None) == beside_a_peer, target["title"]


def run_without_peers(written: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "--quick", "--without-peers", "--repeats", "1"]
    done = subprocess.run(
        [*command, "--json", str(written)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "lossless throughput" in done.stdout
    report: dict[str, Any] = json.loads(written.read_text())
    return report


def test_a_ratio_is_formed_within_its_repeat_and_the_median_counts() -> None:
    samples = [
        Sample(repeat, "hot", who, {"p50": p50, "p999": 1.0})
        for repeat, product, floor in ((0, 6.0, 2.0), (1, 50.0, 10.0), (2, 4.0, 4.0))
        for who, p50 in (("sessionbat", product), ("floor", floor))
    ]
    hot = next(each for each in check(samples) if each.target.rival == "floor")
    assert (hot.values, hot.value, hot.met) == ((1.0, 3.0, 5.0), 3.0, True)


def test_a_bar_from_below_is_met_from_above() -> None:
    throughput = next(target for target in TARGETS if target.at_least)
    assert Result(throughput, (throughput.bar,)).met
    assert not Result(throughput, (throughput.bar * 0.99,)).met


def test_each_repeat_measures_the_product_and_its_rivals_before_the_next_thing() -> None:
    ordered = [step for step in steps(2, quick=False, peers=True) if step.repeat == 1]
    names = [step.measurement.name for step in ordered if not step.waits_at_exit]
    assert names == sorted(names, key=[measurement.name for measurement in MEASUREMENTS].index)


@pytest.mark.parametrize("kilobytes", [1, 20])
def test_a_call_holds_as_much_as_it_is_named_after(kilobytes: int) -> None:
    call = Workload(kilobytes, chats=3).call(1)
    assert 0.95 < len(json.dumps([call.input, call.output])) / (1024 * kilobytes) < 1.05


def test_the_sink_reads_chunked_bodies() -> None:
    assert decoded(b"chunked ", b"4\r\nbenc\r\n2;x=y\r\nh-\r\n0\r\n\r\n") == b"bench-"


def test_every_contestant_has_a_file_and_every_target_a_measurement() -> None:
    for contestant in CONTESTANTS:
        assert (ROOT / "bench" / "contestants" / f"{contestant.module}.py").exists()
    measurements = {measurement.name for measurement in MEASUREMENTS}
    names = {contestant.name for contestant in CONTESTANTS} | {""}
    for target in TARGETS:
        assert target.measurement in measurements
        assert {target.who, target.rival} <= names


def test_a_repeat_in_which_the_rival_found_nothing_is_left_out() -> None:
    samples = [
        Sample(0, "hot", "sessionbat", {"p50": 6.0}),
        Sample(0, "hot", "floor", {}),
        Sample(1, "hot", "sessionbat", {"p50": 6.0}),
        Sample(1, "hot", "floor", {"p50": 3.0}),
    ]
    hot = next(each for each in check(samples) if each.target.rival == "floor")
    assert hot.values == (2.0,)
