"""Who gets which GPU: fairly, never more than there are, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.execution.gpus import Gpus, Need, chosen_gpus, shares, visible_gpus
from arena.execution.local import need_of
from arena.models.spec import HFModel

NEEDS = st.lists(
    st.builds(
        Need,
        gpus=st.none() | st.integers(0, 4),
        workers=st.none() | st.integers(1, 5),
        per_gpu=st.just(1) | st.just(2),
    ),
    min_size=1,
    max_size=5,
)


class TestShares:
    @pytest.mark.parametrize(
        ("gpus", "needs", "expected"),
        [
            (8, [Need()], [8]),
            (8, [Need(), Need(), Need()], [3, 3, 2]),
            (8, [Need(gpus=4), Need(gpus=1)], [1, 4]),
            (8, [Need(gpus=2, workers=1), Need()], [1, 6]),
            (1, [Need(), Need(), Need()], [1, 1, 1]),  # they wait for one another
            (1, [Need(per_gpu=2), Need(per_gpu=2)], [1, 1]),
            (2, [Need(per_gpu=3)], [6]),
            (0, [Need(), Need(workers=3)], [1, 3]),
            (4, [Need(gpus=0), Need()], [1, 4]),
        ],
        ids=str,
    )
    def test_are_fair(self, gpus: int, needs: list[Need], expected: list[int]) -> None:
        assert shares([str(n) for n in range(gpus)], needs) == expected

    @given(st.integers(4, 9), NEEDS)
    def test_never_exceed_the_gpus_but_by_one_worker_a_model(self, gpus: int, needs: list[Need]) -> None:
        visible = [str(n) for n in range(gpus)]
        counts = shares(visible, needs)
        assert min(counts) >= 1
        assert all(need.workers is None or count <= need.workers for count, need in zip(counts, needs, strict=True))
        beyond = sum((count - 1) * need.gpus_of(visible) for count, need in zip(counts, needs, strict=True))
        assert beyond <= gpus * max(need.per_gpu for need in needs)

    def test_a_declaration_says_what_it_needs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def need(**values: object) -> Need:
            return need_of(HFModel.model_validate({"abbr": "m", "path": "tiny", **values}))

        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        assert need() == Need()
        assert need(max_num_workers=3, max_workers_per_gpu=2) == Need(workers=3, per_gpu=2)
        assert need(run_cfg={"num_gpus": 2, "num_replicas": 1}, max_num_workers=3) == Need(gpus=2, workers=1)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert need(max_num_workers=64).workers == 1  # a limit is no wish
        assert need(run_cfg={"num_replicas": 4}, max_num_workers=3).workers == 3


class TestChoosing:
    def test_those_that_are_used_least(self) -> None:
        assert chosen_gpus(("0", "1", "2"), 2, 2, {"0": 1}) == ("1", "2")
        assert chosen_gpus(("0", "1"), 2, 1, {"0": 1}) is None
        assert chosen_gpus(("0",), 1, 4, {"0": 3}) == ("0",)

    def test_more_than_there_are_is_a_mistake(self) -> None:
        with pytest.raises(ValueError, match="this machine shows 1"):
            Need(gpus=2).gpus_of(("0",))

    def test_what_nvidia_smi_lists_and_the_variable_hides(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
        program.chmod(0o755)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert visible_gpus() == ("0", "1", "2")
        for given_, names in (("2", ("2",)), ("GPU-8f, 1", ("GPU-8f", "1")), ("", ()), ("-1", ())):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given_)
            assert visible_gpus() == names


class TestWaiting:
    @pytest.fixture(autouse=True)
    def _two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    def test_who_asks_first_is_served_first(self) -> None:
        async def story() -> list[str]:
            gpus, told = Gpus(), list[str]()

            async def use(name: str, count: int) -> None:
                taken = await gpus.take(Need(gpus=count))
                told.append(f"{name} on {' '.join(taken)}")
                await asyncio.sleep(0.01)
                gpus.give_back(taken)

            first = await gpus.take(Need(gpus=1))
            big = asyncio.create_task(use("big", 2))
            await asyncio.sleep(0)
            small = asyncio.create_task(use("small", 1))  # there would be a GPU for it, but then "big" might starve
            await asyncio.sleep(0.02)
            assert told == []
            assert gpus.are_short
            gpus.give_back(first)
            await asyncio.gather(big, small)
            assert not gpus.are_short
            return told

        assert asyncio.run(story()) == ["big on 0 1", "small on 0"]

    def test_who_stops_waiting_leaves_the_queue_and_holds_nothing(self) -> None:
        async def story() -> None:
            gpus = Gpus()
            held = await gpus.take(Need(gpus=2))
            gone = asyncio.create_task(gpus.take(Need(gpus=1)))
            stays = asyncio.create_task(gpus.take(Need(gpus=2)))
            await asyncio.sleep(0)
            gone.cancel()
            gpus.give_back(held)
            assert set(await stays) == {"0", "1"}

        asyncio.run(asyncio.wait_for(story(), 5))

    def test_a_gpu_is_shared_only_where_that_is_allowed(self) -> None:
        async def story() -> None:
            gpus = Gpus()
            taken = [await gpus.take(Need(per_gpu=2)) for _ in range(4)]
            assert sorted(taken) == [("0",), ("0",), ("1",), ("1",)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(gpus.take(Need(per_gpu=2)), 0.01)
            assert not gpus.are_short

        asyncio.run(story())
