"""A job's page as a whole in a real browser: when its sections ask, and what it says when the job is gone."""

from playwright.sync_api import Page, expect

from tests.web.sections import Service, dashboard


def test_a_section_asks_when_it_is_seen_and_again_only_when_something_has_changed(page: Page) -> None:
    page.evaluate(
        """async () => {
          const { lazily } = await import("/js/sections/panel.js");
          const [high, part] = ["div", "p"].map((tag) => document.createElement(tag));
          high.style.height = "5000px";
          part.textContent = "the part";
          document.querySelector("main").replaceChildren(high, part);
          window.over = new AbortController();
          window.loads = [];
          const load = async (shown) => {
            window.loads.push(shown);
            if (shown === "bad") throw new Error("refused");
            if (shown === "slow") await new Promise((done) => { window.answer = done; });
          };
          const say = (text) => { window.said = text; };
          const options = { signal: window.over.signal, key: (shown) => shown, load, say, everyMs: 20 };
          window.update = lazily(part, options);
          window.update("one");
        }"""
    )
    page.wait_for_timeout(150)
    assert page.evaluate("window.loads") == []
    page.get_by_text("the part").scroll_into_view_if_needed()
    page.wait_for_function("window.loads.length === 1")
    for shown in ("one", "one", "bad"):
        page.evaluate("(shown) => window.update(shown)", shown)
    page.wait_for_function("window.said === 'refused'")
    page.evaluate("window.update('two'); window.update('three')")  # in the same moment
    page.wait_for_timeout(150)
    page.evaluate("window.update('slow')")
    page.wait_for_function("Boolean(window.answer)")
    page.evaluate("window.update('slow', true)")  # chosen while an answer is awaited: that one is not enough
    page.evaluate("window.answer()")
    page.wait_for_function("window.loads.filter((shown) => shown === 'slow').length === 2")
    page.evaluate("window.over.abort()")
    assert [shown for shown in page.evaluate("window.loads") if shown not in ("bad", "slow")] == ["one", "three"]
    assert page.evaluate("window.said") is None


def test_the_page_says_that_its_job_was_deleted_elsewhere(page: Page, service: Service) -> None:
    answers = [(200, dashboard()), (404, {"detail": "there is no job j1"})]
    service.answers["/v1/jobs/j1/dashboard"] = lambda _: answers[0] if len(answers) > 1 else answers[-1]
    page.evaluate(
        """async () => {
          const { show } = await import("/js/pages/job.js");
          window.over = new AbortController();
          const of = { params: { job: "j1" }, query: new URLSearchParams(), signal: window.over.signal };
          document.title = await show(document.querySelector("main"), of);
        }"""
    )
    expect(page).to_have_title("25 % · mine – NAS")
    expect(page.get_by_role("navigation", name="On this page").get_by_role("link", name="Trials")).to_be_visible()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    answers.pop(0)
    expect(page.get_by_role("alert")).to_contain_text("This job was deleted.", timeout=10_000)
    expect(page.get_by_role("group", name="What can be done with the job")).to_be_empty()
