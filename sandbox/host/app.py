"""The host of one app: what arrives from outside becomes calls of its functions."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl

from sandbox.host.keys import Keys
from sandbox.host.protos import Message, TypedData
from sandbox.host.queues import QueueOptions, QueueTrigger, message_input
from sandbox.host.routes import Routes
from sandbox.host.settings import extension, read_host_json, resolve
from sandbox.host.timers import Schedule, Timer, timer_input
from sandbox.host.worker import AppLoadError, Function, InvocationError, Worker

logger = logging.getLogger(__name__)

Answer = tuple[int, list[tuple[str, str]], bytes]

_TRIGGERS = {"httpTrigger", "timerTrigger", "queueTrigger"}
_BINDINGS = _TRIGGERS | {"http"}
_COOKIE_FIELDS = {"domain": "domain", "path": "path", "max_age": "max-age"}


class Host:
    """Indexes the app of a folder and calls its functions; use it as a context manager or call `stop`.

    Settings come from the environment. `PYTHON_THREADPOOL_THREAD_COUNT` is 16 unless set, as in the
    deployment.
    """

    def __init__(self, app_dir: Path, *, keys: Keys | None = None, message_lease: timedelta | None = None) -> None:
        """Index the app; nothing runs by itself before `start_triggers`. Raises AppLoadError.

        Args:
            app_dir: the folder with function_app.py and host.json.
            keys: function and master key; default: from the environment.
            message_lease: how long a queue message that is worked on stays hidden; default: Azure's 10
            minutes.
        """
        self.keys = keys or Keys.from_environment()
        host_json = read_host_json(app_dir)
        self.route_prefix = str(extension(host_json, "http").get("routePrefix", "api")).strip("/")
        self._queue_options = QueueOptions.of(extension(host_json, "queues"))
        self._message_lease = message_lease
        os.environ.setdefault("PYTHON_THREADPOOL_THREAD_COUNT", "16")
        self._worker = Worker(app_dir)
        self._triggers: list[Timer | QueueTrigger] = []
        try:
            self.functions = self._worker.functions
            self._check_bindings()
            self._routes = Routes(self.functions, self.route_prefix)
        except BaseException:
            self._worker.stop()
            raise

    def _check_bindings(self) -> None:
        for function in self.functions:
            for binding in function.bindings:
                if binding["type"] not in _BINDINGS:
                    raise AppLoadError(
                        f"{function.name} has a binding {binding['type']!r}: the local host has none such"
                    )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_triggers(self) -> None:
        """Start timers and queue pollers. Raises AppLoadError for a wrong schedule or a missing setting."""
        for function in self.functions:
            trigger = function.trigger
            if function.kind == "timerTrigger":
                self._triggers.append(Timer(function, Schedule(resolve(str(trigger["schedule"]))), self._fire))
            elif function.kind == "queueTrigger":
                self._triggers.append(
                    QueueTrigger.of(function, self._queue_options, self._worker.invoke, lease=self._message_lease)
                )
        for one in self._triggers:
            one.start()

    def stop(self) -> None:
        """Stop timers and pollers, let running functions end, free the process for another app."""
        for one in self._triggers:
            one.stop()
        self._worker.stop()

    def function(self, name: str) -> Function | None:
        """The function of a name, in any case, as the admin routes find it."""
        return next((one for one in self.functions if one.name.lower() == name.lower()), None)

    def _fire(self, function: Function, data: TypedData, reason: str) -> Future[Any]:
        return self._worker.invoke(function, data, reason=reason)

    def run_now(self, function: Function, text: str) -> Future[Any]:
        """Call a function as `POST /admin/functions/{name}` does: outside its schedule, with `text`."""
        reason = "This function was programmatically called via the host APIs."
        if function.kind == "timerTrigger":
            return self._fire(function, timer_input(last=None, following=None), reason)
        if function.kind == "queueTrigger":
            data, metadata = message_input(text)
            return self._worker.invoke(function, data, reason=reason, trigger_metadata=metadata)
        request = Message(method="POST", url="", headers={}, query={}, params={}, body=TypedData(string=text))
        return self._fire(function, TypedData(http=request), reason)

    def http(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer an HTTP request: status, headers, body.

        As in Azure: header names arrive in lower case, query parameters without a value are dropped, a wrong
        method is a 404, a wrong key a 401, an exception a 500 without a body.
        """
        path, _, query_text = target.partition("?")
        names = {name.lower(): value for name, value in headers.items()}
        query = dict(parse_qsl(query_text))
        found = self._routes.find(method, path)
        if found is None:
            return 404, [], b""
        route, parameters = found
        if not self.keys.open(route.auth_level, names, query):
            return 401, [], b""
        url = f"http://{names.get('host', 'localhost')}{target}"
        request = Message(
            method=method, url=url, headers=names, query=query, params=parameters, body=TypedData(bytes=body)
        )
        future = self._worker.invoke(
            route.function,
            TypedData(http=request),
            reason="This function was called by HTTP.",
            trace_parent=names.get("traceparent", ""),
        )
        try:
            return _answer(future.result())
        except InvocationError:
            return 500, [], b""


def _answer(value: TypedData | None) -> Answer:
    """What a function returned, as HTTP: a response, bare text or bytes with 200, or nothing with 204."""
    if value is None or value.kind is None:
        return 204, [], b""
    if value.kind == "http":
        http = value.value
        headers = [(str(name), str(text)) for name, text in http.headers.items()]
        headers += [("Set-Cookie", _cookie(cookie)) for cookie in http.cookies or ()]
        return int(http.status_code), headers, _raw(http.body)
    media = "application/json; charset=utf-8" if value.kind == "json" else "text/plain; charset=utf-8"
    return 200, [("Content-Type", media)], _raw(value)


def _raw(value: TypedData | None) -> bytes:
    if value is None or value.value is None:
        return b""
    if isinstance(value.value, bytes):
        return value.value
    return (value.value if isinstance(value.value, str) else json.dumps(value.value)).encode()


def _cookie(cookie: Message) -> str:
    jar: SimpleCookie = SimpleCookie({cookie.name: cookie.value})
    morsel = jar[cookie.name]
    for field, attribute in _COOKIE_FIELDS.items():
        value = getattr(cookie, field)
        if value is not None and value.value:
            morsel[attribute] = value.value
    morsel["secure"] = bool(cookie.secure and cookie.secure.value)
    morsel["httponly"] = bool(cookie.http_only and cookie.http_only.value)
    same_site = {1: "Lax", 2: "Strict", 3: "None"}.get(cookie.same_site)
    if same_site:
        morsel["samesite"] = same_site
    return morsel.OutputString()
