"""Decisions leave the queue."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from moderation.comment import Comment
from moderation.errors import InputError
from moderation.formats.cells import safe_cell
from moderation.formats.rows import Fields, read_rows
from moderation.queue import Filter, Intake, Ruling, Store
from moderation.queue.reasons import CATEGORIES, load_reasons
from moderation.queue.statements import EEA, territory
from tests.queue.conftest import PLAIN, Clock, incoming
from training.evaluate import set_of_rows


@pytest.fixture
def decided(filled: Store) -> Store:
    """A store in which c19 is rejected as a threat, c18 as spam, c17 approved, c16 escalated, c15 undone."""
    rulings = [
        Ruling("reject", reason="THREAT", note="see c3"),
        Ruling("reject", reason="SPAM"),
        Ruling("approve"),
        Ruling("escalate", note="?"),
        Ruling("approve"),
    ]
    for ruling in rulings:
        [item] = filled.desk.claim("ada")
        made = filled.desk.decide("ada", item.ref, ruling)
    filled.desk.undo("ada", made.past.ref)
    return filled


def lines(chunks: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


def test_training_reads_decisions_as_labels(decided: Store) -> None:
    stream = io.BufferedReader(io.BytesIO(b"".join(decided.exports.jsonl())))  # type: ignore[arg-type]
    labelled = set_of_rows("site", list(read_rows(stream, "jsonl", Fields())))
    assert list(labelled.ids) == ["c19", "c18", "c17", "c16"]
    truth = {label: values.tolist() for label, values in labelled.truth.items()}
    assert truth["incitement"] == [1, -1, 0, -1]
    assert truth["threat"] == [1, -1, 0, -1]
    assert truth["abuse"] == [-1, -1, 0, -1]
    assert truth["profanity"] == [-1, -1, -1, -1]
    assert labelled.texts[0] == "text 19 you clown"


def test_a_record_says_who_decided_what(decided: Store) -> None:
    first = next(decided.exports.records())
    decision = first["decision"]
    assert (decision["moderator"], decision["act"], decision["reason"], decision["note"]) == (
        "ada",
        "reject",
        "THREAT",
        "see c3",
    )
    assert (decision["model_id"], decision["automation"], decision["sampled"]) == ("m1", "none", False)


def test_a_later_decision_replaces_the_first(decided: Store) -> None:
    ref = decided.listing.find("gazette", "c19")
    assert ref is not None
    decided.desk.decide("sue", ref, Ruling("approve"), revise=True)
    found = {record["id"]: record for record in decided.exports.records()}
    assert (found["c19"]["decision"]["moderator"], found["c19"]["threat"]) == ("sue", 0)
    assert len(found) == 4


def test_disagreement_teaches_nothing(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
    for name, ruling in (("ada", Ruling("approve")), ("bob", Ruling("reject", reason="ABUSE"))):
        [item] = store.desk.claim(name)
        store.desk.decide(name, item.ref, ruling)
    [record] = store.exports.records()
    assert "abuse" not in record


def test_since_and_site(decided: Store, clock: Clock) -> None:
    clock.forward(days=1)
    since = clock()
    decided.arrivals.put([incoming(1)], site="herald", intake=PLAIN)
    [item] = decided.desk.claim("ada", Filter(site="herald"))
    decided.desk.decide("ada", item.ref, Ruling("approve"))
    assert [record["site"] for record in decided.exports.records(since=since)] == ["herald"]
    assert [record["site"] for record in decided.exports.records(site="herald")] == ["herald"]


# What a spreadsheet takes for a formula, and what it does not.
@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", False), ("+1", False), ("-1+1", False), ("@SUM(A1)", False), ("\t=1", False), ("\r=1", False),
        ("  =1", False), ("＝1+1", False), ("a=1", True), ("", True), ("'quoted", True),
        ("-1", True), ("-0.5e-7", True), ("-1\n=1", False), ("-1 ", False), ("-٣", False), ("'=1", True),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(cell: str, safe: bool) -> None:
    assert safe_cell(cell) == (cell if safe else "'" + cell)


def test_csv(decided: Store) -> None:
    text = '=HYPERLINK("http://evil.example")\r\n"quoted", and; more'
    decided.arrivals.put([incoming(50, 0.99, text=text)], site="gazette", intake=PLAIN)
    [item] = decided.desk.claim("ada")
    decided.desk.decide("ada", item.ref, Ruling("reject", reason="SPAM", note="@me"))
    rows = list(csv.DictReader(io.StringIO(b"".join(decided.exports.csv()).decode(), newline="")))
    assert [row["act"] for row in rows] == ["reject", "reject", "approve", "escalate", "reject"]
    assert (rows[0]["threat"], rows[1]["threat"], rows[2]["threat"]) == ("1", "", "0")
    assert (rows[-1]["text"], rows[-1]["note"]) == ("'" + text, "'@me")


def test_an_empty_csv_has_its_header(store: Store) -> None:
    assert b"".join(store.exports.csv()).startswith(b"id,site,")
    assert b"".join(store.exports.jsonl()) == b""


def test_statements_of_reasons(decided: Store) -> None:
    threat, spam = lines(decided.exports.statements())
    assert threat == {
        "puid": "gazette-c19-1",
        "decision_visibility": ["DECISION_VISIBILITY_CONTENT_REMOVED"],
        "decision_ground": "DECISION_GROUND_ILLEGAL_CONTENT",
        "illegal_content_legal_ground": "Comments may not threaten anybody.",
        "illegal_content_explanation": "The comment threatens somebody with harm.",
        "decision_facts": "The comment threatens somebody with harm.",
        "category": "STATEMENT_CATEGORY_VIOLENCE",
        "content_type": ["CONTENT_TYPE_TEXT"],
        "content_date": "2026-03-04",
        "application_date": "2026-03-04",
        "source_type": "SOURCE_VOLUNTARY",
        "automated_detection": "Yes",
        "automated_decision": "AUTOMATED_DECISION_NOT_AUTOMATED",
        "territorial_scope": list(EEA),
    }
    assert spam["decision_ground"] == "DECISION_GROUND_INCOMPATIBLE_CONTENT"
    assert spam["incompatible_content_ground"] == "Comments may not advertise."


# The rules of the DSA Transparency Database: app/Http/Requests/StatementsStoreRequest.php and its API documentation.
REQUIRED = {
    "decision_visibility", "decision_ground", "content_type", "category", "territorial_scope", "content_date",
    "application_date", "decision_facts", "source_type", "automated_detection", "automated_decision", "puid",
}  # fmt: skip
COUNTRIES = set("AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split())


@pytest.mark.parametrize("created", [None, "2026-03-01T12:00:00Z", "yesterday", "1970-01-01", "2099-01-01"])
@pytest.mark.parametrize("code", load_reasons())
def test_the_transparency_database_would_take_a_statement(store: Store, code: str, created: str | None) -> None:
    odd = Comment("c/1 é" + "x" * 600, "You clown", created=created, language="pt-BR" if created else "tlh")
    store.arrivals.put([replace(incoming(1), comment=odd)], site="The Gazette, London", intake=PLAIN)
    store.desk.decide("ada", 1, Ruling("reject", reason=code, law="§" * 500, facts="ü" * 2_000, visibility="labelled"))
    [found] = lines(store.exports.statements())
    assert found.keys() >= REQUIRED
    assert re.fullmatch("[A-Za-z0-9_-]{1,500}", found["puid"])
    assert {*found["territorial_scope"]} <= COUNTRIES
    assert "2000-01-01" <= found["content_date"] <= "2026-03-04"
    assert found.get("content_language", "PT") == "PT"
    assert found["category"].removeprefix("STATEMENT_CATEGORY_") in CATEGORIES
    word = "illegal_content" if "ILLEGAL" in found["decision_ground"] else "incompatible_content"
    assert 0 < len(found[f"{word}_{'legal_' if word == 'illegal_content' else ''}ground"]) <= 500
    assert 0 < len(found[f"{word}_explanation"]) <= 2_000


def test_no_more_is_told_than_the_database_takes(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
    for name, most in (("law", 500), ("facts", 2_000)):
        with pytest.raises(InputError, match=f"{name}: expected at most {most}"):
            store.desk.decide("ada", 1, Ruling("reject", reason="ABUSE", **{name: "x" * (most + 1)}))


def test_the_territory(where: str) -> None:
    assert (len(territory("EU")), len(territory("EEA")), territory("de, at,DE")) == (27, 30, ("AT", "DE"))
    with pytest.raises(InputError, match="expected EEA, EU, or some of AT, .* got 'UK'"):
        territory("DE,UK")
    with Store.open(where, territory=territory("DE"), mix=0) as store:
        store.arrivals.put([incoming(1)], site="gazette", intake=PLAIN)
        store.desk.decide("ada", 1, Ruling("reject", reason="ABUSE"))
        assert lines(store.exports.statements())[0]["territorial_scope"] == ["DE"]


def test_a_statement_says_when_the_model_took_part(store: Store) -> None:
    store.arrivals.put([incoming(1, 0.1)], site="gazette", intake=Intake(sample=1, double=0))
    store.arrivals.put([incoming(2, 0.3)], site="gazette", intake=PLAIN)
    [item] = store.desk.claim("ada", Filter(high=0.2))
    store.desk.decide("ada", item.ref, Ruling("reject", reason="ABUSE"))
    store.bulks.act("ada", Filter(), Ruling("reject", reason="ABUSE"))
    sampled, bulk = lines(store.exports.statements())
    assert (sampled["automated_detection"], sampled["automated_decision"]) == ("No", "AUTOMATED_DECISION_NOT_AUTOMATED")
    assert (bulk["automated_detection"], bulk["automated_decision"]) == ("Yes", "AUTOMATED_DECISION_PARTIALLY")


def test_no_statement_for_what_stays(store: Store) -> None:
    store.arrivals.put([incoming(1)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, Ruling("approve"))
    store.desk.decide("bob", 1, Ruling("reject", reason="ABUSE"))
    assert lines(store.exports.statements()) == []
    store.desk.decide("sue", 1, Ruling("reject", reason="ABUSE"))
    assert len(lines(store.exports.statements())) == 1


def test_more_than_a_chunk(store: Store) -> None:
    store.arrivals.put([incoming(n, 0.3) for n in range(1_100)], site="gazette", intake=PLAIN)
    store.bulks.act("ada", Filter(), Ruling("approve"))
    assert sum(1 for _ in store.exports.records()) == 1_100


def test_a_first_decision_is_exported_with_the_second(store: Store) -> None:
    store.arrivals.put([incoming(1), incoming(2)], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, Ruling("reject", reason="ABUSE"))
    for write in (store.exports.jsonl, store.exports.statements):
        assert lines(write()) == []
    assert b"".join(store.exports.csv()).count(b"\n") == 1
    store.desk.decide("bob", 1, Ruling("reject", reason="ABUSE"))
    assert [record["id"] for record in store.exports.records()] == ["c1"]
    store.arrivals.put([incoming(1, text="I take it back")], site="gazette", intake=Intake(sample=0, double=1))
    store.desk.decide("ada", 1, Ruling("approve"))
    [old] = store.exports.records()  # what was decided on the text before the edit is no secret
    assert (old["decision"]["act"], old["text"]) == ("reject", "text 1 you clown")
