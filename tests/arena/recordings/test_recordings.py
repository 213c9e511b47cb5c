"""Answers made elsewhere: every format as its makers write it, found by content, and matched to items by id or by question."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.config import load_models
from arena.jsonl import BadFile, BadLine
from arena.models.recorded import Coverage, RecordedBackend, coverage_note
from arena.models.spec import RecordedModel
from arena.recordings import table
from arena.recordings.matching import Questions
from arena.recordings.reading import Format, sniffed
from arena.recordings.record import Record
from judge.types import Address, Asker, Choice, Item
from tests.program import arena

ITEMS = (
    Item(dataset="d", id="1", turns=("What is the capital of Peru?",)),
    Item(dataset="d", id="2", turns=("Write a loop:\n\n  for x in y", "Now in C.")),
    Item(dataset="d", id="3", turns=("Why is the sky blue?",)),
)

OUTPUTS = [
    {"dataset": "helpful_base", "instruction": "What is the capital of Peru?", "output": "Lima", "generator": "m"},
    {"instruction": "Write a loop:\n\n  for x in y ", "output": "ok: pass", "generator": "m"},
]
FASTCHAT = [
    {"question_id": 1, "answer_id": "x", "model_id": "m", "choices": [{"index": 0, "turns": ["Lima"]}], "tstamp": 1.5},
    {"question_id": 2, "model_id": "m", "choices": [{"index": 0, "turns": ["ok: pass", "for (;;);"]}]},
]
ARENA_HARD = [
    {"question_id": "1", "model_id": "m", "choices": [{"index": 0, "turns": [{"content": "Lima", "token_len": 2}]}]},
]
ARENA_HARD_2 = [
    {"uid": "1", "ans_id": "x", "model": "m", "messages": [
        {"role": "user", "content": "What is the capital of Peru?"},
        {"role": "assistant", "content": {"answer": "Lima"}},
    ], "metadata": {}},
]  # fmt: skip
OPENCOMPASS: dict[str, dict[str, Any]] = {
    "0": {"origin_prompt": [{"role": "HUMAN", "prompt": "Q: Who?\nA:"}, {"role": "BOT", "prompt": "I"},
                            {"role": "HUMAN", "prompt": "Question: What is the capital of Peru?\nAnswer:"}],
          "prediction": "Lima", "gold": "Lima"},
    "1": {"origin_prompt": "Write a loop:\n  for x in y\nLet's think step by step.", "prediction": "ok: pass"},
}  # fmt: skip


def written(folder: Path, name: str, value: Any, *, indent: int | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(value, str):
        text = value
    elif name.endswith(".jsonl"):
        text = "".join(json.dumps(row) + "\n" for row in value)
    else:
        text = json.dumps(value, indent=indent)
    path.write_text(text, "utf-8")
    return path


def answers(backend: RecordedBackend, items: tuple[Item, ...] = ITEMS) -> list[str]:
    """What the first turn of every item is answered with; its status where it isn't."""
    found = []
    for item in items:
        response = backend.lookup(Asker("m", "f").request([], Address(item.dataset, item.id, "answer", ("m",))))
        found.append(response.text or response.status)
    return found


MADE_ELSEWHERE = [
    ("alpaca_eval", "model_outputs.json", OUTPUTS, None, ["Lima", "ok: pass"]),
    ("alpaca_eval", "model_outputs.json", OUTPUTS, 4, ["Lima", "ok: pass"]),
    ("alpaca_eval", "outputs.txt", OUTPUTS, None, ["Lima", "ok: pass"]),
    ("fastchat", "gpt-4.jsonl", FASTCHAT, None, ["Lima", "ok: pass"]),
    ("fastchat", "gpt-4.jsonl", ARENA_HARD, None, ["Lima"]),
    ("fastchat", "gpt-4.jsonl", ARENA_HARD_2, None, ["Lima"]),
    ("opencompass", "demo.json", OPENCOMPASS, 4, ["Lima", "ok: pass"]),
    ("opencompass", "demo.json", OPENCOMPASS, None, ["Lima", "ok: pass"]),
    ("csv", "a.csv", "item,answer\n1,Lima\n2,ok: pass\n", None, ["Lima", "ok: pass"]),
    ("csv", "a.txt", "\ufeffid;prediction\r\n1;Lima\r\n2;ok: pass\r\n", None, ["Lima", "ok: pass"]),
    ("csv", "a.csv", 'id\tmodel\tprediction\n1\tm\tLima\n\n2\tm\t"ok: pass"\n', None, ["Lima", "ok: pass"]),
    ("arena", "a.jsonl", [{"item": 1, "text": "Lima"}], None, ["Lima"]),
]  # fmt: skip


@pytest.mark.parametrize(("form", "name", "value", "indent", "expected"), MADE_ELSEWHERE)
@pytest.mark.parametrize("named", [False, True])
def test_formats(
    tmp_path: Path, form: Format, name: str, value: Any, indent: int | None, expected: list[str], named: bool
) -> None:
    path = written(tmp_path, name, value, indent=indent)
    assert sniffed(path) == form
    backend = RecordedBackend("m", [path], form if named else None)
    coverage = backend.match(ITEMS)
    assert (coverage.items, coverage.answered) == (3, len(expected))
    assert coverage.missing == tuple(f"d/{item.id}" for item in ITEMS[len(expected) :])
    assert answers(backend) == [*expected, *["error:not_recorded"] * (3 - len(expected))]


def test_dialogues_of_fastchat_keep_their_turns(tmp_path: Path) -> None:
    backend = RecordedBackend("m", [written(tmp_path, "a.jsonl", FASTCHAT)])
    second = Asker("m", "f").request([], Address("d", "2", "answer", ("m",), 1))
    assert backend.lookup(second).text == "for (;;);"


class TestPredictionFolders:
    def test_is_read_whole(self, tmp_path: Path) -> None:
        written(tmp_path, "predictions/m/a_0.json", {"0": OPENCOMPASS["0"]}, indent=4)
        written(tmp_path, "predictions/m/a_1.json", {"0": OPENCOMPASS["1"]}, indent=4)
        spec = RecordedModel.model_validate({"abbr": "m", "path": tmp_path / "predictions" / "m"})
        backend = RecordedBackend("m", spec.path)
        backend.match(ITEMS)
        assert answers(backend)[:2] == ["Lima", "ok: pass"]

    def test_gives_its_whole_name_to_the_model(self, tmp_path: Path) -> None:
        folders = [
            written(tmp_path, f"{name}/a.json", OPENCOMPASS).parent for name in ("llama-3.1-8b", "llama-3.3-70b")
        ]
        assert [spec.abbr for spec in load_models([f"recorded:{folder}" for folder in folders])] == [
            f.name for f in folders
        ]

    def test_another_answer_makes_another_model(self, tmp_path: Path) -> None:
        folder = written(tmp_path, "m/a.json", OPENCOMPASS).parent
        before = RecordedModel.model_validate({"abbr": "m", "path": folder}).fingerprint()
        assert RecordedModel.model_validate({"abbr": "n", "path": folder}).fingerprint() == before
        written(tmp_path, "m/b.json", {"0": {**OPENCOMPASS["0"], "prediction": "Cusco"}})
        assert RecordedModel.model_validate({"abbr": "m", "path": folder}).fingerprint() != before

    def test_another_name_of_a_file_makes_another_model(self, tmp_path: Path) -> None:
        folder = written(tmp_path, "m/d.json", {"0": {"item": "1", "prediction": "Lima"}}).parent
        before = RecordedModel.model_validate({"abbr": "m", "path": folder}).fingerprint()
        (folder / "d.json").rename(folder / "e.json")
        assert RecordedModel.model_validate({"abbr": "m", "path": folder}).fingerprint() != before

    def test_parts_belong_to_the_dataset_they_are_named_after(self, tmp_path: Path) -> None:
        twin = Item(dataset="e", id="9", turns=ITEMS[0].turns)
        folder = written(tmp_path, "m/d_0.json", {"0": {**OPENCOMPASS["0"], "prediction": "of d"}}).parent
        written(tmp_path, "m/e_11.json", {"0": {**OPENCOMPASS["0"], "prediction": "of e"}})
        backend = RecordedBackend("m", [folder])
        backend.match((*ITEMS, twin))
        assert answers(backend, (ITEMS[0], twin)) == ["of d", "of e"]

    def test_samples_of_one_answer_are_not_chosen_from(self, tmp_path: Path) -> None:
        path = written(tmp_path, "d.json", {"0": {**OPENCOMPASS["0"], "prediction": ["Lima", "Cusco"]}})
        with pytest.raises(BadFile, match="prediction 0: 2 predictions for the one turn of d/1: keep one"):
            RecordedBackend("m", [path]).match(ITEMS)

    def test_of_several_models_is_refused_with_their_names(self, tmp_path: Path) -> None:
        for name in ("m", "n"):
            written(tmp_path, f"predictions/{name}/a.json", OPENCOMPASS)
        with pytest.raises(ValueError, match="holds the predictions of m, n: give the folder of one model"):
            RecordedModel.model_validate({"abbr": "m", "path": tmp_path / "predictions"})

    def test_the_folder_a_run_wrote_gives_the_same_answers_again(self, tmp_path: Path) -> None:
        first = arena("run", "-w", tmp_path / "a", "--limit", "3", cwd=tmp_path)
        assert first.returncode == 0, first.stderr
        folder = Path(first.stdout.strip().split("\n")[-1]).parent / "predictions" / "heron-2"
        recorded = f"recorded:{folder}"
        ended = arena(
            *("run", "--models", recorded, "--datasets", "quickstart_open", "quickstart_exact"),
            *("--limit", "3", "-m", "infer", "-w", tmp_path / "b"),
            cwd=tmp_path,
        )
        assert ended.returncode == 0, ended.stderr
        again = Path(ended.stdout.strip().split("\n")[-1]).parent / "predictions" / "heron-2"
        files = sorted(path.name for path in folder.iterdir())
        assert len(files) == 2
        for name in files:
            before, after = (json.loads((where / name).read_text("utf-8")) for where in (folder, again))
            assert [one["prediction"] for one in after.values()] == [one["prediction"] for one in before.values()]

    def test_ids_are_those_of_the_dataset_that_the_file_is_named_after(self, tmp_path: Path) -> None:
        path = written(tmp_path, "other.json", {"0": {"item": "1", "prediction": "not of d", "status": "ok"}})
        backend = RecordedBackend("m", [path])
        assert backend.match(ITEMS) == Coverage(3, 0, 1, 0, ("d/1", "d/2", "d/3"))

    def test_what_was_withheld_stays_withheld(self, tmp_path: Path) -> None:
        path = written(tmp_path, "d.json", {"0": {"item": "1", "prediction": "I can't", "status": "filtered"}})
        backend = RecordedBackend("m", [path])
        backend.match(ITEMS)
        request = Asker("m", "f").request([], Address("d", "1", "answer", ("m",)))
        assert backend.lookup(request).status == "filtered"


class TestMatching:
    def test_takes_the_question_not_the_worked_examples_before_it(self) -> None:
        prompt = "Question: Why is the sky blue?\nAnswer: Rayleigh.\n\nQuestion: What is the capital of Peru?\nAnswer:"
        assert Questions(ITEMS).of(Record(texts=("x",), prompt=prompt)) == [ITEMS[0]]

    def test_takes_no_part_of_a_line(self) -> None:
        for prompt in ("Why is the sky blue? And the sea?", "He asked why is the sky blue?", "What is the capital?"):
            assert Questions(ITEMS).of(Record(texts=("x",), prompt=prompt)) == []

    def test_prefers_the_longer_question(self) -> None:
        longer = Item(dataset="d", id="4", turns=("Read:\nWhy is the sky blue?",))
        prompt = "Read:\nWhy is the sky blue?\nAnswer:"
        assert Questions((*ITEMS, longer)).of(Record(texts=("x",), prompt=prompt)) == [longer]

    def test_prefers_the_dataset_that_the_file_is_named_after(self) -> None:
        twin = Item(dataset="e", id="9", turns=ITEMS[0].turns)
        questions = Questions((*ITEMS, twin))
        assert questions.of(Record(texts=("x",), prompt=twin.turns[0], file="e")) == [twin]
        assert questions.of(Record(texts=("x",), prompt=twin.turns[0], file="f")) == [ITEMS[0], twin]

    @given(st.lists(st.text(min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=5))
    def test_every_question_finds_itself(self, texts: list[str]) -> None:
        items = [Item(dataset="d", id=str(n), turns=(text,)) for n, text in enumerate(texts)]
        for item in items:
            assert item in Questions(items).of(Record(texts=("x",), question=item.turns[0]))
            assert item in Questions(items).of(Record(texts=("x",), prompt=item.turns[0]))

    def test_choices_tell_items_with_the_same_question_apart(self, tmp_path: Path) -> None:
        question = "Which of these is true?"
        items = [
            Item(dataset="d", id=str(n), turns=(question,), choices=(Choice("A", f"It is {n}"), Choice("B", "No")))
            for n in range(3)
        ]
        prompts = [f"Question: {question}\nA. It is {n}\nB. No\nAnswer:" for n in range(3)]
        raw = {str(n): {"origin_prompt": prompts[n], "prediction": f"answer {n}"} for n in (2, 0, 1)}
        backend = RecordedBackend("m", [written(tmp_path, "d.json", raw)])
        backend.match(items)
        assert answers(backend, tuple(items)) == ["answer 0", "answer 1", "answer 2"]
        blind = RecordedBackend(
            "m", [written(tmp_path, "d.json", {"0": {"origin_prompt": question, "prediction": "A"}})]
        )
        with pytest.raises(BadFile, match="d/0 and d/1 and d/2 have the same question and other choices"):
            blind.match(items)

    def test_items_that_ask_the_same_have_an_answer_each(self, tmp_path: Path) -> None:
        items = (*ITEMS, Item(dataset="d", id="4", turns=ITEMS[0].turns))
        rows = [OUTPUTS[0], {**OUTPUTS[0], "output": "Lima, of course"}]
        backend = RecordedBackend("m", [written(tmp_path, "o.json", rows)])
        backend.match(items)
        assert answers(backend, (items[0], items[3])) == ["Lima", "Lima, of course"]
        backend = RecordedBackend("m", [written(tmp_path, "o.json", rows[:1])])
        backend.match(items)
        assert answers(backend, (items[0], items[3])) == ["Lima", "Lima"], "one answer to one question serves both"

    def test_a_prompt_full_of_colons_is_searched_at_once(self) -> None:
        prompt = "a:b" * 400_000 + "\nQuestion: Why is the sky blue?\n"
        assert Questions(ITEMS).of(Record(texts=("x",), prompt=prompt)) == [ITEMS[2]]

    def test_an_id_of_two_datasets_answers_for_neither(self, tmp_path: Path) -> None:
        for name in ("d", "e"):
            written(tmp_path, f"{name}.jsonl", [{"id": "1", "question": f"What is {name}?"}])
        rows = [{"item": "1", "text": "of d"}]
        args = ("run", "--models", "recorded:r.jsonl", "--datasets", "d.jsonl", "e.jsonl")
        written(tmp_path, "r.jsonl", rows)
        ended = arena(*args, cwd=tmp_path)
        assert ended.returncode == 2
        assert "r.jsonl:1: item '1' stands in the datasets d and e: say which with 'dataset'" in ended.stderr
        written(tmp_path, "r.jsonl", [*rows, {"item": "1", "dataset": "e", "text": "of e"}])
        assert arena(*args, cwd=tmp_path).returncode == 0

    def test_one_question_answered_twice(self, tmp_path: Path) -> None:
        same = written(tmp_path, "same.json", [OUTPUTS[0], OUTPUTS[0]])
        assert RecordedBackend("m", [same]).match(ITEMS).answered == 1
        other = written(tmp_path, "other.json", [OUTPUTS[0], {**OUTPUTS[0], "output": "Cusco"}])
        with pytest.raises(BadFile, match=r"output 2: item '1' is answered differently in .*output 1"):
            RecordedBackend("m", [other]).match(ITEMS)


class TestCoverage:
    def test_says_how_much_of_how_much(self, tmp_path: Path) -> None:
        spare = {"instruction": "Of another set", "output": "x", "generator": "m"}
        backend = RecordedBackend("m", [written(tmp_path, "o.json", [*OUTPUTS, spare])])
        note = coverage_note(backend, backend.match(ITEMS))
        assert note.startswith("m: 2 of 3 items have an answer in ")
        assert "; 1 of its 3 answers belong to no item of this run; without one: d/3" in note
        assert note.endswith("; answered in their first turns only: d/2")

    def test_says_which_dialogues_break_off_and_what_nobody_asks_for(self, tmp_path: Path) -> None:
        rows = [
            {"item": "1", "turns": ["Lima", "more", "and more"]},
            {"item": "2", "turns": ["ok"]},
            {"item": 3, "text": ""},
        ]
        backend = RecordedBackend("m", [written(tmp_path, "r.jsonl", rows)])
        coverage = backend.match(ITEMS)
        assert (coverage.answered, coverage.broken_off, coverage.beyond) == (3, ("d/2",), 1)
        note = coverage_note(backend, coverage)
        assert note.startswith("m: answered in their first turns only: d/2; 1 answers in r.jsonl have more turns than")
        withheld = {"0": {"item": "2", "prediction": "I can't", "status": "filtered"}}
        backend = RecordedBackend("m", [written(tmp_path, "d.json", withheld)])
        assert backend.match(ITEMS).broken_off == (), "nothing is asked after it"

    def test_says_nothing_of_a_whole(self, tmp_path: Path) -> None:
        backend = RecordedBackend("m", [written(tmp_path, "o.json", OUTPUTS)])
        assert coverage_note(backend, backend.match(ITEMS, ITEMS[:1])) == ""

    def test_a_run_tells_it_and_is_incomplete(self, tmp_path: Path) -> None:
        rows = [{"id": item.id, "question": item.turns[0]} for item in ITEMS]
        written(tmp_path, "d.jsonl", rows)
        written(tmp_path, "o.json", OUTPUTS)
        ended = arena("run", "--models", "recorded:o.json", "--datasets", "d.jsonl", cwd=tmp_path)
        assert ended.returncode == 1
        assert "o: 2 of 3 items have an answer in " in ended.stderr

    def test_a_run_of_nothing_that_belongs_together_does_not_begin(self, tmp_path: Path) -> None:
        written(tmp_path, "d.jsonl", [{"id": "x", "question": "Unasked?"}])
        written(tmp_path, "o.json", OUTPUTS)
        ended = arena("run", "--models", "recorded:o.json", "--datasets", "d.jsonl", cwd=tmp_path)
        assert ended.returncode == 2
        assert "none of the 2 answers in " in ended.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d.jsonl", "o.json"]


@pytest.mark.parametrize(
    "text", ["NA", "null", "None", "007", "nan", "TRUE", "", "1e5", " x ", "a\nb", 'say "x"', "=1+1"]
)
def test_a_cell_is_the_text_that_stands_there(text: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["item", "answer"], ["007", text]])
    ((_, record),) = table.records(out.getvalue())
    assert record == Record(texts=(text,), item="007")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_every_table_comes_back(texts: list[str]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["item", "answer"], *([str(n), t] for n, t in enumerate(texts))])
    assert [r.texts[0] for _, r in table.records(out.getvalue()) if isinstance(r, Record)] == texts


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("a.csv", "id,question,A,B,answer\n1,x,a,b,B\n", "a.csv:1: beside 'id', 'answer' is the right answer"),
        ("a.csv", "item,answer,answer\n", "a.csv:1: the column 'answer' is given twice"),
        ("a.csv", "item,id,answer\n", "no column (or two) for the item"),
        ("a.csv", "item,said\n1,x\n", "no column for what the model said"),
        ("a.csv", "item,answer,prediction\n1,x,y\n", "take out the one"),
        ("a.csv", "item,answer\n1,x,y\n", "a.csv:2: 3 cells under 2 columns"),
        ("a.csv", "item,model,answer\n1,m,x\n2,n,y\n", "holds answers of 2 models (m, n)"),
        ("a.csv", 'item, answer\n1, "x, y"\n', "a.csv:2: 3 cells under 2 columns: quote a text that holds a separator, without"),
        ("a.csv", "item,answer\n", "a.csv: holds no answers"),
        ("a.jsonl", "\n \n", "a.jsonl: holds no answers"),
        ("a.json", "{}", "a.json: holds no answers"),
        ("a.json", '{"0": {\n"origin_prompt": x}}', "a.json: no valid JSON: Expecting value at line 2, character 18"),
        ("a.json", {"0": {"origin_prompt": "x"}, "1": OPENCOMPASS["1"]}, "prediction 0: 'prediction' is a text, not None"),
        ("a.csv", "item,answer\n,y\n", "a.csv:2: a row without the id"),
        ("a.csv", 'item,answer\n1,"x\n', "no valid CSV"),
        ("a.csv", "item,answer\n1,x\n1,y\n", "a.csv:3: item '1' has a line for this role"),
        ("a.json", [{"instruction": "x"}], "a.json: output 1: without 'output'"),
        ("a.json", [{"instruction": "x", "output": None}], "'output' is a text, not None"),
        ("a.json", [{"instruction": " ", "output": "x"}], "'instruction' is empty"),
        ("a.json", ["x"], "output 1: an output is an object"),
        ("a.json", [*OUTPUTS, {**OUTPUTS[0], "generator": "n"}], "holds answers of 2 models (m, n): split it"),
        ("a.json", '[{"instruction": "x", "output": "y", "output": "z"}]', "the key 'output' is given twice"),
        ("a.jsonl", [{**FASTCHAT[0], "choices": []}], "a.jsonl:1: an answer has 'choices'"),
        ("a.jsonl", [{**FASTCHAT[0], "choices": [{"turns": ["x"]}] * 2}], "2 choices, and one answer is wanted"),
        ("a.jsonl", [{**FASTCHAT[0], "choices": [{"turns": [5]}]}], "an answer is a text"),
        ("a.jsonl", [{"uid": "1", "messages": [{"role": "user", "content": "x"}]}], "nothing of the assistant"),
        ("a.jsonl", [FASTCHAT[0], {"model_id": "m"}], "a.jsonl:2: 'question_id' is the id of an item"),
        ("a.json", {"0": {"origin_prompt": "x", "prediction": None}}, "prediction 0: 'prediction' is a text"),
        ("a.json", {"0": {"origin_prompt": [], "prediction": "x"}}, "'origin_prompt' holds no question"),
        ("a.json", {"0": {"item": "1", "prediction": "x", "status": "error:auth"}}, "'status' is one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_its_place(tmp_path: Path, name: str, value: Any, said: str) -> None:
    with pytest.raises(BadFile) as caught:
        RecordedBackend("m", [written(tmp_path, name, value)])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"item": {"x": "y" * 10**6}},
        {"item": 1, "role": "y" * 10**6},
        {"item": 1, **dict.fromkeys(map(str, range(10**5)))},
    ],
)
def test_a_message_is_no_page_long(tmp_path: Path, row: dict[str, Any]) -> None:
    with pytest.raises(BadFile) as caught:
        RecordedBackend("m", [written(tmp_path, "r.jsonl", [row])])
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("packed", [gzip.compress(b"[]"), b"PK\x03\x04rest", bz2.compress(b"[]"), lzma.compress(b"[]")])
def test_a_packed_file_is_told_so(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "outputs.json").write_bytes(packed)
    with pytest.raises(BadFile, match=r"outputs\.json: a packed file \(.*\): unpack it"):
        RecordedBackend("m", [tmp_path / "outputs.json"])


@pytest.mark.parametrize("start", ["\n\n", "  \n", "\ufeff", "\r\n"])
def test_what_stands_before_a_file_does_not_change_what_it_is(tmp_path: Path, start: str) -> None:
    for form, name, value in (("alpaca_eval", "o.json", OUTPUTS), ("opencompass", "p.json", OPENCOMPASS)):
        path = written(tmp_path, name, start + json.dumps(value))
        assert sniffed(path) == form
        assert RecordedBackend("m", [path]).match(ITEMS).answered == 2


# Whatever JSON can say: NUL, U+2028, halves of surrogate pairs.
SAID = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["\u2028", "\0", "\ud83d", "a\r\nb", "NaN", "007"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SAID, min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["alpaca_eval", "fastchat", "opencompass", "arena"]),
)
def test_every_text_comes_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], escaped: bool, form: Format
) -> None:
    items = tuple(Item(dataset="d", id=str(n), turns=(f"Question {n}?",)) for n in range(len(texts)))
    rows: Any = {
        "alpaca_eval": [{"instruction": i.turns[0], "output": t, "generator": "m"} for i, t in zip(items, texts, strict=True)],
        "fastchat": [{"question_id": int(i.id), "choices": [{"turns": [t]}]} for i, t in zip(items, texts, strict=True)],
        "arena": [{"item": i.id, "text": t} for i, t in zip(items, texts, strict=True)],
        "opencompass": {i.id: {"origin_prompt": i.turns[0], "prediction": t} for i, t in zip(items, texts, strict=True)},
    }[form]  # fmt: skip
    escaped = escaped or any("\ud800" <= c <= "\udfff" for text in texts for c in text)
    lines = rows if form in ("fastchat", "arena") else [rows]
    path = tmp_path_factory.getbasetemp() / "recording.txt"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=escaped) for line in lines), "utf-8", newline="")
    assert sniffed(path) == form
    backend = RecordedBackend("m", [path])
    assert backend.match(items).missing == ()
    found = [backend.lookup(Asker("m", "f").request([], Address("d", i.id, "answer", ("m",)))) for i in items]
    assert [response.text for response in found] == texts


def test_a_named_format_is_not_guessed_at(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", FASTCHAT)
    with pytest.raises(BadFile, match="unknown keys"):
        RecordedBackend("m", [path], "arena")
    assert isinstance(next(iter(table.records("item,answer\n1")))[1], BadLine)
