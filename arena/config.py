"""What a run is: validated values from YAML, from a Python file that assigns names, or from flags alone.

Every problem is found in one go and told with its file, its key path and the nearest valid name.
"""

from __future__ import annotations

import os
import runpy
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from arena import catalog
from arena.items import DatasetSpec, sniff_format
from arena.models.spec import ModelSpec, OpenAIModel, RecordedModel
from arena.nearest import nearest
from judge.prompt import PromptError

_FORBID = ConfigDict(extra="forbid", frozen=True)
_ALIASES = {"judge_models": "judges", "name": "title"}
_BACKENDS: dict[str, type[OpenAIModel] | type[RecordedModel]] = {"openai": OpenAIModel, "recorded": RecordedModel}


class ConfigError(Exception):
    """A config that can't be run. `problems` are complete sentences, each with its place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class JudgingSpec(BaseModel):
    """One way of judging the open datasets of a run."""

    model_config = _FORBID

    kind: Literal["pairwise", "grade"]
    name: str = Field(default="", description="name in tables; the kind where not given")
    judges: tuple[str, ...] = Field(default=(), description="which of the run's judges; all where not given")
    datasets: tuple[str, ...] = Field(default=(), description="which of the run's open datasets; all where not given")
    prompt: str = Field(
        default="", description="a prompt of the catalogue or a file; named as the kind where not given"
    )
    infer_order: Literal["double", "random"] = "double"
    mode: Literal["allpair", "m2n"] = Field(
        default="allpair", description="every pair, or every model against base_models"
    )
    base_models: tuple[str, ...] = ()
    max_out_len: PositiveInt = 1024


class RatingSpec(BaseModel):
    """How ratings are scaled and how their intervals are drawn."""

    model_config = _FORBID

    anchor: str | None = Field(default=None, description="a model whose rating is fixed; else the mean is")
    anchor_rating: float = 1000.0
    mean: float = 1000.0
    scale: PositiveFloat = 400.0
    base: float = Field(default=10.0, gt=1)
    rounds: PositiveInt = Field(default=1000, description="bootstrap rounds over prompts")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class RunConfig(BaseModel):
    """A run, as resolved: what `configs/run.yaml` in its folder holds."""

    model_config = _FORBID

    title: str = ""
    description: str = ""
    models: tuple[ModelSpec, ...] = ()
    judges: tuple[ModelSpec, ...] = ()
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    judging: tuple[JudgingSpec, ...] = ()
    rating: RatingSpec = RatingSpec()
    seed: int = 0
    limit: PositiveInt | None = Field(default=None, description="only the first so many items of each dataset")
    data_dir: Path = Path("data")
    max_num_workers: PositiveInt | None = Field(
        default=None, description="most requests under way at once, for every model"
    )
    retry: NonNegativeInt | None = Field(default=None, description="further attempts, for every model")


KEYS = tuple(RunConfig.model_fields)


@dataclass(slots=True)
class Draft:
    """A config before validation: raw values, and for each top-level key the file it came from."""

    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def update(self, other: Draft) -> None:
        self.values.update(other.values)
        self.origin.update(other.origin)

    def set(self, key: str, value: Any, origin: str = "command line") -> None:
        self.values[key] = value
        self.origin[key] = origin


def load(
    config: str | None,
    *,
    models: Sequence[str] = (),
    judges: Sequence[str] = (),
    datasets: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    base_url: str | None = None,
    api_key_env: str | None = None,
) -> RunConfig:
    """A run from a suite's name or a config file, changed by flags. Raises ConfigError with every problem."""
    draft = read_config(config) if config else Draft()
    for key, names in (("models", models), ("judges", judges), ("datasets", datasets)):
        if names:
            draft.set(key, list(names))
    for key, value in (settings or {}).items():
        if value is not None:
            draft.set(key, value)
    return resolve(draft, base_url=base_url, api_key_env=api_key_env)


def read_config(name: str) -> Draft:
    """The raw values of a suite by name, a YAML file or a Python file, with what it includes. Raises ConfigError."""
    path = Path(name)
    if path.suffix not in (".yaml", ".yml", ".py"):
        suites = catalog.entries("suites")
        if name not in suites:
            raise ConfigError([f"{name}: neither a suite nor a .yaml or .py file{nearest(name, suites)}"])
        path = suites[name].path
    return _read_file(path, ())


def _read_file(path: Path, including: tuple[Path, ...]) -> Draft:
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    path = path.resolve()
    if path in including:
        raise ConfigError([f"{path}: includes itself, by way of {' -> '.join(map(str, including))}"])
    raw = _run_python(path) if path.suffix == ".py" else _read_yaml(path)
    draft = Draft()
    includes = raw.pop("include", [])
    for name in [includes] if isinstance(includes, str) else includes:
        other = path.parent / str(name)
        draft.update(_read_file(other, (*including, path)) if other.is_file() else read_config(str(name)))
    for key, value in raw.items():
        draft.set(_ALIASES.get(key, key), _absolute(value, path.parent), str(path))
    return draft


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: no valid YAML: {' '.join(str(error).split())}"]) from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: a config is a mapping of keys such as models, judges and datasets"])
    return {str(key): value for key, value in raw.items()}


def _run_python(path: Path) -> dict[str, Any]:
    """The names a Python config assigns. Helpers of any other name are its own business, unless they look like misspelt keys."""
    sys.path.insert(0, str(path.parent))
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise ConfigError([f"{path}: {type(error).__name__}: {error}"]) from None
    finally:
        sys.path.remove(str(path.parent))
    known = {*KEYS, *_ALIASES, "include"}
    raw = {key: value for key, value in names.items() if key in known}
    for key, value in names.items():
        plain = (
            not key.startswith("_")
            and key not in known
            and not isinstance(value, types.ModuleType)
            and not callable(value)
        )
        if plain and "did you mean" in nearest(key, known):
            raw[key] = value
    return raw


def _absolute(value: Any, folder: Path) -> Any:
    """Makes file names relative to the file they stand in: under `path`, `root`, `data_dir`, and in "recorded:FILE"."""
    if isinstance(value, dict):
        return {
            key: _joined(inner, folder) if key in ("path", "root", "data_dir") else _absolute(inner, folder)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_absolute(inner, folder) for inner in value]
    if isinstance(value, str) and value.startswith("recorded:"):
        return "recorded:" + str(_joined(value.removeprefix("recorded:"), folder))
    if isinstance(value, str) and value.endswith((".jsonl", ".yaml", ".yml", ".py")) and (folder / value).is_file():
        return str(folder / value)
    return value


def _joined(value: Any, folder: Path) -> Any:
    if isinstance(value, list | tuple):
        return [_joined(one, folder) for one in value]
    return str(folder / os.path.expanduser(value)) if isinstance(value, str | Path) else value


def resolve(draft: Draft, *, base_url: str | None = None, api_key_env: str | None = None) -> RunConfig:
    """Validates a draft. Raises ConfigError with every problem found."""
    problems: list[str] = []
    values = dict(draft.values)
    for key in list(values):
        if key not in KEYS:
            problems.append(f"{draft.origin[key]}: unknown key {key!r}{nearest(key, [*KEYS, 'include'])}")
            del values[key]
    for key in ("models", "judges"):
        values[key] = _models(key, draft, base_url, api_key_env, problems)
    values["datasets"] = _datasets(draft, problems)
    if not values["datasets"] and not problems:
        problems.append("no dataset given: name a suite or a config, or use --datasets (see: arena list datasets)")
    rest = {key: value for key, value in values.items() if key not in ("models", "judges", "datasets")}
    rest.setdefault("data_dir", os.environ.get("ARENA_DATA_DIR", "data"))
    typed = {key: values[key] for key in ("models", "judges", "datasets")}
    try:
        # Models and datasets are validated one by one above, so that their problems carry their own place.
        config = RunConfig.model_validate(
            {**rest, **typed, "datasets": typed["datasets"] or [DatasetSpec(name="-", items="-")]}
        )
    except ValidationError as error:
        problems += _sentences(error, RunConfig, lambda key: draft.origin.get(key, "command line"))
        raise ConfigError(problems) from None
    problems += _crosscheck(config, draft)
    if problems:
        raise ConfigError(problems)
    return _limited(config)


def _limited(config: RunConfig) -> RunConfig:
    """Run-wide settings written into the models they concern, and judging completed, so that the dump shows what holds."""
    changes: dict[str, Any] = {}
    if config.max_num_workers is not None:
        changes["max_num_workers"] = config.max_num_workers
    if config.retry is not None:
        changes["retry"] = config.retry

    def changed(specs: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        return tuple(s.model_copy(update=changes) if isinstance(s, OpenAIModel) and changes else s for s in specs)

    judging = config.judging
    if not judging and config.judges and any(d.task == "open" for d in config.datasets):
        pairs = (JudgingSpec(kind="pairwise"),) if len(config.models) > 1 else ()
        judging = (*pairs, JudgingSpec(kind="grade"))
    judging = tuple(j if j.name else j.model_copy(update={"name": j.kind}) for j in judging)
    return config.model_copy(
        update={"models": changed(config.models), "judges": changed(config.judges), "judging": judging}
    )


def _models(
    key: str, draft: Draft, base_url: str | None, api_key_env: str | None, problems: list[str]
) -> list[ModelSpec]:
    origin = draft.origin.get(key, "")
    raw = draft.values.get(key, [])
    if not isinstance(raw, list | tuple):
        raw = [raw]
    found: list[ModelSpec] = []
    for number, one in enumerate(raw):
        place = f"{origin}: {key}.{number}"
        for value in _expand_model(one, place, problems):
            if value.get("backend", "openai") == "openai" and isinstance(one, str):
                # The flags speak of models named on the command line or in lists, not of declarations written out.
                value = {**value, **({"base_url": base_url} if base_url else {})}
                value = {**value, **({"api_key_env": api_key_env} if api_key_env else {})}
            spec = _validated(value, place, problems)
            if spec is not None:
                found.append(spec)
    names = [spec.abbr for spec in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{origin}: {key}: two models are called {name!r}: give one of them another abbr")
    return found


def _expand_model(one: Any, place: str, problems: list[str]) -> list[dict[str, Any]]:
    """The raw declarations behind an entry: a mapping, a catalogue name, a file of declarations, or `backend:model`."""
    if isinstance(one, dict):
        return [one]
    if not isinstance(one, str):
        problems.append(f"{place}: a model is a name, a file, 'backend:model' or a mapping, not {one!r}")
        return []
    known = catalog.entries("models")
    if one in known:
        return [_absolute(known[one].raw, known[one].path.parent)]
    backend, colon, rest = one.partition(":")
    if colon and backend in _BACKENDS and rest:
        if backend == "recorded":
            return [{"backend": "recorded", "abbr": Path(rest).stem, "path": rest}]
        return [{"backend": "openai", "abbr": rest, "model": rest}]
    if one.endswith((".yaml", ".yml", ".py")):
        try:
            draft = _read_declarations(Path(one))
        except ConfigError as error:
            problems += error.problems
            return []
        return draft
    if colon and rest:
        problems.append(f"{place}: unknown backend {backend!r}{nearest(backend, _BACKENDS)}")
        return []
    problems.append(
        f"{place}: no model called {one!r} in the catalogue{nearest(one, known)} (or write backend:model, e.g. openai:{one})"
    )
    return []


def _read_declarations(path: Path) -> list[dict[str, Any]]:
    """A file of models: a list of declarations, one declaration, or a config with a key `models`."""
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    if path.suffix == ".py":
        raw: Any = _run_python(path.resolve())
    else:
        try:
            raw = yaml.safe_load(path.read_text("utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError([f"{path}: no valid YAML: {' '.join(str(error).split())}"]) from None
    if isinstance(raw, dict) and "models" in raw:
        raw = raw["models"]
    declared = [raw] if isinstance(raw, dict) else raw
    if not isinstance(declared, list) or not all(isinstance(one, dict) for one in declared):
        raise ConfigError(
            [f"{path}: a file of models is a list of declarations such as {{abbr: x, backend: openai, model: y}}"]
        )
    return [_absolute(one, path.resolve().parent) for one in declared]


def _validated(value: dict[str, Any], place: str, problems: list[str]) -> ModelSpec | None:
    backend = value.get("backend", "openai")
    if backend not in _BACKENDS:
        problems.append(f"{place}.backend: unknown backend {backend!r}{nearest(str(backend), _BACKENDS)}")
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_BACKENDS[backend])
        spec: ModelSpec = adapter.validate_python(value)
        return spec
    except ValidationError as error:
        problems += _sentences(error, _BACKENDS[backend], lambda _: place, prefix=place)
        return None


def _datasets(draft: Draft, problems: list[str]) -> list[DatasetSpec]:
    origin = draft.origin.get("datasets", "")
    raw = draft.values.get("datasets", [])
    if not isinstance(raw, list | tuple):
        raw = [raw]
    known = catalog.entries("datasets")
    found = []
    for number, one in enumerate(raw):
        place = f"{origin}: datasets.{number}"
        if isinstance(one, str) and one in known:
            value, folder = known[one].raw, known[one].path.parent
        elif isinstance(one, str) and one.endswith(".jsonl"):
            path = Path(one)
            if not path.is_file():
                problems.append(f"{place}: no such file: {one}")
                continue
            value = {"name": path.stem, "items": path.name, "format": sniff_format(path)}
            folder = path.resolve().parent
        elif isinstance(one, str) and (Path(one) / "dataset.yaml").is_file():
            value, folder = _read_yaml(Path(one) / "dataset.yaml"), Path(one).resolve()
        elif isinstance(one, dict):
            value, folder = one, Path(draft.origin.get("datasets", ".")).resolve().parent
        else:
            where = "a name of the catalogue, a .jsonl file or a folder with a dataset.yaml"
            problems.append(f"{place}: {one!r} is not {where}{nearest(str(one), known)}")
            continue
        try:
            found.append(DatasetSpec.model_validate({"root": folder, **value}))
        except ValidationError as error:
            problems += _sentences(error, DatasetSpec, lambda _: "", prefix=place)
    names = [spec.name for spec in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{origin}: datasets: two datasets are called {name!r}")
    return found


def _crosscheck(config: RunConfig, draft: Draft) -> list[str]:
    """What no single value shows: names that refer to one another, and prompts that must exist and be of the right kind."""
    problems = []
    models, judges = [m.abbr for m in config.models], [j.abbr for j in config.judges]
    place = draft.origin.get("judging", "judging")
    if not models:
        problems.append("no model given: name a suite or a config, or use --models (see: arena list models)")
    names = [judging.name or judging.kind for judging in config.judging]
    for number, judging in enumerate(config.judging):
        here = f"{place}: judging.{number}"
        if names.count(names[number]) > 1:
            problems.append(f"{here}.name: {names[number]!r} is used twice: give each judging its own name")
        for name in judging.judges:
            if name not in judges:
                problems.append(f"{here}.judges: {name!r} is no judge of this run{nearest(name, judges)}")
        for name in judging.base_models:
            if name not in models:
                problems.append(f"{here}.base_models: {name!r} is no model of this run{nearest(name, models)}")
        for name in judging.datasets:
            if name not in [d.name for d in config.datasets]:
                problems.append(
                    f"{here}.datasets: {name!r} is no dataset of this run{nearest(name, [d.name for d in config.datasets])}"
                )
        if judging.mode == "m2n" and not judging.base_models:
            problems.append(f"{here}: mode m2n needs base_models, the models that all others are compared with")
        if judging.kind == "pairwise" and len(models) < 2:
            problems.append(f"{here}: a pairwise judging needs two models, this run has {len(models)}")
        if not judges:
            problems.append(f"{here}: no judge given: use --judges or the key judges")
        try:
            kind = catalog.prompt(judging.prompt or judging.kind).kind
            if kind != judging.kind:
                problems.append(f"{here}.prompt: {judging.prompt!r} is a prompt of kind {kind}, not {judging.kind}")
        except PromptError as error:
            problems.append(f"{here}.prompt: {error}")
    for number, dataset in enumerate(config.datasets):
        if dataset.prompt:
            try:
                kind = catalog.prompt(dataset.prompt).kind
                if kind != "question":
                    problems.append(
                        f"datasets.{number}.prompt: {dataset.prompt!r} is a prompt of kind {kind}, not question"
                    )
            except PromptError as error:
                problems.append(f"datasets.{number}.prompt: {error}")
    if config.rating.anchor is not None and config.rating.anchor not in models:
        problems.append(
            f"{draft.origin.get('rating', 'rating')}: rating.anchor: {config.rating.anchor!r} is no model of this run"
            f"{nearest(config.rating.anchor, models)}"
        )
    return problems


def _sentences(error: ValidationError, model: type[BaseModel], origin: Any, *, prefix: str = "") -> list[str]:
    """pydantic's errors as sentences with place and remedy."""
    out = []
    for problem in error.errors():
        parts = [str(part) for part in problem["loc"]]
        path = ".".join(parts)
        place = f"{prefix}.{path}" if prefix else f"{origin(parts[0] if parts else '')}: {path}"
        if problem["type"] == "extra_forbidden":
            fields = _fields(model, problem["loc"][:-1])
            out.append(f"{place}: unknown key {parts[-1]!r}{nearest(parts[-1], fields)}")
        elif problem["type"] == "missing":
            out.append(f"{place}: is missing")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            shown = problem.get("input")
            got = f" (found {shown!r})" if isinstance(shown, str | int | float | bool) else ""
            out.append(f"{place}: {message[0].lower()}{message[1:]}{got}")
    return out


def _fields(model: Any, loc: Sequence[int | str]) -> list[str]:
    """The field names valid at a place inside a model."""
    for part in loc:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [a for a in (*get_args(annotation), annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0] if inner else None
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def dump(config: RunConfig) -> str:
    """The resolved config as YAML that `arena run` reads again."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
