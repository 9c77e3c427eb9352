"""Every method of both ports, with every key."""

import http.client

import grpc
import pytest

NO = "Token Authorization failed. Token either incorrect, expired, or not provided correctly"
PORTS = {"inference": 0, "management": 1}


def is_let_in(channel, path, authorization):
    metadata = [("authorization", authorization)] if authorization else []
    try:
        for _ in channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=30):
            pass
    except grpc.RpcError as error:
        return (error.code(), error.details()) != (grpc.StatusCode.PERMISSION_DENIED, NO)
    return True


def methods(locked, scope):
    return [route.path for route in locked.running.app.grpc_listeners[PORTS[scope]].server.routes]


@pytest.mark.parametrize("scope", PORTS)
@pytest.mark.parametrize("shown", ["", "inference", "management", "API", "wrong"])
def test_every_method_opens_to_its_own_key_alone(locked, scope, shown):
    key = {"": "", "wrong": "wrong"}.get(shown) if shown in ("", "wrong") else locked.running.keys[shown]
    paths = methods(locked, scope)
    assert len(paths) > 5
    for path in paths:
        opens = is_let_in(locked.channels[PORTS[scope]], path, f"Bearer {key}" if key else "")
        assert opens is (shown == scope), path


@pytest.mark.parametrize("written", ["{}", "bearer {}", "Bearer{}", "Bearer {} x", "Basic {}"])
def test_a_key_is_written_as_torchserve_wants_it(locked, written):
    key = locked.running.keys["inference"]
    assert is_let_in(locked.channels[0], methods(locked, "inference")[0], f"Bearer {key}")
    assert not is_let_in(locked.channels[0], methods(locked, "inference")[0], written.format(key))


def test_a_renewed_key_takes_the_place_of_the_old_one(locked):
    old = locked.running.keys
    port = locked.running.app.listeners[1].port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/token?type=inference", headers={"Authorization": f"Bearer {old['API']}"})
    assert connection.getresponse().status == 200
    connection.close()
    path = methods(locked, "inference")[0]
    assert not is_let_in(locked.channels[0], path, f"Bearer {old['inference']}")
    assert is_let_in(locked.channels[0], path, f"Bearer {locked.running.keys['inference']}")
