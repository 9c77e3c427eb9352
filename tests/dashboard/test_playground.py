"""Somebody tries models in the page, and runs the code it shows."""

import json
import subprocess
import sys

import numpy as np
from playwright.sync_api import expect

from dragoman.config import ServerSettings, Settings
from dragoman.testing import TestClient
from tests.browser import picture
from tests.dashboard import models

BETWEEN = "and over gRPC"
CLIPBOARD = ["clipboard-read", "clipboard-write"]


def ask(page):
    page.get_by_role("button", name="Ask the model").click()
    page.locator(".times").wait_for()


def output(page, name):
    return page.get_by_role("region", name=f"output {name}", exact=True)


def copied(page, language):
    """What the button copies."""
    page.get_by_role("button", name=language, exact=True).click()
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").first.wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("button", name="Copy", exact=True).wait_for()
    return text


def run_both(page, folder):
    """What the copied Python prints, over REST and over gRPC: in one process, for it is the imports that take long."""
    rest, grpc = copied(page, "Python"), copied(page, "gRPC")
    code = f"{rest}\nprint({BETWEEN!r})\n{grpc}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{BETWEEN}\n")


def run_curl(code, folder):
    done = subprocess.run(["sh", "-c", code], cwd=folder, capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_numbers_are_asked_as_a_table_and_answered(visit, server):
    page = visit(server, "#/models/Spread")
    page.get_by_label("values (FP64 [?, ?])").fill("2 4 4 4 5 5 7 9\n1,1,1,1,1,1,1,1")
    ask(page)
    assert output(page, "mean").locator("td").all_inner_texts() == ["5", "1"]
    assert output(page, "deviation").locator("td").all_inner_texts() == ["2", "0"]
    assert "execute" in page.locator(".times").inner_text()
    picture(page, "playground-table", full_page=True)


def test_every_kind_of_field_reaches_the_model_as_it_was_typed(visit, server):
    page = visit(server, "#/models/Everything")
    page.get_by_label("scale (FP32 [1])").fill("1.25")
    page.get_by_label("exact (INT64 [?, 2])").fill("[[9007199254740993, -9223372036854775808]]")
    page.get_by_label("flag (BOOL [1])").check()
    words = page.get_by_role("group", name="words (BYTES [?])")
    words.get_by_role("radio", name="Lines").check()
    words.get_by_role("textbox").fill("hello\nwörld")
    ask(page)
    assert output(page, "scaled").locator(".single").inner_text() == "2.5"
    exact = output(page, "copy").locator("td").all_inner_texts()
    assert exact == ["9007199254740993", "-9223372036854775808"]
    assert output(page, "turned").locator(".single").inner_text() == "false"
    assert output(page, "loud").locator("td").all_inner_texts() == ["HELLO", "WöRLD"]
    picture(page, "playground-fields", full_page=True)


def test_a_mistake_is_told_before_it_is_sent_and_the_servers_in_its_words(visit, server):
    page = visit(server, "#/models/Everything")
    exact = page.get_by_label("exact (INT64 [?, 2])")
    exact.fill("1 2 3")
    page.get_by_role("button", name="Ask the model").click()
    alert = page.locator("form [role=alert]")
    assert alert.inner_text() == "exact expects the shape [?, 2]: a multiple of 2 values; there are 3"
    exact.fill("99999999999999999999 1")
    with page.expect_response("**/infer") as refused:
        page.get_by_role("button", name="Ask the model").click()
    assert refused.value.status == 400
    page.get_by_text(refused.value.json()["error"]).wait_for()
    page.complaints.clear()  # browsers count a 400 as an error of the page


def test_a_picture_is_dropped_and_a_picture_comes_back(visit, server, tmp_path):
    page = visit(server, "#/models/Picture")
    (tmp_path / "point.png").write_bytes(models.PNG)
    drop = page.locator(".drop")
    page.get_by_role("radio", name="File").check()
    data = page.evaluate_handle(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(bytes)], "point.png", { type: "image/png" }));
          return transfer;
        }""",
        list(models.PNG),
    )
    drop.dispatch_event("drop", {"dataTransfer": data})
    page.get_by_text(f"point.png, {len(models.PNG)} B, image/png").wait_for()
    ask(page)
    image = output(page, "point").get_by_role("img")
    assert image.get_attribute("alt") == f"the answer: image/png, {len(models.PNG)} B"
    expect(image).to_have_js_property("naturalWidth", 1)
    assert output(page, "size").locator(".single").inner_text() == str(len(models.PNG))


def test_classes_have_names_and_bars(visit, server):
    page = visit(server, "#/models/labelled")
    page.get_by_label("x (FP32 [?, 3])").fill("1 8 1")
    ask(page)
    rows = output(page, "kind").get_by_role("listitem").all_inner_texts()
    assert rows[0].split() == ["espresso", "0.8"]
    assert len(rows) == 3
    picture(page, "playground-classes", full_page=True)


def test_a_handler_gets_the_body_as_it_is_and_says_how_long_it_took(visit, server):
    page = visit(server, "#/models/words")
    page.get_by_role("radio", name="Text").check()
    page.get_by_role("textbox", name="Body").fill("x" * 25)
    ask(page)
    assert page.locator(".answer").get_by_role("listitem").first.inner_text().split() == ["short", "0.75"]
    times = page.locator(".times").inner_text()
    assert "queue 400 µs" in times
    assert "the model 1.6 ms" in times
    assert "on the way" in times


def test_a_handler_gets_json_and_files_with_their_types(visit, server, tmp_path):
    page = visit(server, "#/models/words")
    page.get_by_role("radio", name="JSON").check()
    page.get_by_role("textbox", name="Body").fill("{")
    page.get_by_role("button", name="Ask the model").click()
    assert "this is no JSON" in page.locator("form [role=alert]").inner_text()
    (tmp_path / "ten.txt").write_text("0123456789")
    page.locator("input[type=file]").set_input_files(tmp_path / "ten.txt")
    with page.expect_request("**/predictions/words") as sent:
        ask(page)
    assert sent.value.headers["content-type"] == "text/plain"
    assert page.locator(".bars").get_by_role("listitem").last.inner_text().split() == ["long", "0.1"]


def test_the_same_call_as_code_gives_the_same_answer(visit, server, tmp_path):
    page = visit(server, "#/models/Everything", permissions=CLIPBOARD)
    page.get_by_label("scale (FP32 [1])").fill("-1.5")
    page.get_by_label("exact (INT64 [?, 2])").fill("9007199254740993 4\n5 6")
    words = page.get_by_role("group", name="words (BYTES [?])")
    words.get_by_role("textbox").fill('it\'s "quoted" $HOME\nß')
    page.get_by_label("Version").select_option("1")
    ask(page)
    curl = copied(page, "curl")
    assert "/versions/1/" in curl
    outputs = {each["name"]: each["data"] for each in run_curl(curl, tmp_path)["outputs"]}
    assert outputs["copy"] == [9007199254740993, 4, 5, 6]
    assert (outputs["scaled"], outputs["turned"]) == ([-3.0], [True])
    assert outputs["loud"] == ['IT\'S "QUOTED" $HOME\nß']
    for printed in run_both(page, tmp_path):
        assert "9007199254740993" in printed
        assert "[-3.]" in printed
        assert repr('IT\'S "QUOTED" $HOME\nß'.encode()) in printed


def test_code_with_a_file_sends_the_file(visit, server, tmp_path):
    page = visit(server, "#/models/Picture", permissions=CLIPBOARD)
    file = tmp_path / "a picture's.bin"
    file.write_bytes(np.random.default_rng(0).bytes(70_000))
    page.locator("input[type=file]").set_input_files(file)
    ask(page)
    curl = copied(page, "curl")
    assert "printf" in curl
    done = subprocess.run(
        ["sh", "-c", f"{curl} -o answer"], cwd=tmp_path, capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b""
    # The answer holds a picture, which JSON can't carry; the server says so in its own words.
    assert "binary_data" in (tmp_path / "answer").read_text()
    for printed in run_both(page, tmp_path):
        assert "[70000]" in printed


def test_code_that_asks_for_classes_gets_their_names(visit, server, tmp_path):
    page = visit(server, "#/models/labelled", permissions=CLIPBOARD)
    page.get_by_label("x (FP32 [?, 3])").fill("1 8 1")
    ask(page)
    assert run_curl(copied(page, "curl"), tmp_path)["outputs"][0]["data"][0] == "0.800000:1:espresso"
    for printed in run_both(page, tmp_path):
        assert "0.800000:1:espresso" in printed


def test_code_for_a_handler_gives_its_answer(visit, server, tmp_path):
    page = visit(server, "#/models/words", permissions=CLIPBOARD)
    (tmp_path / "it's.txt").write_text("0123456789")
    for kind in ("Text", "File"):
        if kind == "File":
            page.locator("input[type=file]").set_input_files(tmp_path / "it's.txt")
        else:
            page.get_by_role("radio", name=kind).check()
            page.get_by_role("textbox", name="Body").fill("it's a @te")
        ask(page)
        assert run_curl(copied(page, "curl"), tmp_path) == {"long": 0.1, "short": 0.9}
        rest, grpc = run_both(page, tmp_path)
        assert json.loads(rest) == {"long": 0.1, "short": 0.9}
        assert '"long":0.1' in grpc.replace(" ", "")


def test_code_of_a_locked_server_reads_the_key_from_the_environment(visit, tmp_path, monkeypatch):
    settings = Settings(server=ServerSettings(restrict="inference:admin-key=s3cret"))
    with TestClient(models.Spread, settings=settings) as client:
        page = visit(client, "#/models/Spread", permissions=CLIPBOARD)
        page.get_by_role("button", name="Ask the model").click()
        dialog = page.get_by_role("dialog")
        assert "expecting header 'admin-key'" in dialog.inner_text()
        dialog.get_by_label("Key").fill("s3cret")
        dialog.get_by_role("button", name="Use it").click()
        dialog.wait_for(state="detached")
        ask(page)
        monkeypatch.setenv("DRAGOMAN_KEY", "s3cret")
        code = copied(page, "curl")
        assert "s3cret" not in code
        assert run_curl(code, tmp_path)["outputs"][0]["data"] == [2.5]
        for printed in run_both(page, tmp_path):
            assert "[2.5]" in printed
        page.complaints.clear()  # the refused call
