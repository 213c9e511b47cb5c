"""The flags of `arena run` that declare a transformers model, named as OpenCompass names them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

_WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None, "null": None}


def _paired(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Each `KEY=VALUE` as (key, value)."""
    found = []
    for one in given:
        key, equals, text = one.partition("=")
        if not equals or not key.strip().isidentifier():
            raise click.BadParameter(f"{one!r} is not of the form KEY=VALUE, such as do_sample=True", ctx, param)
        found.append((key.strip(), typed(text.strip())))
    return tuple(found)


def _size(ctx: click.Context, param: click.Parameter, given: str | None) -> int | str | None:
    if given is None or given == "auto":
        return given
    if not (given.isascii() and given.isdecimal()) or int(given) < 1:
        raise click.BadParameter(f"{given!r} is neither a number from 1 up nor auto", ctx, param)
    return int(given)


def typed(text: str) -> Any:
    """The value a text spells as a Python literal, or as true, false, none; else the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _pairs(name: str, help: str) -> Callable[..., Any]:
    return click.option(name, multiple=True, callback=_paired, metavar="KEY=VALUE...", help=help)


_COUNT = click.IntRange(min=1)
_OPTIONS: Sequence[Callable[..., Any]] = (
    click.option(
        "--hf-path", metavar="PATH", help="A transformers model: a folder or a hub name. As --models hf:PATH."
    ),
    click.option("--hf-type", type=click.Choice(["base", "chat"]), help="Plain text, or its chat template (chat)."),
    _pairs("--model-kwargs", "Settings for loading it, as dtype=bfloat16."),
    click.option("--tokenizer-path", metavar="PATH", help="Its tokenizer, where that lies elsewhere."),
    _pairs("--tokenizer-kwargs", "Settings for loading the tokenizer."),
    click.option("--peft-path", metavar="PATH", help="An adapter to put on it."),
    _pairs("--peft-kwargs", "Settings for loading the adapter."),
    _pairs("--generation-kwargs", "How it writes, as do_sample=True top_p=0.95."),
    click.option("--max-seq-len", type=_COUNT, help="Most tokens of question and answer together."),
    click.option(
        "--truncation",
        type=click.Choice(["none", "left", "middle"]),
        help="Where a prompt that is too long is cut; none: it overflows.",
    ),
    click.option("--max-out-len", type=_COUNT, help="Most tokens of an answer."),
    click.option("--min-out-len", type=click.IntRange(min=0), help="Fewest tokens of an answer."),
    click.option("--batch-size", metavar="N|auto", callback=_size, help="Most prompts at once; auto fits memory."),
    click.option("--hf-num-gpus", type=click.IntRange(min=0), help="GPUs of its worker; one where there is one."),
    click.option("--pad-token-id", type=click.IntRange(min=0), help="The token that fills short prompts."),
    click.option("--stop-words", multiple=True, metavar="WORD...", help="Texts that end an answer."),
)


def hf_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags to a command, which gets them as one argument `hf`: what was given, by its flag's name."""
    names = ("hf_path", "hf_type", "model_kwargs", "tokenizer_path", "tokenizer_kwargs", "peft_path", "peft_kwargs",
             "generation_kwargs", "max_seq_len", "truncation", "max_out_len", "min_out_len", "batch_size", "hf_num_gpus",
             "pad_token_id", "stop_words")  # fmt: skip

    def gathered(**given: Any) -> Any:
        values = {name: given.pop(name) for name in names}
        return command(**given, hf={name: value for name, value in values.items() if value not in (None, ())})

    gathered.__doc__ = command.__doc__
    gathered.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered


def hf_declaration(given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a declaration that the flags mean. Raises click.UsageError for a key given twice with two values."""
    values = {name: value for name, value in given.items() if name not in ("hf_path", "hf_type", "hf_num_gpus")}
    for name, pairs in given.items():
        if name.endswith("_kwargs"):
            values[name] = dict(pairs)
            if len(values[name]) < len(pairs):
                raise click.UsageError(f"--{name.replace('_', '-')} gives a key twice")
    if "hf_type" in given:
        values["type"] = given["hf_type"]
    if "hf_num_gpus" in given:
        values["run_cfg"] = {"num_gpus": given["hf_num_gpus"]}
    return values
