"""What every declaration in a config has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Declared(BaseModel):
    """Validated values. Unknown keys, NaN and infinities are errors, and so are true and false, which Python counts as 1 and 0,
    where the key is no switch, and halves of surrogate pairs, which neither files nor SQLite can hold. The error's own
    text does not repeat the value, which may be a secret in the wrong place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _sound(cls, value: Any, info: ValidationInfo) -> Any:
        switch = info.field_name in cls.model_fields and cls.model_fields[info.field_name].annotation is bool
        if isinstance(value, bool) and not switch:
            raise ValueError("true and false are no values for this key (a word such as yes or no must be quoted)")
        if _halved(value):
            raise ValueError("holds half of a surrogate pair, which is no character")
        return value


def _halved(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Mapping):
        return any(_halved(key) or _halved(inner) for key, inner in value.items())
    return isinstance(value, list | tuple) and any(map(_halved, value))
