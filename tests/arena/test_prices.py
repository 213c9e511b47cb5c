"""The table of prices: what it gives to whom, and what is wrong with it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arena.config import ConfigError, load
from arena.models.spec import OpenAIModel
from arena.prices import FILE_NAME, from_tables, priced, read_prices
from arena.store import FILE_NAME as STORE
from tests.program import arena
from tests.servers.openai_server import serve

HERE = "http://127.0.0.1:1/v1"


def config(folder: Path, *models: dict[str, Any]) -> Any:
    path = folder / "run.yaml"
    raw = {"models": [{"backend": "openai", **one} for one in models], "datasets": ["quickstart_exact"]}
    path.write_text(json.dumps(raw))
    return load(str(path))


def prices(run_config: Any) -> list[tuple[float, float] | None]:
    found = []
    for spec in run_config.models:
        assert isinstance(spec, OpenAIModel)
        found.append(None if spec.price is None else (spec.price.input, spec.price.output))
    return found


def test_fills_in_only_what_a_declaration_leaves_out(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("- {model: m, input: 1, output: 2}\n")
    before = config(
        tmp_path,
        {"abbr": "own", "model": "m", "price": {"input": 5, "output": 6}},
        {"abbr": "listed", "model": "m"},
        {"abbr": "m", "model": "other"},
    )
    after = priced(before, tmp_path)
    assert prices(after) == [(5, 6), (1, 2), None], "by the model's id, not by its name in tables"
    assert from_tables(before, after) == {"listed": {"input": 1.0, "output": 2.0, "cached_input": None}}
    assert [spec.fingerprint() for spec in after.models] == [spec.fingerprint() for spec in before.models]


def test_the_price_at_one_server_comes_before_the_price_anywhere(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        f"- {{model: m, input: 1, output: 1}}\n- {{model: m, base_url: '{HERE}/', input: 0, output: 0}}\n"
    )
    here, there = {"abbr": "here", "model": "m", "base_url": HERE}, {"abbr": "there", "model": "m"}
    assert prices(priced(config(tmp_path, here, there), tmp_path)) == [(0, 0), (1, 1)]


def test_the_file_that_is_named_comes_before_that_of_the_work_dir(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("- {model: m, input: 1, output: 1}\n- {model: n, input: 1, output: 1}\n")
    (tmp_path / "mine.yaml").write_text("- {model: m, input: 3, output: 3, cached_input: 0.5}\n")
    run_config = config(tmp_path, {"abbr": "m", "model": "m"}, {"abbr": "n", "model": "n"})
    assert prices(priced(run_config, tmp_path, tmp_path / "mine.yaml")) == [(3, 3), (1, 1)]
    assert prices(priced(run_config, tmp_path / "elsewhere")) == [None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {model: m, inptu: 1, output: 1}", ["p.yaml: 0.input: field required", "0.inptu: unknown key 'inptu'; did you"]),
        ("- {model: m, input: -1, output: 1}", ["p.yaml: 0.input: input should be greater than or equal to 0"]),
        ("- {model: m, input: .nan, output: 1}", ["p.yaml: 0.input: input should be a finite number"]),
        ("- {model: m, input: yes, output: 1}", ["p.yaml: 0.input: true and false are no values"]),
        ("- {model: m, input: 1, output: 1}\n- {model: m, input: 1, output: 1}", ["p.yaml: 1: 'm' has a price here already"]),
        ("m: {input: 1, output: 1}", ["p.yaml: a table of prices is a list"]),
        ("- m", ["p.yaml: 0: a line is a mapping such as {model: x"]),
        ("- {model: 'gpt-*', input: 1, output: 1}", ["p.yaml: 0.model: is the id of one model: patterns are not known"]),
        ("- {model: m, input: cheap, output: 1}", ["p.yaml: 0.input: input should be a valid number"]),
        ("- {", ["p.yaml: line 1"]),
        ("- {model: m, input: 1, input: 2, output: 1}", ["the key 'input' is given twice"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, said: list[str]) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_prices(tmp_path / "p.yaml")
    assert [words for words in said if words not in str(caught.value)] == []


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# nothing yet\n")
    assert read_prices(tmp_path / "p.yaml") == []
    with pytest.raises(ConfigError, match=r"gone\.yaml: can't be read: No such file"):
        read_prices(tmp_path / "gone.yaml")


def test_a_run_reckons_with_it_and_remembers_it(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("- {model: m, input: 1000, output: 1000}\n")
    with serve() as server:
        args = (
            "run",
            "--models",
            "openai:m",
            "--datasets",
            "quickstart_exact",
            "--limit",
            "2",
            "--base-url",
            server.url,
        )
        without = arena(*args, "--dry-run", cwd=tmp_path)
        assert "cost unknown" in without.stdout
        with_it = arena(*args, "--dry-run", "--prices", "prices.yaml", cwd=tmp_path)
        assert "cost $" in with_it.stdout
        assert arena(*args, "-w", "work", "--budget", "9", cwd=tmp_path).returncode == 2
        done = arena(*args, "-w", "work", "--budget", "9", "--prices", "prices.yaml", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "work" / STORE)) as db:
        rows = db.execute("SELECT cost, input_tokens + output_tokens FROM responses").fetchall()
        (raw,) = db.execute("SELECT provenance FROM runs").fetchone()
    assert len(rows) == 2
    assert [cost for cost, _ in rows] == pytest.approx([tokens / 1000 for _, tokens in rows])
    assert json.loads(raw)["prices"] == {"m": {"input": 1000.0, "output": 1000.0, "cached_input": None}}


def test_a_table_in_the_work_dir_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).symlink_to("gone.yaml")
    with pytest.raises(ConfigError, match=r"prices\.yaml: can't be read: No such file"):
        priced(config(tmp_path, {"abbr": "m", "model": "m"}), tmp_path)


def test_a_wrong_table_stops_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("- {model: m}\n")
    ended = arena("run", "--prices", "prices.yaml", "-w", "work", cwd=tmp_path)
    assert (ended.returncode, "prices.yaml: 0.input: field required" in ended.stderr) == (2, True)
    assert not (tmp_path / "work").exists()
