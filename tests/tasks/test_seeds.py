from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowtide.errors import InputError
from lowtide.tasks import FitOptions, Tagger, TaggerOptions
from lowtide.tasks.seeds import Files, Spread, fit_seeds
from stand_ins import Rung, write_conll


def test_a_spread_is_the_mean_and_the_deviation_of_the_sample() -> None:
    spread = Spread((0.8, 0.9, 0.85))
    assert spread.mean == pytest.approx(np.mean(spread.values))
    assert spread.deviation == pytest.approx(np.std(spread.values, ddof=1))
    assert (str(spread), str(Spread((0.5,))), Spread((0.5,)).deviation) == ("0.8500 ± 0.0500", "0.5000", 0)


def test_every_seed_is_learned_saved_and_reported(tmp_path: Path) -> None:
    path, rung = write_conll(tmp_path / "t.conll"), Rung()
    told: list[float] = []
    report = fit_seeds(
        lambda: Tagger(rung, TaggerOptions(reader="none")),
        Files(path, path, path),
        tmp_path / "out",
        seeds=[3, 4],
        options=FitOptions(epochs=2),
        told=lambda task, found: told.append(found.score),
    )
    assert rung.num_calls == 3  # the store once, and the test with every seed
    assert list(report.scores["test"].values) == told and len(report.weights["input"]) == 3
    names = {"results.csv", "results.json", "results.tex", "seed-3", "seed-4"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    found = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert found["seeds"] == [3, 4] and found["scores"]["test"]["values"] == told
    rows = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "name,mean,deviation,seed 3,seed 4" and rows[1].startswith("valid span F1,")
    assert r"\pm" in (tmp_path / "out" / "results.tex").read_text(encoding="utf-8")
    assert "mix" not in report.lines()[0] and report.lines()[-1].startswith("layers input")


def test_without_a_seed_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no seed"):
        fit_seeds(lambda: Tagger(Rung()), Files(tmp_path / "t"), tmp_path / "out", seeds=[])


def make() -> Tagger:
    return Tagger(Rung(), TaggerOptions(reader="none", char_filters=0))


def test_another_seed_begins_elsewhere(tmp_path: Path) -> None:
    path = write_conll(tmp_path / "t.conll")
    fit_seeds(make, Files(path), tmp_path / "out", seeds=[0, 1], options=FitOptions(epochs=1))
    heads = [(tmp_path / "out" / f"seed-{seed}" / "head.safetensors").read_bytes() for seed in (0, 1)]
    assert heads[0] != heads[1]


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    (out / "work").mkdir(parents=True)
    (out / "work" / "thesis.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty"):
        fit_seeds(make, Files(path), out, seeds=[0])
    assert (out / "work" / "thesis.txt").read_text(encoding="utf-8") == "precious"


def test_a_task_is_not_written_over(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    fit_seeds(make, Files(path), out, seeds=[0], options=FitOptions(epochs=1))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(InputError, match="holds something already"):
        fit_seeds(make, Files(path), out, seeds=[1], options=FitOptions(epochs=1))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert "work" not in before and "config.json" in before


@pytest.mark.parametrize("broken", ["valid", "test"])
def test_every_file_is_read_before_anything_is_learned(broken: str, tmp_path: Path) -> None:
    path, bad = write_conll(tmp_path / "t.conll"), tmp_path / "bad.conll"
    bad.write_text("the\tO\ntide\n", encoding="utf-8")
    rung = Rung()
    with pytest.raises(InputError, match=r"bad\.conll:2"):
        fit_seeds(lambda: Tagger(rung), Files(path, **{broken: bad}), tmp_path / "out", seeds=[0])
    assert rung.num_calls == 0 and not (tmp_path / "out").exists()


def test_a_killed_run_is_cleared_up(tmp_path: Path) -> None:
    path, out = write_conll(tmp_path / "t.conll"), tmp_path / "out"
    (out / "work" / "made" / "seed-9").mkdir(parents=True)
    (out / "work" / ".lowtide").touch()
    fit_seeds(make, Files(path), out, seeds=[0, 1], options=FitOptions(epochs=1))
    assert {file.name for file in out.iterdir()} >= {"seed-0", "seed-1", "results.json"}
    assert not (out / "seed-9").exists() and not (out / "work").exists()
