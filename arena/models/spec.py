"""How a model is declared: one validated class a backend. The fingerprint is what makes two declarations the same model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

from judge.types import Asker, Sampling, digest


class Price(BaseModel):
    """Dollars per million tokens. A model without a price has an unknown cost, not a cost of 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    abbr: str = Field(min_length=1, description="the name in tables, files and judgments")
    description: str = ""
    system_prompt: str = ""
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_out_len: PositiveInt | None = Field(default=None, description="most tokens an answer may have")
    seed: int | None = None
    stop: tuple[str, ...] = ()
    revision: str = Field(default="", description="change it when the weights behind the same address changed")

    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_out_len, self.seed, self.stop)


class OpenAIModel(_Declared):
    """A model behind any OpenAI-compatible server."""

    backend: Literal["openai"] = "openai"
    model: str = Field(min_length=1, description="the model id the server knows")
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = Field(default="OPENAI_API_KEY", description="environment variable that holds the key")
    max_num_workers: PositiveInt = Field(default=16, description="most requests under way at once")
    retry: int = Field(default=4, ge=0, description="further attempts after a failure that may pass")
    timeout_s: PositiveFloat = Field(default=600, description="seconds a whole attempt may take")
    connect_timeout_s: PositiveFloat = 10
    max_retry_wait_s: PositiveFloat = Field(
        default=60, description="longest wait between attempts, whatever the server asks"
    )
    extra_body: dict[str, Any] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    logprobs: int | None = Field(default=None, ge=0, le=20, description="top log-probabilities to ask for")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    price: Price | None = None

    def fingerprint(self) -> str:
        """What decides who answers; not how patiently we ask, nor secrets, nor prices."""
        return digest(
            {
                "backend": self.backend,
                "model": self.model,
                "base_url": self.base_url.rstrip("/"),
                "revision": self.revision,
                "extra_body": self.extra_body,
                "headers": sorted(self.headers),
                "logprobs": self.logprobs,
            }
        )

    def asker(self) -> Asker:
        return Asker(self.abbr, self.fingerprint(), self.sampling(), self.system_prompt)


class RecordedModel(_Declared):
    """Answers or judge replies made elsewhere, looked up by item and role. Asking one costs nothing."""

    backend: Literal["recorded"] = "recorded"
    path: tuple[Path, ...] = Field(min_length=1, description="a JSONL file, or several")

    @field_validator("path", mode="before")
    @classmethod
    def _several(cls, path: Any) -> Any:
        return [path] if isinstance(path, str | Path) else path

    @field_validator("path")
    @classmethod
    def _readable(cls, paths: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in paths:
            if not path.is_file():
                raise ValueError(f"no such file: {path}")
        return tuple(path.resolve() for path in paths)

    def fingerprint(self) -> str:
        """The bytes of the files: a changed recording is another model."""
        contents = []
        for path in self.path:
            with path.open("rb") as handle:
                contents.append(hashlib.file_digest(handle, "sha256").hexdigest())
        return digest({"backend": self.backend, "content": contents, "revision": self.revision})

    def asker(self) -> Asker:
        return Asker(self.abbr, self.fingerprint(), self.sampling(), self.system_prompt, addressed=True)


ModelSpec = Annotated[OpenAIModel | RecordedModel, Field(discriminator="backend")]
