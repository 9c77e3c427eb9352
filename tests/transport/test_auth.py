import ast
import inspect

import pytest

from dragoman.transport import auth
from dragoman.transport.auth import authorize, make_key

GOOD = make_key("s3cret-key")


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("Bearer s3cret-key", True),
        ("Bearer   s3cret-key", True),
        ("Bearer\ts3cret-key", True),
        ("bearer s3cret-key", False),
        ("BEARER s3cret-key", False),
        ("s3cret-key", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Bearer s3cret-key ", False),
        (" Bearer s3cret-key", False),
        ("Bearer s3cret-key x", False),
        ("Bearer s3cret-ke", False),
        ("Bearer s3cret-keyy", False),
        ("Bearer ünïcode", False),
        ("Bearer \udcff", False),
        ("Basic s3cret-key", False),
        ("", False),
        (None, False),
    ],
)
def test_only_the_key_itself_after_bearer_opens(header, allowed):
    assert authorize(header, [GOOD], now=0.0) is allowed


def test_a_key_opens_until_the_moment_it_expires():
    key = make_key("key", expires=100.0)
    assert authorize("Bearer key", [key], now=99.9)
    assert not authorize("Bearer key", [key], now=100.0)


def test_any_of_several_keys_opens_and_none_of_no_keys():
    assert authorize("Bearer b", [make_key("a"), make_key("b"), make_key("c")], now=0.0)
    assert not authorize("Bearer b", [], now=0.0)
    assert not authorize(None, [make_key("")], now=0.0)


def test_a_key_keeps_no_secret():
    assert "s3cret" not in repr(GOOD)


def test_secrets_are_compared_by_compare_digest_and_nothing_else():
    tree = ast.parse(inspect.getsource(auth))
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
    names = {name.id for node in compared for name in ast.walk(node) if isinstance(name, ast.Name)}
    attributes = {a.attr for node in compared for a in ast.walk(node) if isinstance(a, ast.Attribute)}
    assert names <= {"now", "key", "match"}
    assert attributes <= {"expires"}
