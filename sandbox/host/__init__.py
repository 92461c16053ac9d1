"""A local Azure Functions host: HTTP, timer and queue triggers, run by the worker library that Azure runs.

`Host` indexes and calls one app in this process; `serve` puts it on a port. `python -m sandbox.host --port
N` does both. It covers what this project uses and no more: not there are functionTimeout, the 230 s limit of
Azure's load balancer, scale-out, the timer's lease and its make-up run after a stop, retry policies and
output bindings. It does not replace a deployment. (reference: Azure/azure-functions-host,
Azure/azure-functions-python-worker)
"""

from sandbox.host.app import Host
from sandbox.host.http import HttpServer, serve
from sandbox.host.worker import AppLoadError

__all__ = ["AppLoadError", "Host", "HttpServer", "serve"]
