"""The commands of the queue as their user meets them: a real process on a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moderation import Comment, Policy, Scorer
from moderation.errors import Conflict
from moderation.intake import DEMO, heaviest, incoming, make_demo, rescore, take_in
from moderation.queue import Filter, Intake, Ruling, Store
from tests.conftest import ROOT
from tests.queue.conftest import PASSWORD, PLAIN, empty, quick
from tests.queue.conftest import incoming as made_up
from tests.test_cli import run

SAMPLE = ROOT / "datasets" / "samples" / "thread.jsonl"


@pytest.fixture
def fresh(where: str, tmp_path: Path) -> Iterator[Store]:
    """A store without accounts and comments."""
    if where.startswith("postgresql"):
        empty(where)
    else:
        where = str(tmp_path / "fresh.db")
    with quick(Store.open(where)) as store:
        yield store


def test_a_days_work(where: str, tmp_path: Path) -> None:
    # A comment drawn for a second look would not be exported after one decision.
    _, err = run("queue", "import", SAMPLE, "--site", "gazette", "--sample", "0", "--double", "0", "-d", where)
    assert "13 new" in err
    _, err = run("queue", "import", SAMPLE, "--site", "gazette", "-d", where)
    assert "13 unchanged; 0 wait" in err
    with Store.open(where, mix=0) as store:
        assert {entry.article_ref for entry in store.listing.page().entries} == {1}
        [item] = store.desk.claim("ada")
        assert item.version.verdict.reasons
        store.desk.decide("ada", item.ref, Ruling("reject", reason="THREAT"))
    out, _ = run("queue", "status", "-d", where)
    assert "wait for a person" in out
    run("queue", "export", "-d", where, "-o", tmp_path / "out.jsonl")
    [record] = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (record["threat"], record["decision"]["moderator"]) == (1, "ada")
    out, _ = run("queue", "export", "-d", where, "-o", "-", cwd=tmp_path)
    assert out == (tmp_path / "out.jsonl").read_text()
    out, _ = run("queue", "export", "-d", where, "--to", "statements")
    assert json.loads(out)["category"] == "STATEMENT_CATEGORY_VIOLENCE"
    out, _ = run("queue", "export", "-d", where, "--to", "csv", "--since", "2999-01-01")
    assert out.count("\n") == 1
    _, err = run("queue", "erase", "-d", where, "--site", "gazette", "--author", str(item.comment.author))
    assert "erased" in err
    _, err = run("queue", "purge", "-d", where, "--older-than", "0", "--waiting")
    assert "deleted" in err


def test_rows_in_error_are_named_and_the_rest_goes_in(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    data = b'{"id": "1", "text": "one"}\nnonsense\n{"id": "3", "text": "three"}\n'
    _, err = run("queue", "import", "-", "--site", "x", "-d", database, stdin=data, code=1)
    assert "2 new" in err
    assert "standard input, line 2: not JSON" in err


PAGE = """by: Ida
March 3, 2014 1:00 PM
{}

In Response

by: Tam
March 3, 2014 2:00 PM
{}
"""


def html_page(first: str, second: str) -> str:
    """A page whose comments have no identifiers; the second answers the first."""
    answer = {"@type": "Comment", "text": second}
    thread = {"@type": "NewsArticle", "comment": {"@type": "Comment", "text": first, "comment": answer}}
    return f'<html><head><script type="application/ld+json">{json.dumps(thread)}</script></head></html>'


# (name, first file, second file): each with two comments, none of which has an id of its own
@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("lines.txt", "one\ntwo\n", "three\nfour\n"),
        ("rows.jsonl", '{"text": "one"}\n{"text": "two"}\n', '{"text": "three"}\n{"id": null, "text": "four"}\n'),
        # cells that are blank
        ("rows.csv", "id,text\n,one\n,two\n", "id,text\n,three\n ,four\n"),
        ("page.txt", PAGE.format("one", "two"), PAGE.format("three", "four")),
        ("page.html", html_page("one", "two"), html_page("three", "four")),
    ],
)
def test_comments_without_ids_are_kept_apart(tmp_path: Path, name: str, first: str, second: str) -> None:
    database, paths = tmp_path / "queue.db", [tmp_path / f"{n}-{name}" for n in (1, 2)]
    for path, text in zip(paths, (first, second), strict=True):
        path.write_text(text)
        _, err = run("queue", "import", path, "--site", "s", "--all", "-d", database)
        assert "2 new, 0 edited, 0 scored anew, 0 unchanged" in err
    _, err = run("queue", "import", *paths, "--site", "s", "--all", "-d", database)
    assert "0 new, 0 edited, 0 scored anew, 4 unchanged" in err
    with Store.open(database) as store:
        found = {entry.comment.text: entry for entry in store.listing.page(Filter(site="s")).entries}
        assert set(found) == {"one", "two", "three", "four"}
        for parent, answer in (("one", "two"), ("three", "four")):
            above = store.listing.item(found[answer].ref).parent
            assert (above and above.text) == (parent if name.startswith("page") else None)


def test_who_wrote_the_same_words_and_when_tells_them_apart(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    for rows, told in (
        (b'{"text": "no", "author": "ida"}\n{"text": "no", "author": "tam"}\n', "2 new, 0 edited"),
        (b'{"text": "no", "author": "ida", "created": "2014-03-03"}\n{"text": "no"}\n', "2 new, 0 edited"),
    ):
        _, err = run("queue", "import", "-", "--site", "s", "--all", "-d", database, stdin=rows)
        assert told in err


def test_the_same_words_twice_in_a_file_are_two_comments(tmp_path: Path) -> None:
    database, lines = tmp_path / "queue.db", b"me too\nno\nme too\n"
    for told in ("3 new, 0 edited", "0 new, 0 edited, 0 scored anew, 3 unchanged"):
        _, err = run("queue", "import", "-", "--site", "s", "--all", "-d", database, stdin=lines)
        assert told in err


def test_ids_of_their_own_are_kept_beside_rows_without(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    rows = b'{"text": "one"}\n{"id": 1, "text": "two"}\n{"text": "three", "parent_id": "1"}\n'
    _, err = run("queue", "import", "-", "--site", "s", "--all", "-d", database, stdin=rows)
    assert "3 new" in err
    _, err = run(
        "queue", "import", "-", "--site", "s", "--all", "-d", database, stdin=b'{"id": 1, "text": "two, edited"}\n'
    )
    assert "0 new, 1 edited" in err
    with Store.open(database) as store:
        found = {entry.comment.text: entry.comment for entry in store.listing.page(Filter(site="s")).entries}
        assert (found["two, edited"].id, found["three"].parent_id) == ("1", "1")


def test_people(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    run("users", "add", "root", "--role", "admin", "--stdin", "-d", database, stdin=PASSWORD.encode() + b"\n")
    run("users", "add", "ada", "--stdin", "-d", database, stdin=PASSWORD.encode() + b"\n")
    run("users", "role", "ada", "senior", "-d", database)
    run("users", "disable", "ada", "-d", database)
    out, _ = run("users", "list", "-d", database)
    assert [line.split("\t")[:3] for line in out.splitlines()] == [
        ["ada", "senior", "disabled"],
        ["root", "admin", "active"],
    ]
    run("users", "enable", "ada", "-d", database)
    run("users", "password", "ada", "--stdin", "-d", database, stdin=b"another password\n")
    secret, _ = run("users", "token", "root", "--for", "the site", "--scope", "queue", "-d", database)
    with Store.open(database) as store:
        assert store.people.sign_in("ada", "another password")
        assert store.people.token(secret.strip(), "queue")
    run("users", "revoke", "1", "-d", database)
    out, _ = run("users", "tokens", "-d", database)
    assert out.strip().endswith("revoked")
    _, err = run("users", "add", "ada", "--stdin", "-d", database, stdin=PASSWORD.encode(), code=1)
    assert "already" in err
    _, err = run("users", "add", "bob", "--stdin", "-d", database, stdin=b"short\n", code=2)
    assert "10 to 1000 characters" in err
    assert "short" not in err


def test_webhooks(tmp_path: Path) -> None:
    database = tmp_path / "queue.db"
    secret, _ = run("queue", "webhooks", "add", "http://127.0.0.1:9/", "-d", database)
    assert secret.startswith("whsec_")
    assert run("queue", "webhooks", "rotate", "1", "-d", database)[0] != secret
    with Store.open(database, mix=0) as store:
        store.people.add("ada", "moderator")
        store.arrivals.put([made_up(1)], site="gazette", intake=PLAIN)
        [item] = store.desk.claim("ada")
        store.desk.decide("ada", item.ref, Ruling("approve"))
    _, err = run("queue", "deliver", "-d", database, code=1)
    assert "1 did not" in err
    assert "1 pending" in run("queue", "webhooks", "list", "-d", database)[0]
    run("queue", "webhooks", "remove", "1", "-d", database)
    assert run("queue", "webhooks", "list", "-d", database)[0] == ""


# (arguments, part of the message, exit code)
@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("status", "-d", "mysql://x/y"), "expected a path", 2),
        (("status", "-d", "/nowhere/at/all.db"), "no such file", 2),
        (("import", str(SAMPLE), "--site", "x", "-d", "/nowhere/at/all.db"), "cannot be reached", 5),
        (("export", "--since", "yesterday"), "--since: expected a day", 2),
        (("export", "--territory", "UK"), "territory: expected EEA, EU", 2),
        (("export", "--reasons", "/nowhere.toml"), "/nowhere.toml: cannot be read", 2),
        (("import", "/nowhere.jsonl", "--site", "x"), "cannot be opened", 2),
        (("import", str(SAMPLE), "--site", "x", "--sample", "2"), "from 0 to 1", 2),
    ],
)
def test_wrong_input_is_told(tmp_path: Path, arguments: tuple[str, ...], message: str, code: int) -> None:
    assert message in run("queue", *arguments, code=code, cwd=tmp_path)[1]


@pytest.mark.parametrize("command", ["queue status", "queue purge --older-than 1", "queue export", "users list"])
def test_a_mistyped_database_is_told_and_not_made(command: str, tmp_path: Path) -> None:
    _, err = run(*command.split(), "-d", tmp_path / "mistyped.db", code=2)
    assert err.startswith(f"error: --database: {tmp_path / 'mistyped.db'}: no such file; ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_the_demonstration_has_an_appeal_whatever_chance_says(
    chance: float, tmp_path: Path, shipped: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # At 0 every comment is looked at by two people, and at 1 none.
    monkeypatch.setattr("moderation.queue.arrivals._chance", lambda: chance)
    with Store.open(tmp_path / "demo.db") as store:
        make_demo(store, shipped, Policy.load())
        assert store.listing.counts().appeals == 1


def test_the_demonstration(tmp_path: Path) -> None:
    for _ in range(2):
        out, _ = run("queue", "demo", "-d", tmp_path / "demo.db")
        assert "Sign in as demo" in out
    with Store.open(tmp_path / "demo.db") as store:
        assert store.people.sign_in("demo", "demonstration")[1].user.role == "admin"
        assert store.listing.counts().waiting > 5
        assert store.listing.counts().appeals == 1


# (commands that make the database a real one, what is told of it)
@pytest.mark.parametrize(
    ("commands", "message"),
    [
        ([("users", "add", "root", "--role", "admin", "--stdin")], "the account 'root'"),
        # the name of an account of the demonstration, which makes its own first
        ([("users", "add", "kim", "--stdin")], "the account 'kim'"),
        ([("queue", "import", SAMPLE, "--site", "gazette")], "comments of the site 'gazette'"),
        ([("queue", "demo"), ("users", "add", "root", "--stdin")], "the account 'root'"),
    ],
)
def test_the_demonstration_stays_out_of_a_real_database(
    tmp_path: Path, commands: list[tuple[str | Path, ...]], message: str
) -> None:
    database = tmp_path / "queue.db"
    for command in commands:
        run(*command, "-d", database, stdin=PASSWORD.encode() + b"\n")
    with Store.open(database) as store:
        before = store.people.all(), store.listing.counts()
    _, err = run("queue", "demo", "-d", database, code=1)
    assert message in err
    assert "--database" in err
    with Store.open(database) as store:
        assert (store.people.all(), store.listing.counts()) == before


def test_the_demonstration_sees_comments_that_nobody_waits_for(fresh: Store, shipped: Scorer) -> None:
    fresh.arrivals.put([made_up(1, 0.01)], site="gazette", intake=PLAIN)
    with pytest.raises(Conflict, match="gazette"):
        make_demo(fresh, shipped, Policy.load())
    assert fresh.people.all() == []


def test_the_demonstration_goes_on_where_it_was_stopped(fresh: Store, shipped: Scorer) -> None:
    fresh.people.add("demo", "admin", "demonstration")
    for _ in range(2):
        make_demo(fresh, shipped, Policy.load())
    assert [user.name for user in fresh.people.all()] == ["demo", "kim", "robin"]


def test_the_demonstration_holds_the_sample_thread() -> None:
    def texts(path: Path) -> list[str]:
        return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]

    assert texts(DEMO)[:13] == texts(SAMPLE)


def test_the_demonstration_can_be_made_from_python(fresh: Store, shipped: Scorer) -> None:
    name, password = make_demo(fresh, shipped, Policy.load())
    assert fresh.people.sign_in(name, password)


def test_spans_are_the_heaviest_words_of_every_label(small_scorer: Scorer) -> None:
    comment = Comment("1", "You are a pathetic little liar, burn the house down.")
    spans = heaviest(small_scorer, comment)
    assert list(spans) == sorted(spans, key=lambda span: (span.start, span.label))
    assert set(spans) == set(small_scorer.explain(comment).spans)


def test_scores_are_those_of_the_scorer(shipped: Scorer) -> None:
    comments = [Comment(str(n), text) for n, text in enumerate(["Burn his house down.", "A lovely garden."])]
    found = list(incoming(comments, shipped, Policy.load()))
    assert [one.score for one in found] == list(shipped.score_many(comments))
    assert found[0].verdict.action != "allow"


def test_what_waits_is_scored_anew_after_a_change_of_policy(store: Store, shipped: Scorer) -> None:
    comments = [Comment("1", "Somebody ought to burn his house down tonight.")]
    policies = [
        Policy.parse(f'id = "{name}"\n[thresholds.incitement]\nreview = {review}')
        for name, review in (("a", 0.01), ("b", 1))
    ]
    take_in(store, comments, shipped, policies[0], site="gazette", intake=Intake(sample=0, double=0))
    assert store.listing.count(Filter()) == 1
    assert rescore(store, shipped, policies[0]) == 0
    assert rescore(store, shipped, policies[1]) == 1
    assert store.listing.item(1).version.verdict.policy_id == "b"


def test_what_waits_is_scored_anew_after_a_change_of_thresholds_alone(store: Store, shipped: Scorer) -> None:
    comments = [Comment("1", "Somebody ought to burn his house down tonight."), Comment("2", "You pathetic liar.")]

    def policy(incitement: float, abuse: float) -> Policy:
        return Policy.parse(
            f'id = "a"\n[thresholds]\nincitement = {{ review = {incitement} }}\nabuse = {{ hold = {abuse} }}'
        )

    take_in(store, comments, shipped, policy(0.01, 0.001), site="gazette", intake=Intake(sample=0, double=0))
    assert rescore(store, shipped, policy(0.01, 0.001)) == 0
    # what the policy no longer flags leaves the queue, and what it flags for another reason has that one
    assert rescore(store, shipped, policy(0.01, 1)) == 2
    assert rescore(store, shipped, policy(0.01, 1)) == 0
    assert store.listing.count(Filter()) == 1
    item = store.listing.item(1)
    assert (item.version.verdict.label, item.version.verdict.threshold) == ("incitement", 0.01)
    # a threshold that still decides in the same way makes a comment more severe
    before = item.severity
    assert rescore(store, shipped, policy(0.001, 1)) == 1
    assert store.listing.item(1).severity == pytest.approx(10 * before)
    # what comes again is judged by the thresholds of the day, too
    again = take_in(store, comments, shipped, policy(0.001, 0.001), site="gazette")
    assert (again.rescored, again.unchanged, again.queued) == (2, 0, 1)
    again = take_in(store, comments, shipped, policy(0.001, 0.001), site="gazette")
    assert (again.rescored, again.unchanged) == (0, 2)


def test_thresholds_that_were_edited_are_applied_by_the_command(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for threshold in (0.01, 1):
        path.write_text(f'id = "mine"\n[thresholds.abuse]\nreview = {threshold}\n')
        if threshold == 0.01:
            run("queue", "import", SAMPLE, "--site", "x", "--policy", path, "--sample", "0", cwd=tmp_path)
        _, err = run("queue", "rescore", "--policy", path, "--sample", "0", cwd=tmp_path)
        assert err.startswith("0 comments") is (threshold == 0.01)
    assert run("queue", "status", cwd=tmp_path)[0].startswith("0 wait for a person")
