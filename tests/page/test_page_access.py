"""The page is there for everybody: keyboard, screen readers, narrow screens, light and dark; and for any policy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from stream_app.adapters.log.port import Outgoing
from stream_app.adapters.policy_file import load_policy
from stream_app.simulation.settings import ShopSettings
from tests.page.conftest import Visitor
from tests.page.served_shop import ServedShop
from tests.web.shop_log import ShopLog

PAGE = Path(__file__).parents[2] / "stream_app" / "web" / "page"
VIEWS = ("#/", "#/customers/c00000005", "#/segments/small/steady", "#/customers/nobody")
NARROW = {"width": 360, "height": 740}
CONTRAST_MIN = 4.5
"""WCAG 2.2, level AA, for text."""


def ready(page: Page) -> None:
    """Wait until a view has everything on it."""
    page.wait_for_function(
        "() => document.querySelector('#movement .plot svg') && !document.querySelector('#overview').hidden"
        " || document.querySelector('#customer-view .bars li, #customer-view .card.empty, #segment-view tbody tr')"
    )


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_wider_than_a_narrow_screen(visitor: Visitor, shop: ServedShop, view: str) -> None:
    page = visitor.open(f"{shop.address}{view}", viewport=NARROW)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    beyond = page.evaluate(
        "width => [...document.querySelectorAll('main *')]"
        ".filter(node => node.getBoundingClientRect().right > width + 1)"
        ".filter(node => !node.closest('.scroll, .wide-table, .unseen, svg'))"
        ".map(node => node.outerHTML.slice(0, 80))",
        NARROW["width"],
    )
    assert beyond == []
    visitor.forgive("404")


def test_a_customer_is_found_and_left_with_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.get_by_label("Customer id")).to_be_focused()
    page.keyboard.type("c00000005")
    page.keyboard.press("Enter")
    expect(page.locator("#customer-view h1")).to_be_focused()
    expect(page.locator("#customer-view h1")).to_have_text("Customer c00000005")
    page.keyboard.press("Escape")
    expect(page.locator("#overview")).to_be_visible()
    expect(page.locator("#headline")).to_be_focused()


def test_a_slash_within_an_id_is_only_a_slash(page: Page) -> None:
    page.get_by_label("Customer id").fill("")
    page.get_by_label("Customer id").press_sequentially("a/b")
    expect(page.get_by_label("Customer id")).to_have_value("a/b")


def test_a_chart_is_read_with_the_keyboard(page: Page) -> None:
    chart = page.locator("#movement .plot[tabindex]").first
    chart.focus()
    page.keyboard.press("Home")
    first = chart.locator(".tip strong").inner_text()
    page.keyboard.press("ArrowRight")
    expect(chart.locator(".tip strong")).not_to_have_text(first)
    page.keyboard.press("Escape")
    expect(chart.locator(".tip")).to_be_hidden()


def test_everything_that_can_be_used_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        "() => [...document.querySelectorAll('a, button, input, select, [role=img], [tabindex=\"0\"]')].filter(node =>"
        " !node.getAttribute('aria-label') && !node.textContent.trim() && !node.labels?.length"
        " && !node.title).map(node => node.outerHTML.slice(0, 80))"
    )
    assert nameless == []
    assert page.locator("h1:visible").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_only_what_matters_is_read_out_by_itself(page: Page) -> None:
    live = page.locator("[aria-live], [role=status], [role=alert]").evaluate_all("nodes => nodes.map(node => node.id)")
    assert {name for name in live if name} == {"connection", "trouble", "announcer"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visitor: Visitor, shop: ServedShop, scheme: str) -> None:
    page = visitor.open(shop.address, color_scheme=scheme)
    ready(page)
    colours: dict[str, str] = page.evaluate(
        "names => { const style = getComputedStyle(document.documentElement);"
        " return Object.fromEntries(names.map(name => [name, style.getPropertyValue('--' + name).trim()])); }",
        ["ink", "soft", "faint", "accent", "up", "down", "bad", "page", "card", "on-accent"],
    )
    for name in ("ink", "soft", "faint", "accent", "up", "down", "bad"):
        for ground in ("page", "card"):
            assert contrast(colours[name], colours[ground]) >= CONTRAST_MIN, f"{name} on {ground}"
    assert contrast(colours["on-accent"], colours["accent"]) >= CONTRAST_MIN


def contrast(first: str, second: str) -> float:
    """Give the contrast ratio of two colours as WCAG defines it."""
    lower, higher = sorted((luminance(first), luminance(second)))
    return (higher + 0.05) / (lower + 0.05)


def luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_the_theme_follows_the_system_until_one_is_chosen_and_is_kept(visitor: Visitor, shop: ServedShop) -> None:
    page = visitor.open(shop.address, color_scheme="light")
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert light != dark
    page.get_by_role("button", name="Theme").click()
    assert background(page) == light
    page.reload()
    assert background(page) == light
    page.get_by_role("button", name="Theme").click()
    page.emulate_media(color_scheme="light")
    assert background(page) == dark


def test_an_unknown_customer_is_told_as_such(visitor: Visitor, shop: ServedShop) -> None:
    page = visitor.open(f"{shop.address}#/customers/nobody")
    expect(page.locator("#customer-view")).to_contain_text("No customer has this id.")
    visitor.forgive("404")


@pytest.mark.parametrize(
    ("axes", "rows", "columns"),
    [
        ('[axes.worth]\nscore = "value"\ntiers = ["few", "many"]\ncuts = [0.5]\n', ["many", "few"], []),
        (
            '[axes.worth]\nscore = "value"\ntiers = ["a", "b", "c", "d"]\ncuts = [0.3, 0.6, 0.9]\n'
            '[axes.promise]\nscore = "growth"\ntiers = ["no", "yes"]\ncuts = [0.7]\n'
            '[axes.again]\nscore = "value"\ntiers = ["low", "high"]\ncuts = [0.9]\n',
            ["d", "c", "b", "a"],
            ["no", "yes"],
        ),
    ],
    ids=["one axis", "three axes"],
)
def test_axes_and_tiers_are_those_of_the_policy(
    visitor: Visitor,
    served: Callable[..., ServedShop],
    tmp_path: Path,
    axes: str,
    rows: list[str],
    columns: list[str],
) -> None:
    served_axes = [
        axis + 'cut_rule = "quantiles"\nmargin = 0.0\nconfirmation = "0d"\n' for axis in axes.split("[axes.")[1:]
    ]
    count = len(served_axes)
    text = "".join(f"[axes.{axis}" for axis in served_axes)
    text += f'[[treatments]]\nsegment = {["*"] * count}\nchannel = "digital"\naction = "Serve."\n'.replace("'", '"')
    (tmp_path / "policy.toml").write_text(text)
    policy = load_policy(tmp_path / "policy.toml")
    settings = ShopSettings(customers=250, days=60, seed=2, start=date(2025, 1, 1))
    steps: Sequence[Sequence[Outgoing]] = list(ShopLog(settings, policy=policy).run())
    shop = served(steps, "--policy", str(tmp_path / "policy.toml"))
    shop.tell(len(steps))
    shop.start()
    page = visitor.open(shop.address)
    page.wait_for_selector(".matrix td b")
    assert page.locator(".matrix tbody th b").all_inner_texts() == rows
    assert page.locator(".matrix thead th b").all_inner_texts() == columns
    shown = sum(int(cell.replace(",", "")) for cell in page.locator(".matrix td b").all_inner_texts())
    rated = [item for item in shop.get("segments")["segments"] if "prospect" not in item["segment"].values()]
    assert shown == sum(item["customers"] for item in rated)
    assert page.locator("#matrix-axes select").count() == (2 if count > 2 else 0)
    page.locator(".matrix td a").first.click()
    expect(page.locator("#segment-view h1")).to_be_focused()
    page.wait_for_selector("#segment-view tbody tr, #segment-view .list-end .note")


def test_nothing_in_the_page_comes_from_elsewhere_or_becomes_markup() -> None:
    for path in PAGE.rglob("*.*"):
        text = path.read_text()
        addresses = set(
            re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}[\w./-]*", re.sub(r"^\s*//.*$", "", text, flags=re.M))
        )
        assert addresses <= {"http://www.w3.org/2000/svg"}, path
        for banned in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=",
            "onclick=",
        ):
            assert banned not in text, path
