"""What every answer has in common, the description, the page at / and the server."""

import threading
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.serve import ApiServer, build_server, from_settings
from operators.clickhouse import Reader
from operators.observability import FlowMetrics
from policy import load_policy
from schemas.settings import Settings, SettingsError
from tests.api.client import ApiClient
from tests.api.conftest import Archive
from tests.api.story import incident, row_of

ROUTES = {
    "/api/v3/stats",
    "/api/v3/stats/severity",
    "/api/v3/stats/type",
    "/api/v3/stats/duplicates",
    "/api/v3/stats/suppressions",
    "/api/v3/incidents",
    "/api/v3/incidents/{incident_id}",
    "/api/v3/trace/{tracking_id}",
    "/api/v3/series",
    "/api/v3/series/{series_id}",
    "/api/v3/anomalies/{anomaly_id}",
    "/api/v3/devices",
    "/api/v3/silences",
    "/api/v3/why/{id}",
    "/api/v3/ids/{beginning}",
    "/health/live",
    "/health/ready",
    "/metrics",
}


@pytest.mark.parametrize("path", ["/", "/api/v3/stats", "/api/v3/incidents/none", "/nowhere", "/openapi.json"])
def test_every_answer_has_the_security_headers_and_an_id(api: ApiClient, path: str) -> None:
    headers = api.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert len(headers["x-request-id"]) == 32


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("x" * 65, False), ("a b", False), ('"><', False)])
def test_a_plain_request_id_is_kept(api: ApiClient, given: str, kept: bool) -> None:
    headers = api.get("/health/live", headers={"X-Request-ID": given}).headers
    assert (headers["x-request-id"] == given) is kept


@pytest.mark.parametrize(
    ("path", "name", "says"),
    [
        ("/api/v3/incidents", "ship_id", "did you mean ship?"),
        ("/api/v3/stats", "windw", "did you mean window?"),
        ("/api/v3/silences", "x" * 200, "it takes ship"),
        ("/api/v3/trace/abcdef01-2345-8000-8000-000000000007", "ship", "it takes none"),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused(api: ApiClient, path: str, name: str, says: str) -> None:
    problem = api.problem(422, path, **{name: "a"})
    assert f"query.{name[:80]}: unknown parameter" in problem["detail"]
    assert says in problem["detail"]


def test_an_unknown_path_and_method_are_problems(api: ApiClient) -> None:
    assert "listed at /" in api.problem(404, "/api/v3/nothing")["detail"]
    response = api.request("POST", "/api/v3/incidents")
    assert response.status_code == 405
    assert response.json()["detail"].startswith("POST is not possible")
    assert response.headers["allow"] == "GET"


def test_the_description_has_every_route_with_its_errors(api: ApiClient) -> None:
    document = api.json("/openapi.json")
    assert document["paths"].keys() == ROUTES
    assert document["info"]["version"] == api.app.version
    for path, item in document["paths"].items():
        responses: dict[str, Any] = item["get"]["responses"]
        if not path.startswith("/api/"):
            continue
        for status in ("422", "500", "503"):
            assert responses[status]["content"].keys() == {"application/problem+json"}, path
        schema = responses["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][schema]["properties"], path
    assert "404" in document["paths"]["/api/v3/trace/{tracking_id}"]["get"]["responses"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["components"]["schemas"]["Stats"]["properties"].keys() >= {"window", "from", "to", "total"}


class Assets(HTMLParser):
    """Collects what a page links to or loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_needs_nothing_from_outside_and_its_links_work(api: ApiClient) -> None:
    response = api.get("/")
    assert response.headers["content-type"].startswith("text/html")
    page = Assets()
    page.feed(response.text)
    assert set(page.links) == {path for path in ROUTES if "{" not in path} | {"/openapi.json"}
    for link in page.links:
        assert api.get(link).status_code == 200, link
    assert api.get("/docs").status_code == 404


def test_ready_when_clickhouse_answers(api: ApiClient) -> None:
    body = api.json("/health/ready")
    assert body["status"] == "ready"
    assert body["parts"][0]["name"] == "clickhouse"


def test_metrics_are_those_of_the_flow_and_of_the_api_without_ids(reader: Reader) -> None:
    metrics = FlowMetrics("vessel")
    metrics.incidents.labels("created").inc(3)
    api = ApiClient(create_app(reader, settings=Settings(), policy=load_policy(None), metrics=metrics))
    api.get("/api/v3/incidents/one")
    api.get("/no/such/path")
    text = api.get("/metrics").text
    assert 'watchkeeper_incidents_total{event="created"} 3.0' in text
    assert 'route="/api/v3/incidents/{incident_id}",status="404"' in text
    assert "/no/such/path" not in text


def serve(server: ApiServer) -> threading.Thread:
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    return thread


def test_a_server_in_a_thread_answers_many_at_once_and_stops(api: ApiClient, archive: Archive) -> None:
    archive.add(*(row_of(incident(f"n{n}", n)) for n in range(20)))
    server = build_server(api.app, "127.0.0.1", 0, signals=False)
    thread = serve(server)
    totals: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
            totals.extend(client.get("/api/v3/stats").json()["total"] for _ in range(3))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
    assert totals == [20] * 24


def test_an_answer_does_not_wait_for_the_callers_acknowledgement(api: ApiClient) -> None:
    """Without TCP_NODELAY each answer on a kept connection takes 40 ms and more; the best of ten is not luck."""
    server = build_server(api.app, "127.0.0.1", 0, signals=False)
    thread = serve(server)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        client.get("/health/live")
        best = min(client.get("/health/live").elapsed for _ in range(10))
    server.should_exit = True
    thread.join(10)
    assert best < timedelta(milliseconds=30)


def test_a_port_in_use_is_said_before_anything_runs(api: ApiClient) -> None:
    server = build_server(api.app, "127.0.0.1", 0, signals=False)
    try:
        with pytest.raises(SettingsError, match=f"WATCHKEEPER_API_PORT: port {server.port} on 127.0.0.1 is in use"):
            build_server(api.app, "127.0.0.1", server.port)
    finally:
        server.close()


def test_from_settings_serves_the_archive(chdb_dsn: str, archive: Archive) -> None:
    archive.add(row_of(incident("a", 1)))
    settings = Settings(clickhouse_dsn=chdb_dsn, clickhouse_database=archive.database, api_port=0)
    server = from_settings(settings, signals=False)
    thread = serve(server)
    items = httpx.get(f"http://127.0.0.1:{server.port}/api/v3/incidents", timeout=30).json()["items"]
    server.should_exit = True
    thread.join(10)
    assert [item["incident_id"] for item in items] == [incident("a").incident_id]
