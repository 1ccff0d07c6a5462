"""The page of `vilbert search --serve` as its user has it."""

import re
import shutil

import pytest
from browsing import PATIENCE, free_port, opened, shown
from playwright.sync_api import expect

from vilbert.search.folder import main as index_folder
from vilbert.search.searcher import Searcher

HOSTILE = "<img src=x onerror=alert(1)> *a*.png"  # a name that a browser would run, and Markdown would set


@pytest.mark.slow
@pytest.mark.browser
def test_pictures_are_found_names_are_text_and_what_is_wrong_is_a_sentence(browser, folder_model, pictures, tmp_path):
    index = tmp_path / "index"
    shutil.copy(pictures / "a.png", pictures / HOSTILE)
    index_folder(folder_model, pictures, index)
    rows = Searcher(index).by_text("a red circle", k=4, rerank=4)
    command = ["-m", "vilbert.cli", "search", str(index), "--serve", "--port", str(free_port())]
    with shown(command, tmp_path) as address, opened(browser, address) as page:
        text, search = page.get_by_label("What they show"), page.get_by_role("button", name="Search")
        alerts: list[str] = []
        page.on("dialog", lambda dialog: alerts.append(dialog.message))

        text.fill(" ")
        search.click()
        expect(page.get_by_text("the text is empty, expected a question")).to_be_visible(timeout=PATIENCE)

        text.fill("a red circle")
        search.click()
        expect(page.locator(".found img")).to_have_count(4, timeout=PATIENCE)
        for row in rows:
            told = f"{row['image']}, {row['similarity']:.3f}, {row['score']:+.2f}"
            expect(page.get_by_text(told, exact=True).first).to_be_visible()

        (pictures / HOSTILE).write_text("no picture")  # by now
        search.click()
        expect(page.get_by_text(re.compile(f"^{re.escape(HOSTILE)}: .*not_an_image"))).to_be_visible(timeout=PATIENCE)
        assert page.locator("img[src=x]").count() == 0
        assert alerts == []
