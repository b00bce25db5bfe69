"""The report's views: valid JSON, text for a terminal, a page that stays harmless whatever a network's names are."""

from __future__ import annotations

import json
import math
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from rich.cells import cell_len

import nirhw
from nirhw.report.model import Report
from tests import builders as b

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "\x1b[31mred\x1b[0m\u202eevil\x07",
    "{{ 7 * 7 }}{% raw %}",
    "</style></title><iframe src=https://example.org>",
    "[bold]rich[/bold]",
    "n" * 5000,
    "名前" * 200,
    "Z" + "\u0301" * 60,
    "\ud800lone",
)
VOID = {"meta", "rect", "line", "br", "img", "input", "link"}
HARMLESS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "div", "span", "p"),
    *("h1", "h2", "h3", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td", "data", "code", "small", "strong"),
    *("svg", "rect", "line", "text"),
}


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text; fails on tags that do not match."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["style"]:
            self.style += data
        elif data.strip():
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return "\n".join(self.texts)


def compiled(first: str = "n1", second: str = "n2", hold: str = "hold") -> nirhw.CompiledModel:
    """Return a model with rounded time constants, weights, a delay of four steps and relays."""
    nodes = {
        "w1": b.linear(6, 4),
        first: b.cubalif(6, 3, 9.5),
        hold: nir.Delay(np.full(6, 4 * b.DT)),
        "w2": b.linear(9, 6),
        second: b.lif(9, 7),
        "w3": b.linear(8, 9),
        "last": b.cubalif(8),
    }
    return nirhw.compile(b.chain(4, 8, **nodes), "xylo", dt=b.DT)


@pytest.fixture(scope="module")
def report() -> Report:
    return compiled().report


def page_of(report: Report, folder: Path) -> Page:
    pytest.importorskip("jinja2")
    path = folder / "report.html"
    report.to_html(path)
    return Page(path.read_text(encoding="utf-8"))


def with_data(report: Report, **changes: Any) -> Report:
    return Report({**report.data, **changes}, report.timings)


def hostile(report: Report, name: str) -> Report:
    """Return the report with ``name`` wherever a report holds text: more than a compiler would let through."""

    def changed(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: changed(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [changed(v) for v in value]
        return name if isinstance(value, str) else value

    finding = {"code": name, "title": name, "stage": name, "what": name, "nodes": [name] * 30, "why": name, "fix": name}
    rows = {"traffic": [{name: name, "spikes": 1}], "memory": {name: 3}, name: name}
    reset = {"": "value", name: name}
    return Report(
        {**changed(dict(report.data)), "binding_resource": name, "findings": [finding], "reset": reset, **rows}, {name: 0.1}
    )


# JSON


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_json_has_a_schema_version_and_no_infinite_numbers(report: Report) -> None:
    read = json.loads(report.to_json(), parse_constant=refuse)
    assert read["schema_version"] == 1
    assert read["neurons"] == 23 and read["binding_resource"] == "output_neurons"
    assert set(read["timings"]) >= {"read", "lower", "verify"}


def test_an_integrators_time_constant_is_valid_json() -> None:
    model = nirhw.compile(b.chain(3, 4, w=b.linear(4, 3), n=b.integrate_fire(4)), "xylo", dt=b.DT)
    assert any(f["wanted"] == math.inf for f in model.report.data["time_constants"])
    read = json.loads(model.report.to_json(), parse_constant=refuse)
    assert "inf" in {f["wanted"] for f in read["time_constants"]}


def test_undefined_numbers_are_valid_json(report: Report) -> None:
    strange = with_data(report, extra=[{"a": math.nan}, {"a": (-math.inf, 1.0)}])
    assert json.loads(strange.to_json(), parse_constant=refuse)["extra"] == [{"a": "nan"}, {"a": ["-inf", 1.0]}]


# text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_text_fits_a_terminal_and_holds_no_escapes(name: str) -> None:
    text = compiled(first=name, second="z" + name, hold="h" + name).report.to_text()
    assert max(cell_len(line) for line in text.splitlines()) <= 110
    assert all(c.isprintable() or c == "\n" for c in text)


# HTML


def test_the_page_loads_nothing_and_runs_nothing(report: Report, tmp_path: Path) -> None:
    page = page_of(report, tmp_path)
    assert set(page.tags) <= HARMLESS
    names = {name for _, name, _ in page.attributes}
    assert not names & {"src", "href", "srcset", "xlink:href", "action", "style", "data"}
    assert not any(name.startswith("on") for name in names)
    assert not any(word in page.style for word in ("url(", "@import", "http", "<"))
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy


def test_the_page_shows_every_figure_of_the_resources(report: Report, tmp_path: Path) -> None:
    page = page_of(report, tmp_path)
    values = [value for tag, name, value in page.attributes if tag == "data" and name == "value"]
    assert values == [str(row[key]) for row in report.data["resources"] for key in ("used", "available")]
    for row in report.data["resources"]:
        assert row["resource"] in page.texts and row["source"] in page.texts
        assert f"{row['share']:.1%}" in page.texts
        assert f"{row['used']:,}" in page.texts and f"{row['available']:,}" in page.texts


def test_the_page_shows_all_sections(report: Report, tmp_path: Path) -> None:
    page, data = page_of(report, tmp_path), report.data
    sections = {value for tag, name, value in page.attributes if tag == "section" and name == "id"}
    assert sections == {
        "resources",
        "clock",
        "responses",
        "ledger",
        "findings",
        "time-constants",
        "tensors",
        "delays",
        "placement",
        "timings",
    }
    assert data["title"] in page.texts and data["clock"]["model"] in page.texts and "modelled" in page.texts
    for fit in data["time_constants"]:
        assert {fit["population"], f"{fit['wanted']:.4g}", f"{fit['achieved']:.4g}", f"{fit['error']:+.1%}"} <= set(page.texts)
    for fit in data["tensors"]:
        assert {fit["name"], f"{fit['sqnr_db']:.1f}", f"{fit['zeroed']:.1%}", f"{fit['clipped']:.1%}"} <= set(page.texts)
    for place in data["placement"]:
        assert f"{place['population']}: ids {place['first']} to {place['last']}" in page.texts
    for entry in data["deviations"]:
        assert entry["reason"] in page.texts and entry["rule"] in page.texts
    assert {"semantic", "retimed", "host", "rounded"} <= set(page.texts)
    assert set(report.timings) <= set(page.texts)


def test_inferred_limits_and_the_binding_resource_are_marked(report: Report, tmp_path: Path) -> None:
    badges = [value for _, name, value in page_of(report, tmp_path).attributes if name == "class" and "badge" in value]
    assert badges.count("badge inferred") == len(report.data["inferred_limits"]) > 0
    assert badges.count("badge binding") == 1


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text(report: Report, tmp_path: Path, name: str) -> None:
    """The page of a report in which every single text is hostile has the tags and attributes of a harmless one."""
    page, harmless = page_of(hostile(report, name), tmp_path), page_of(hostile(report, "plain"), tmp_path)
    assert set(page.tags) == set(harmless.tags)
    for_long_names = {("code", "title")}
    seen, expected = ({(tag, attribute) for tag, attribute, _ in p.attributes} for p in (page, harmless))
    assert seen - for_long_names == expected - for_long_names
    assert page.style == harmless.style
    everything = page.text + "".join(value for _, _, value in page.attributes)
    assert all(c.isprintable() or c == "\n" for c in everything)
    assert max(len(text) for text in page.texts) < 25_000
    if name.isprintable() and len(name) < 60:
        assert name in page.texts


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_network_with_hostile_names_gives_a_harmless_page(tmp_path: Path, name: str) -> None:
    page = page_of(compiled(first=name, second="z" + name, hold="h" + name).report, tmp_path)
    assert set(page.tags) <= HARMLESS
    assert not any(attribute.startswith("on") for _, attribute, _ in page.attributes)


def test_long_names_that_differ_at_their_ends_stay_apart(tmp_path: Path) -> None:
    page = page_of(compiled(first="n" * 5000).report, tmp_path)
    shown = [text for text in page.texts if text.startswith("nnn") and text.endswith(("~1", "~2"))]
    assert len({text[-2:] for text in shown}) == 2
    assert max(len(text) for text in shown) < 100


def test_accents_do_not_tower_over_other_lines(tmp_path: Path) -> None:
    page = page_of(compiled(first="Z" + "\u0301" * 60).report, tmp_path)
    assert "Z" + "\u0301" * 3 in page.texts
    assert not any("\u0301" * 4 in text for text in page.texts)


def test_a_target_may_lack_sections(report: Report, tmp_path: Path) -> None:
    optional = ("time_constants", "responses", "tensors", "delays", "placement", "clock")
    bare = Report({k: v for k, v in report.data.items() if k not in optional}, {})
    page = page_of(bare, tmp_path)
    sections = {value for tag, name, value in page.attributes if tag == "section" and name == "id"}
    assert sections == {"resources", "ledger", "findings"}


def test_sections_of_other_targets_are_shown(report: Report, tmp_path: Path) -> None:
    extra = {
        "traffic": [{"core": 3, "spikes": 12345}],
        "run_length": 777,
        "placement": [{"population": "p", "core": 3, "layer": "a", "neurons": 4, "first": 0, "last": 9, "lag": 0}],
        "resources": [{**row, "core": 5} for row in report.data["resources"]],
    }
    page = page_of(with_data(report, **extra), tmp_path)
    assert {"Traffic", "12,345", "Run length", "777", "core 3 a", "core 5", "not all of them"} <= set(page.texts)


def test_infinite_and_undefined_figures_are_readable(report: Report, tmp_path: Path) -> None:
    tensor = {**report.data["tensors"][0], "sqnr_db": math.inf, "zeroed": math.nan}
    fit = {**report.data["time_constants"][0], "wanted": math.inf, "error": 0.0}
    page = page_of(with_data(report, tensors=[tensor], time_constants=[fit]), tmp_path)
    assert page.texts.count("∞") == 2 and page.texts.count("undefined") == 1


def test_long_sections_say_what_they_leave_out(report: Report, tmp_path: Path) -> None:
    row = report.data["placement"][0]
    many = [{**row, "population": f"p{i}", "first": i, "last": i, "neurons": 1} for i in range(1000)]
    entry = report.data["deviations"][0]
    page = page_of(with_data(report, placement=many, deviations=[entry] * 1000), tmp_path)
    assert "and 600 rows more, see the JSON report" in page.texts
    assert "and 600 entries more, see the JSON report" in page.texts


def test_nothing_to_tell_is_told(report: Report, tmp_path: Path) -> None:
    page = page_of(with_data(report, deviations=[], findings=[]), tmp_path)
    assert {"Nothing differs from the network.", "No warnings."} <= set(page.texts)


def test_the_same_report_gives_the_same_page(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    report.to_html(tmp_path / "a.html")
    report.to_html(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_loaded_model_reports_too(tmp_path: Path) -> None:
    model = compiled()
    model.save(tmp_path / "net.nirhw")
    page = page_of(nirhw.load(tmp_path / "net.nirhw").report, tmp_path)
    assert "output_neurons" in page.texts


# files


def test_the_page_is_written_whole_or_not_at_all(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2")
    path = tmp_path / "report.html"
    path.write_text("older")

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        with pytest.raises(nirhw.NirhwError, match="NIRHW-E005"):
            report.to_html(path)
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]
    report.to_html(path)
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_clear_error(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    with pytest.raises(nirhw.NirhwError, match="NIRHW-E005"):
        report.to_html(tmp_path / "nowhere" / "report.html")


def test_without_jinja2_the_error_names_the_mend(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(nirhw.NirhwError) as failure:
        report.to_html(tmp_path / "report.html")
    assert failure.value.code == "NIRHW-E004"
    assert failure.value.diagnostics[0].fix == "pip install 'nirhw[report]'"
    assert not list(tmp_path.iterdir())
    assert report.to_json() and report.to_text()
