"""One command for everything: sets the project up, then runs, tests or measures it.

Standard library only, for any Python from 3.9 on: it finds Python 3.13 for the rest. `python3 dev.py --help`
lists the commands. A second set-up does nothing: the hashes of the lock files are kept beside what was
installed.
"""

import argparse
import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
NODE_MODULES = ROOT / "node_modules"
REQUIREMENTS = ROOT / "requirements-dev.txt"
PACKAGE_LOCK = ROOT / "package-lock.json"
STAMP = ".dev-stamp"  # written last, so that a set-up that was cut off is done again
PYTHON_WANTED = "3.13"
NODE_WANTED = 20

GET_PYTHON = """Python 3.13 with venv is needed, and none was found. Looked at:
{looked}
Get it, then run this again:
  Linux    sudo apt install python3.13 python3.13-venv   (Debian 13, Ubuntu 25.04 or newer)
           sudo dnf install python3.13                   (Fedora)
           anywhere: uv python install 3.13, or: pyenv install 3.13
  macOS    brew install python@3.13
  Windows  winget install Python.Python.3.13"""

GET_NODE = """Node.js {wanted} or newer with npm is needed for the storage emulator, and {found}.
Get it, then run this again:
  Linux    sudo apt install nodejs npm   (Debian 13, Ubuntu 25.04 or newer), or: nvm install {wanted}
  macOS    brew install node
  Windows  winget install OpenJS.NodeJS.LTS"""

Command = List[str]


class SetupError(Exception):
    """Something this machine lacks or that an installer refused. The text says what, and what to do."""


def say(text: str) -> None:
    """Print at once, also when the output is a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Say what is being done, and the seconds it took."""
    say(f"{text} …")
    began = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - began:.1f} s")


def output_of(command: Sequence[str]) -> str:
    """What the command prints; nothing when it cannot be run or fails (a pyenv shim may exist and fail)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


# --- Python 3.13 ---


def python_candidates() -> Iterator[Command]:
    """Commands that may start Python 3.13, the likeliest first."""
    yield [sys.executable]
    for name in ("python3.13", "python3", "python"):
        found = shutil.which(name)
        if found:
            yield [found]
    homes = [
        os.environ.get("PYENV_ROOT"),
        str(Path.home() / ".pyenv"),
        str(Path.home() / ".pyenv" / "pyenv-win"),
    ]
    for home in homes:
        if home:
            for version in sorted(Path(home).glob("versions/3.13*"), reverse=True):
                yield [str(version / ("python.exe" if os.name == "nt" else "bin/python3.13"))]
    if shutil.which("py"):
        yield ["py", "-3.13"]
    if shutil.which("uv"):
        found = output_of(["uv", "python", "find", PYTHON_WANTED])
        if found:
            yield [found]


def find_python() -> Command:
    """A command that really starts Python 3.13 with venv. Raises SetupError."""
    probe = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    looked: Dict[str, str] = {}
    for command in python_candidates():
        text = " ".join(command)
        if text not in looked:
            looked[text] = output_of([*command, "-c", probe])
            if looked[text] == PYTHON_WANTED:
                return command
    lines = [f"  {text}: {found or 'does not start, or has no venv'}" for text, found in looked.items()]
    raise SetupError(GET_PYTHON.format(looked="\n".join(lines)))


# --- set-up ---


def stamp_of(*files: Path) -> str:
    """A digest of the lock files and of the kind of machine."""
    digest = hashlib.sha256(platform.platform(terse=True).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def is_set_up(folder: Path, stamp: str) -> bool:
    """Whether the folder was installed from these very lock files."""
    try:
        return (folder / STAMP).read_text(encoding="ascii") == stamp
    except FileNotFoundError:
        return False


def install(command: Sequence[str], what: str) -> None:
    """Run one installer; its output is shown only when it fails. Raises SetupError."""
    with step(what):
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    if done.returncode != 0:
        raise SetupError(f"{done.stdout}\n{what}: failed with exit code {done.returncode}; its output is above.")


def set_up_python() -> None:
    """Make .venv and install the locked packages, each checked by its hash. Raises SetupError."""
    stamp = stamp_of(REQUIREMENTS)
    if is_set_up(VENV, stamp) and VENV_PYTHON.exists():
        return
    python = find_python()
    install([*python, "-m", "venv", "--clear", str(VENV)], f"Making .venv with {' '.join(python)}")
    pip = [str(VENV_PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    install(
        [*pip, "--require-hashes", "-r", str(REQUIREMENTS)],
        "Installing requirements-dev.txt (about a minute)",
    )
    (VENV / STAMP).write_text(stamp, encoding="ascii")


def set_up_node() -> None:
    """Install the locked npm packages into node_modules. Raises SetupError."""
    stamp = stamp_of(PACKAGE_LOCK)
    if is_set_up(NODE_MODULES, stamp):
        return
    version = output_of(["node", "--version"])
    npm = shutil.which("npm")
    if not version or int(version.lstrip("v").split(".")[0]) < NODE_WANTED or not npm:
        found = f"found is {version}" if version else "there is none"
        raise SetupError(GET_NODE.format(wanted=NODE_WANTED, found=found if npm else found + ", and no npm"))
    install([npm, "ci", "--ignore-scripts"], "Installing package-lock.json with npm ci (about a minute)")
    (NODE_MODULES / STAMP).write_text(stamp, encoding="ascii")


def set_up() -> None:
    """Bring .venv and node_modules to what the lock files say. Raises SetupError."""
    set_up_python()
    set_up_node()


# --- commands ---


def call(arguments: Sequence[str]) -> int:
    """Run the project's Python and wait; after Ctrl-C, which the child gets too, until it has cleaned up."""
    child = subprocess.Popen([str(VENV_PYTHON), *arguments], cwd=ROOT)
    signal.signal(signal.SIGTERM, lambda _number, _frame: child.terminate())
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue


def become(arguments: Sequence[str]) -> int:
    """Turn this process into the project's Python, so that signals reach it and nothing stands between."""
    if os.name == "nt":  # there execv would give the prompt back at once
        return call(arguments)
    os.chdir(ROOT)
    return os.execv(str(VENV_PYTHON), [str(VENV_PYTHON), *arguments])


def test(arguments: Sequence[str]) -> int:
    """Every check and every test; with arguments, only pytest with these."""
    checks = [
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
        ["-m", "mypy"],
        [
            "-c",
            "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())",
        ],
        ["-m", "pytest"],
    ]
    names = ["ruff check", "ruff format --check", "mypy --strict", "lint-imports", "pytest"]
    failed: List[str] = []
    results: List[str] = []
    for index, name in enumerate(names):
        if arguments and name != "pytest":
            continue
        say(f"--- {name}")
        began = time.monotonic()
        code = call([*checks[index], *(arguments if name == "pytest" else [])])
        results.append(f"{'ok    ' if code == 0 else 'FAILED'} {time.monotonic() - began:7.1f} s  {name}")
        if code != 0:
            failed.append(name)
        if code in (130, -signal.SIGINT):
            break
    say("\n" + "\n".join(results))
    return 1 if failed else 0


def lock(_arguments: Sequence[str]) -> int:
    """Lock requirements*.in and package.json again. Needs uv on the PATH; writes no addresses."""
    uv = shutil.which("uv")
    if not uv:
        raise SetupError("uv is needed to lock the requirements: pipx install uv, or: pip install uv.")
    options = ["--universal", "--python-version", PYTHON_WANTED, "--generate-hashes", "--no-emit-index-url"]
    options += ["--no-annotate", "--quiet", "--upgrade", "--custom-compile-command", "python3 dev.py lock"]
    for name in ("requirements", "requirements-dev"):
        install([uv, "pip", "compile", *options, f"{name}.in", "-o", f"{name}.txt"], f"Locking {name}.txt")
    install([shutil.which("npm") or "npm", "install", "--package-lock-only"], "Locking package-lock.json")
    return 0


COMMANDS = {
    "run": "start everything, send a real sample a channel, print what landed where; --once: then exit",
    "test": "every check and test; further arguments go to pytest alone",
    "host": "only the Functions host, on the settings of the environment: --port N",
    "sandbox": "only Azurite and the stand-ins",
    "bench": "the benchmarks",
    "faults": "the fault matrix",
    "probe-messaging": "settle Messaging API unknowns in a sandbox environment; --help says what it needs",
    "lock": "lock the requirements again (needs uv)",
    "setup": "only set up .venv and node_modules",
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Set up what the command needs, then run it. Returns the exit code."""
    listing = "\n".join(f"  {name:<17}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        description="Sets the project up, then runs, tests or measures it.",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="given on to the command")
    chosen = parser.parse_args(argv)
    arguments: List[str] = chosen.arguments
    try:
        if chosen.command == "lock":
            return lock(arguments)
        set_up()
        if chosen.command == "setup":
            return 0
        if chosen.command == "test":
            return test(arguments)
        modules = {
            "run": ["sandbox", "run"],
            "host": ["sandbox.host"],
            "sandbox": ["sandbox"],
            "bench": ["tests.bench"],
            "faults": ["tests.faults"],
            "probe-messaging": ["tools.probe_messaging"],
        }
        return become(["-m", *modules[chosen.command], *arguments])
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        say("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
