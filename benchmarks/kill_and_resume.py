"""What a run that is killed with `kill -9` loses and buys again, by the ledger of a real loopback server.

    python benchmarks/kill_and_resume.py --questions question.jsonl --kills 1 --latency 0.2

Runs two candidates and a judge over a FastChat file of questions, kills the program at random moments, continues with
`-r`, and counts: completions that the server served, those that were served more than once, and those that the program
had stored and lost. Needs no GPU and no network. The last line says whether everything held.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.program import arena, start
from tests.servers.openai_server import serve

WORKERS = 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    dice = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder, serve(latency=given.latency, ledger=Path(folder, "ledger")) as server:
        work = Path(folder)
        flags = ["run", "--models", "openai:cand-a", "openai:cand-b", "--judges", "openai:judge-1"]
        flags += ["--datasets", str(given.questions.resolve()), "--base-url", server.url, "-w", "w"]
        flags += ["--max-num-workers", str(WORKERS)]
        expected = 8 * sum(1 for line in given.questions.read_text("utf-8").split("\n") if line.strip())
        lost, kept = 0, set[str]()
        goals = sorted(dice.sample(range(20, expected - 20), given.kills)) if given.kills > 1 else [expected // 2]
        for number, goal in enumerate(goals):
            process = start(*flags, *(["-r"] if number else []), cwd=work)
            while len(_stored(work)) < goal and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.communicate()
            stored = _stored(work)
            lost += len(kept - stored)
            kept = stored
            print(f"killed with {len(stored)} of {expected} stored, {len(server.ledger())} served")
        ended = arena(*flags, "-r", cwd=work, timeout=600)
        served = Counter(line["body"] for line in server.ledger())
        again = sum(served.values()) - len(served)
        lost += len(kept - _stored(work))
        print(f"continued: exit code {ended.returncode}, {len(_stored(work))} stored")
        print(f"served {sum(served.values())} completions for {expected} requests; {again} of them again")
        print(f"stored and lost: {lost}; most that could be in flight: {given.kills * WORKERS * 3}")
        held = ended.returncode == 0 and lost == 0 and again <= given.kills * WORKERS * 3 and len(served) == expected
        print("held" if held else "DID NOT HOLD")
        return 0 if held else 1


def _stored(work: Path) -> set[str]:
    path = work / "w" / "arena.db"
    if not path.exists():
        return set()
    db = sqlite3.connect(path, timeout=60)
    try:
        return {row[0] for row in db.execute("SELECT key FROM responses")}
    except sqlite3.OperationalError:  # killed before the tables were there
        return set()
    finally:
        db.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired:
        sys.exit("the continued run did not end")
