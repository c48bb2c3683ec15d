from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowtide.embeddings import Elmo
from lowtide.errors import InputError
from lowtide.tasks import (
    Classifier,
    ClassifierOptions,
    ColumnOptions,
    FitOptions,
    Matcher,
    MatcherOptions,
    RowOptions,
    Tagger,
    TaggerOptions,
)
from lowtide.tasks.prediction_files import predict_file
from stand_ins import LABELS, SENTENCES, TAGS

ONCE = FitOptions(epochs=1)


@pytest.fixture(scope="module")
def tagger(elmo: Elmo) -> Tagger:
    return Tagger(elmo, TaggerOptions(reader="none"), device="cpu").fit(SENTENCES, TAGS, options=ONCE)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_tags_are_written_as_columns(tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "The tide, out.\n\nbank\n")
    assert predict_file(tagger, source, tmp_path / "out.conll") == 3
    lines = (tmp_path / "out.conll").read_text(encoding="utf-8").splitlines()
    # an empty sentence is an empty block: sentence i stays sentence i
    assert [line.split("\t")[0] for line in lines] == ["The", "tide", ",", "out", ".", "", "", "bank", ""]


def test_a_text_that_is_cut_already_is_answered_as_it_is_cut(elmo: Elmo, tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "The tide, out.\n\nbank\n")
    predict_file(tagger, source, tmp_path / "out.jsonl", is_tokenized=True)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["tokens"] for line in lines] == [["The", "tide,", "out."], [], ["bank"]]
    options = MatcherOptions(reader="none", objective="cosine")
    pairs, scores = [("the tide", "out"), ("bank", "river")], [0.0, 1.0]
    matcher = Matcher(elmo, options, device="cpu").fit(pairs, scores, options=ONCE)
    predict_file(matcher, write(tmp_path / "p.txt", "the tide.\tout,\n"), tmp_path / "p.jsonl", is_tokenized=True)
    answered = json.loads((tmp_path / "p.jsonl").read_text(encoding="utf-8"))
    assert (answered["first"], answered["second"]) == (["the", "tide."], ["out,"])
    assert answered["score"] == pytest.approx(matcher.predict([(["the", "tide."], ["out,"])])[0])


def test_a_long_text_is_answered_in_pieces_as_it_is_at_once(
    tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "t.txt", "\n".join(" ".join(sentence) for sentence in SENTENCES * 3))
    predict_file(tagger, source, tmp_path / "once.jsonl")
    monkeypatch.setattr("lowtide.tasks.task.TOKENS_AT_ONCE", 5)
    predict_file(tagger, source, tmp_path / "pieces.jsonl")
    assert (tmp_path / "pieces.jsonl").read_bytes() == (tmp_path / "once.jsonl").read_bytes()


def test_labels_are_written_before_their_text(elmo: Elmo, tmp_path: Path) -> None:
    options = ClassifierOptions(reader="none")
    classifier = Classifier(elmo, options, device="cpu").fit(SENTENCES, LABELS, options=ONCE)
    source = write(tmp_path / "t.csv", 'label,text\nx,"the\ttide, out"\nx,bank\n')
    labels = classifier.predict(["the\ttide, out", "bank"])
    expected = {
        "out.tsv": f"{labels[0]}\tthe tide, out\n{labels[1]}\tbank\n",
        "out.csv": f'{labels[0]},"the\ttide, out"\n{labels[1]},bank\n',
    }
    for name, text in expected.items():
        assert predict_file(classifier, source, tmp_path / name) == 2
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    predict_file(classifier, source, tmp_path / "out.jsonl")
    rows = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert rows[1] == {"text": "bank", "label": labels[1]}


def test_scores_are_written_before_both_texts(elmo: Elmo, tmp_path: Path) -> None:
    options = MatcherOptions(reader="none", objective="cosine")
    pairs, scores = [("the tide", "out"), ("bank", "bank")], [1.0, 2.0]
    matcher = Matcher(elmo, options, device="cpu").fit(pairs, scores, options=ONCE)
    source = write(tmp_path / "t.txt", "the tide\tout\nbank\tbank\n")
    predict_file(matcher, source, tmp_path / "out.tsv")
    told = [float(score) for score in matcher.predict(pairs)]
    rows = [row.split("\t") for row in (tmp_path / "out.tsv").read_text(encoding="utf-8").splitlines()]
    assert [row[1:] for row in rows] == [["the tide", "out"], ["bank", "bank"]]
    assert [float(row[0]) for row in rows] == pytest.approx(told, rel=1e-5)


def test_probabilities_are_written_beside_their_answers(elmo: Elmo, tagger: Tagger, tmp_path: Path) -> None:
    texts, pairs = ["the tide", "", "bank"], [("the tide", "out"), ("bank", "bank")]
    classifier = Classifier(elmo, ClassifierOptions(reader="none"), device="cpu").fit(SENTENCES, LABELS, options=ONCE)
    matcher = Matcher(elmo, MatcherOptions(reader="none"), device="cpu").fit(pairs, ["a", "b"], options=ONCE)
    lines = write(tmp_path / "t.txt", "".join(f"{text}\n" for text in texts))
    tabbed = write(tmp_path / "p.txt", "".join("\t".join(pair) + "\n" for pair in pairs))
    for task, source, name, answers, expected in (
        (classifier, lines, "label", classifier.predict(texts), classifier.probabilities(texts)),
        (matcher, tabbed, "label", matcher.predict(pairs), matcher.probabilities(pairs)),
        (tagger, lines, "tags", tagger.predict(texts), tagger.marginals(texts)),
    ):
        predict_file(task, source, tmp_path / "out.jsonl", with_probabilities=True)
        rows = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [row[name] for row in rows] == answers
        for row, probabilities in zip(rows, expected, strict=True):
            found = row["probabilities"] if name == "tags" else [row["probabilities"]]
            assert all(list(of) == task.labels for of in found)
            given = np.array([list(of.values()) for of in found]).reshape(-1, len(task.labels))
            np.testing.assert_allclose(given, probabilities.reshape(given.shape), atol=1e-5)


def test_probabilities_that_cannot_be_written_are_refused(elmo: Elmo, tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "the tide\tout\n")
    with pytest.raises(InputError, match=r"out\.conll: probabilities, similarities and the n best are written"):
        predict_file(tagger, source, tmp_path / "out.conll", with_probabilities=True)
    with pytest.raises(InputError, match="do not go together"):
        predict_file(tagger, source, tmp_path / "out.jsonl", with_probabilities=True, n_best=2)
    classifier = Classifier(elmo, ClassifierOptions(reader="none"), device="cpu").fit(SENTENCES, LABELS, options=ONCE)
    with pytest.raises(InputError, match="the n best are those of a tagger, and this is a classifier"):
        predict_file(classifier, source, tmp_path / "out.jsonl", n_best=2)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(("objective", "answers"), [("cosine", [1.0, 2.0]), ("contrastive", ["0", "1"])])
def test_similarities_are_written_for_matchers_that_compare_by_a_cosine(
    objective: str, answers: list[float | str], elmo: Elmo, tmp_path: Path
) -> None:
    pairs = [("the tide", "out"), ("bank", "bank")]
    matcher = Matcher(elmo, MatcherOptions(reader="none", objective=objective), device="cpu")  # type: ignore[arg-type]  # one of its names
    matcher.fit(pairs, answers, options=ONCE)
    source = write(tmp_path / "t.txt", "the tide\tout\nbank\tbank\n")
    predict_file(matcher, source, tmp_path / "out.jsonl", with_probabilities=True)
    rows = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["similarity"] for row in rows] == pytest.approx(matcher.similarities(pairs).tolist(), abs=1e-5)
    assert [row["score" if objective == "cosine" else "label"] for row in rows] == pytest.approx(matcher.predict(pairs))


def test_the_n_best_taggings_are_written_beside_the_best(tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "the tide\n\nbank\n")
    predict_file(tagger, source, tmp_path / "out.jsonl", n_best=3)
    rows = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = tagger.predict_n_best(["the tide", "", "bank"], 3)
    assert [len(of) for of in expected] == [3, 1, 3]
    for row, several in zip(rows, expected, strict=True):
        assert row["tags"] == several[0].tags
        assert [one["tags"] for one in row["n_best"]] == [one.tags for one in several]
        assert [one["probability"] for one in row["n_best"]] == pytest.approx(
            [o.probability for o in several], abs=1e-5
        )


def test_a_file_is_not_answered_into_itself(tagger: Tagger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "gold.conll", "the\tO\n")
    with pytest.raises(InputError, match=r"gold\.conll is what is read, and would be lost"):
        predict_file(tagger, source, "./gold.conll")
    assert source.read_text(encoding="utf-8") == "the\tO\n"


def test_what_says_how_rows_are_read_is_refused_for_columns(tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.conll", "the\tO\n")
    with pytest.raises(InputError, match=r"t\.conll is read as conll, a token a row: leave --columns and --quoted out"):
        predict_file(tagger, source, tmp_path / "out.conll", rows=RowOptions(quoted=True))


def test_the_column_of_tokens_may_be_named(tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.testb", "1 the O\n2 tide B-X\n\n3 out O\n")
    predict_file(tagger, source, tmp_path / "out.conll", columns=ColumnOptions(token=1), kind="conll")
    lines = (tmp_path / "out.conll").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == ["the", "tide", "", "out", ""]


def test_answers_appear_whole_or_not_at_all(tagger: Tagger, tmp_path: Path) -> None:
    source = tmp_path / "t.txt"
    source.write_bytes("the tide\n潮\n".encode("gb18030"))
    with pytest.raises(InputError, match=r"t\.txt:2: the byte"):
        predict_file(tagger, source, tmp_path / "out.conll")
    with pytest.raises(InputError, match=r"out\.tsv: tags are written as \.conll or \.jsonl"):
        predict_file(tagger, source, tmp_path / "out.tsv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_what_a_killed_process_has_left_does_not_stay(tagger: Tagger, tmp_path: Path) -> None:
    source = write(tmp_path / "t.txt", "the tide\n")
    write(tmp_path / ".out.conll.12345.part", "the\tB")
    predict_file(tagger, source, tmp_path / "out.conll")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.conll", "t.txt"]


def test_answers_are_not_compressed(tagger: Tagger, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not compressed: leave \.gz out"):
        predict_file(tagger, tmp_path / "t.txt", tmp_path / "out.conll.gz")


def test_a_token_with_a_line_end_does_not_break_the_columns(tagger: Tagger, tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"tokens": ["a\\nb"]}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"write \.jsonl"):
        predict_file(tagger, source, tmp_path / "out.conll")
    assert not (tmp_path / "out.conll").exists()
    assert predict_file(tagger, source, tmp_path / "out.jsonl") == 1
