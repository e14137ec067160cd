"""The page follows what happens, and comes back by itself when it could not."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, Route, expect

from stream_app.adapters.log.port import Outgoing
from tests.page.conftest import Visitor
from tests.page.served_shop import ServedShop
from tests.web.shop_log import TOPICS

Steps = Sequence[Sequence[Outgoing]]
Serve = Callable[..., ServedShop]
LISTED = "[...document.querySelectorAll('#changes > li')].map(item => item.dataset.change)"
STREAM_SECONDS = 0.5
"""A change is with the page after less."""
RECONNECTS = ("Failed to load resource: net::ERR_", "Failed to load resource: the server responded with a status of 5")
"""What a browser itself says when a server is away."""


def newest(shop: ServedShop) -> str:
    change_id: str = shop.get("changes", limit=1)["items"][0]["change_id"]
    return change_id


def wait_for_change(page: Page, change_id: str) -> None:
    page.wait_for_function(f"id => {LISTED}.includes(id)", arg=change_id)


def tell_until_something_changes(shop: ServedShop) -> str:
    """Write to the log until the server has a new change; gives the newest."""
    before = newest(shop)
    while newest(shop) == before:
        assert shop.told < len(shop.steps), "the shop has nothing more to tell"
        shop.tell(1)
    return newest(shop)


def test_a_change_appears_by_itself_and_the_matrix_follows(page: Page, shop: ServedShop) -> None:
    change_id = tell_until_something_changes(shop)
    wait_for_change(page, change_id)
    total = sum(
        item["customers"] for item in shop.get("segments")["segments"] if "prospect" not in item["segment"].values()
    )
    page.wait_for_function(
        "total => [...document.querySelectorAll('.matrix td b')]"
        ".reduce((sum, cell) => sum + Number(cell.textContent.replaceAll(',', '')), 0) === total",
        arg=total,
    )


def test_a_cell_whose_number_changes_lights_up(visitor: Visitor, shop: ServedShop) -> None:
    page = visitor.open(shop.address)
    page.wait_for_selector(".matrix td b")
    page.evaluate(
        "window.lit = 0; new MutationObserver(list => list.forEach(item => {"
        "  if (item.target.matches('.matrix td.up, .matrix td.down')) window.lit += 1; }))"
        ".observe(document.querySelector('#matrix'), {subtree: true, attributes: true, attributeFilter: ['class']})"
    )
    for _ in range(20):
        tell_until_something_changes(shop)
        if page.evaluate("window.lit"):
            break
    page.wait_for_function("window.lit > 0")


def test_a_paused_list_stands_still_and_then_catches_up(page: Page, shop: ServedShop) -> None:
    page.get_by_role("button", name="Pause").click()
    before = page.evaluate(LISTED)
    change_id = tell_until_something_changes(shop)
    expect(page.locator("#changes-note")).to_contain_text("more since")
    assert page.evaluate(LISTED) == before
    page.get_by_role("button", name="Go on").click()
    wait_for_change(page, change_id)


def test_a_list_that_somebody_points_at_stands_still_until_they_go(page: Page, shop: ServedShop) -> None:
    page.locator("#changes li").first.hover()
    before = page.evaluate(LISTED)
    change_id = tell_until_something_changes(shop)
    expect(page.locator("#changes-note")).to_contain_text("Held while you are on it")
    assert page.evaluate(LISTED) == before
    page.mouse.move(1, 1)
    wait_for_change(page, change_id)
    assert page.locator("#changes-note").inner_text() == ""


def test_an_open_customer_is_brought_up_to_date(visitor: Visitor, served: Serve, steps: Steps) -> None:
    shop = served(steps)
    shop.tell(len(steps) // 2)
    shop.start()
    page = visitor.open(f"{shop.address}#/customers/c00000001")
    # Half of the steps may end between the changes of a commit and its rows, which the worker never does.
    told = [item["customer_id"] for item in shop.get("changes", limit=200)["items"]]
    known = [own for own in told if shop.get(f"customers/{own}")["changes"]]
    parts = [part for step in steps[len(steps) // 2 :] for part in step if part.topic == TOPICS.segment_changes]
    later = {(key or b"").decode() for part in parts for key in part.keys or ()}
    customer_id = next(own for own in known if own in later)
    page.evaluate("id => { location.hash = `#/customers/${encodeURIComponent(id)}`; }", arg=customer_id)
    page.wait_for_selector(".steps > li")
    count = page.locator(".steps > li").count()
    shop.tell(len(steps))
    page.wait_for_function("count => document.querySelectorAll('.steps > li').length > count", arg=count)
    history = shop.get(f"customers/{customer_id}/history", limit=500)["items"]
    page.wait_for_function("count => document.querySelectorAll('.steps > li').length === count", arg=len(history))
    visitor.forgive("404")


def test_a_customer_whose_changes_have_left_the_topic_is_told_as_such(
    visitor: Visitor, served: Serve, steps: Steps
) -> None:
    ids = {
        (key or b"").decode()
        for step in steps
        for part in step
        if part.topic == TOPICS.segment_changes
        for key in part.keys or ()
    }
    shop = served([[part for part in step if part.topic != TOPICS.segment_changes] for step in steps])
    shop.tell(len(steps))
    shop.start()
    known = next(own for own in sorted(ids) if shop.get(f"customers/{quote(own, safe='')}")["changes"])
    page = visitor.open(f"{shop.address}#/customers/{quote(known, safe='')}")
    expect(page.get_by_text("The changes that led here are no longer kept.")).to_be_visible()


def test_a_change_is_not_lost_that_comes_while_the_list_is_asked_for(page: Page, shop: ServedShop) -> None:
    came: list[str] = []

    def answer_late(route: Route) -> None:
        answer = route.fetch()
        came.append(tell_until_something_changes(shop))
        time.sleep(2 * STREAM_SECONDS)
        route.fulfill(response=answer)

    page.route("**/v1/changes?*", answer_late, times=1)
    with page.expect_response("**/v1/changes?*"):
        page.get_by_label("Axis", exact=True).select_option("")
    assert came == [newest(shop)]
    wait_for_change(page, came[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["ended", "killed"])
def test_the_page_says_that_the_server_is_away_and_reconnects(
    visitor: Visitor, served: Serve, steps: Steps, number: signal.Signals
) -> None:
    shop = served(steps)
    shop.tell(len(steps) // 2)
    shop.start()
    page = visitor.open(shop.address)
    page.wait_for_selector("#changes > li")
    shown = page.locator(".matrix td b").all_inner_texts()
    shop.stop(number)
    expect(page.locator("#connection")).to_have_text("Reconnecting")
    expect(page.locator("#trouble")).to_contain_text("The server does not answer.")
    assert page.locator(".matrix td b").all_inner_texts() == shown
    shop.tell(len(steps) // 4)
    shop.start()
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#trouble")).to_be_hidden()
    wait_for_change(page, newest(shop))
    visitor.forgive(*RECONNECTS)


def test_an_empty_log_is_told_as_such_and_the_first_events_need_no_reload(
    visitor: Visitor, served: Serve, steps: Steps
) -> None:
    shop = served(steps)
    shop.start()
    page = visitor.open(shop.address)
    expect(page.locator("h1").first).to_have_text("Waiting for the first event")
    expect(page.locator("#changes-note")).to_contain_text("No change so far")
    shop.tell(len(steps) // 2)
    expect(page.locator("h1").first).to_contain_text("customers, segmented by what they do")
    page.wait_for_selector("#changes > li")
    page.wait_for_selector("#movement .plot svg")


def test_where_tokens_are_needed_the_page_asks_for_one(
    visitor: Visitor, served: Serve, steps: Steps, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    # The SHA-256 of `let me in`.
    tokens.write_text("read 992db5e2595725ef68eb5066e014da8c7f6baca0afa96f1021b56b66782133f2\n")
    shop = served(steps, "--tokens-file", str(tokens))
    shop.start()
    page = visitor.open(shop.address)
    page.get_by_label("This server needs a token").fill("wrong")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("This token is not known.")).to_be_visible()
    page.get_by_label("This server needs a token").fill("let me in")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#connection")).to_have_text("Live")
    visitor.forgive("401")
