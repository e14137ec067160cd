"""The page says what the API says."""

from __future__ import annotations

from urllib.parse import quote

from playwright.sync_api import Page, expect

from tests.page.conftest import ODD_IDS, Visitor
from tests.page.served_shop import ServedShop


def number(text: str) -> int:
    return int(text.replace(",", ""))


def cells(page: Page) -> dict[tuple[str, str], int]:
    """Read the matrix: row and column to the number that stands there."""
    columns = page.locator(".matrix thead th b").all_inner_texts()
    return {
        (row.locator("th b").inner_text(), column): number(cell.locator("b").inner_text())
        for row in page.locator(".matrix tbody tr").all()
        for column, cell in zip(columns, row.locator("td").all(), strict=True)
    }


def test_the_matrix_shows_the_population_of_every_segment(page: Page, shop: ServedShop) -> None:
    answer = shop.get("segments")
    rows, columns = answer["axes"]
    expected = {
        (item["segment"][rows["axis"]], item["segment"][columns["axis"]]): item["customers"]
        for item in answer["segments"]
        if item["segment"][rows["axis"]] in rows["tiers"]
    }
    assert cells(page) == expected
    assert page.locator(".matrix tbody th b").all_inner_texts() == rows["tiers"][::-1]
    assert page.locator(".matrix thead th b").all_inner_texts() == columns["tiers"]


def test_each_cell_says_who_serves_the_segment(page: Page, shop: ServedShop) -> None:
    for item in shop.get("segments")["segments"][:9]:
        address = "#/segments/" + "/".join(item["segment"].values())
        cell = page.locator(f'.matrix a[href="{address}"]')
        expect(cell.locator(".channel")).to_have_text(item["treatment"]["channel"])
        expect(cell).to_have_attribute("title", item["treatment"]["action"])


def test_the_newest_changes_are_listed_with_reason_and_treatment(page: Page, shop: ServedShop) -> None:
    tiers = {axis["axis"]: axis["tiers"] for axis in shop.get("segments")["axes"]}
    for change, item in zip(shop.get("changes", limit=20)["items"], page.locator("#changes > li").all(), strict=False):
        text = item.inner_text()
        assert change["customer_id"] in text
        assert change["to_tier"] in text
        assert change["treatment"]["action"] in text
        told = [reason for reason in change["reasons"] if reason["text"][1:] in text]
        assert told or not change["reasons"]
        rank = tiers[change["axis"]].index
        if change["from_tier"] is not None and change["reasons"]:
            way = rank(change["to_tier"]) - rank(change["from_tier"])
            pulling = [reason for reason in change["reasons"] if reason["contribution"] * way > 0]
            assert told[0] == (pulling or change["reasons"])[0]


def test_a_filter_lists_what_the_api_gives_for_it(page: Page, shop: ServedShop) -> None:
    page.get_by_label("Axis", exact=True).select_option("value")
    page.get_by_label("New tier").select_option("vip")
    expected = [change["change_id"] for change in shop.get("changes", axis="value", to="vip", limit=60)["items"]]
    page.wait_for_function(
        "ids => JSON.stringify([...document.querySelectorAll('#changes > li')].map(li => li.dataset.change)) === ids",
        arg=str(expected).replace("'", '"').replace(" ", ""),
    )


def test_the_figures_at_the_top_are_those_of_the_status(page: Page, shop: ServedShop) -> None:
    status = shop.get("status")
    tiles = {
        tile.get_attribute("data-tile"): tile.locator("b").inner_text() for tile in page.locator("#tiles > div").all()
    }
    assert number(tiles["customers"]) == status["customers"]
    assert number(tiles["changes"]) == status["changes"]
    assert number(tiles["lag"]) == status["lag"]
    assert tiles["knowledge"] == f"v{status['knowledge']['version']}"


def test_migrations_and_populations_are_those_of_the_period(page: Page, shop: ServedShop) -> None:
    page.get_by_role("button", name="All", exact=True).click()
    for axis in shop.get("migrations")["axes"]:
        part = page.locator(f'#movement [data-axis="{axis["axis"]}"]')
        moves = [item for item in axis["migrations"] if item["from_tier"] is not None]
        total = sum(item["changes"] for item in moves)
        expect(part.locator("figure").nth(2).locator(".note")).to_contain_text(f"{total:,} changes of tier")
        shown = [number(text) for text in part.locator(".migration td:not(.same)").all_inner_texts()]
        assert sum(shown) == total
        assert len(shown) == len(axis["tiers"]) * (len(axis["tiers"]) - 1)


def test_a_chart_can_be_read_as_a_table(page: Page, shop: ServedShop) -> None:
    page.get_by_role("button", name="All", exact=True).click()
    part = page.locator('#movement [data-axis="value"] figure').first
    part.get_by_text("As a table").click()
    series = next(item for item in shop.get("populations")["axes"] if item["axis"] == "value")
    newest = part.locator("tbody tr").first
    for place, tier in enumerate(series["tiers"]):
        expect(newest.locator("td").nth(place)).to_contain_text(f"{series['customers'][tier][-1]:,} ")


def test_a_segment_lists_its_customers_by_score_to_the_last_one(visitor: Visitor, shop: ServedShop) -> None:
    page = visitor.open(f"{shop.address}#/segments/small/steady")
    page.wait_for_selector("table.rows tbody tr")
    while (more := page.get_by_role("button", name="Show more")).count():
        before = page.locator("table.rows tbody tr").count()
        more.click()
        page.wait_for_function("n => document.querySelectorAll('table.rows tbody tr').length > n", arg=before)
    answer = shop.get("segments/small/steady/customers", limit=500)
    assert page.locator("table.rows tbody a.id").all_inner_texts() == [item["customer_id"] for item in answer["items"]]
    assert len(answer["items"]) > 50


def test_a_customer_is_told_as_the_api_tells_them(visitor: Visitor, shop: ServedShop) -> None:
    customer_id = shop.get("segments/vip/steady/customers")["items"][0]["customer_id"]
    quoted = quote(customer_id, safe="")
    page = visitor.open(f"{shop.address}#/customers/{quoted}")
    page.wait_for_selector("#customer-view .bars li")
    customer = shop.get(f"customers/{quoted}")
    assert page.locator(".held .pill b").all_inner_texts() == list(customer["segment"].values())
    expect(page.locator(".advice")).to_contain_text(customer["treatment"]["action"])
    for axis in shop.get(f"customers/{quoted}/why")["axes"]:
        part = page.locator(f'#customer-view section[data-axis="{axis["axis"]}"]')
        told = [text[0].lower() + text[1:] for text in part.locator(".said").all_inner_texts()]
        wanted = [item["text"][0].lower() + item["text"][1:] for item in axis["contributions"]]
        assert told == wanted[: len(told)]
        assert len(told) == min(len(wanted), 7)
        assert [text[1:-1] for text in part.locator(".what-if li").all_inner_texts()] == [
            line["text"][1:] for line in axis["next"]
        ]
    history = shop.get(f"customers/{quoted}/history")["items"]
    listed = page.locator(".steps > li").all()
    assert [item.get_attribute("data-change") for item in listed] == [change["change_id"] for change in history[::-1]]
    assert page.locator("#customer-view svg .step").count() == sum(
        change["from_tier"] is not None for change in history
    )


def test_an_id_that_looks_like_code_is_only_text(visitor: Visitor, shop: ServedShop) -> None:
    for odd in ODD_IDS.values():
        page = visitor.open(shop.address)
        page.wait_for_selector(".matrix")
        page.get_by_label("Customer id").fill(odd)
        page.keyboard.press("Enter")
        page.wait_for_selector("#customer-view .held .pill")
        assert page.locator("h1 .id:visible").inner_text() == odd
        assert page.title() == f"{odd} · customer"
        assert page.locator("script").count() == 1
        assert page.locator("img").count() == 1
