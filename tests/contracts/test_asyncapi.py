"""The AsyncAPI document and its examples, judged by others: AsyncAPI's parser and page, CloudEvents' SDK."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from contracts.events.envelope import ALL_KINDS, CONTENT_TYPE, EventKind, decode_event, encode_event, json_schema
from contracts.files import locked
from tests.brokers import program

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "events" / "asyncapi.json"
EXAMPLES = {kind.name: (DOCUMENT.parent / "examples" / f"{kind.name}.json").read_bytes() for kind in ALL_KINDS}
kinds = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)


@kinds
def test_examples_are_real_events_that_fit_their_schemas(kind: EventKind) -> None:
    jsonschema.validate(json.loads(EXAMPLES[kind.name]), json_schema(kind))
    event = decode_event(EXAMPLES[kind.name])
    assert event.type == kind.type_name
    assert json.loads(encode_event(event)) == json.loads(EXAMPLES[kind.name])


@kinds
def test_the_document_holds_the_examples_and_they_fit_the_schema_that_it_holds(kind: EventKind) -> None:
    document = json.loads(DOCUMENT.read_bytes())
    (message,) = document["channels"][kind.name]["messages"].values()
    (example,) = message["examples"]
    assert example["payload"] == json.loads(EXAMPLES[kind.name])
    jsonschema.validate(example["payload"], {**message["payload"], "components": document["components"]})
    assert message["contentType"] == f"{CONTENT_TYPE}; charset=UTF-8"


@kinds
def test_the_specifications_own_sdk_reads_every_kind_of_event(kind: EventKind) -> None:
    message = HTTPMessage(headers={"content-type": CONTENT_TYPE}, body=EXAMPLES[kind.name])
    event = from_http_event(message)
    said = json.loads(EXAMPLES[kind.name])
    assert (event.get_id(), event.get_source(), event.get_type()) == (said["id"], said["source"], said["type"])
    assert event.get_extension("sequence") == said["sequence"]
    assert event.get_extension("featureschema") == said["featureschema"]
    assert event.get_data() == said["data"]


@pytest.fixture(scope="session")
def judges() -> Path:
    """What `tests/node` names, at the versions and hashes of its lock."""
    folder = ROOT / "build" / "node"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", 300):
        lock = (ROOT / "tests" / "node" / "package-lock.json").read_bytes()
        done = folder / "done"
        if not done.exists() or done.read_bytes() != lock:
            for name in ("package.json", "package-lock.json", "judge.js"):
                shutil.copy(ROOT / "tests" / "node" / name, folder / name)
            command = [str(program("npm")), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
            done.write_bytes(lock)
    return folder


@pytest.mark.system
def test_the_official_parser_has_no_complaints(judges: Path) -> None:
    command = [str(program("node")), "judge.js", str(DOCUMENT)]
    done = subprocess.run(command, cwd=judges, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == sorted([*(kind.type_name for kind in ALL_KINDS), "availability", "session"])


@pytest.mark.system
def test_the_official_parser_complains_of_a_broken_document(judges: Path, tmp_path: Path) -> None:
    document = json.loads(DOCUMENT.read_bytes())
    document["operations"]["send_window"]["channel"]["$ref"] = "#/channels/nowhere"
    (tmp_path / "broken.json").write_text(json.dumps(document))
    command = [str(program("node")), "judge.js", str(tmp_path / "broken.json")]
    assert subprocess.run(command, cwd=judges, capture_output=True, check=False).returncode == 1


@pytest.mark.system
def test_the_official_page_shows_every_event_with_its_example(judges: Path, tmp_path: Path) -> None:
    script = judges / "node_modules/@asyncapi/react-component/browser/standalone/index.js"
    document = json.dumps(json.dumps(json.loads(DOCUMENT.read_bytes()))).replace("</", "<\\/")
    (tmp_path / "page.html").write_text(
        f'<!doctype html><meta charset="utf-8"><div id="page"></div><script src="{script.as_uri()}"></script>'
        f"<script>AsyncApiStandalone.render({{schema: {document}}}, document.getElementById('page'))</script>"
    )
    command = [
        str(program("chromium")), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
        "--virtual-time-budget=20000", "--dump-dom", (tmp_path / "page.html").as_uri(),
    ]  # fmt: skip
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    shown = page.split("</script>")[-1] if 'id="page"' not in page else page[: page.index("<script")]
    for kind in ALL_KINDS:
        assert f"phasewatch/{{node}}/{{guest}}/{kind.name}" in shown
        assert json.loads(EXAMPLES[kind.name])["id"] in shown
