import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.errors import ConfigError
from dragoman.profiles.torchserve.properties import dump, expand, parse

CASES = {
    "key=value": {"key": "value"},
    "key:value": {"key": "value"},
    "key value": {"key": "value"},
    "key\tvalue": {"key": "value"},
    "  key  =  value": {"key": "value"},
    "key = : value": {"key": ": value"},
    "key  :=value": {"key": "=value"},
    "key": {"key": ""},
    "key=": {"key": ""},
    "=value": {"": "value"},
    "key=value  ": {"key": "value  "},
    "a=1\rb=2\r\nc=3\n": {"a": "1", "b": "2", "c": "3"},
    "a=1\na=2": {"a": "2"},
    "# a=1\n! b=2\n  # c=3\nd=4": {"d": "4"},
    "# goes on? \\\na=1": {"a": "1"},
    "a=1 # no comment": {"a": "1 # no comment"},
    "\n \n\t\na=1": {"a": "1"},
    "a=1,\\\n   2,\\\n\t3": {"a": "1,2,3"},
    "a=1\\\\\nb=2": {"a": "1\\", "b": "2"},
    "a=1\\\\\\\nb=2": {"a": "1\\b=2"},
    "a=1\\\n\nb=2": {"a": "1", "b": "2"},
    "a=1\\\n# still a": {"a": "1# still a"},
    "a=1\\": {"a": "1"},
    "\\\n# a comment after all\na=1": {"a": "1"},
    "a\\=b\\:c\\ d=e": {"a=b:c d": "e"},
    "a=\\t\\n\\r\\f\\q\\\\": {"a": "\t\n\r\fq\\"},
    "a=\\u00fc\\u00FC": {"a": "üü"},
    "a=\\ud83d\\ude00": {"a": "😀"},
    "a=\\\\u00fc": {"a": "\\u00fc"},
    "inference_address=http\\://127.0.0.1\\:8080": {"inference_address": "http://127.0.0.1:8080"},
    'models={\\\n  "noop": {\\\n    "1.0": {"minWorkers": 1}\\\n  }\\\n}': {
        "models": '{"noop": {"1.0": {"minWorkers": 1}}}'
    },
    "a=\x0b\x85\u2028": {"a": "\x0b\x85\u2028"},
    "": {},
}


@pytest.mark.parametrize("text", CASES)
def test_text_is_read_as_java_reads_it(text):
    assert parse(text) == CASES[text]


@pytest.mark.parametrize("text", ["a=\\u12", "a=\\u12g4", "a=\\u", "\\uzzzz=1"])
def test_a_broken_escape_is_refused(text):
    with pytest.raises(ConfigError, match="malformed"):
        parse(text)


@given(st.dictionaries(st.text(), st.text()))
def test_what_is_written_is_read_back(values):
    text = dump(values)
    assert text.isascii()
    assert parse(text) == values


@given(st.text(alphabet="ab=: \t\f\\#!\r\nu0", max_size=60))
def test_whatever_is_read_is_the_same_when_written_and_read_again(text):
    try:
        values = parse(text)
    except ConfigError:
        return
    assert parse(dump(values)) == values


def test_variables_of_the_environment_are_put_in():
    values = {"a": "$$HOME$$/x/$$USER$$", "b": "$HOME $$ $$$$", "c": "$$A$$"}
    environ = {"HOME": "/home/$$USER$$\\1", "USER": "me"}
    assert expand(values, environ) == {"a": "/home/$$USER$$\\1/x/me", "b": "$HOME $$ $$$$", "c": "$$A$$"}


def test_a_variable_that_is_not_set_is_refused():
    with pytest.raises(ConfigError, match="model_store asks for the environment variable 'NOWHERE'"):
        expand({"model_store": "$$NOWHERE$$"}, {})
