"""What a request can make the server fetch and unpack: from where it is allowed, whole, and nowhere else.

S1, S3, S8, S10 and S38 name the cases of the reliability corpus.
"""

import json
import socket
import stat
import tarfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.profiles.archives import BROKEN, write_archive
from tests.profiles.running import INFERENCE, MANAGEMENT, serving, until
from tests.repository.archives import header, raw_tar, tar_of, tarred_members, zipped, zipped_members
from tests.repository.sources.conftest import canary, host
from tests.repository.sources.hosts import listing, moved, text, unchanged
from tests.repository.sources.test_http import INSIDE

__all__ = ["canary", "host"]  # fixtures

LOOPBACK = {"allowed_networks": "127.0.0.1/32"}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "store").mkdir()
    write_archive(tmp_path / "store", "old")
    return tmp_path


def managed(directory, **values):
    said = {"load_models": "old.mar", "disable_token_authorization": "true", "enable_model_api": "true"}
    return serving(directory, **{**said, **values})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A server whose operator has allowed nothing beyond TorchServe's defaults."""
    directory = tmp_path_factory.mktemp("plain")
    (directory / "store").mkdir()
    write_archive(directory / "store", "old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        with managed(directory) as running:
            yield running


def post(running, url, **more):
    query = "&".join(f"{name}={value}" for name, value in more.items())
    return running.ask(MANAGEMENT, f"/models?url={quote(url, safe='')}&{query}", "POST")


def post_json(running, url):
    document, kind = json.dumps({"url": url}), {"Content-Type": "application/json"}
    return running.ask(MANAGEMENT, "/models", "POST", body=document, headers=kind)


def names(running):
    return [model["modelName"] for model in running.ask(MANAGEMENT, "/models").json["models"]]


def archive_of(directory, name="far", handler=None, **more):
    """The bytes of an archive that lies nowhere."""
    (directory / "made").mkdir(exist_ok=True)
    path = write_archive(directory / "made", name, *filter(None, [handler]), **more)
    content = path.read_bytes()
    path.unlink()
    return content


@contextmanager
def nothing_happens(running):
    """The store, the folders around it and the models are the same afterwards."""
    before = (
        names(running),
        sorted(path for path in running.directory.rglob("*") if "cache" not in path.parts),
    )
    with unchanged(running.directory / "store"):
        yield
    assert before == (
        names(running),
        sorted(path for path in running.directory.rglob("*") if "cache" not in path.parts),
    )


@pytest.mark.parametrize("url", INSIDE.split())
def test_no_request_leads_into_the_servers_own_network(plain, canary, url):
    """S1"""
    # row: private-addresses
    location = url.format(port=canary().port, six=canary("::1").port)
    with nothing_happens(plain):
        for answer in (post(plain, location), post_json(plain, location)):
            assert 400 <= answer.status < 500
            assert answer.json["code"] == answer.status


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file:///proc/self/environ",
        "file:///dev/zero",
        "file:///etc",
        "/etc",
        "/etc/passwd",
    ],
)
def test_files_of_the_machine_are_not_told(plain, url):
    """S1"""
    with nothing_happens(plain):
        answer = post(plain, url)
        assert 400 <= answer.status < 500
        assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "url",
    [
        "..", "../old.mar", "a/../../old.mar", "..%2fold.mar", "%2e%2e/old.mar", "%252e%252e/old.mar", ".", "/", "",
        "old.mar/", "old.mar\x00", "\x00", "old.mar\n", "a b.mar", "x" * 4096, "\\\\host\\share\\x.mar", "..\\old.mar",
        ".hidden.mar", "~/old.mar", "old.mar%00", "\u202e.mar",
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_store(plain, url):
    """S10"""
    with nothing_happens(plain):
        for answer in (post(plain, url), post_json(plain, url)):
            assert 400 <= answer.status < 500, answer.body


@pytest.mark.parametrize(
    "to",
    [
        "http://127.0.0.2:{port}/x.mar", "//127.0.0.2:{port}/x.mar", "http://2130706434:{port}/x.mar",
        "http://[::ffff:127.0.0.2]:{port}/x.mar", "http://127.0.0.1@127.0.0.2:{port}/x.mar", "file:///etc/passwd",
        "http://169.254.169.254/latest/x", "ftp://127.0.0.2:{port}/x.mar", "s3://bucket/x.mar",
    ],
)  # fmt: skip
def test_a_redirect_leads_nowhere_that_is_not_allowed(directory, host, canary, to):
    """S8"""
    host.answers["/x.mar"] = moved(to.format(port=canary("127.0.0.2").port))
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        answer = post(running, f"{host.base}/x.mar")
        assert answer.status == 404
        assert answer.json["message"] == f"Given URL {host.base}/x.mar does not match any allowed URL(s)"


@pytest.mark.parametrize(
    "answer",
    [
        text(404, b"no"),
        text(200, b"x" * 1000)[:-1],
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"no HTTP at all\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999\r\n\r\nx",
    ],
)
def test_what_is_not_had_whole_is_not_kept(directory, host, answer):
    """S8"""
    host.answers["/x.mar"] = answer
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        expected = f"Failed to download archive from: {host.base}/x.mar"
        found = post(running, f"{host.base}/x.mar").json
        assert found == {"code": 400, "type": "DownloadArchiveException", "message": expected}


def test_a_name_that_means_another_host_a_moment_later_is_judged_again(directory, host, canary, monkeypatch):
    """S38"""
    trap = canary("127.0.0.2")
    answers = iter(["127.0.0.1", "127.0.0.2"])
    ask = socket.getaddrinfo

    def look_up(name, *args, **more):
        if name != "rebind.example":
            return ask(name, *args, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    host.answers["/x.mar"] = moved(f"http://rebind.example:{trap.port}/x.mar")
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        assert post(running, f"http://rebind.example:{host.port}/x.mar").status == 404
        assert len(host.requests) == 1


EVIL = {
    "up": zipped_members(("../x", b"owned")),
    "far up": zipped_members(("a/../../x", b"owned")),
    "a sibling": zipped_members(("../store-evil/x", b"owned")),
    "absolute": zipped_members(("/tmp/owned", b"owned")),
    "backslash": zipped_members(("..\\x", b"owned")),
    "a null": zipped_members(("x\0y", b"owned")),
    "one name twice": zipped_members(("a", b""), ("A", b"")),
    "a link": zipped_members(("evil", b"/tmp"), mode=stat.S_IFLNK | 0o777),
    "up in a tar": tarred_members(("../x", b"owned")),
    "absolute in a tar": tarred_members(("/tmp/owned", b"owned")),
    "a link in a tar": tar_of(tarfile.SYMTYPE, "evil", "/tmp"),
    "a hard link in a tar": tar_of(tarfile.LNKTYPE, "evil", "/etc/passwd"),
    "a device in a tar": tar_of(tarfile.CHRTYPE),
    "a pipe in a tar": tar_of(tarfile.FIFOTYPE),
    "a tar that ends early": raw_tar((header("x", 1000), b"short"), end=False)[:-20],
    "a bomb": zipped({"x": bytes(200 << 20)}),
    "a manifest that is none": zipped({"MAR-INF/MANIFEST.json": b"[]"}),
    "a manifest that leads out": zipped(
        {"MAR-INF/MANIFEST.json": b'{"runtime": "python", "model": {"modelName": "x", "handler": "h.py",'
         b' "modelVersion": "1.0", "serializedFile": "../../x"}}'}
    ),
    "nothing": b"",
    "no archive": b"x" * 5000,
}  # fmt: skip


@pytest.mark.parametrize("kind", EVIL)
def test_an_archive_that_is_not_fit_is_refused_and_leaves_nothing(directory, host, kind):
    """S3"""
    suffix = "tar.gz" if "tar" in kind else "mar"
    host.answers[f"/x.{suffix}"] = text(200, EVIL[kind])
    (directory / "store" / f"here.{suffix}").write_bytes(EVIL[kind])
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        for location in (f"{host.base}/x.{suffix}", f"here.{suffix}"):
            answer = post(running, location, initial_workers=1)
            assert (answer.status, answer.json["type"]) == (400, "InvalidModelException"), answer.body
            assert str(directory).encode() not in answer.body
        kept = directory / "cache" / "dragoman" / "models"
        assert [path for path in kept.iterdir() if path.name.startswith(".")] == []
        unpacked = [path for path in kept.iterdir() if path.is_dir()]
        assert len(unpacked) == 1 + (
            "manifest" in kind
        )  # the model's that is loaded, and what can be unpacked
        assert not Path("/tmp/owned").exists()


def test_a_model_is_fetched_served_and_taken_out_of_the_store_again(directory, host):
    host.answers["/m/far.mar?signature=secret"] = text(200, content := archive_of(directory))
    with managed(directory, **LOOPBACK) as running:
        before = listing(directory / "store")
        url = f"{host.base}/m/far.mar?signature=secret"
        assert post(running, url, initial_workers=1).status == 200
        assert (directory / "store" / "far.mar").read_bytes() == content
        assert running.ask(INFERENCE, "/predictions/far", "POST", body=b"x").status == 200
        (described,) = running.ask(MANAGEMENT, "/models/far").json
        assert described["modelUrl"] == f"{host.base}/m/far.mar"  # a query may be a secret
        document = running.app.manager.desired("far").versions["1.0"].document
        assert len(document["digest"]) == 64
        assert "secret" not in json.dumps(document)
        assert running.ask(MANAGEMENT, "/models/far", "DELETE").status == 200
        assert listing(directory / "store") == before
        assert post(running, url).status == 200


def test_a_file_that_is_there_is_not_fetched_over(directory, host):
    # row: file-exists
    host.answers["/old.mar"] = text(200, archive_of(directory, "old"))
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        found = post(running, f"{host.base}/old.mar").json
        assert found == {
            "code": 409,
            "type": "ConflictStatusException",
            "message": "Model file already exists old.mar",
        }
        assert host.requests == []


@pytest.mark.parametrize(
    ("name", "handler", "status"), [("far", BROKEN, 500), ("old", None, 409), ("no good", None, 400)]
)
def test_a_model_that_was_fetched_and_can_not_be_served_leaves_nothing(
    directory, host, name, handler, status
):
    host.answers["/x.mar"] = text(200, archive_of(directory, name, handler))
    with managed(directory, **LOOPBACK) as running, nothing_happens(running):
        assert post(running, f"{host.base}/x.mar", initial_workers=1).status == status
        answer = post(running, f"{host.base}/x.mar", initial_workers=1, synchronous="false")
        if status == 500:
            assert answer.status == 202
            until(lambda: names(running) == ["old"])
            until(lambda: not (directory / "store" / "x.mar").exists())
        else:
            assert answer.status == status


def test_a_file_that_others_are_served_from_stays(directory, host):
    host.answers["/far.mar"] = text(200, archive_of(directory))
    with managed(directory, **LOOPBACK) as running:
        assert post(running, f"{host.base}/far.mar").status == 200
        assert post(running, "far.mar", model_name="second").status == 200
        assert running.ask(MANAGEMENT, "/models/far", "DELETE").status == 200
        assert (directory / "store" / "far.mar").exists()
        assert running.ask(MANAGEMENT, "/models/second", "DELETE").status == 200
        assert (directory / "store" / "far.mar").exists()  # it was registered by its name


def test_a_file_url_is_copied_and_a_folder_is_used_where_it_lies(directory, tmp_path):
    (tmp_path / "away").mkdir()
    file = write_archive(tmp_path / "away", "far")
    folder = tmp_path / "away" / "unpacked"
    (folder / "MAR-INF").mkdir(parents=True)
    manifest = {"runtime": "python", "model": {"modelName": "near", "handler": "h.py", "modelVersion": "1.0"}}
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    with managed(directory) as running:
        before = listing(directory / "store")
        assert post(running, f"file://{file}").status == 200
        assert (directory / "store" / "far.mar").read_bytes() == file.read_bytes()
        for location in (f"file://{folder}", str(folder)):
            assert post(running, location, initial_workers=0).status == 200
            assert running.ask(MANAGEMENT, "/models/near", "DELETE").status == 200
        assert running.ask(MANAGEMENT, "/models/far", "DELETE").status == 200
        assert listing(directory / "store") == before
        assert folder.exists()


def test_only_what_the_operator_allows_is_fetched(directory, host):
    host.answers["/good/far.mar"] = text(200, archive_of(directory))
    said = {"allowed_urls": f"{host.base}/good/.*,s3://bucket/.*", **LOOPBACK}
    with managed(directory, **said) as running:
        for url in (f"{host.base}/bad/far.mar", f"{host.base}/good/../bad/far.mar", "file:///etc/hosts"):
            assert post(running, url).status == 404
        assert host.requests == []
        assert post(running, f"{host.base}/good/far.mar").status == 200


def test_an_object_store_whose_library_is_not_there_says_what_to_install(directory):
    with managed(directory, allowed_urls="gs://.*") as running, nothing_happens(running):
        answer = post(running, "gs://bucket/x.mar")
        assert (answer.status, answer.json["type"]) == (400, "BadRequestException")
        assert "pip install 'dragoman[gs]'" in answer.json["message"]
