"""Pages for the tests: `full_page`, as a real run would fill it, and `tiny_page`, small enough to read as HTML."""

from __future__ import annotations

from reports.page import (
    AnswerView,
    Categories,
    CategoryRow,
    Estimate,
    Facts,
    ItemView,
    JudgeHealth,
    JudgmentView,
    LeaderRow,
    LeftOut,
    Notice,
    Page,
    ScoreRow,
    Spend,
    TurnView,
    WinMatrix,
)

MODELS = ("heron-2", "heron-1", "wren-mini")
JUDGE = "assessor-large"


def full_page() -> Page:
    items = (
        _complexity(),
        _letter(),
        _two_turns(),
        _chinese(),
        _arabic(),
        _discount(),
        _capital(),
        _truncated(),
        _table(),
        _refused(),
    )
    return Page(
        title="heron-2 release candidate against heron-1 and wren-mini",
        description="Nightly comparison on the open questions, graded and fought out by one judge, and two objective sets.",
        run="20261120_174300-7f3a",
        created="2026-11-20 17:43 UTC",
        complete=False,
        notices=(
            Notice("info", "The judge is of the same family as none of the candidates."),
            Notice("warning", "The category “translation” has 2 items: its intervals say little."),
            Notice(
                "error", "4 answers of wren-mini never came back (error:timeout). Run again to buy what is missing."
            ),
        ),
        headline=(
            "heron-2 wins 64.2% of its battles, and is ahead of heron-1 with a probability of 98%. "
            "It is weaker than heron-1 in one category, mathematics, where the interval still includes no difference."
        ),
        leaderboard=(
            LeaderRow(
                "heron-2",
                1,
                1,
                1,
                Estimate(1071.4, 1043.2, 1102.8, 312, 320, 1064.0, 1078.5),
                Estimate(0.642, 0.594, 0.689, 312, 320, 0.626, 0.651),
                Estimate(8.12, 7.9, 8.33, 160, 160),
                Estimate(0.774, 0.731, 0.817, 400, 400),
            ),
            LeaderRow(
                "heron-1",
                2,
                2,
                2,
                Estimate(1008.9, 982.0, 1035.6, 310, 320, 1001.0, 1016.0),
                Estimate(0.512, 0.464, 0.559, 310, 320, 0.497, 0.528),
                Estimate(7.48, 7.2, 7.75, 159, 160, 7.44, 7.5),
                Estimate(0.781, 0.739, 0.821, 400, 400),
            ),
            LeaderRow(
                "wren-mini",
                3,
                3,
                3,
                Estimate(919.7, 888.1, 949.9, 302, 320, 908.2, 934.0),
                Estimate(0.346, 0.3, 0.395, 302, 320, 0.326, 0.383),
                Estimate(6.03, 5.7, 6.4, 152, 160, 5.78, 6.23),
                Estimate(0.585, 0.536, 0.633, 396, 400, 0.579, 0.589),
            ),
        ),
        matrix=WinMatrix(
            MODELS,
            (
                (
                    None,
                    Estimate(0.571, 0.51, 0.632, 158, 160, 0.564, 0.577),
                    Estimate(0.715, 0.65, 0.777, 154, 160, 0.688, 0.726),
                ),
                (
                    Estimate(0.429, 0.368, 0.49, 158, 160, 0.423, 0.436),
                    None,
                    Estimate(0.599, 0.53, 0.664, 152, 160, 0.569, 0.619),
                ),
                (
                    Estimate(0.285, 0.223, 0.35, 154, 160, 0.274, 0.312),
                    Estimate(0.401, 0.336, 0.47, 152, 160, 0.381, 0.431),
                    None,
                ),
            ),
        ),
        categories=(
            Categories(
                "Win rate",
                "share",
                0.0,
                1.0,
                MODELS,
                (
                    _category("writing", 40, (0.71, 0.62, 0.79), (0.5, 0.41, 0.58), (0.29, 0.21, 0.38)),
                    _category("reasoning", 40, (0.63, 0.54, 0.72), (0.53, 0.44, 0.62), (0.34, 0.25, 0.43)),
                    _category("mathematics", 38, (0.49, 0.39, 0.58), (0.58, 0.49, 0.67), (0.43, 0.34, 0.53)),
                    _category("coding", 40, (0.7, 0.61, 0.78), (0.49, 0.4, 0.58), (0.31, 0.22, 0.4)),
                    CategoryRow(
                        "translation",
                        2,
                        (Estimate(0.75, 0.1, 1.0, 4, 4), Estimate(0.5, 0.0, 1.0, 3, 4, 0.38, 0.63), None),
                    ),
                ),
            ),
            Categories(
                "Mean grade",
                "grade",
                1.0,
                10.0,
                MODELS,
                (
                    _category("writing", 40, (8.6, 8.3, 8.9), (7.7, 7.3, 8.1), (6.9, 6.4, 7.3)),
                    _category("mathematics", 38, (7.1, 6.4, 7.8), (7.3, 6.6, 7.9), (4.6, 3.9, 5.4)),
                ),
            ),
        ),
        score_models=MODELS,
        scores=(
            ScoreRow(
                "grade-school-math",
                "c04f1b",
                "accuracy",
                "gen",
                (
                    Estimate(0.792, 0.734, 0.844, 200, 200),
                    Estimate(0.806, 0.75, 0.857, 200, 200),
                    Estimate(0.61, 0.54, 0.68, 196, 200, 0.598, 0.618),
                ),
                "share",
            ),
            ScoreRow(
                "general-knowledge",
                "91aa70",
                "accuracy",
                "ppl",
                (Estimate(0.756, 0.696, 0.814, 200, 200), Estimate(0.756, 0.694, 0.814, 200, 200), None),
                "share",
            ),
            ScoreRow(
                "summaries",
                "5be2d9",
                "rouge-l",
                "gen",
                (
                    Estimate(31.27, 29.8, 32.7, 80, 80),
                    Estimate(30.02, 28.6, 31.4, 80, 80),
                    Estimate(24.9, 23.1, 26.6, 80, 80),
                ),
            ),
        ),
        judges=(
            JudgeHealth(
                JUDGE,
                "pairwise-open",
                Estimate(0.841, None, None, 464, 480),
                Estimate(0.553, 0.52, 0.585, 871, 960),
                Estimate(0.068, None, None, 934, 960),
                Estimate(0.027, None, None, 960, 960),
            ),
            JudgeHealth(JUDGE, "grade-1-10", None, None, None, Estimate(0.019, None, None, 480, 480)),
        ),
        left_out=(
            LeftOut("answers", "wren-mini", "error:timeout", 4, 160),
            LeftOut("answers", "wren-mini", "truncated", 2, 160),
            LeftOut("judgments", JUDGE, "no_verdict", 17, 960),
            LeftOut("judgments", JUDGE, "two_verdicts", 9, 960),
        ),
        spend=(
            Spend("heron-2", "candidate", 560, 560, 0, 214_331, 402_118, 9.2174, 6.412, 180_224),
            Spend("heron-1", "candidate", 560, 0, 0, 214_331, 371_904, 0.0, 5.9),
            Spend("wren-mini", "candidate", 556, 556, 4, 214_002, None, None, 0.842),
            Spend(JUDGE, "judge", 1440, 1440, 3, 2_904_113, 488_022, 21.4, 11.8),
        ),
        spend_together=Spend("", "", 3116, 2556, 7, 3_546_777, 1_262_044, 30.6174, 6.0, 180_224),
        items=items,
        n_items=160,
        provenance=(
            Facts("Software", (("arena", "0.1.0"), ("Python", "3.11.7"), ("Seed", "20261120"))),
            Facts(
                "Models",
                (
                    (
                        "heron-2",
                        "openai, https://models.example/v1, revision 2026-11-14, temperature 0.7, max_tokens 2048",
                    ),
                    (
                        "heron-1",
                        "openai, https://models.example/v1, revision 2026-06-02, temperature 0.7, max_tokens 2048",
                    ),
                    ("wren-mini", "hf, wren/wren-mini, revision 91f2c07, temperature 0.7"),
                ),
            ),
            Facts(
                "Prompts",
                (("pairwise-open", "sha256 5f0c1a77d2…, version 3"), ("grade-1-10", "sha256 a1b4e90c36…, version 1")),
            ),
        ),
        config=(
            "models:\n  - name: heron-2\n    base_url: https://models.example/v1\n    temperature: 0.7\n"
            "judges:\n  - model: assessor-large\n    prompts: [pairwise-open, grade-1-10]\n    orders: both\n"
            "seed: 20261120\n"
        ),
        currency="USD",
    )


def tiny_page() -> Page:
    answers = (AnswerView("a", ("It is **4**.",), "ok", 9.0, True), AnswerView("b", ("5",), "ok", 2.0, False))
    judgments = (
        JudgmentView("j", "pair", ("a", "b"), "a", None, "A is right.\n\n[[A]]"),
        JudgmentView("j", "pair", ("b", "a"), "", "no_verdict", "Hm."),
        JudgmentView("j", "grade", ("a",), "9", None, "Grade: 9"),
    )
    item = ItemView("sums", "s-1", "mathematics", "en", (TurnView("What is 2 + 2?", "4"),), answers, judgments, (), "4")
    return Page(
        title="a against b",
        description="",
        run="run-1",
        created="2026-01-01",
        complete=True,
        notices=(),
        headline="a wins.",
        leaderboard=(
            LeaderRow(
                "a", 1, 1, 2, Estimate(1050.0, 990.0, 1110.0, 1, 2, 1000.0, 1100.0), Estimate(1.0, None, None, 1, 2)
            ),
            LeaderRow("b", 2, 1, 2, Estimate(950.0, 890.0, 1010.0, 1, 2), Estimate(0.0, None, None, 1, 2)),
        ),
        matrix=WinMatrix(
            ("a", "b"), ((None, Estimate(1.0, n_scored=1, n_asked=2)), (Estimate(0.0, n_scored=1, n_asked=2), None))
        ),
        categories=(
            Categories(
                "Win rate",
                "share",
                0.0,
                1.0,
                ("a", "b"),
                (CategoryRow("mathematics", 1, (Estimate(1.0, 0.2, 1.0, 1, 2), None)),),
            ),
        ),
        score_models=("a", "b"),
        scores=(ScoreRow("sums", "0a1b", "accuracy", "gen", (Estimate(1.0, n_scored=1, n_asked=1), None), "share"),),
        judges=(
            JudgeHealth(
                "j", "pair", None, None, Estimate(0.0, n_scored=1, n_asked=2), Estimate(0.5, n_scored=2, n_asked=2)
            ),
        ),
        left_out=(LeftOut("judgments", "j", "no_verdict", 1, 2),),
        spend=(Spend("a", "candidate", 1, 1, 0, 12, 5, None, 0.5),),
        items=(item,),
        n_items=1,
        provenance=(Facts("Software", (("arena", "0.1.0"),)),),
        config="seed: 1\n",
    )


def _category(name: str, n: int, *values: tuple[float, float, float]) -> CategoryRow:
    return CategoryRow(name, n, tuple(Estimate(v, low, high, 2 * n, 2 * n) for v, low, high in values))


def _battles(one: str, other: str, outcomes: tuple[str, str], words: tuple[str, str]) -> tuple[JudgmentView, ...]:
    orders = ((one, other), (other, one))
    return tuple(
        JudgmentView(
            JUDGE,
            "pairwise-open",
            order,
            "" if said.startswith("?") else said,
            said[1:] if said.startswith("?") else None,
            reply,
        )
        for order, said, reply in zip(orders, outcomes, words, strict=True)
    )


def _grade(model: str, grade: str, reply: str) -> JudgmentView:
    return JudgmentView(JUDGE, "grade-1-10", (model,), grade, None, reply)


def _complexity() -> ItemView:
    long = """## Short answer

`heapq.nlargest(k, xs)` runs in **O(n log k)** time and O(k) space, so for small *k* it beats sorting, which is O(n log n).

### Why

1. The first *k* values are put into a min-heap: O(k).
2. Every further value is compared with the heap's smallest:
   - if it is not larger, it is thrown away: O(1);
   - otherwise it replaces the root: O(log k).
3. At the end the heap is sorted: O(k log k).

```python
import heapq
from collections.abc import Iterable


def largest(xs: Iterable[float], k: int) -> list[float]:
    heap: list[float] = []
    for x in xs:
        if len(heap) < k:
            heapq.heappush(heap, x)
        elif x > heap[0]:
            heapq.heapreplace(heap, x)
    return sorted(heap, reverse=True)
```

| method | time | space | stable |
|:--|--:|--:|:-:|
| `sorted(xs)[-k:]` | O(n log n) | O(n) | yes |
| `heapq.nlargest` | O(n log k) | O(k) | yes |
| quickselect | O(n) on average | O(1) | no |

> For `k == 1` just use `max`.

See the [documentation](https://docs.python.org/3/library/heapq.html) for the details. With n = 10^6 and k = 10 the heap
makes about n + k*ln(n/k)*log2(k) comparisons, which is hardly more than n.
"""
    middle = """`heapq.nlargest` keeps a heap of size *k*.

* building the heap: O(k)
* going through the rest: O((n − k) log k)

In total this is **O(n log k)**. Sorting first would be O(n log n), so for `k` much smaller than `n` the heap is faster.

```python
import heapq
print(heapq.nlargest(3, [5, 1, 9, 7]))  # [9, 7, 5]
```
"""
    short = (
        "It is O(n log n) because it needs to sort the list first.\n\nYou can use `sorted(xs, "
        "reverse=True)[:k]` as well, it is the same."
    )
    words_a = """Both answers give the right bound. Answer A derives it step by step, compares with two other methods in a table
and shows working code; answer B is right but brief.

The remark that the number of comparisons is hardly more than *n* is correct and adds insight.

Verdict: [[A]]"""
    words_b = "Answer B is more complete and explains *why*; A only states the result.\n\nVerdict: [[B]]"
    return ItemView(
        "open-questions",
        "oq-017",
        "coding",
        "en",
        (
            TurnView(
                (
                    "What is the time complexity of `heapq.nlargest(k, xs)`, and when is it better than sorting? "
                    "Explain."
                ),
                None,
            ),
        ),
        (
            AnswerView("heron-2", (long,), "ok", 9.0),
            AnswerView("heron-1", (middle,), "ok", 8.0),
            AnswerView("wren-mini", (short,), "ok", 2.0),
        ),
        (
            *_battles("heron-2", "heron-1", ("heron-2", "heron-2"), (words_a, words_b)),
            *_battles(
                "heron-2",
                "wren-mini",
                ("heron-2", "heron-2"),
                ("A is right, B is wrong. [[A]]", "B is right, A is wrong. [[B]]"),
            ),
            *_battles(
                "heron-1",
                "wren-mini",
                ("heron-1", "heron-1"),
                ("A is right, B is wrong. [[A]]", "B is right, A is wrong. [[B]]"),
            ),
            _grade(
                "heron-2",
                "9",
                "Correct, complete, well ordered; the quickselect row could say that it needs a copy. Grade: 9",
            ),
            _grade("heron-1", "8", "Correct and brief. Grade: 8"),
            _grade("wren-mini", "2", "The bound is wrong. Grade: 2"),
        ),
    )


def _letter() -> ItemView:
    a = """Dear Ms Okafor,

thank you for your letter of 3 November. I am sorry that the parcel reached you open, and with one of the six cups broken.

A new set left our warehouse today; you need not send anything back. Should the second parcel show the same damage, please
leave it with the carrier: then the claim is ours and not yours.

With kind regards
Jonas Brandt
"""
    b = """**Subject: Your complaint**

Dear Customer,

We apologize for any inconvenience this may have caused. We value your feedback and strive to provide the best service.

- We will look into the matter
- We will get back to you as soon as possible

Best regards,
Customer Service Team
"""
    return ItemView(
        "open-questions",
        "oq-044",
        "writing",
        "en",
        (
            TurnView(
                (
                    "Answer the complaint below in a warm, precise letter of at most 90 words.\n\n> My parcel "
                    "arrived open and one of the six cups is broken. — A. Okafor, 3 November"
                ),
                None,
            ),
        ),
        (
            AnswerView("heron-2", (a,), "ok", 9.0),
            AnswerView("heron-1", (b,), "ok", 5.0),
            AnswerView("wren-mini", ("We are sorry. Please contact support.",), "ok", 2.0),
        ),
        (
            *_battles(
                "heron-2",
                "heron-1",
                ("heron-2", "heron-1"),
                (
                    "A is personal and says what happens next. B could be about anything.\n\n[[A]]",
                    (
                        "A is clearly structured and polite; B promises a replacement that the task did not "
                        "mention.\n\n[[A]]"
                    ),
                ),
            ),
            *_battles(
                "heron-2",
                "wren-mini",
                ("heron-2", "?two_verdicts"),
                (
                    "[[A]]",
                    (
                        "Looking at tone, [[A]] is too curt. Looking at length, both keep to the limit.\n\n[[B]] "
                        "overall."
                    ),
                ),
            ),
            *_battles(
                "heron-1",
                "wren-mini",
                ("tie", "tie"),
                ("Neither answers the customer. [[C]]", "Both are form letters. [[C]]"),
            ),
        ),
        (("heron-2", "heron-1"),),
    )


def _two_turns() -> ItemView:
    return ItemView(
        "open-questions",
        "oq-081",
        "reasoning",
        "en",
        (
            TurnView(
                (
                    "A train leaves at 09:40 and needs 2 h 35 min. A bus leaves at 09:10 and needs 3 h 20 min. "
                    "Which arrives first, and by how much?"
                ),
                "The train, at 12:15; the bus arrives at 12:30, 15 minutes later.",
            ),
            TurnView(
                (
                    "The train is now delayed by 20 minutes at the start, and the bus takes a shortcut that saves a "
                    "tenth of its time. And now?"
                ),
                "The bus, at 12:10; the train arrives at 12:35, 25 minutes later.",
            ),
        ),
        (
            AnswerView(
                "heron-2",
                (
                    (
                        "| | leaves | needs | arrives |\n|---|---|---|---|\n| train | 09:40 | 2:35 | **12:15** |\n| bus "
                        "| 09:10 | 3:20 | 12:30 |\n\nThe train, by **15 minutes**."
                    ),
                    (
                        "The train arrives at 12:15 + 0:20 = 12:35. The bus needs 200 min * 0.9 = 180 min and arrives "
                        "at 12:10.\n\nThe **bus**, by **25 minutes**."
                    ),
                ),
                "ok",
                10.0,
            ),
            AnswerView(
                "heron-1",
                (
                    (
                        "Train: 09:40 + 2:35 = 12:15. Bus: 09:10 + 3:20 = 12:30. The train arrives first, 15 minutes "
                        "ahead."
                    ),
                    "Train 12:35, bus 12:10: the bus is first by 25 minutes.",
                ),
                "ok",
                10.0,
            ),
            AnswerView("wren-mini", ("The bus arrives first because it leaves earlier.",), "error:timeout"),
        ),
        _battles(
            "heron-2",
            "heron-1",
            ("tie", "tie"),
            ("Both are right in both turns. [[C]]", "No difference in substance. [[C]]"),
        ),
    )


def _chinese() -> ItemView:
    a = """“画蛇添足”比喻**做了多余的事**，反而把事情弄坏。

出处：《战国策·齐策二》。几个人比赛画蛇，先画成的人喝酒；有人先画好了，却又给蛇添上脚，结果失去了那杯酒。

例句：

1. 这篇文章已经很完整了，再加一段就是画蛇添足。
2. 他的解释本来很清楚，最后那句话却有些画蛇添足。
"""
    return ItemView(
        "open-questions",
        "oq-102",
        "writing",
        "zh",
        (
            TurnView(
                "请解释成语“画蛇添足”的意思和出处，并用它造两个句子。",
                "比喻做了多余的事，不但无益，反而不合适。出自《战国策》。",
            ),
        ),
        (
            AnswerView("heron-2", (a,), "ok", 9.0),
            AnswerView("heron-1", ("画蛇添足的意思是做多余的事情。例如：你不要画蛇添足。",), "ok", 6.0),
            AnswerView("wren-mini", ("It means drawing a snake and adding feet.",), "ok", 3.0),
        ),
        _battles(
            "heron-2",
            "heron-1",
            ("heron-2", "heron-2"),
            ("回答A更完整：有出处，也有两个例句。[[A]]", "回答B说明了出处，A只有一个例句。[[B]]"),
        ),
    )


def _arabic() -> ItemView:
    return ItemView(
        "open-questions",
        "oq-110",
        "translation",
        "ar",
        (
            TurnView(
                "ترجم إلى العربية: “The library opens at nine, except on public holidays.”",
                "تفتح المكتبة في التاسعة، إلا في أيام العطل الرسمية.",
            ),
        ),
        (
            AnswerView(
                "heron-2",
                (
                    (
                        "تفتح المكتبة أبوابها في الساعة التاسعة، ما عدا أيام العطل الرسمية.\n\nRegister: neutral, "
                        "suitable for a sign."
                    ),
                ),
                "ok",
                9.0,
            ),
            AnswerView("heron-1", ("المكتبة تفتح الساعة ٩ إلا في العطلات.",), "ok", 7.0),
            AnswerView("wren-mini", ("تفتح المكتبة عند تسعة.",), "ok", 4.0),
        ),
        _battles("heron-1", "wren-mini", ("heron-1", "heron-1"), ("[[A]]", "[[B]]")),
    )


def _discount() -> ItemView:
    return ItemView(
        "grade-school-math",
        "gsm-0412",
        "mathematics",
        "en",
        (
            TurnView(
                (
                    "A jacket costs 80 euros. The price falls by 25 %, then rises by 10 %. What does it cost "
                    "now?\n\nEnd with a line `Answer: <number>`."
                ),
                None,
            ),
        ),
        (
            AnswerView(
                "heron-2",
                ("After the fall: 80 * 0.75 = 60. After the rise: 60*1.1 = 66.\n\nAnswer: 66",),
                "ok",
                None,
                True,
            ),
            AnswerView("heron-1", ("\\(80 \\times 0.75 \\times 1.10 = 66\\)\n\nAnswer: 66",), "ok", None, True),
            AnswerView("wren-mini", ("25 − 10 = 15 %, so 80 * 0.85 = 68.\n\nAnswer: 68",), "ok", None, False),
        ),
        (),
        (),
        "66",
    )


def _capital() -> ItemView:
    return ItemView(
        "general-knowledge",
        "gk-007",
        "knowledge",
        "en",
        (TurnView("Which of these cities is the seat of government of Bolivia?", None),),
        (
            AnswerView("heron-2", ("B",), "ok", None, True),
            AnswerView("heron-1", ("B",), "ok", None, True),
            AnswerView("wren-mini", ("A",), "ok", None, False),
        ),
        (),
        (),
        "B",
        (("A", "Sucre"), ("B", "La Paz"), ("C", "Santa Cruz de la Sierra"), ("D", "Cochabamba")),
    )


def _truncated() -> ItemView:
    steps = "\n".join(
        f"{i}. We count the pairs whose larger member is {i}: there are {i - 1} of them." for i in range(1, 25)
    )
    return ItemView(
        "open-questions",
        "oq-120",
        "mathematics",
        "en",
        (
            TurnView(
                "How many handshakes are there if 100 people all shake hands once? Show a proof without the formula.",
                "4950",
            ),
        ),
        (
            AnswerView(
                "heron-2",
                (
                    (
                        "Number the people 1 to 100 and let each shake hands with those of smaller number: 0 + 1 + … + "
                        "99.\n\nPair the first with the last summand, the second with the second last: 50 pairs of 99, "
                        "so **4950**."
                    ),
                ),
                "ok",
                10.0,
            ),
            AnswerView("heron-1", (steps,), "truncated", None),
            AnswerView("wren-mini", ("",), "empty"),
        ),
        _battles(
            "heron-2",
            "heron-1",
            ("?truncated", "heron-2"),
            (
                "Let me first restate the task, then go through both answers line by line. The first answer",
                "A stops in the middle; B proves it. [[B]]",
            ),
        ),
    )


def _table() -> ItemView:
    hidden = (
        "| step | result |\n|---|---|\n| 1 | 12 | and here is a third cell that Markdown would swallow |\n| 2 | 15 |\n"
    )
    return ItemView(
        "open-questions",
        "oq-131",
        "coding",
        "en",
        (
            TurnView(
                (
                    "Print a table of two columns. Then write `<script>alert('x')</script>` so that a browser shows "
                    "it as text."
                ),
                None,
            ),
        ),
        (
            AnswerView(
                "heron-2",
                (
                    (
                        "Write `&lt;script&gt;alert('x')&lt;/script&gt;`. <b>Not bold.</b>\n\n![a "
                        "picture](https://tracker.example/p.png)"
                    ),
                ),
                "ok",
                7.0,
            ),
            AnswerView("heron-1", (hidden,), "ok", 4.0),
            AnswerView("wren-mini", ("<script>alert('x')</script>\x00\x1b[31m red? \ud83d",), "ok", 1.0),
        ),
        (),
    )


def _refused() -> ItemView:
    return ItemView(
        "open-questions",
        "oq-140",
        "writing",
        "en",
        (
            TurnView(
                "Write a limerick about a very long word: "
                + "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 2,
                None,
            ),
        ),
        (
            AnswerView(
                "heron-2",
                (
                    (
                        "There was a young clerk by the Danube,\nwhose job had a name like a long tube;\n  he'd start "
                        "it at eight,\n  and at noon, running late,\nhe had come to the middle, the poor boob."
                    ),
                ),
                "ok",
                8.0,
            ),
            AnswerView("heron-1", (), "filtered"),
            AnswerView("wren-mini", (), "error:timeout"),
        ),
        (),
    )
