"""Preparation: raw release -> prepared folder, one scene per worker at a time, resumable, the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mm3d_benchmarks.datasets.known import DATASETS, reader_classes
from mm3d_benchmarks.datasets.manifest import WHOLE, build_manifest, origin_of
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, Reader
from mm3d_benchmarks.datasets.scene import MANIFEST, PreparedDataset, check_name, open_dataset, read_record, write_scene
from mm3d_benchmarks.datasets.sources import SourceHashes
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.observing.bar import seconds_between_updates

RECIPE = 2  # part of each scene's source: raise it when a reader's output changes, and scenes are prepared again
# data set -> its readers: processed forms, recognized by their files, then the raw release
Progress = Callable[[int, int], None]  # scenes done, scenes in all
SKIP = "--skip-broken prepares the other scenes and lists this one"


@dataclass(frozen=True)
class Outcome:
    """What became of one scene: its record, or why it was left out, and the hashes that were made on the way."""

    name: str
    record: dict[str, Any] | None
    remarks: list[str]
    error: str | None = None
    hints: dict[str, list[Any]] = field(default_factory=dict)


def prepare_dataset(
    dataset: str,
    raw: Path | str,
    out: Path | str,
    *,
    workers: int = 0,
    skip_broken: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
    again: bool = False,
    way_out: str = SKIP,
) -> PreparedDataset:
    """Prepare every scene of a raw data set.

    Scenes that are already there are kept while every file that they were read from has the same content, so an
    interrupted call continues.

    Args:
        dataset: key of :data:`mm3d_benchmarks.datasets.known.DATASETS`.
        raw: the release's folder, as downloaded.
        out: folder to write (``data/prepared/<dataset>``).
        workers: processes; 0 prepares in this one. Each holds one scene at a time.
        skip_broken: leave scenes with missing or damaged files out and list them in the manifest.
        options: further arguments of the reader (``rooms=271`` for S3DIS, ``columns`` for a folder, ...).
        progress: called with (done, total) after each scene; without it a tqdm bar is drawn unless ``quiet``.
        again: read every scene anew.
        way_out: what the caller's user may do about a broken scene.

    Raises:
        UserError: unknown data set or option, missing raw files, a broken scene (without ``skip_broken``; the scenes
            that are ready stay), or a target that cannot be written.
    """
    raw, out = Path(raw), Path(out)
    reader = make_reader(dataset, raw, options or {})
    splits = reader.splits()
    names = sorted({name for scenes in splits.values() for name in scenes})
    if not names:
        raise UserError(
            f"{raw}: the splits of {dataset} name no scene{''.join('; ' + note for note in reader.notes())}"
        )
    _refuse_names(raw, names)
    _refuse_foreign_target(out, dataset)
    sources = SourceHashes(raw) if again else SourceHashes.load(raw, out)
    outcomes: dict[str, Outcome] = {}
    hidden, seconds = quiet or progress is not None, seconds_between_updates()
    with tqdm(total=len(names), desc=f"prepare {dataset}", unit="scene", disable=hidden, mininterval=seconds) as bar:
        for outcome in _outcomes(_Work(reader, out, sources, again), names, workers):
            if outcome.error is not None and not skip_broken:
                sources.save(out)
                raise BrokenSceneError(f"{outcome.error}\n({way_out})" if len(names) > 1 else outcome.error)
            sources.new |= outcome.hints
            outcomes[outcome.name] = replace(outcome, hints={})
            bar.update()
            if progress is not None:
                progress(len(outcomes), len(names))
    sources.save(out)
    ordered = [outcomes[name] for name in names]
    if all(outcome.record is None for outcome in ordered):
        raise UserError(f"{raw}: every scene is broken; the first: {ordered[0].error}")
    manifest = build_manifest(
        facts=reader.facts,
        splits=splits,
        records={outcome.name: outcome.record for outcome in ordered if outcome.record is not None},
        remarks=_remarks(reader, ordered),
        left_out={outcome.name: _short(outcome.error, raw) for outcome in ordered if outcome.error is not None},
        options=reader.options,
        origin=origin_of(raw, "user" if dataset == "folder" else "official"),
    )
    _write_manifest(out, manifest)
    return open_dataset(out)


def make_reader(dataset: str, raw: Path, options: Mapping[str, Any]) -> Reader:
    """The reader of a data set.

    Raises:
        UserError: unknown data set or option, or the raw folder is not there.
    """
    if dataset not in DATASETS:
        raise UserError(f"dataset={dataset}: unknown; choose one of {', '.join(sorted(DATASETS))}")
    if not raw.exists():
        raise UserError(f"{raw}: not found; raw must be the folder of the raw {dataset} data")
    factories = reader_classes(dataset)
    factory = next((f for f in factories[:-1] if f.accepts(raw)), factories[-1])
    try:
        return factory(raw, **options)
    except TypeError as error:
        raise UserError(f"dataset={dataset}: {error}; check the option names") from error


@dataclass(frozen=True)
class _Work:
    """What preparing any scene takes."""

    reader: Reader
    out: Path
    sources: SourceHashes
    again: bool


def _outcomes(work: _Work, names: list[str], workers: int) -> Iterator[Outcome]:
    """One outcome per scene, in any order; at most two scenes per worker are queued."""
    if workers <= 0:
        for name in names:
            yield _prepare_one(work, name)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(work,)
    ) as pool:
        waiting = iter(names)
        running: set[Future[Outcome]] = set()
        try:
            while True:
                while len(running) < 2 * workers and (name := next(waiting, None)) is not None:
                    running.add(pool.submit(_prepare_in_worker, name))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in running:
                future.cancel()


def _prepare_one(work: _Work, name: str) -> Outcome:
    """Read and write one scene, unless it is there already."""
    reader, out = work.reader, work.out
    try:
        source = _source(work, name)
        record = None if work.again else read_record(out, name)
        if record is not None and record.get("source") == source and _sizes_agree(out, name, record):
            return Outcome(name, record, list(record.get("remarks", [])), hints=work.sources.new)
        result = reader.read(name)
        result.scene.check()
    except BrokenSceneError as error:
        return Outcome(name, None, [], str(error), work.sources.new)
    except ValueError as error:
        return Outcome(name, None, [], f"{reader.source_files(name)[0]}: {error}", work.sources.new)
    record = write_scene(out, result.scene, source, result.remarks)
    return Outcome(name, record, result.remarks, hints=work.sources.new)


def _source(work: _Work, name: str) -> dict[str, Any]:
    """What a prepared scene depends on: recipe, options and the content of every file that it is read from."""
    own, shared = work.reader.source_files(name), work.reader.shared_files(name)
    for path in own:
        if not path.is_file():
            raise BrokenSceneError(f"{path}: not found, but {name} is in a split; download it again")
    return {"recipe": RECIPE, "options": work.reader.options, "files": work.sources.of([*own, *shared])}


def _remarks(reader: Reader, outcomes: list[Outcome]) -> dict[str, list[str]]:
    """Remarks by scene, and under the empty name those on the whole data set."""
    remarks = {outcome.name: outcome.remarks for outcome in outcomes if outcome.remarks}
    notes = reader.notes()
    return {WHOLE: notes, **remarks} if notes else remarks


def _sizes_agree(out: Path, name: str, record: dict[str, Any]) -> bool:
    """Whether the arrays of a complete scene are still there; ``check_prepared`` compares their hashes."""
    return all((out / name / file).is_file() for file in record["files"])


def _refuse_foreign_target(out: Path, dataset: str) -> None:
    """A target that holds another data set is refused, and a target that cannot be written is found out at once."""
    if (out / MANIFEST).exists() and (other := open_dataset(out).dataset) != dataset:
        raise UserError(f"{out}: holds {other}, not {dataset}; choose another folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be created ({error.strerror}); choose another folder") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"{out}: read-only; choose another folder")


def _refuse_names(raw: Path, names: list[str]) -> None:
    """Names come from lists in the raw data; one that is a path would be written outside of the target."""
    for name in names:
        try:
            check_name(name)
        except ValueError as error:
            raise UserError(f"{raw}: {error}; correct the split list or the file that names it") from error


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest unless it is there with the same content, so that its time stamp stays."""
    try:
        if open_dataset(out).manifest == manifest:
            return
    except UserError:
        pass
    write_json(out / MANIFEST, manifest)


def _short(error: str, raw: Path) -> str:
    """An error without the machine's path, so that manifests do not depend on where the raw data lies."""
    return error.replace(f"{raw}{os.sep}", "")


_worker: dict[str, Any] = {}  # what a worker process keeps between its scenes


def _start_worker(work: _Work) -> None:
    """The reader travels to a worker once; workers are the parallelism, so their BLAS gets one thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    _worker["work"] = work


def _prepare_in_worker(name: str) -> Outcome:
    sources = _worker["work"].sources
    outcome = _prepare_one(_worker["work"], name)
    sources.hints |= sources.new
    sources.new = {}
    return outcome
