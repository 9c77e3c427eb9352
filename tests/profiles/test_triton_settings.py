"""tritonserver's flags: what each becomes, and what is said of the rest."""

import pytest

from dragoman.cli.tritonserver import _given
from dragoman.config import Settings
from dragoman.errors import ConfigError
from dragoman.profiles.triton.flags import BY_NAME, FLAGS
from dragoman.profiles.triton.settings import CertificateFiles, Listen, read
from dragoman.profiles.use import Use

MODELS = "--model-repository=models"


def parse(*arguments):
    return read(_given([MODELS, *arguments]))


def setting(path):
    section, _, key = path.partition(".")
    return lambda said: getattr(getattr(said.settings, section), key)


#: A flag, its value, what is read of the configuration, and what that is.
HONOURED = [
    ("--exit-timeout-secs=7", setting("server.grace"), 7),
    ("--log-verbose=1", setting("log.level"), "debug"),
    ("--log-info=false", setting("log.level"), "warning"),
    ("--log-info=false --log-warning=off", setting("log.level"), "error"),
    ("--model-repository=more --model-store third", lambda said: said.repositories, ("models", "more", "third")),
    ("--exit-on-error=false", lambda said: said.strict, False),
    ("--model-control-mode=explicit", setting("server.control"), "explicit"),
    ("--model-control-mode=explicit", setting("server.load_model"), ()),
    ("--model-control-mode=explicit --load-model=a --load-model b", setting("server.load_model"), ("a", "b")),
    ("--model-control-mode=explicit --load-model=*", setting("server.load_model"), ("*",)),
    ("--model-control-mode=none --load-model=a", setting("server.load_model"), ()),
    ("--model-control-mode=poll", setting("server.control"), "poll"),
    ("--model-control-mode=poll --repository-poll-secs=7", setting("server.poll_interval"), 7),
    ("--allow-http=false", lambda said: said.http, None),
    ("--http-address=0.0.0.0 --http-port=80", lambda said: said.http, Listen("0.0.0.0", 80)),
    ("--reuse-http-port=true", lambda said: said.http, Listen("127.0.0.1", 8000, True)),
    ("--http-max-input-size=1000", setting("limits.body_bytes"), 1000),
    ("--http-restricted-api=health:k=v", lambda said: said.restrictions.rest.asks("health"), True),
    ("--http-restricted-api=health:k=v", lambda said: said.restrictions.grpc.asks("health"), False),
    ("--allow-grpc=0", lambda said: said.grpc, None),
    ("--allow-grpc=0", setting("server.grpc"), False),
    ("--grpc-address=10.0.0.1 --grpc-port 9", lambda said: said.grpc, Listen("10.0.0.1", 9)),
    ("--reuse-grpc-port=1", lambda said: said.grpc, Listen("127.0.0.1", 8001, True)),
    ("--grpc-restricted-protocol=health,trace:k=v", lambda said: said.restrictions.grpc.asks("trace"), True),
    ("--grpc-use-ssl=true --grpc-server-cert=c --grpc-server-key=k --grpc-root-cert=r",
     lambda said: said.certificates, CertificateFiles("c", "k", "")),
    ("--grpc-use-ssl-mutual=true --grpc-server-cert=c --grpc-server-key=k --grpc-root-cert=r",
     lambda said: said.certificates, CertificateFiles("c", "k", "r")),
    ("--grpc-server-cert=c --grpc-server-key=k", lambda said: said.certificates, None),
    ("--grpc-infer-response-compression-level=high", setting("grpc.compression"), "high"),
    ("--grpc-keepalive-time=1500", setting("grpc.keepalive_time"), 1.5),
    ("--grpc-keepalive-timeout=500", setting("grpc.keepalive_timeout"), 0.5),
    ("--grpc-keepalive-permit-without-calls=1", setting("grpc.keepalive_without_calls"), True),
    ("--grpc-http2-max-pings-without-data=0", setting("grpc.max_pings_without_data"), 0),
    ("--grpc-http2-min-recv-ping-interval-without-data=0", setting("grpc.min_ping_interval"), 0),
    ("--grpc-http2-max-ping-strikes=5", setting("grpc.max_ping_strikes"), 5),
    ("--grpc-max-connection-age=60000", setting("grpc.connection_age"), 60),
    ("--grpc-max-connection-age-grace=1", setting("grpc.connection_age_grace"), 0.001),
    ("--cache-config=local,size=1000", setting("cache.size"), 1000),
    ("--cache-config=local,size=1000", setting("cache.redis"), ""),
    ("--response-cache-byte-size=1000", setting("cache.size"), 1000),
    ("--cache-config=redis,host=h --cache-config redis,port=7 --cache-config=redis,password=p@s",
     setting("cache.redis"), "redis://:p%40s@h:7"),
    ("--cache-config=redis,host=h --cache-config=redis,tls_enabled=true", setting("cache.redis"), "rediss://h:6379"),
    ("--cache-config=redis,host=h", setting("cache.size"), 0),
    ("--allow-client-shm=true", setting("server.client_shm"), True),
    ("--allow-metrics=false", lambda said: said.metrics, None),
    ("--http-address=0.0.0.0", lambda said: said.metrics, Listen("0.0.0.0", 8002)),
    ("--metrics-address=10.0.0.1 --metrics-port=1", lambda said: said.metrics, Listen("10.0.0.1", 1)),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "take", "value"), HONOURED, ids=[flags for flags, _, _ in HONOURED])
def test_a_flag_is_honoured(flags, take, value):
    assert take(parse(*flags.split())) == value


def test_every_flag_that_says_to_be_honoured_is_in_the_table_above():
    tried = " ".join(flags for flags, _, _ in HONOURED)
    assert [flag.name for flag in FLAGS if flag.use is Use.HONOURED and f"--{flag.name}" not in tried] == []


def test_without_flags_the_ports_are_triton_s_and_the_rest_is_ours():
    said = parse()
    assert (said.http, said.grpc, said.metrics) == tuple(
        Listen("127.0.0.1", port) for port in (8000, 8001, 8002)
    )
    assert (said.warnings, said.notes, said.strict) == ((), (), True)
    assert said.settings.server.control == "none"
    usual = Settings()
    assert (said.settings.cache.size, said.settings.cache.redis) == (0, "")
    assert said.settings.limits == usual.limits
    assert said.settings.grpc == usual.grpc
    assert said.settings.server.grace == usual.server.grace


@pytest.mark.parametrize(
    "flag", [flag for flag in FLAGS if flag.use is not Use.HONOURED], ids=lambda flag: flag.name
)
def test_of_the_rest_one_line_tells_unless_the_default_is_meant(flag):
    other = {
        "bool": {"true": "false", "false": "true"}.get(flag.default),
        "int": "77",
        "float": "7.5",
        "text": "x",
    }
    given = [flag.spelling] if not flag.kind else [f"{flag.spelling}={other[flag.kind]}"]
    said = parse(*given)
    told, silent = (said.warnings, said.notes) if flag.use is Use.LATER else (said.notes, said.warnings)
    assert told == (f"{flag.spelling} is {flag.use.value}: {flag.meaning}",)
    assert silent == ()
    if flag.default:
        said = parse(f"{flag.spelling}={flag.default}")
        assert (said.warnings, said.notes) == ((), ())


WRONG = [
    ("--http-port=x", "--http-port must be a whole number from 0 to 65535, got 'x'"),
    ("--grpc-port=65536", "--grpc-port must be a whole number from 0 to 65535, got '65536'"),
    ("--exit-timeout-secs=-1", "--exit-timeout-secs must be a whole number from 0 on, got '-1'"),
    ("--allow-http=maybe", "--allow-http must be true or false, got 'maybe'"),
    ("--grpc-keepalive-time=0", "--grpc-keepalive-time must be a whole number from 1 on, got '0'"),
    ("--grpc-infer-response-compression-level=best", "must be one of none, low, medium, high, got 'best'"),
    ("--model-control-mode=sometimes", "must be one of none, poll, explicit, got 'sometimes'"),
    ("--repository-poll-secs=0", "--repository-poll-secs must be a whole number from 1 on, got '0'"),
    ("--model-control-mode=explicit --load-model=* --load-model=a", "can't go with another --load-model"),
    ("--cache-config=local", "must be like local,size=1048576 or redis,host=localhost, got 'local'"),
    ("--cache-config=disk,size=1", "must be like local,size=1048576"),
    ("--cache-config=local,size=big", "the cache's size must be a whole number of bytes, got 'big'"),
    ("--cache-config=redis,port=1", "--cache-config=redis needs redis,host=..."),
    ("--cache-config=redis,host=h --cache-config=local,size=9", "there is one cache"),
    ("--grpc-use-ssl=true", "TLS for gRPC needs --grpc-server-cert and --grpc-server-key"),
    ("--grpc-use-ssl-mutual=true --grpc-server-cert=c --grpc-server-key=k", "and --grpc-root-cert"),
    ("--http-restricted-api=health", "--http-restricted-api: expected operations:key=value"),
    ("--http-restricted-api=healthy:k=s3cret", "--http-restricted-api: unknown operation 'healthy'"),
    ("--grpc-restricted-protocol=health:k=s3cret --grpc-restricted-protocol=health:l=s3cret",
     "--grpc-restricted-protocol: health is restricted twice"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "words"), WRONG, ids=[flags for flags, _ in WRONG])
def test_what_makes_no_sense_is_refused_and_no_secret_is_told(flags, words):
    with pytest.raises(ConfigError) as caught:
        parse(*flags.split())
    assert words in str(caught.value)
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"


def test_models_are_needed():
    with pytest.raises(ConfigError, match="serve what") as caught:
        read({})
    assert "--model-repository" in caught.value.hint


def test_no_flag_is_there_twice():
    assert len(BY_NAME) == len(FLAGS)
