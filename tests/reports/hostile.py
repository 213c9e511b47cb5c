"""What a dataset, a model's name or an answer may hold to take over the page that shows it, and how to put it there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea></template></pre></svg></table><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src='http://127.0.0.1:9/beacon'>",
    "![x](http://127.0.0.1:9/beacon)",
    '![x](x"onerror="alert(1))',
    "<svg/onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](//127.0.0.1:9/relative)",
    "<javascript:alert(1)>",
    "[a]: javascript:alert(1)\n\n[a]",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "`` onmouseover=alert(1) ``",
    '<b style="background:url(http://127.0.0.1:9/x)">x</b>',
    "<base href=http://127.0.0.1:9/>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<form action=http://127.0.0.1:9/><input name=a><button>go</button></form>",
    "<!-- --><!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\x3cscript\x3ealert(1)\x3c/script\x3e",
    "{{7*7}}{% for x in [].__class__.__mro__ %}{{x}}{% endfor %}",
    "{{ self.__init__.__globals__ }}",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "```html\n<script>alert(1)</script>\n```",
    '~~~"><script>alert(1)</script>\n~~~',
    '|a|b|\n|-|-|\n|<script>alert(1)</script>|" onclick="alert(1)|',
    "1. <details open ontoggle=alert(1)>\n2. x",
    "\u202e>tpircs/<)1(trela>tpircs<",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>\ud83d",
)

PROSE = frozenset({"question", "reference", "texts", "reply"})
"""The fields that are shown as Markdown."""

CLOSED = frozenset({"level", "unit"})
"""The fields whose values are one of a closed list of ours."""


def with_texts(value: Any, change: Callable[[str], str], *, prose: bool, name: str = "") -> Any:
    """The same page with every text changed; the Markdown fields only with `prose`."""
    if isinstance(value, str):
        return value if name in CLOSED or (name in PROSE and not prose) else change(value)
    if isinstance(value, tuple):
        return tuple(with_texts(v, change, prose=prose, name=name) for v in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: with_texts(getattr(value, f.name), change, prose=prose, name=f.name)
            for f in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **fields)
    return value


class Skeleton(HTMLParser):
    """The elements of a page with their attributes, the text between them, and what style and script hold."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.comments: list[str] = []
        self.code: list[str] = []
        self.texts: list[str] = []
        self._within: list[str] = []
        self.feed(page)
        self.close()

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(tag, tuple(sorted(attributes))) for tag, attributes in self.elements]

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._within:
            while self._within.pop() != tag:
                pass

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        (self.code if self._within and self._within[-1] in ("script", "style") else self.texts).append(data)
