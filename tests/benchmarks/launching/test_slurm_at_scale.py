"""The real launcher on a simulated controller: thousands of runs, arrays, limits, preemptions, failures, silence.

python -m pytest -m slow -s tests/benchmarks/launching/test_slurm_at_scale.py     # 10,000 runs, and what they cost
"""

from __future__ import annotations

import resource
import time
from importlib import import_module
from pathlib import Path

import pytest
import toy
import yaml
from benchmarks.launching.simulated_cluster import SimulatedCluster

from mm3d_benchmarks.launching import slurm_jobs, slurm_queue
from mm3d_benchmarks.launching.outcome import DONE, FAILED
from mm3d_benchmarks.planning.compose import CONF
from mm3d_benchmarks.store.store import Store

ensuring = import_module("mm3d_benchmarks.launching.ensure")
SECONDS_A_QUERY = 20.0


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_runs_end_with_hardly_any_work_for_the_front_end(count: int, tmp_path: Path, monkeypatch):
    cluster = SimulatedCluster(slots=min(400, count // 10))
    cluster.install(monkeypatch, slurm_jobs, slurm_queue, ensuring)
    settings = yaml.safe_load((CONF / "launcher" / "slurm.yaml").read_text(encoding="utf-8"))
    settings |= {"max_parallel": cluster.slots}
    store, specs = Store(tmp_path / "runs"), [toy.spec(number=number) for number in range(count)]
    launcher = slurm_jobs.SlurmLauncher(store, settings)
    begun: list[float] = []  # processor seconds when the runs were registered and the first array was sent

    def watched(*groups):
        begun[:] = begun or [time.process_time() - cluster.own_seconds]
        return cluster.send(*groups)

    monkeypatch.setattr(slurm_jobs, "send", watched)
    outcomes = ensuring.ensure(specs, store, launcher, max_attempts=3, poll_seconds=settings["poll_seconds"])
    spent = time.process_time() - cluster.own_seconds - begun[0]
    states = [outcome.state for outcome in outcomes]
    reasons = {outcome.reason for outcome in outcomes if outcome.state == FAILED}
    assert reasons == {"UserError: made to fail"}, "preempted, or ended while nobody answered: not for good"
    assert set(states) <= {DONE, FAILED}
    assert states.count(FAILED) == sum((store.run(s.key).folder / "failure.json").exists() for s in specs)
    assert 0.97 < states.count(DONE) / count < 1.0
    assert cluster.most_running <= cluster.slots
    hours, queries = cluster.now / 3600, cluster.calls["squeue"] + cluster.calls["sacct"]
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    calls = ", ".join(f"{cluster.calls[name] / hours:.1f} {name}" for name in ("squeue", "sacct", "sbatch"))
    print(
        f"\n{count} runs, {cluster.slots} at once, {hours:.1f} h: {spent / cluster.now:.2%} of a core, "
        f"{megabytes:.0f} MB; calls an hour: {calls}"
    )
    assert cluster.now / queries > SECONDS_A_QUERY
    assert cluster.now / cluster.calls["sbatch"] > SECONDS_A_QUERY
