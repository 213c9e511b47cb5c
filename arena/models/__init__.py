"""Everything that answers: one file a backend, behind the seam of `seam.Generates`."""

from __future__ import annotations

import os

from arena.models.seam import Generates
from arena.models.spec import ModelSpec, OpenAIModel, RecordedModel


def open_backend(spec: ModelSpec) -> Generates:
    """The backend a declaration asks for. Raises arena.jsonl.BadFile for a recording that can't be read."""
    match spec:
        case RecordedModel():
            from arena.models.recorded import RecordedBackend

            return RecordedBackend(spec.abbr, spec.path)
        case OpenAIModel():
            from arena.models.openai import OpenAIBackend

            return OpenAIBackend(spec, os.environ.get(spec.api_key_env))
