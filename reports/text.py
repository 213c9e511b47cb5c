"""Text written by models, as HTML that is safe, can always be encoded, and hides nothing of what was written."""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING

import mdurl
import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererHTML
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

PLAIN_OVER = 100_000
"""Texts of more characters than this are shown as they are: Markdown would take seconds and add nothing to a log."""

# Controls but tab and newline; line separators; overrides of the writing direction, which make text read as what it is
# not; surrogates and non-characters, which UTF-8 or HTML cannot hold; tag characters, which no font draws.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202d\u202e\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e007f]"
)
_JOINERS = "\u200c\u200d"  # Persian words and emoji need them.


def visible(text: str) -> str:
    r"""`text` with everything that cannot be seen or encoded written out: NUL as `\x00`, a lone surrogate as `\ud83d`.

    Tabs and newlines stay; CR LF becomes LF. The result can be encoded as UTF-8, and `visible` leaves it as it is.
    (The symbols Unicode has for controls, ␀ and the like, are missing from common fonts.)
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\r\n")
    return _UNSEEN.sub(lambda match: _escape(match[0]), text) if _UNSEEN.search(text) else text


def visible_name(name: str) -> str:
    """`visible` for a name, in one line: invisible formatting too is written out, so that two names never look the same."""
    shown = visible(name).replace("\n", "↵").replace("\t", "⇥")
    if shown.isascii():
        return shown
    formats = {c for c in shown if unicodedata.category(c) == "Cf" and c not in _JOINERS}
    return "".join(_escape(c) if c in formats else c for c in shown)


def _escape(char: str) -> str:
    return ascii(char)[1:-1]


def prose(text: str) -> Markup:
    """Markdown as safe HTML: no images, no raw HTML, links to http, https and mailto only, each with its address in sight.

    Where Markdown would swallow words (a table row with too many cells, nesting that is too deep) and for very long texts,
    the source itself is shown. Never raises.
    """
    shown = visible(text)
    if len(shown) <= PLAIN_OVER:
        try:
            rendered = _cleaner().clean(visible(_markdown().render(shown)))
        except Exception:  # A parser's bug on one strange answer must not cost the report: its source is shown below.
            rendered = ""
        if _keeps_words(shown, rendered):
            return Markup(rendered)
    return plain(shown)


def plain(text: str) -> Markup:
    """Text as it is, in a <pre>."""
    # HTML drops a newline right after <pre>, so one is given away.
    return Markup('<pre class="plain">\n') + escape(visible(text)) + Markup("</pre>\n")


def keep(line: str, names: Sequence[str]) -> Markup:
    """A line of our own in which short names do not break: `heron-1` is no word to be hyphenated."""
    short = sorted((n for n in map(visible_name, names) if "-" in n and len(n) <= 24), key=len, reverse=True)
    if not short:
        return escape(visible(line))
    parts = re.split(f"({'|'.join(map(re.escape, short))})", visible(line))
    return Markup("").join(
        Markup('<span class="keep">{}</span>').format(p) if i % 2 else p for i, p in enumerate(parts)
    )


_WORD = re.compile(r"[^\W_]+")
_TAG = re.compile(r"<[^>]*>")
_LIST_NUMBER = re.compile(r'<li value="(\d+)"')


def _keeps_words(source: str, rendered: str) -> bool:
    """Whether every word of the Markdown source can be read in the HTML."""
    words = Counter(_WORD.findall(html.unescape(_TAG.sub(" ", rendered))))
    words.update(_LIST_NUMBER.findall(rendered))
    # `&eacute;` is a letter in prose and stands for itself in code: either reading will do.
    return any(Counter(_WORD.findall(s)) <= words for s in (source, html.unescape(source)))


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        # A list of what may be, not of what may not: relative links and `#...` would point into the report itself.
        return url.lower().startswith(("http://", "https://", "mailto:"))


@cache
def _markdown() -> MarkdownIt:
    # A line break stays a line break, as the model wrote it. Reference definitions (`[//]: # (a remark)`) are how
    # Markdown hides text: without the rule they are shown as written. maxNesting cuts text off; 20 means nine lists.
    md = _Markdown("commonmark", {"html": False, "breaks": True, "maxNesting": 60})
    md.enable(["table", "strikethrough"]).disable(["reference", "image", "html_block", "html_inline"])
    md.inline.ruler.at("escape", _keep_backslash)
    md.inline.ruler.before("emphasis", "operator", _star_operator)
    md.core.ruler.push("dress", _dress)
    md.add_render_rule("fence", _fence)
    md.add_render_rule("code_block", _fence)
    md.add_render_rule("link_close", _link_close)
    md.add_render_rule("table_open", _table_open)
    md.add_render_rule("table_close", _table_close)
    return md


_TAGS = {
    "p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li",
    "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div",
}  # fmt: skip


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes={"*": set(), "a": {"href"}, "ol": {"start"}, "li": {"value"}},
        allowed_classes={
            "p": {"mh", "mh1", "mh2", "mh3"},
            "div": {"lang", "wide"},
            "span": {"url"},
            "th": {"to-right", "to-center"},
            "td": {"to-right", "to-center"},
        },
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _keep_backslash(state: StateInline, silent: bool) -> bool:
    r"""`\*` is no emphasis, and the backslash stays: dropping it turns `\(x\)` and `\\` of a formula into something else."""
    after = state.src[state.pos + 1 : state.pos + 2]
    if state.src[state.pos] != "\\" or not after or after.isspace():
        return False
    if not silent:
        state.pending += "\\" + after
    state.pos += 2
    return True


def _star_operator(state: StateInline, silent: bool) -> bool:
    """Stars between two ASCII letters or digits multiply: `2*3*4` must not become 2, 3 in italics, 4."""
    end = state.pos
    while end < state.posMax and state.src[end] == "*":
        end += 1
    if end == state.pos or state.pos == 0 or end == state.posMax:
        return False
    sides = state.src[state.pos - 1] + state.src[end]
    if not (sides.isascii() and sides.isalnum()):
        return False
    if not silent:
        state.pending += state.src[state.pos : end]
    state.pos = end
    return True


def _dress(state: StateCore) -> None:
    """Headings leave the page's outline, list items keep their own number, alignment becomes a class, links an address."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            level = min(int(token.tag[1]), 3)
            token.tag = "p"
            if token.nesting == 1:
                token.attrSet("class", f"mh mh{level}")
        elif token.type == "list_item_open" and token.info:
            token.attrSet("value", token.info)
        elif token.type in ("th_open", "td_open") and "style" in token.attrs:
            side = str(token.attrs.pop("style")).removeprefix("text-align:")
            token.attrSet("class", f"to-{side}")
        elif token.type == "inline":
            _address(token.children or [])


def _address(tokens: Sequence[Token]) -> None:
    for token in tokens:
        if token.type == "link_open":
            opened = token
        elif token.type == "link_close" and opened.info != "auto":
            token.meta["shown"] = f"{opened.attrs['href']} {opened.attrs.get('title', '')}".strip()


def _link_close(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    shown = tokens[index].meta.get("shown")
    if shown is None:
        return "</a>"
    return f'</a> <span class="url">{escape(mdurl.decode(shown, mdurl.DECODE_DEFAULT_CHARS + "%"))}</span>'


def _fence(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[index]
    label = f'<div class="lang">{escape(token.info.strip())}</div>' if token.info.strip() else ""
    return f"{label}<pre><code>{escape(token.content)}</code></pre>\n"


def _table_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    return '<div class="wide"><table>\n'


def _table_close(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    return "</table></div>\n"
