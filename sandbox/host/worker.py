"""The worker library (`azure-functions-runtime`), driven in this process on one event loop in a thread."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime  # type: ignore[import-untyped] # it has no py.typed
from azure_functions_runtime import handle_event
from azure_functions_runtime.functions import Registry  # type: ignore[import-untyped]

from sandbox.host.protos import Message, ParameterBinding, Protos, StatusResult, TypedData, envelope

logger = logging.getLogger(__name__)

_SCRIPT = "function_app"
_in_use = threading.Lock()


class AppLoadError(Exception):
    """The app could not be indexed, or uses what this host does not have. The text says which and why."""


class InvocationError(Exception):
    """A function raised. `stack_trace` is for the log only."""

    def __init__(self, message: str, stack_trace: str) -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


@dataclass(frozen=True)
class Function:
    """One indexed function: its name, its id in the worker, and its trigger's metadata."""

    name: str
    function_id: str
    bindings: Sequence[Mapping[str, Any]]

    @property
    def trigger(self) -> Mapping[str, Any]:
        """The metadata of the trigger, as in a function.json."""
        return next(one for one in self.bindings if str(one["type"]).lower().endswith("trigger"))

    @property
    def kind(self) -> str:
        """The kind of trigger: `httpTrigger`, `timerTrigger`, `queueTrigger`."""
        return str(self.trigger["type"])


class Worker:
    """Indexes one app and calls its functions.

    The library keeps its functions in module globals, so one worker at a time can live in a process.
    """

    def __init__(self, app_dir: Path) -> None:
        """Raises AppLoadError."""
        if not (app_dir / f"{_SCRIPT}.py").is_file():
            raise AppLoadError(
                f"no {_SCRIPT}.py in {app_dir}: start the host in the app's folder, or name it with --app"
            )
        if not _in_use.acquire(blocking=False):
            raise AppLoadError("another app is loaded in this process: stop its host first")
        self._app_dir = app_dir
        self._protos = Protos()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="functions-worker", daemon=True)
        self._thread.start()
        try:
            self.functions = self._index()
        except BaseException:
            self.stop()
            raise

    def _index(self) -> list[Function]:
        handle_event._functions = Registry()
        sys.modules.pop(_SCRIPT, None)
        sys.path.insert(0, str(self._app_dir))
        importlib.invalidate_caches()
        runtime.start_threadpool_executor()
        began = self._run(
            runtime.worker_init_request(
                envelope(
                    "worker_init_request",
                    properties={"protos": self._protos, "host": "127.0.0.1"},
                    capabilities={},
                    function_app_directory=str(self._app_dir),
                )
            )
        )
        if began.result.status != StatusResult.Success:
            failure = began.result.exception
            raise AppLoadError(f"{self._app_dir} could not be indexed: {failure.message}\n{failure.stack_trace}")
        answer = self._run(runtime.functions_metadata_request(envelope("functions_metadata_request")))
        return [
            Function(one.name, one.function_id, [json.loads(raw) for raw in one.raw_bindings])
            for one in answer.function_metadata_results or ()
        ]

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def invoke(
        self,
        function: Function,
        data: TypedData,
        *,
        reason: str,
        trigger_metadata: Mapping[str, TypedData] | None = None,
        trace_parent: str = "",
    ) -> Future[Any]:
        """Call a function with its trigger's value.

        The future gives the function's return value as the library encoded it (a `TypedData` or None), or
        raises InvocationError. Sync functions run in the library's thread pool
        (`PYTHON_THREADPOOL_THREAD_COUNT`).
        """
        invocation_id = str(uuid.uuid4())
        request = envelope(
            "invocation_request",
            invocation_id=invocation_id,
            function_id=function.function_id,
            input_data=[ParameterBinding(name=function.trigger["name"], data=data)],
            trigger_metadata=trigger_metadata or {},
            trace_context=Message(trace_parent=trace_parent, trace_state="", attributes={}),
            retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
        )
        return asyncio.run_coroutine_threadsafe(self._invoke(function, request, invocation_id, reason), self._loop)

    async def _invoke(self, function: Function, request: Message, invocation_id: str, reason: str) -> Any:
        runtime.invocation_id_cv.set(invocation_id)  # each call is a task with a context of its own
        began = time.monotonic()
        logger.info("Executing 'Functions.%s' (Reason='%s')", function.name, reason)
        answer = await runtime.invocation_request(request)
        milliseconds = (time.monotonic() - began) * 1000
        if answer.result.status == StatusResult.Success:
            logger.info("Executed 'Functions.%s' (Succeeded, Duration=%.0fms)", function.name, milliseconds)
            return answer.return_value
        failure = answer.result.exception
        logger.error(
            "Executed 'Functions.%s' (Failed, Duration=%.0fms)\n%s",
            function.name,
            milliseconds,
            failure.stack_trace,
        )
        raise InvocationError(failure.message, failure.stack_trace)

    def stop(self) -> None:
        """Let running functions end, then free the thread, the loop and the process for another app."""
        runtime.stop_threadpool_executor()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        sys.modules.pop(_SCRIPT, None)
        if str(self._app_dir) in sys.path:
            sys.path.remove(str(self._app_dir))
        _in_use.release()
