"""Every data set's config names facts that exist and a reader that prepares it."""

from __future__ import annotations

from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from mm3d_benchmarks.datasets.facts import IGNORE, DatasetFacts
from mm3d_benchmarks.datasets.known import DATASETS, facts_of, reader_classes
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.synthetic.generate import CODES

CONFIGS = sorted(Path(str(files("mm3d_benchmarks"))).joinpath("conf", "dataset").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_config_names_its_facts_and_has_a_reader(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    module, _, name = config["facts"]["_target_"].rpartition(".")
    facts = getattr(import_module(module), name)()
    assert isinstance(facts, DatasetFacts)
    assert config["name"] == path.stem == facts.name
    assert config["ignore"] == IGNORE
    assert config["root"] is None, "where data lie is the profile's"
    assert set(config["splits"]) == {"pretrain", "train", "evaluate"}
    assert facts_of(PreparedDataset(path, {"dataset": path.stem, "classes": {"segmentation": []}})) == facts
    assert all(hasattr(reader, "read") for reader in reader_classes(path.stem))


def test_there_is_a_config_for_every_reader() -> None:
    assert {path.stem for path in CONFIGS} == set(DATASETS)
    assert {name for name, known in DATASETS.items() if known.generated} == set(CODES)


def test_facts_with_palettes_or_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one color per segment class"):
        DatasetFacts("x", segment_classes=("a", "b"), segment_palette=((0, 0, 0),))
    with pytest.raises(ValueError, match="one size per detection class"):
        DatasetFacts("x", detection_classes=("a",))
