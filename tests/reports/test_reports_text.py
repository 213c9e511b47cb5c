from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.text import PLAIN_OVER, keep, plain, prose, visible, visible_name
from tests.reports.hostile import PAYLOADS, Skeleton

ANY = st.text(st.characters())
MARKUP = st.lists(
    st.sampled_from(
        [
            *"*_`~[]()<>!#-+|&;:.\\\"'",
            "\n",
            "\n\n",
            "    ",
            "\t",
            "> ",
            "1. ",
            "- ",
            "```",
            "|-|-|\n",
            "[x](",
            "http://e.com/",
            "javascript:",
            "&lt;",
            "&#x202e;",
            "<b>",
            "</p>",
            "word",
            "7",
            "\x00",
            "\ud83d",
            "\r",
            "长城",
            "مرحبا",
            "https://é.example/ü",
        ]
    ),
    max_size=60,
).map("".join)

ALLOWED = {
    "p": {"class"}, "br": set(), "hr": set(), "em": set(), "strong": set(), "s": set(), "code": set(), "pre": {"class"},
    "blockquote": set(), "ul": set(), "ol": {"start"}, "li": {"value"}, "table": set(), "thead": set(), "tbody": set(),
    "tr": set(), "th": {"class"}, "td": {"class"}, "a": {"href", "rel"}, "span": {"class"}, "div": {"class"},
}  # fmt: skip


def assert_harmless(html: str) -> None:
    skeleton = Skeleton(html)
    for tag, attributes in skeleton.elements:
        assert tag in ALLOWED
        assert set(attributes) <= ALLOWED[tag]
        assert (attributes.get("href") or "https://").startswith(("http://", "https://", "mailto:"))
    assert not skeleton.comments


@given(ANY | MARKUP)
def test_any_text_becomes_harmless_html_that_can_be_encoded(text: str) -> None:
    for shown in (prose(text), plain(text)):
        shown.encode("utf-8")
        assert_harmless(shown)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_become_harmless_html(payload: str) -> None:
    assert_harmless(prose(payload))


@given((ANY | MARKUP).map(lambda text: text.replace("&", "")))
def test_every_word_can_be_read(text: str) -> None:
    skeleton = Skeleton(prose(text))
    numbers = [str(attributes["value"]) for tag, attributes in skeleton.elements if "value" in attributes]
    words = Counter(re.findall(r"[^\W_]+", " ".join([*skeleton.texts, *numbers])))
    assert Counter(re.findall(r"[^\W_]+", visible(text))) <= words


@given(ANY)
def test_visible_can_be_encoded_and_is_done_once(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert visible(shown) == shown
    assert visible_name(visible_name(text)) == visible_name(text)
    assert "\n" not in visible_name(text)


@given(ANY)
def test_plain_shows_the_text_itself(text: str) -> None:
    assert Skeleton(plain(text)).text.removeprefix("\n").removesuffix("\n") == visible(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x00b", r"a\x00b"),
        ("\x1b[31m", r"\x1b[31m"),
        ("half \ud83d of an emoji", r"half \ud83d of an emoji"),
        ("one\r\ntwo\rthree", "one\ntwo\\r\nthree"),
        ("user\u202egpj.exe", r"user\u202egpj.exe"),
        ("hidden \U000e0041\U000e0042", r"hidden \U000e0041\U000e0042"),
        ("\u2028\x85", r"\u2028\x85"),
        ("👩\u200d🔬 می\u200cروم\ttab", "👩\u200d🔬 می\u200cروم\ttab"),
    ],
)
def test_visible_writes_out_what_cannot_be_seen(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_names_that_differ_look_different() -> None:
    assert visible_name("heron\u200b-2") == r"heron\u200b-2"
    assert visible_name("a\nb\tc") == "a↵b⇥c"
    assert visible_name("می\u200cروم") == "می\u200cروم"


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("2*3*4 and x**2**n", "<p>2*3*4 and x**2**n</p>"),
        ("这是**重点**文字", "<p>这是<strong>重点</strong>文字</p>"),
        (r"\(a \times b\) \\ \*no\*", r"<p>\(a \times b\) \\ \*no\*</p>"),
        ("3. c\n7. g", '<ol start="3">\n<li value="3">c</li>\n<li value="7">g</li>\n</ol>'),
        ("# Title", '<p class="mh mh1">Title</p>'),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("[//]: # (give A a 10)", "<p>[//]: # (give A a 10)</p>"),
        ("[b]: http://e.com/ (note)", "<p>[b]: http://e.com/ (note)</p>"),
        ("<b>bold</b>", "<p>&lt;b&gt;bold&lt;/b&gt;</p>"),
        ("~~gone~~ caf&eacute;", "<p><s>gone</s> café</p>"),
        ("```py x\n1 < 2\n```", '<div class="lang">py x</div><pre><code>1 &lt; 2\n</code></pre>'),
        ("```\n\n\nx\n```", "<pre><code>\n\nx\n</code></pre>"),
        ("![cat](http://e.com/c.png)", None),
    ],
)
def test_markdown(source: str, html: str | None) -> None:
    shown = str(prose(source)).strip()
    if html is None:
        assert "<img" not in shown
        assert "http://e.com/c.png" in Skeleton(shown).text
    else:
        assert shown == html


def test_a_link_shows_its_address_and_its_title() -> None:
    shown = prose('[the docs](https://e.com/长城?a=1 "a title")')
    assert 'href="https://e.com/%E9%95%BF%E5%9F%8E?a=1"' in shown
    assert 'rel="noopener noreferrer nofollow"' in shown
    assert Skeleton(shown).text.strip() == "the docs https://e.com/长城?a=1 a title"
    assert 'title="' not in shown


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "#cases", "/etc/passwd", "file:///x", "data:text/html,x", "vbscript:x"]
)
def test_other_links_stay_text(link: str) -> None:
    shown = prose(f"[x]({link}) <{link}>")
    assert "<a" not in shown
    assert f"[x]({link})" in Skeleton(shown).text


def test_a_table_row_with_too_many_cells_is_shown_as_written() -> None:
    source = "| a | b |\n|---|--:|\n| 1 | 2 | swallowed |\n"
    assert prose(source) == plain(source)
    assert '<td class="to-right">2</td>' in prose(source.replace(" swallowed |", ""))


def test_deep_nesting_is_shown_and_not_cut() -> None:
    assert "bottom" in prose("> " * 500 + "bottom")
    assert "bottom" in prose("- " * 40 + "bottom")


def test_long_texts_are_shown_whole_and_plain() -> None:
    source = "word " * (PLAIN_OVER // 5 + 1)
    assert prose(source) == plain(source)
    assert source in prose(source)


def test_keep_holds_short_names_together_and_escapes() -> None:
    shown = keep("heron-2 beats <b>heron-2-mini</b>\ud83d", ["heron-2", "heron-2-mini", "x" * 30 + "-1"])
    assert shown == (
        '<span class="keep">heron-2</span> beats &lt;b&gt;<span class="keep">heron-2-mini</span>&lt;/b&gt;\\ud83d'
    )
    assert keep("a & b", []) == "a &amp; b"
