"""A small app that shows what the local host does; the tests run it."""

import json
import logging
import os
import threading
import time
from pathlib import Path

import azure.functions as func
from hello_doors import bp

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
app.register_functions(bp)

_here = threading.Barrier(2)


def _note(text: str) -> None:
    with Path(os.environ["HELLO_NOTES"]).open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


@app.route(route="echo/{name}/{rest?}", methods=["GET", "POST"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Everything that arrived."""
    logging.getLogger("hello").info("echo for %s", req.route_params["name"])
    content = {
        "method": req.method,
        "url": req.url,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode(),
        "invocation": context.invocation_id,
    }
    return func.HttpResponse(json.dumps(content), status_code=201, mimetype="application/json")


@app.route(route="echo/literal", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def literal(req: func.HttpRequest) -> str:
    """A literal route beside one with a parameter."""
    return "literal"


@app.route(route="number/{id:int}", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def number(req: func.HttpRequest) -> str:
    """A constrained parameter."""
    return req.route_params["id"]


@app.route(route="fails", auth_level=func.AuthLevel.ANONYMOUS)
def fails(req: func.HttpRequest) -> func.HttpResponse:
    """An unhandled exception."""
    raise RuntimeError("not for the caller")


@app.route(route="cookies", auth_level=func.AuthLevel.ANONYMOUS)
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    """Two cookies."""
    answer = func.HttpResponse(b"\x00\xff", mimetype="application/octet-stream")
    answer.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
    answer.headers.add("Set-Cookie", "b=2; SameSite=Lax")
    return answer


@app.route(route="meet", auth_level=func.AuthLevel.ANONYMOUS)
def meet(req: func.HttpRequest) -> str:
    """Returns only when two calls are inside at once."""
    _here.wait(timeout=10)
    return "met"


@app.timer_trigger(schedule="%HELLO_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=True)
def tick(timer: func.TimerRequest) -> None:
    """Takes longer than its interval."""
    _note(f"tick begin {timer.past_due} {'Next' in (timer.schedule_status or {})}")
    time.sleep(float(os.environ.get("HELLO_TICK_SECONDS", "0")))
    _note("tick end")


@app.queue_trigger(arg_name="message", queue_name="%HELLO_QUEUE%", connection="AzureWebJobsStorage")
def heard(message: func.QueueMessage) -> None:
    """Notes a message; raises for those that say so."""
    text = message.get_body().decode()
    _note(f"heard {text} {message.dequeue_count}")
    if text.startswith("bad"):
        raise ValueError("a bad message")
    if text.startswith("slow"):
        time.sleep(float(text.split()[1]))
        _note(f"done {text}")
