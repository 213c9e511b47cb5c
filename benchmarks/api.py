"""How fast `arena run` collects answers from a server, against a bare loop over the SDK and against other programs.

    python benchmarks/api.py --at-once 64 256 512 --peers PATH/TO/VENV --rounds 3
    python benchmarks/api.py --memory
    python benchmarks/api.py --overlap

The first asks 2,000 short questions of a server on this machine that takes 0.2 s for an answer, with so many at once, in the
same rounds one after the other: the SDK (its aiohttp transport, one loop, nothing stored), `arena run` whole (every answer in
the store, predictions and report written), and, where the virtual environment of --peers has them, lm_eval and inspect_ai
whole (`python -m venv peers && peers/bin/pip install "lm_eval[api]" inspect_ai`). "served" is the rate by the server's clock,
from the first question to the last answer; "whole" counts from the start of the process to its end, imports and reports
included, as do the CPU time and the peak of memory.

The second compares 20,000 questions with 2,000: peak of memory, and CPU time of each of the 18,000 more. The third lets two
candidates and a judge work alone and together. Needs no network. The last lines say which goals hold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REPO = Path(__file__).resolve().parents[1]
QUESTIONS = 2000
LATENCY_S = 0.2


# -- the server: as little as can be, so that it is not what is measured ------------------------------------------------


def _reply(text: str) -> bytes:
    body = json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 17, "total_tokens": 29},
        }
    ).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


ANSWER = _reply("The answer is forty-two, as the river said to the lantern.")
VERDICT = _reply("Both are short, and A says more.\n\n<verdict>A</verdict>")
GRADE = _reply("Short and clear.\n\n<grade>7</grade>")


@dataclass(slots=True)
class Books:
    """What was served since it was last asked for: answers, the time of the first question and of the last answer."""

    served: int = 0
    first: float = 0.0
    last: float = 0.0


class Connection(asyncio.Protocol):
    def __init__(self, books: Books) -> None:
        self._books = books
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head = self._unread[:end].lower()
            _, _, told = head.partition(b"content-length:")
            length = int(told.partition(b"\r\n")[0] or 0)
            if len(self._unread) < end + 4 + length:
                return
            body, self._unread = self._unread[end + 4 : end + 4 + length], self._unread[end + 4 + length :]
            self._respond(head, body)

    def _respond(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"get /stats"):
            told = json.dumps([self._books.served, self._books.first, self._books.last]).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told)
            self._books.served = 0
            return
        if not self._books.served:
            self._books.first = time.monotonic()
        self._books.served += 1
        reply = VERDICT if b"<verdict>" in body else GRADE if b"<grade>" in body else ANSWER
        asyncio.get_running_loop().call_later(LATENCY_S, self._answer, reply)

    def _answer(self, reply: bytes) -> None:
        self._books.last = time.monotonic()
        self._transport.write(reply)


async def serve() -> None:
    books = Books()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(books), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server() -> Iterator[str]:
    """A server of its own; its base URL."""
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.kill()


# -- what is measured --------------------------------------------------------------------------------------------------


async def bare_loop(url: str, at_once: int, count: int) -> None:
    """The SDK as its manual has it, on its fastest transport."""
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=10_000, max_keepalive_connections=10_000)
    http = openai.DefaultAioHttpClient(limits=limits)
    client = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            asked = [{"role": "user", "content": question(number)}]
            reply = await client.chat.completions.create(model="m", messages=asked)  # type: ignore[arg-type]
            assert reply.choices[0].message.content

    await asyncio.gather(*(work() for _ in range(at_once)))
    await client.close()


def question(number: int) -> str:
    return f"question {number}: what is the answer to it?"


@dataclass(frozen=True, slots=True)
class Measured:
    """One process: answers by the server's books and their rate, seconds from start to end, CPU seconds, bytes."""

    served: int
    rate: float
    wall_s: float
    cpu_s: float
    peak: int


def measure(command: Sequence[str], url: str, cwd: Path, env: dict[str, str] | None = None) -> Measured:
    """Runs a command to its end. Raises SystemExit with its output where it fails."""
    stats(url)
    begun = time.monotonic()
    with (cwd / "output.txt").open("w+b") as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - begun
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{output.read().decode()[-3000:]}")
    served, first, last = stats(url)
    rate = served / (last - first) if last > first else 0.0
    return Measured(int(served), rate, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def stats(url: str) -> list[float]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as reply:
        told: list[float] = json.load(reply)
        return told


def environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ARENA_"))}
    return {**clean, "PYTHONPATH": str(REPO), "OPENAI_API_KEY": "none", "NO_PROXY": "127.0.0.1"}


def arena(url: str, work: Path, *more: str, env: dict[str, str] | None = None) -> Measured:
    """`arena run` over the questions that lie in `work`, in a work dir of its own."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        command = [sys.executable, "-m", "arena", "run", "--base-url", url, "-w", folder, *more]
        return measure(command, url, work, env or environment())


def write_questions(path: Path, count: int) -> str:
    lines = (json.dumps({"id": f"q{number}", "question": question(number)}) for number in range(count))
    path.write_text("\n".join(lines) + "\n", "ascii")
    return str(path)


# -- the peers ---------------------------------------------------------------------------------------------------------

LM_EVAL_TASK = """\
task: short
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "forty-two"
generation_kwargs: {until: [], max_gen_toks: 64}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""

INSPECT_TASK = """\
from inspect_ai import Task, task
from inspect_ai.dataset import json_dataset, Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate


@task
def short():
    samples = json_dataset("FILE", lambda line: Sample(input=line["question"], target="forty-two", id=line["id"]))
    return Task(dataset=samples, solver=generate(), scorer=includes())
"""


def lm_eval(venv: Path, url: str, work: Path, questions: str, at_once: int) -> Measured:
    (work / "short.yaml").write_text(LM_EVAL_TASK.replace("FILE", questions))
    arguments = f"model=m,base_url={url}/chat/completions,num_concurrent={at_once},max_retries=1,tokenizer_backend=None"
    command = [str(venv / "bin" / "lm_eval"), "run", "--model", "local-chat-completions", "--model_args", arguments]
    command += ["--tasks", "short", "--include_path", str(work), "--apply_chat_template"]
    command += ["--output_path", str(work / "lm_eval"), "--log_samples"]
    env = {**environment(), "HF_HOME": str(work / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return measure(command, url, work, env)


def inspect_ai(venv: Path, url: str, work: Path, questions: str, at_once: int) -> Measured:
    (work / "short.py").write_text(INSPECT_TASK.replace("FILE", questions))
    command = [str(venv / "bin" / "inspect"), "eval", "short.py", "--model", "openai/m", "-M", "responses_api=false"]
    command += [
        "--model-base-url",
        url,
        "--max-connections",
        str(at_once),
        "--display",
        "plain",
        "--log-dir",
        str(work / "inspect"),
    ]
    return measure(command, url, work, environment())


# -- the questions that are asked of the figures -----------------------------------------------------------------------


def speed(at_once: Sequence[int], rounds: int, venv: Path | None, peer_rounds: int) -> Iterator[tuple[str, bool]]:
    print(f"{QUESTIONS:,} questions, {LATENCY_S:g} s each; medians of {rounds}; load now {os.getloadavg()[0]:.1f}")
    print(f"{'':14}{'at once':>8}{'served/s':>10}{'whole/s':>9}{'CPU ms each':>13}{'peak MiB':>10}")
    for places in at_once:
        found: dict[str, list[Measured]] = {}
        with tempfile.TemporaryDirectory() as folder, server() as url:
            work = Path(folder)
            questions = write_questions(work / "short.jsonl", QUESTIONS)
            mine = ["--models", "openai:m", "--datasets", questions, "--max-num-workers", str(places)]
            for number in range(rounds):
                loop = [sys.executable, __file__, "--bare-loop", url, "--at-once", str(places)]
                found.setdefault("SDK, bare loop", []).append(measure(loop, url, work, environment()))
                found.setdefault("arena run", []).append(arena(url, work, *mine))
                if venv is not None and number < peer_rounds:
                    if (venv / "bin" / "lm_eval").exists():
                        found.setdefault("lm_eval", []).append(lm_eval(venv, url, work, questions, places))
                    if (venv / "bin" / "inspect").exists():
                        found.setdefault("inspect_ai", []).append(inspect_ai(venv, url, work, questions, places))
        for name, runs in found.items():
            short = [run.served for run in runs if run.served != QUESTIONS]
            note = f"  answers: {short}" if short else ""
            figures = f"{_rate(runs):>10.0f}{_whole(runs):>9.0f}{_cpu_ms(runs):>13.2f}"
            print(f"{name:14}{places:>8}{figures}{median(r.peak for r in runs) / 2**20:>10.0f}{note}", flush=True)
        own = found["arena run"]
        ratio = median(a.rate / b.rate for a, b in zip(own, found["SDK, bare loop"], strict=True))
        yield f"at {places}: {ratio:.2f} of the bare loop's rate (goal 0.90)", ratio >= 0.9
        if "lm_eval" in found:
            ratio = _whole(own) / _whole(found["lm_eval"])
            yield f"at {places}: {ratio:.1f} x lm_eval's whole run (goal 1.8)", ratio >= 1.8
        if "inspect_ai" in found:
            ratio = _whole(own) / _whole(found["inspect_ai"])
            yield f"at {places}: {ratio:.1f} x inspect_ai's whole run (goal 8)", ratio >= 8
        yield f"at {places}: {_cpu_ms(own):.2f} ms of CPU a request, all in (goal 1.5)", _cpu_ms(own) <= 1.5


def _rate(runs: Sequence[Measured]) -> float:
    return median(run.rate for run in runs)


def _whole(runs: Sequence[Measured]) -> float:
    return median(run.served / run.wall_s for run in runs)


def _cpu_ms(runs: Sequence[Measured]) -> float:
    return median(1000 * run.cpu_s / run.served for run in runs)


def memory(places: int) -> Iterator[tuple[str, bool]]:
    found = []
    for count in (QUESTIONS, 10 * QUESTIONS):
        with tempfile.TemporaryDirectory() as folder, server() as url:
            questions = write_questions(Path(folder, "short.jsonl"), count)
            mine = ["--models", "openai:m", "--datasets", questions, "--max-num-workers", str(places)]
            found.append(arena(url, Path(folder), *mine))
            print(f"{count:>7,} questions: peak {found[-1].peak / 2**20:.0f} MiB, {found[-1].cpu_s:.1f} s of CPU")
    few, many = found
    more = 1000 * (many.cpu_s - few.cpu_s) / (many.served - few.served)
    yield f"{many.peak / few.peak:.2f} x the memory for ten times the questions (goal 1.3)", many.peak <= 1.3 * few.peak
    yield f"{more:.2f} ms of CPU for each further request (goal 1.5)", more <= 1.5


def overlap(items: int = 300, places: int = 32) -> Iterator[tuple[str, bool]]:
    """Seconds by the server's clock, which knows nothing of starts and reports."""
    with tempfile.TemporaryDirectory() as folder, server() as url:
        work = Path(folder)
        flags = ["--datasets", write_questions(work / "short.jsonl", items), "--max-num-workers", str(places)]
        two, judge = ["--models", "openai:a", "openai:b"], ["--judges", "openai:j"]
        took = {
            name: _seconds(url, work, where, *flags, *more)
            for name, where, more in (
                ("a alone", "1", ["--models", "openai:a", "-m", "infer"]),
                ("b alone", "1", ["--models", "openai:b", "-m", "infer"]),
                ("judge alone", "1", [*two, *judge, "-m", "eval"]),
                ("all three", "2", [*two, *judge]),
            )
        }
    for name, seconds in took.items():
        print(f"{name:12} {seconds:6.2f} s")
    together = took.pop("all three")
    ratio = together / max(took.values())
    yield f"together {ratio:.2f} x the longest of the three alone (goal 1.25)", ratio <= 1.25


def _seconds(url: str, work: Path, where: str, *more: str) -> float:
    command = [sys.executable, "-m", "arena", "run", "--base-url", url, "-w", where, *more]
    found = measure(command, url, work, environment())
    return found.served / found.rate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="virtual environment that has lm_eval and inspect_ai")
    parser.add_argument("--peer-rounds", type=int, default=1, help="rounds in which they take part")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--overlap", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare-loop", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
        return 0
    if given.bare_loop:
        asyncio.run(bare_loop(given.bare_loop, given.at_once[0], QUESTIONS))
        return 0
    goals: list[tuple[str, bool]] = []
    if given.memory:
        goals += memory(given.at_once[-1])
    if given.overlap:
        goals += overlap()
    if not (given.memory or given.overlap):
        goals += speed(given.at_once, given.rounds, given.peers, given.peer_rounds)
    for told, holds in goals:
        print(f"{'held' if holds else 'MISSED'}: {told}")
    return 0 if all(holds for _, holds in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
