"""What keeps a local model from being asked, as far as its files tell without loading it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

from arena.execution.gpus import visible_gpus
from arena.execution.local import need_of
from arena.models.local_spec import HFModel, LocalModel


def impediment(spec: LocalModel) -> str | None:
    """The reason and the remedy; None where nothing is known to be in the way."""
    needed = ["torch", "transformers"]
    needed += ["peft"] if isinstance(spec, HFModel) and spec.peft_path is not None else []
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        return f"model {spec.abbr!r}: not installed: {', '.join(missing)}: pip install 'arena[hf]'"
    try:
        need_of(spec).gpus_of(visible_gpus())
    except ValueError as error:
        return f"model {spec.abbr!r}: {error}"
    folder = Path(spec.path)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return f"model {spec.abbr!r}: {folder} holds no config.json: name the folder that save_pretrained wrote"
    if spec.type == "chat" and _has_no_template(spec):
        return no_template(spec.abbr)
    return None


def _has_no_template(spec: LocalModel) -> bool:
    """Whether a local tokenizer surely has no chat template: nothing is known of one on the hub, or with code of its own."""
    folder = Path(spec.tokenizer_path or spec.path)
    config = folder / "tokenizer_config.json"
    if "chat_template" in getattr(spec, "tokenizer_kwargs", {}) or not config.is_file():
        return False
    if any(folder.glob("chat_template*")) or any(folder.glob("additional_chat_templates/*")):
        return False
    try:
        declared = json.loads(config.read_text("utf-8"))
    except ValueError:
        return False
    return isinstance(declared, dict) and not {"chat_template", "auto_map"} & set(declared)


def no_template(abbr: str) -> str:
    """What to do about a tokenizer without a chat template."""
    remedy = "set type: base (--hf-type base), or give one in tokenizer_kwargs: {chat_template: ...}"
    return f"model {abbr!r}: its tokenizer has no chat template: {remedy}"
