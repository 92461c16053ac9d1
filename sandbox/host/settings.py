"""host.json and app settings, as the triggers need them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sandbox.host.worker import AppLoadError

_SETTING = re.compile(r"%([^%]+)%")
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)")


def read_host_json(app_dir: Path) -> Mapping[str, Any]:
    """The app's host.json. Raises AppLoadError when it is missing or malformed."""
    file = app_dir / "host.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AppLoadError(f"no host.json in {app_dir}") from None
    except ValueError as error:
        raise AppLoadError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("version") != "2.0":
        raise AppLoadError(f'{file}: "version" must be "2.0"')
    return content


def extension(host_json: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The section of one extension, empty when it is not there."""
    section = host_json.get("extensions", {}).get(name, {})
    if not isinstance(section, dict):
        raise AppLoadError(f"host.json: extensions.{name} must be an object")
    return section


def resolve(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Replace each `%NAME%` by the app setting of that name. Raises AppLoadError when there is none."""

    def setting(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise AppLoadError(f"{text}: there is no app setting {match[1]}; set it in the environment")
        return environ[match[1]]

    return _SETTING.sub(setting, text)


def time_span(text: str) -> timedelta:
    """A .NET TimeSpan, `[d.]hh:mm:ss[.fff]`, as host.json has them. Raises AppLoadError."""
    match = _TIME_SPAN.fullmatch(text)
    if not match:
        raise AppLoadError(f"{text!r} is no time span; write hh:mm:ss, as in 00:00:02")
    return timedelta(days=int(match[1] or 0), hours=int(match[2]), minutes=int(match[3]), seconds=float(match[4]))
