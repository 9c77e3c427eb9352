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
    compared = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and not isinstance(node.ops[0], ast.Is | ast.IsNot)
    ]
    names = {name.id for node in compared for name in ast.walk(node) if isinstance(name, ast.Name)}
    attributes = {a.attr for node in compared for a in ast.walk(node) if isinstance(a, ast.Attribute)}
    assert names <= {"now", "key", "match"}
    assert attributes <= {"expires"}


# Restrictions.


@pytest.mark.parametrize(
    ("text", "operations", "header"),
    [
        ("inference:infer-key=s3cret", {"inference"}, "infer-key"),
        ("health,model-repository:Admin-Key=a=b", {"health", "model-repository", "model-index"}, "admin-key"),
        ("management:k=v", {"management", "inspection"}, "k"),
        (" health, metadata :k=v", {"health", "metadata"}, "k"),
        ("health,metadata,k=v", {"health", "metadata"}, "k"),  # as tritonserver's help has it
    ],
)
def test_restrictions_are_read_as_tritonserver_reads_them(text, operations, header):
    restriction = auth.parse_restriction(text)
    assert (restriction.operations, restriction.header) == (operations, header)
    assert auth.parse_restriction(text, "pre-").header == f"pre-{header}"
    assert text.rpartition("=")[2] not in repr(restriction) or len(text.rpartition("=")[2]) == 1


@pytest.mark.parametrize(
    "text",
    ["", "inference", "inference:key", "inference:=v", "inference:k=", ":k=v", "x y:k=v", "health:ä=v"],
)
def test_what_is_no_restriction_says_so(text):
    with pytest.raises(ValueError):
        auth.parse_restriction(text)


def test_several_restrictions_have_semicolons_between():
    found = auth.parse_restrictions(" health:a=1; inference,metadata:b=2 ;", "pre-")
    assert [(sorted(each.operations), each.header) for each in found] == [
        (["health"], "pre-a"),
        (["inference", "metadata"], "pre-b"),
    ]
    assert auth.parse_restrictions("") == []


def test_an_unknown_operation_is_no_restriction():
    with pytest.raises(ValueError, match="unknown operation 'infer', known: health, metadata, inference"):
        auth.parse_restriction("infer:k=v")


def test_only_restricted_operations_need_their_header_with_exactly_its_value():
    permissions = auth.Permissions([auth.parse_restriction("inference,health:key=s3cret")])
    headers = {"key": "s3cret"}
    assert [name for name in auth.OPERATIONS if permissions.asks(name)] == ["health", "inference"]
    assert permissions.lacking("inference", headers.get) is None
    assert permissions.lacking("metadata", {}.get) is None
    for wrong in ({}, {"key": "S3cret"}, {"key": ""}, {"key": "s3cret "}, {"KEY": "s3cret"}):
        assert permissions.lacking("inference", wrong.get) == "key"


def test_an_operation_that_nobody_has_heard_of_is_denied():
    for ask in (auth.Permissions().asks, lambda name: auth.Permissions().lacking(name, {}.get)):
        with pytest.raises(KeyError):
            ask("unheard-of")


def test_an_operation_is_restricted_once():
    twice = [auth.parse_restriction("health:a=1"), auth.parse_restriction("inference,health:b=2")]
    with pytest.raises(ValueError, match="health is restricted twice"):
        auth.Permissions(twice)
