"""Perspective's own clients, unmodified, against a real server: one address is all that changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from googleapiclient import discovery
from googleapiclient.errors import HttpError

from tests.conftest import ROOT
from tests.server.running import Server, serving

TEXT = "What kind of idiot name is foo? Sorry, I like your name."
PACKAGES = ["perspective-api-client@3.1.0", "@conversationai/perspectiveapi-js-client@1.0.1"]


def google(server: Server, key: str = "KEY123") -> Any:
    return discovery.build(
        "commentanalyzer",
        "v1alpha1",
        developerKey=key,
        discoveryServiceUrl=f"{server.address}/$discovery/rest?version=v1alpha1",
        static_discovery=False,
    )


def request(text: str, *names: str) -> dict[str, Any]:
    return {"comment": {"text": text}, "requestedAttributes": {name: {} for name in names or ("TOXICITY",)}}


@pytest.fixture
def service(server: Server) -> Iterator[Any]:
    with google(server) as found:
        yield found


def test_google_analyze(service: Any, server: Server) -> None:
    answer = service.comments().analyze(body=request(TEXT, "TOXICITY", "THREAT")).execute()
    assert answer == server.analyze(TEXT, "TOXICITY", "THREAT").json()


def test_google_suggestscore(service: Any) -> None:
    body = {
        "comment": {"text": "a"},
        "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}},
        "clientToken": "t",
    }
    assert service.comments().suggestscore(body=body).execute()["clientToken"] == "t"


def test_google_errors_carry_our_message(service: Any) -> None:
    with pytest.raises(HttpError) as caught:
        service.comments().analyze(body=request("")).execute()
    assert caught.value.status_code == 400
    assert "Comment must be non-empty." in str(caught.value)
    with pytest.raises(HttpError, match="does not support request languages"):
        service.comments().analyze(body=request("a") | {"languages": ["om"]}).execute()


def test_google_batch(service: Any, server: Server) -> None:
    found: dict[str, Any] = {}
    errors: dict[str, Any] = {}

    def callback(name: str, answer: Any, error: Any) -> None:
        (errors if error else found)[name] = error or answer

    texts = {"one": "naïve 🔪 text", "two": "", "a name/with + odd %signs": TEXT, "four": "x" * 20_481}
    batch = service.new_batch_http_request(callback=callback)
    for name, text in texts.items():
        batch.add(service.comments().analyze(body=request(text)), request_id=name)
    batch.execute()
    assert set(found) == {"one", "a name/with + odd %signs"}
    assert found["one"] == server.analyze(texts["one"]).json()
    assert "Comment must be non-empty." in str(errors["two"])
    assert "too many bytes" in str(errors["four"])
    assert {error.status_code for error in errors.values()} == {400}


def test_google_asks_for_a_part_of_the_answer(service: Any) -> None:
    call = service.comments().analyze(
        body=request(TEXT, "TOXICITY", "THREAT"), fields="attributeScores/THREAT/summaryScore"
    )
    assert list(call.execute()["attributeScores"]) == ["THREAT"]
    found: list[Any] = []
    batch = service.new_batch_http_request(callback=lambda _name, answer, _error: found.append(answer))
    batch.add(service.comments().analyze(body=request(TEXT), fields="detectedLanguages"))
    batch.execute()
    assert found == [{"detectedLanguages": ["en"]}]


def test_google_batch_of_a_thousand(service: Any) -> None:
    found: dict[str, float] = {}

    def callback(name: str, answer: Any, error: Any) -> None:
        assert error is None
        found[name] = answer["attributeScores"]["TOXICITY"]["summaryScore"]["value"]

    batch = service.new_batch_http_request(callback=callback)
    for number in range(1_000):
        batch.add(service.comments().analyze(body=request(f"comment number {number}")))
    batch.execute()
    assert len(found) == 1_000


def test_google_batch_with_a_wrong_key(keyed: Server) -> None:
    errors: list[Any] = []
    with google(keyed, "wrong") as service:
        batch = service.new_batch_http_request(callback=lambda _name, _answer, error: errors.append(error))
        batch.add(service.comments().analyze(body=request(TEXT)))
        batch.execute()
    assert [error.status_code for error in errors] == [400]
    assert "API key not valid" in str(errors[0])


def raw_batch(server: Server, body: bytes, content_type: str = "multipart/mixed; boundary=xx") -> requests.Response:
    return requests.post(f"{server.address}/batch", data=body, headers={"content-type": content_type}, timeout=60)


def test_the_reply_has_the_form_that_clients_can_read(server: Server) -> None:
    inner = json.dumps(request("a"))
    part = (
        "--xx\nContent-Type: application/http\nContent-ID: <u-1 + 1>\n\n"
        f"POST /v1alpha1/comments:analyze?key=K&alt=json HTTP/1.1\nContent-Type: application/json\n\n{inner}\n"
    )
    wrong = "--xx\nContent-Type: application/http\nContent-ID: <u-1 + 2>\n\nGET /nowhere HTTP/1.1\n\n\n"
    response = raw_batch(server, (part + wrong + "--xx--").encode())
    assert response.status_code == 200
    kind, _, boundary = response.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/mixed"
    assert b"\n" not in response.content.replace(b"\r\n", b"")
    first, second = response.content.split(f"--{boundary}".encode())[1:3]
    assert b"Content-ID: <response-u-1 + 1>\r\n" in first
    assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in first
    assert b"HTTP/1.1 404 Not Found\r\n" in second


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_part_may_have_no_headers(server: Server, newline: str) -> None:
    """RFC 2046, 5.1: then it begins with the blank line."""
    call = ["--xx", "", "POST /v1alpha1/comments:analyze?key=K HTTP/1.1", "", json.dumps(request("a"))]
    bare = raw_batch(server, newline.join([*call, "--xx  ", *call[1:], "--xx--"]).encode())
    assert bare.content.count(b"HTTP/1.1 200 OK\r\n") == 2
    headed = raw_batch(server, newline.join(["--xx", "Content-ID: <u + 1>", *call[1:], "--xx--"]).encode())
    assert b"Content-ID: <response-u + 1>\r\n" in headed.content
    assert headed.content.count(b"HTTP/1.1 200 OK\r\n") == 1


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/mixed; boundary=xx"),
        (b"no parts", "multipart/mixed; boundary=xx"),
        (b"--xx\n\nPOST /v1alpha1/comments:analyze HTTP/1.1\n\n{}", "multipart/mixed; boundary=xx"),  # cut short
        (b"--xx\r\n\r\n--xx--", "text/plain"),
        (b"--xx\r\n\r\n--xx--", "multipart/mixed"),
        (b"--xx\r\n\r\n--xx--", ""),
        (b"--xx\n" * 1_500 + b"--xx--", "multipart/mixed; boundary=xx"),
    ],
)
def test_what_is_no_batch_is_400(server: Server, body: bytes, content_type: str) -> None:
    response = raw_batch(server, body, content_type)
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_the_documentations_python_sample(server: Server) -> None:
    # requests.post(url, data=json.dumps(...)) sends no Content-Type
    url = f"{server.address}/v1alpha1/comments:analyze?key=KEY"
    response = requests.post(url=url, data=json.dumps(request(TEXT)), timeout=60)
    assert response.json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"] > 0.5


def test_the_documentations_curl_sample(server: Server) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    data = "{comment: {text: x}}"  # the old documentation had keys without quotes: JSON it is not, and 400 it was
    line = ["curl", "-sS", "-d", json.dumps(request(TEXT)), f"{server.address}/v1alpha1/comments:analyze?key=KEY"]
    assert "TOXICITY" in json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["attributeScores"]
    line[3] = data
    assert json.loads(subprocess.run(line, capture_output=True, check=True).stdout)["error"]["code"] == 400


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the npm clients are installed; kept from one run to the next."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm for Perspective's JavaScript clients")
    folder = ROOT / ".cache" / "npm"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        line = [npm, "install", "--no-audit", "--no-fund", "--silent", *PACKAGES]
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm could not install Perspective's clients: {done.stderr[-200:]}")
        (folder / "installed").touch()
    return folder


def run_node(folder: Path, program: str) -> dict[str, Any]:
    done = subprocess.run(["node", "-e", program], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def sloria(server: Server, call: str) -> str:
    """A program of perspective-api-client's, whose address is fixed: one line sends its calls to us."""
    return f"""
      const Perspective = require("perspective-api-client");
      const axios = require(require.resolve("axios", {{paths: [require.resolve("perspective-api-client")]}}));
      axios.interceptors.request.use(c => ({{...c, url: c.url.replace("https://commentanalyzer.googleapis.com", "{server.address}")}}));
      const perspective = new Perspective({{apiKey: "secret-one"}});
      (async () => {{ try {{ console.log(JSON.stringify(await {call})); }}
        catch (error) {{ console.log(JSON.stringify({{error: error.message}})); }} }})();
    """


def test_perspective_api_client(node: Path, server: Server) -> None:
    answer = run_node(node, sloria(server, f"perspective.analyze({json.dumps('<b>' + TEXT + '</b>')})"))
    assert answer == server.analyze(TEXT).json()
    several = 'perspective.analyze("You idiot", {attributes: ["toxicity", "threat", "incitement"]})'
    assert set(run_node(node, sloria(server, several))["attributeScores"]) == {"TOXICITY", "THREAT", "INCITEMENT"}


def test_perspective_api_client_reads_our_message(node: Path, server: Server) -> None:
    answer = run_node(node, sloria(server, 'perspective.analyze("", {validate: false})'))
    assert answer == {"error": "Comment must be non-empty."}


def conversationai(server: Server, call: str) -> str:
    return f"""
      const {{Client}} = require("@conversationai/perspectiveapi-js-client/dist/api");
      const client = new Client("secret-one");
      client.perspectiveApiUrl = "{server.address}/v1alpha1/comments:analyze?key=secret-one";
      {call}.then(scores => console.log(JSON.stringify(scores)),
                  error => console.log(JSON.stringify({{error: error.message}})));
    """


def test_perspectiveapi_js_client(node: Path, server: Server, keyed: Server) -> None:
    call = f'client.getScores({json.dumps(TEXT)}, {{attributes: ["TOXICITY"]}})'
    scores = run_node(node, conversationai(server, call))
    expected = server.analyze(TEXT).json()["attributeScores"]["TOXICITY"]["summaryScore"]["value"]
    assert scores["TOXICITY"] == pytest.approx(expected, abs=1e-6)
    # By default it asks for SPAM too, which we do not have: refused, or dropped where the operator says so.
    call = f"client.getScores({json.dumps(TEXT)})"
    assert "400" in run_node(node, conversationai(server, call))["error"]
    assert set(run_node(node, conversationai(keyed, call))) == {"TOXICITY"}


def test_fetch(node: Path, server: Server) -> None:
    program = f"""
      fetch("{server.address}/v1alpha1/comments:analyze?key=K", {{method: "POST", body: '{json.dumps(request("You idiot"))}'}})
        .then(response => response.json()).then(data => console.log(JSON.stringify(data)));
    """
    assert run_node(node, program) == server.analyze("You idiot").json()


def test_peRspective_finds_its_span(server: Server) -> None:
    # The R client sends languages as a bare string and reads spanScores[[1]] without having asked for spans.
    answer = server.analyze(TEXT, languages="en", spanAnnotations=False, doNotStore=True).json()
    assert isinstance(answer["attributeScores"]["TOXICITY"]["spanScores"][0]["score"]["value"], float)


def test_discourse(server: Server) -> None:
    body = {
        "comment": {"text": TEXT},
        "doNotStore": True,
        "sessionId": "https://forum.example_42",
        "requestedAttributes": {"TOXICITY": {"scoreType": "PROBABILITY"}},
    }
    assert server.client.post("/v1alpha1/comments:analyze?key=K", json=body).status_code == 200


def test_conversationai_moderator(server: Server) -> None:
    body = {
        "comment": {"text": TEXT},
        "context": {"entries": [{"text": "The article"}, {"text": "The parent"}]},
        "requestedAttributes": {"TOXICITY": {}, "INSULT": {}},
        "languages": ["en"],
        "clientToken": "1_request",
        "spanAnnotations": True,
    }
    scores = server.client.post("/v1alpha1/comments:analyze?key=K", json=body).json()["attributeScores"]
    assert all("summaryScore" in score and len(score["spanScores"]) == 2 for score in scores.values())


def test_a_client_with_a_key_works_where_keys_are_set(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("KEY123 gazette\n")
    with serving(tmp_path, "--api-keys", str(tmp_path / "keys")) as server, google(server) as service:
        assert service.comments().analyze(body=request(TEXT)).execute()["languages"] == ["en"]


def test_no_google_client_is_needed_to_serve() -> None:
    program = "import sys, moderation.server; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"googleapiclient", "openai", "fastapi", "requests", "sklearn", "typer"} & set(done.stdout.split())
