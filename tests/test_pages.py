"""The pages for administrators say what the code, the alerts and the queries say, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.dataverse.checks import privileges
from shared.dataverse.settings import PRESETS
from tests import test_monitoring as monitoring

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
ANSWER = ROOT / "shared" / "relay" / "answer.py"
QUOTED = tuple(
    ROOT / "shared" / name for name in ("dynamics_messaging/webhook.py", "opencx/events.py", "opencx/side.py")
)
"""Modules whose quoted names are those of other systems' fields, or reasons in the log."""
OTHERS = {"default_queue_id", "input_record", "msdyn_webhookurl", "relay_messages"}
"""A setting of OpenCX's, a variable of Salesforce's flows, a column of Dynamics', a function of ours."""
RIGHTS = ("Read", "Create", "Write", "Append", "AppendTo")

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([a-z]+(?:_[a-z]+)+)`")


def text_of(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one that is as high. Raises AssertionError without it."""
    level = heading.split(maxsplit=1)[0]
    begin = re.search(rf"^{re.escape(heading)}$", text, re.MULTILINE)
    assert begin, f"no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", text[begin.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table's rows, without its head."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The links of a page, within the project, that lead nowhere."""
    broken = []
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


def listed_privileges(text: str) -> set[str]:
    """The privileges of a table of rights; each row's dots and its names must say the same."""
    found: set[str] = set()
    for row in table(text):
        names = re.findall(r"`(prv\w+)`", row[6])
        ticked = [right for right, dot in zip(RIGHTS, row[1:6], strict=True) if dot]
        rights = [re.fullmatch(r"prv(Read|Create|Write|AppendTo|Append)(\w+)", name) for name in names]
        assert [match and match[1] for match in rights] == ticked, row
        assert len({match[2] for match in rights if match}) == 1, row
        found.update(names)
    return found


def unknown_codes(text: str) -> set[str]:
    """The names in code style, with an underscore, that are no error code, field, setting's column or dimension."""
    known = set(re.findall(r"^\| `([a-z_]+)` \|", text_of("errors.md"), re.MULTILINE))
    sources = [ROOT / "handoff_http" / "openapi.py", ROOT / "shared" / "connections.py", ANSWER, DOCS / "settings.md"]
    texts = [file.read_text(encoding="utf-8") for file in sources] + list(monitoring.QUERIES.values())
    known |= {name for each in texts for name in re.findall(r"\w+", each)}
    known |= set().union(*monitoring.emitted_by(monitoring.sources()).values())
    quoted = [file.read_text(encoding="utf-8") for file in QUOTED]
    return (
        set(_CODE.findall(text)) - known - {name for each in quoted for name in re.findall(r'"(\w+)"', each)} - OTHERS
    )


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link within the project names a file that exists, and a heading that it has."""
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_link_to_nothing_is_found() -> None:
    """A missing page and a missing heading are both found; a good link is not."""
    text = "[a](errors.md#log-events) [b](nowhere.md) [c](errors.md#no-such-heading) [d](https://example.com/x)"
    assert broken_links(DOCS / "runbook.md", text) == ["nowhere.md", "errors.md#no-such-heading"]


def test_every_page_is_in_the_index() -> None:
    """docs/README.md has one line for each page."""
    listed = [row[0] for row in table(text_of("README.md"))]
    assert sorted(listed) == sorted(f"[{page.name}]({page.name})" for page in PAGES if page.name != "README.md")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_security_role_is_what_the_service_checks(preset: str) -> None:
    """docs/dynamics.md lists exactly the privileges that /api/connections asks for, preset by preset."""
    page = text_of("dynamics.md")
    listed = listed_privileges(section(page, "### All three presets"))
    listed |= listed_privileges(section(page, f"### Preset `{preset}`"))
    assert listed == set(privileges(PRESETS[preset]))


def test_a_row_of_rights_that_contradicts_itself_is_found() -> None:
    """A dot without its privilege, or a privilege of another table, is an error of the page."""
    head = "| table | Read | Create | Write | Append | Append To | privileges |\n"
    assert listed_privileges(f"{head}| Queue | ● | | | | ● | `prvReadQueue` `prvAppendToQueue` |") == {
        "prvReadQueue",
        "prvAppendToQueue",
    }
    for row in ("| Queue | ● | ● | | | | `prvReadQueue` |", "| Queue | ● | ● | | | | `prvReadQueue` `prvCreateCase` |"):
        with pytest.raises(AssertionError):
            listed_privileges(head + row)


def test_the_page_on_monitoring_lists_every_alert_and_query() -> None:
    """Alerts and saved queries of docs/monitoring.md are those that are deployed, with their severity."""
    page = text_of("monitoring.md")
    deployed = re.findall(r"name: '([\w-]+)'\n[^}]*?'queries/([\w-]+)\.kql'\)\n +severity: (\d)", monitoring.BICEP)
    alerts = [(row[0], row[3].strip("`"), row[2]) for row in table(section(page, "## Alerts"))]
    assert sorted(alerts) == sorted(deployed)
    queries = [row[0].strip("`") for row in table(section(page, "## Saved queries"))]
    assert sorted(queries) == monitoring.SAVED


def test_the_page_on_monitoring_lists_every_dimension() -> None:
    """The events' own dimensions in docs/monitoring.md are those that the code gives them."""
    own = monitoring.emitted_by(monitoring.sources(), with_scopes=False)
    rows = table(section(text_of("monitoring.md"), "## Events and their dimensions"))
    listed = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows}
    assert listed == own


def test_an_alert_names_a_chapter_of_the_runbook() -> None:
    """What wakes somebody at night says where to read on, and that chapter exists."""
    chapters = set(re.findall(r"^## (.+)$", text_of("runbook.md"), re.MULTILINE))
    texts = re.findall(r"text: '(.+)'$", monitoring.BICEP, re.MULTILINE)
    assert len(texts) == len(monitoring.ALERTS)
    for text in texts:
        named = set(re.findall(r'"([^"]+)"', text))
        assert named, text
        assert named <= chapters, text


@pytest.mark.parametrize("name", ["runbook.md", "dynamics.md", "salesforce.md", "opencx.md", "monitoring.md"])
def test_a_code_that_a_page_names_can_be_looked_up(name: str) -> None:
    """A page names no error code or field that the project does not have."""
    assert unknown_codes(text_of(name)) == set()


def test_a_code_that_is_gone_is_found() -> None:
    """A code with a spelling mistake is found, whether it is one of ours or one of a field."""
    assert unknown_codes("`dynamics_secret_expired` `dynamics_secret_lapsed` `session_ids` `session_id`") == {
        "dynamics_secret_lapsed",
        "session_ids",
    }
