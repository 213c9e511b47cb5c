"""What models cost, in a table that the user edits: prices change, and are the user's contract, so none are shipped.

A YAML list: `- {model: large-1, base_url: "http://...", input: 0.40, output: 1.60, cached_input: 0.10}`, in dollars per million
tokens; `base_url` only where the same model costs differently at different servers, `batch: true` where it costs differently
by the batch. A price in a model's own declaration comes before any table.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from arena.config import ConfigError, RunConfig
from arena.models.spec import ModelSpec, OpenAIModel, Price
from arena.nearest import nearest
from arena.strict_yaml import BadYaml, load_yaml

FILE_NAME = "prices.yaml"


class ListedPrice(Price):
    """A line of the table: the price of the model that a server knows by this id, at any server or at one; with `batch`, only
    when it is asked by the batch.
    """

    model: str = Field(min_length=1)
    base_url: str = ""
    batch: bool = False

    @field_validator("model")
    @classmethod
    def _no_pattern(cls, model: str) -> str:
        if "*" in model:
            raise ValueError("is the id of one model: patterns are not known here, write a line for each")
        return model

    def holds_for(self, spec: OpenAIModel) -> bool:
        anywhere = not self.base_url or self.base_url.rstrip("/") == spec.base_url.rstrip("/")
        return self.model == spec.model and anywhere and (spec.batch or not self.batch)

    @property
    def price(self) -> Price:
        return Price(input=self.input, output=self.output, cached_input=self.cached_input)


def read_prices(path: Path) -> list[ListedPrice]:
    """The lines of a table, for batches first, then for one server, then for any. Raises ConfigError with every problem."""
    try:
        raw = load_yaml(path)
    except BadYaml as error:
        raise ConfigError([f"{path}: {error}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror}"]) from None
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise ConfigError([f"{path}: a table of prices is a list such as - {{model: x, input: 0.4, output: 1.6}}"])
    found: dict[tuple[str, str, bool], ListedPrice] = {}
    problems: list[str] = []
    for number, one in enumerate(raw):
        try:
            line = ListedPrice.model_validate(one)
        except ValidationError as error:
            problems += [f"{path}: {number}{_told(problem)}" for problem in error.errors()]
            continue
        where = (line.model, line.base_url.rstrip("/"), line.batch)
        if where in found:
            problems.append(f"{path}: {number}: {line.model!r} has a price here already: keep one of the two")
        found[where] = line
    if problems:
        raise ConfigError(problems)
    return sorted(found.values(), key=lambda line: (not line.batch, not line.base_url))


def _told(problem: Any) -> str:
    place = "".join(f".{part}" for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        return f"{place}: unknown key {key!r}{nearest(key, list(ListedPrice.model_fields))}"
    if problem["type"] == "model_type":
        return ": a line is a mapping such as {model: x, input: 0.4, output: 1.6}"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {said[0].lower()}{said[1:]}"


def priced(config: RunConfig, work_dir: Path, table: Path | None = None) -> RunConfig:
    """The config with a price for every model that has none of its own and stands in `table`, or else in the work dir's
    `prices.yaml`. Raises ConfigError.
    """
    beside = work_dir / FILE_NAME
    lines = [*(read_prices(table) if table else []), *(read_prices(beside) if os.path.lexists(beside) else [])]

    def changed(specs: Sequence[ModelSpec]) -> tuple[ModelSpec, ...]:
        return tuple(_priced(spec, lines) for spec in specs)

    return config.model_copy(update={"models": changed(config.models), "judges": changed(config.judges)})


def _priced(spec: ModelSpec, lines: Sequence[ListedPrice]) -> ModelSpec:
    if not isinstance(spec, OpenAIModel) or spec.price is not None:
        return spec
    line = next((line for line in lines if line.holds_for(spec)), None)
    return spec if line is None else spec.model_copy(update={"price": line.price})


def from_tables(config: RunConfig, with_prices: RunConfig) -> dict[str, dict[str, float | None]]:
    """The prices that `priced` added, by model: what a run's costs were reckoned with."""
    before = {spec.abbr: spec for spec in (*config.models, *config.judges)}
    after = [spec for spec in (*with_prices.models, *with_prices.judges) if isinstance(spec, OpenAIModel)]
    return {
        spec.abbr: spec.price.model_dump()
        for spec in after
        if spec.price is not None and getattr(before[spec.abbr], "price", None) is None
    }
