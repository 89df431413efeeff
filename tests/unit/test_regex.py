"""Regular expressions of strangers: RE2's syntax and answers, and never a stall."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tranship.formats.regex import RegexError, compile_regex


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("", ["", "x"], []),
        ("b", ["abc"], ["ac", ""]),
        ("^b", ["bc"], ["ab"]),
        ("b$", ["ab"], ["bc", "b\n"]),  # not before a final line end, as Python has it
        ("(?m)^b$", ["a\nb\nc"], ["a\nbc"]),
        ("a.c", ["abc"], ["a\nc"]),
        ("(?s)a.c", ["a\nc"], ["ac"]),
        ("(?i)straße", ["STRAßE"], ["strasse"]),
        ("a(?i:B)c", ["abc", "aBc"], ["ABc", "abC"]),
        ("a(?i)b|C", ["aB", "c"], ["Ab"]),
        ("(?i-i)a", ["a"], ["A"]),
        ("(?i)[^a]", ["b"], ["a", "A"]),
        ("ab*c", ["ac", "abbbc"], ["abb"]),
        ("ab+?c", ["abc"], ["ac"]),
        ("^ab?$", ["a", "ab"], ["abb"]),
        ("^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
        ("^a{2,}$", ["aa", "aaaaa"], ["a"]),
        ("^a{2}$", ["aa"], ["a", "aaa"]),
        ("^a{0}$", [""], ["a"]),
        ("a{,2}", ["a{,2}"], ["aa"]),  # no repetition: the characters
        ("a{x", ["a{x"], ["aa"]),
        ("^(ab|cd)*$", ["", "abcdab"], ["abc"]),
        ("^(|a)+$", ["", "aaa"], ["b"]),
        ("(?P<name>a)(?<n>b)(?:c)", ["abc"], ["ab"]),
        ("[a-cx]", ["b", "x"], ["d"]),
        ("[^a-c]", ["d"], ["abc"]),
        ("[]a]", ["]", "a"], ["b"]),
        ("[^]a]", ["b"], ["]a"]),
        ("[a-]", ["-"], ["b"]),
        (r"[\d\-]", ["7", "-"], ["x"]),
        (r"[^\d]", ["x"], ["7"]),
        (r"[\d-z]", ["7", "-", "z"], ["y"]),
        ("[[:alpha:]_]", ["x", "_"], ["7"]),
        ("[[:^digit:]]", ["x"], ["7"]),
        (r"^\d\D\w\W\s\S$", ["1xa- x"], ["xxxxxx"]),
        (r"\d", ["7"], ["٣"]),  # digits are ASCII
        (r"\bfoo\b", ["a foo b", "foo"], ["food"]),
        (r"\Boo\B", ["food"], ["foo"]),
        (r"\Ab\z", ["b"], ["ab", "b\n"]),
        (r"\.\*\/\-", [".*/-"], ["x*/-"]),
        (r"\x41\x{42}\103\n\t", ["ABC\n\t"], ["ABC"]),
        (r"\Qa.b*\Ec", ["a.b*c"], ["axb*c"]),
        (r"\Qa.b", ["a.b"], ["axb"]),
        (r"\pL\p{Nd}\P{L}", ["é3-"], ["33-"]),
        (r"^\p{^L}$", ["3"], ["x"]),
        ("^é+$", ["éé"], ["e"]),
    ],
)
def test_re2_syntax(pattern, matching, other):
    compiled = compile_regex(pattern)
    assert [text for text in matching if not compiled.search(text)] == []
    assert [text for text in other if compiled.search(text)] == []


REFUSED = r"""
( ) (a a) [ [a [b-a] [a-\d] [[:nope:]] * a|* (+) a** a*{2} a{2}{3} a{3,2} a{1001} \ \1 \8 \Z \y \x \x{110000} \p{Nope} \p
(?=a) (?<!a) (?>a) (?#x) (?P=x) (?i (?x)a a{1000}{1000} (a{1000}){3} ((){1000}){1000} (((((a?){9}){9}){9}){9}){9}
"""


@pytest.mark.parametrize("pattern", [*REFUSED.split(), "x" * 1025, "(" * 60 + ")" * 60])
def test_what_re2_does_not_take_and_what_is_too_large_is_refused(pattern):
    with pytest.raises(RegexError):
        compile_regex(pattern)


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(a|a)*$", "(a*)*b", "(.*)(.*)(.*)(.*)x$", "(a?){30}a{30}$"])
def test_a_pattern_that_would_make_a_backtracker_stall_answers(pattern):
    compiled = compile_regex(pattern)
    assert compiled.search("a" * 2000 + "!") is False


ATOM = st.sampled_from(["a", "b", ".", "^", "$", r"\b", "[ab]", "[^a]", r"\w", "(?:)", "c"])
PATTERN = st.recursive(
    ATOM,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?"])).map(
            lambda two: f"(?:{two[0]}){two[1]}"
        ),
    ),
    max_leaves=8,
)


@given(PATTERN, st.text("abc !", max_size=8))
def test_it_answers_as_pythons_re_where_the_two_agree_on_the_syntax(pattern, text):
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII)
    assert compile_regex(pattern).search(text) is (expected is not None)


@given(st.text("ab(|)*+?{}[]^$.\\-1,dQEpPx:i=<", max_size=20), st.text("ab", max_size=5))
def test_any_pattern_compiles_or_is_refused(pattern, text):
    try:
        compiled = compile_regex(pattern)
    except RegexError:
        assume(False)
    assert compiled.search(text) in (True, False)
