"""The whole pages on a service without workers, as one person sees them."""

import json
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page, expect

from tests.api.client import ApiClient
from tests.web.browser import Watch


@dataclass(frozen=True)
class Site:
    api: ApiClient
    url: str
    page: Page
    watch: Watch

    def spec(self) -> Any:
        """What the form would send."""
        text: str = self.page.get_by_label("The job as JSON").input_value()
        return json.loads(text)

    def new(self, query: str = "") -> None:
        self.page.goto(f"{self.url}/new{query}")
        expect(self.page.get_by_role("button", name="Start the search")).to_be_visible()

    def write(self, spec: Any) -> None:
        """Types the spec into the form's JSON."""
        self.page.get_by_label("The job as JSON").evaluate("box => { box.closest('details').open = true; }")
        self.page.get_by_label("The job as JSON").fill(spec if isinstance(spec, str) else json.dumps(spec))

    def start(self) -> str:
        """Starts the search; the new job's id."""
        self.page.get_by_role("button", name="Start the search").click()
        self.page.wait_for_url("**/jobs/*")
        return self.page.url.rpartition("/")[2]

    def stored(self, job: str) -> dict[str, Any]:
        spec: dict[str, Any] = self.api.get(f"/v1/jobs/{job}").json()["spec"]
        return spec
