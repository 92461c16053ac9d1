"""The local Functions host does over HTTP what Azure's host does."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.sandbox.hello import APP, FUNCTION_KEY, MASTER_KEY, ROOT, Hello


@pytest.fixture(scope="module")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hello]:
    """One host for the module, without timers and queues."""
    host = Hello(tmp_path_factory.mktemp("hello")).start("--no-triggers")
    yield host
    assert host.stop() == 0


def connection(hello: Hello) -> http.client.HTTPConnection:
    """A connection whose bytes the test decides."""
    address = urlsplit(hello.url)
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)


def test_a_function_sees_the_request_as_in_azure(hello: Hello) -> None:
    """Header names are lower-case, parameters decoded, empty query values dropped, the body untouched."""
    answer = hello.call(
        "POST", "/api/echo/a%20b?x=1&empty=", FUNCTION_KEY, data="zwölf".encode(), headers={"X-Mixed-Case": "Yes"}
    )
    seen = answer.json()
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    assert seen["headers"]["x-mixed-case"] == "Yes"
    assert (seen["method"], seen["route"], seen["body"]) == ("POST", {"name": "a b"}, "zwölf")
    assert seen["params"] == {"x": "1"}
    assert seen["url"] == f"{hello.url}/api/echo/a%20b?x=1&empty="


def test_each_call_logs_under_its_invocation_id(hello: Hello) -> None:
    """The id that the function sees stands on its log lines, those of other modules included."""
    seen = hello.call("GET", "/api/echo/logged", FUNCTION_KEY).json()
    lines = [line for line in hello.log.splitlines() if seen["invocation"] in line]
    assert any("hello: echo for logged" in line for line in lines)
    assert any("Executed 'Functions.echo' (Succeeded" in line for line in lines)


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo/a", "", 401),
        ("/api/echo/a", "wrong", 401),
        ("/api/echo/a", FUNCTION_KEY, 201),
        ("/api/echo/a", MASTER_KEY, 201),
        (f"/api/echo/a?code={FUNCTION_KEY}", "", 201),
        ("/api/number/7", "", 200),
        ("/api/admin-only", FUNCTION_KEY, 401),
        ("/api/admin-only", MASTER_KEY, 200),
    ],
)
def test_a_door_opens_to_its_key(hello: Hello, path: str, key: str, status: int) -> None:
    """Function routes want the function or master key, admin routes the master key, anonymous ones none."""
    assert hello.call("GET", path, key).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/api/number/7", 404),
        ("GET", "/api/number/seven", 404),
        ("GET", "/number/7", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/API/Number/7/", 200),
        ("GET", "/api/echo/literal", 200),
    ],
)
def test_routes_match_as_in_azure(hello: Hello, method: str, path: str, status: int) -> None:
    """A wrong method or constraint is a 404, case and a last slash do not matter, a literal part goes first."""
    assert hello.call(method, path).status_code == status


def test_an_optional_part_may_be_there(hello: Hello) -> None:
    """A `{name?}` part is filled when it is there."""
    assert hello.call("GET", "/api/echo/a/b", FUNCTION_KEY).json()["route"] == {"name": "a", "rest": "b"}


def test_an_exception_gives_nothing_away(hello: Hello) -> None:
    """An unhandled exception is a 500 without a body; its trace is in the log."""
    answer = hello.call("GET", "/api/fails")
    assert (answer.status_code, answer.content) == (500, b"")
    assert "RuntimeError: not for the caller" in hello.log


def test_bytes_and_several_cookies_arrive(hello: Hello) -> None:
    """A binary body is untouched, and each cookie is a header of its own."""
    answer = hello.call("GET", "/api/cookies")
    assert answer.content == b"\x00\xff"
    assert {one.name: one.value for one in answer.cookies} == {"a": "1", "b": "2"}
    assert answer.raw.headers.getlist("Set-Cookie") == ["a=1; HttpOnly; Path=/", "b=2; SameSite=Lax"]


def test_a_chunked_body_arrives_empty_and_the_connection_lives(hello: Hello) -> None:
    """A body without Content-Length is dropped, as on Azure's way to the worker, and the next request is read."""
    one = connection(hello)
    headers = {"x-functions-key": FUNCTION_KEY}
    one.request("POST", "/api/echo/a", body=iter([b"lost", b"lost"]), headers=headers, encode_chunked=True)
    assert json.loads(one.getresponse().read())["body"] == ""
    one.request("POST", "/api/echo/a", body=b"kept", headers=headers)
    assert json.loads(one.getresponse().read())["body"] == "kept"
    one.close()


def test_half_a_body_is_never_given_to_a_function(hello: Hello) -> None:
    """A client that goes away inside its body causes no call."""
    one = connection(hello)
    one.putrequest("POST", "/api/echo/cut-off")
    one.putheader("x-functions-key", FUNCTION_KEY)
    one.putheader("Content-Length", "100")
    one.endheaders(b"only this")
    one.close()
    assert hello.call("GET", "/api/echo/after", FUNCTION_KEY).status_code == 201
    assert "echo for cut-off" not in hello.log


def test_a_body_over_the_limit_is_413(hello: Hello) -> None:
    """More than 100 MB is refused before it is read."""
    one = connection(hello)
    one.putrequest("POST", "/api/echo/a")
    one.putheader("Content-Length", str(100 * 1024 * 1024 + 1))
    one.endheaders()
    assert one.getresponse().status == 413
    one.close()


def test_sync_functions_run_side_by_side(hello: Hello) -> None:
    """Two calls of a sync function are inside at once: each waits for the other."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: hello.call("GET", "/api/meet").text, range(2)))
    assert answers == ["met", "met"]


def test_admin_calls_start_a_function(hello: Hello) -> None:
    """POST /admin/functions/{name} is 202 with the master key and an input; the function runs with no status."""
    body = {"input": None}
    assert hello.call("POST", "/admin/functions/tick", FUNCTION_KEY, json=body).status_code == 401
    assert hello.call("POST", "/admin/functions/tick", MASTER_KEY).status_code == 400
    assert hello.call("POST", "/admin/functions/nobody", MASTER_KEY, json=body).status_code == 404
    assert hello.call("POST", "/admin/functions/Tick", MASTER_KEY, json=body).status_code == 202
    assert "tick begin False False" in hello.wait_for_note("tick end")
    assert hello.call("POST", "/admin/functions/heard", MASTER_KEY, json={"input": "hi"}).status_code == 202
    hello.wait_for_note("heard hi 1")


def test_the_host_lists_its_functions(hello: Hello) -> None:
    """GET /admin/functions has the metadata of each function, /admin/host/status says that it runs."""
    functions = hello.call("GET", "/admin/functions", MASTER_KEY).json()
    by_name = {one["name"]: one["config"]["bindings"][0] for one in functions}
    assert by_name["tick"]["schedule"] == "%HELLO_SCHEDULE%"
    assert by_name["number"]["authLevel"].lower() == "anonymous"
    assert hello.call("GET", "/admin/host/status", MASTER_KEY).json()["state"] == "Running"


def test_an_answer_in_the_making_still_leaves(tmp_path: Path) -> None:
    """SIGTERM lets a running function end and its answer leave; the exit code is 0."""
    host = Hello(tmp_path).start("--no-triggers")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(host.call, "GET", "/api/meet")
        pause = threading.Event()
        while "Executing 'Functions.meet'" not in host.log:
            pause.wait(0.02)
        second = pool.submit(host.call, "GET", "/api/meet")
        while host.log.count("Executing 'Functions.meet'") < 2:
            pause.wait(0.02)
        assert host.stop(signal.SIGTERM) == 0
        assert (first.result().text, second.result().text) == ("met", "met")
    with pytest.raises(requests.ConnectionError):
        host.call("GET", "/api/number/7")


def test_the_host_ends_with_its_starter(tmp_path: Path) -> None:
    """With a lifeline the host ends when its standard input does: its starter cannot leave it behind."""
    host = Hello(tmp_path).start("--no-triggers", "--lifeline")
    assert host.child.stdin is not None
    host.child.stdin.close()
    assert host.child.wait(timeout=20) == 0
    assert host.child.stdout is not None
    host.child.stdout.close()


IN_PROCESS = """
import json, os, sys
from pathlib import Path
import requests
from sandbox.host import AppLoadError, Host, serve
from sandbox.host.keys import Keys
app = Path(sys.argv[1])
seen = []
for _ in range(2):
    with Host(app, keys=Keys("f", "m")) as host, serve(host) as server:
        seen.append(host.http("GET", "/api/number/7", {}, b"")[0])
        seen.append(requests.get(server.url + "/api/number/8", timeout=5).text)
        seen.append(host.http("GET", "/api/echo/a", {"X-Functions-Key": "f"}, b"")[0])
        try:
            Host(app)
        except AppLoadError as error:
            seen.append("another app is loaded" in str(error))
print(json.dumps(seen))
"""


def test_a_host_in_the_process_answers_without_a_port_too() -> None:
    """`Host.http` and a served port answer alike; a host can be made again once the first is stopped."""
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS, str(APP)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [200, "8", 201, True] * 2


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "no host.json"),
        ({"host.json": "{"}, "is not JSON"),
        ({"host.json": "{}"}, '"version" must be "2.0"'),
        ({"host.json": '{"version": "2.0"}'}, "no function_app.py"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "import no_such_module"}, "no_such_module"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "BLOB"}, "'blobTrigger'"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "TIMER"}, "no app setting NOT_SET"),
        ({"host.json": '{"version": "2.0"}', "function_app.py": "SCHEDULE"}, "is no NCRONTAB expression"),
        ({"host.json": '{"version": "2.0", "extensions": {"queues": {"batchsize": 1}}}'}, "batchsize is not known"),
    ],
)
def test_an_app_that_cannot_run_is_named_with_the_reason(tmp_path: Path, files: dict[str, str], says: str) -> None:
    """The host ends with 1 and says what is wrong and where."""
    head = "import azure.functions as func\napp = func.FunctionApp()\n"
    sources = {
        "BLOB": f"{head}@app.blob_trigger(arg_name='b', path='p', connection='c')\ndef f(b: func.InputStream): pass\n",
        "TIMER": f"{head}@app.timer_trigger(arg_name='t', schedule='%NOT_SET%')\ndef f(t: func.TimerRequest): pass\n",
        "SCHEDULE": f"{head}@app.timer_trigger(arg_name='t', schedule='often')\ndef f(t: func.TimerRequest): pass\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(sources.get(content, content), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.host", "--port", "0", "--app", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stderr


def test_keys_are_made_up_once_and_printed(tmp_path: Path) -> None:
    """Without keys in the environment the host makes some up, prints them, and opens to them."""
    host = Hello(tmp_path, SANDBOX_FUNCTION_KEY="", SANDBOX_MASTER_KEY="").start("--no-triggers")
    keys: dict[str, str] = {}
    assert host.child.stdout is not None
    while "master key" not in keys:
        name, _, value = host.child.stdout.readline().strip().partition(": ")
        keys[name] = value
    answers: list[Any] = [host.call("GET", "/api/echo/a", keys[name]).status_code for name in keys if "key" in name]
    host.stop()
    assert answers == [201, 201]
