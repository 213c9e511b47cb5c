"""What a candidate is asked next: the question as its dataset's prompt puts it, and each further turn after the answer before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from judge.prompt import Prompt
from judge.types import JUDGEABLE, Address, Asker, Exchange, Item, Message, Request, illustrated


def next_request(
    asker: Asker,
    item: Item,
    done: Sequence[Exchange],
    prompts: Mapping[str, Prompt] | None = None,
    max_tokens: int | None = None,
    sample: int = 0,
) -> Request | None:
    """The request for the next turn, or None when the dialogue is over (or broke off: a failed turn has no next).

    `prompts` by language put the first turn into words ("" is the one used where a language has none); without prompts the
    item's turns are sent as they are.
    """
    turn = len(done)
    if turn == len(item.turns) or (done and done[-1].response.status not in JUDGEABLE):
        return None
    if done:
        # With the system message it began with, which may be the prompt's own: the asker adds none to it.
        messages = (
            *done[-1].request.messages,
            Message("assistant", done[-1].response.text),
            Message("user", item.turns[turn]),
        )
        prompt_hash = done[-1].request.prompt
    elif prompts:
        prompt = prompts.get(item.language) or prompts[""]
        choices = [{"label": choice.label, "text": choice.text} for choice in item.choices]
        messages = prompt.messages({"question": item.turns[0], "choices": choices, "match": item.match})
        prompt_hash = prompt.hash
    else:
        messages, prompt_hash = (Message("user", item.turns[0]),), ""
    if not done:
        messages = illustrated(messages, item)
    address = Address(item.dataset, item.id, "answer", (asker.name,), turn)
    return asker.request(messages, address, prompt=prompt_hash, max_tokens=max_tokens, sample=sample)
