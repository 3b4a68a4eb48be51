"""A browser plays: clicks, keys and pages as people use them, in Debian's chromium driven by Playwright."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import games
from arena.match import Table
from games.keys import mix
from games.scene import EVERYTHING, Label, scene_of

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000  # milliseconds that a busy machine may take
RUN = """
game: tic_tac_toe
league:
  learners:
    main:
      agent: {kind: ppo, batch: 128, minibatch: 64, epochs: 1, network: {kind: mlp, width: 16}}
      snapshot: {every: 128, least: 64}
  fixed: [random]
rollout: {workers: 0, rows: 16}
rating: {every: 1, games: 4, final: 8, rows: 4}
stop: {decisions: 512}
tracking: {wandb: disabled}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a league was launched."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "ttt.yaml").write_text(RUN)
    launch = [sys.executable, "-m", "arena.cli", "launch", "ttt.yaml", "--quiet"]
    subprocess.run(launch, cwd=folder, check=True, capture_output=True)
    return folder


Serve = Callable[..., str]


@pytest.fixture(scope="module")
def serve(home: Path) -> Iterator[Serve]:
    """Start `arena …` with these words, once; where it can be opened."""
    running: dict[tuple[str, ...], tuple[subprocess.Popen[str], str]] = {}

    def start(*words: str) -> str:
        if words not in running:
            command = [sys.executable, "-m", "arena.cli", *words, "--port", "0", "--no-browser"]
            process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            found = next((m for line in process.stdout if (m := re.search(r"http://\S+", line))), None)
            assert found is not None, f"arena {' '.join(words)} did not say where it can be opened"
            running[words] = process, found.group()
        return running[words][1]

    yield start
    for process, _ in running.values():
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def visit(chromium: Browser, serve: Serve) -> Iterator[Open]:
    """Open a page; whatever it fetches from elsewhere, and whatever its scripts complain of, fails the test."""
    complaints: list[str] = []
    contexts = []

    def opened(*words: str, path: str = "/", width: int = 1280, dark: bool = False) -> Page:
        address = urlsplit(serve(*words))
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None
                if urlsplit(request.url).netloc == address.netloc or request.url.startswith(("data:", "blob:"))
                else complaints.append(f"asked for {request.url}")
            ),
        )
        page.goto(f"{address.scheme}://{address.netloc}{path}{'&' if '?' in path else '?'}{address.query}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def play(visit: Open, *words: str, **more: Any) -> Page:
    page = visit("play", *words, "--web", **more)
    page.locator(".board").wait_for()
    return page


def cell(page: Page, name: str) -> Any:
    return page.locator(f'[data-place][aria-label="{name}"]')


def moves(page: Page) -> list[str]:
    return page.locator(".play-record li").all_inner_texts()


def status(page: Page) -> Any:
    return page.locator(".play-status")


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


TTT = ("tic_tac_toe", "--against", "runs/ttt:main@1", "--seed", "1", "--name", "ada")


def test_a_whole_game_is_played_by_clicking_and_goes_to_the_ledger(visit: Open) -> None:
    page = play(visit, *TTT)
    for turn in range(5):
        expect(status(page)).to_have_text(re.compile("Your move|won|lost|draw", re.I))
        if status(page).inner_text() != "Your move.":
            break
        taken = {move.split()[-1] for move in moves(page)}
        free = next(str(place) for place in (4, 0, 8, 2, 6, 1, 3, 5, 7) if str(place) not in taken)
        cell(page, free).click()
        expect(page.locator(".play-record li").nth(2 * turn)).to_have_text(f"you {free}")
    expect(status(page)).to_have_text(re.compile("Recorded as game 1 of ada against main@1; the ladder rates it"))
    assert cell(page, "4").count() == 0, "a game that is over cannot be clicked"


def test_an_illegal_click_changes_nothing_and_says_why(visit: Open) -> None:
    page = play(visit, *TTT)
    expect(status(page)).to_have_text("Your move.")
    cell(page, "4").click()
    expect(page.locator(".play-record li")).to_have_count(2)
    expect(status(page)).to_have_text("Your move.")
    cell(page, "4").click()
    expect(status(page)).to_have_text("4 is not a legal move here.")
    assert len(moves(page)) == 2


def test_taking_back_and_asking_for_a_hint(visit: Open) -> None:
    page = play(visit, *TTT)
    expect(status(page)).to_have_text("Your move.")
    cell(page, "4").click()
    expect(page.locator(".play-record li")).to_have_count(2)
    expect(status(page)).to_have_text("Your move.")
    button(page, "Take back").click()
    expect(page.locator(".play-record li")).to_have_count(0)
    button(page, "Hint").click()
    expect(status(page)).to_have_text(re.compile(r"main@1 would play \d in your place"))
    expect(page.locator(".mark-hint")).to_have_count(1)
    expect(page.locator(".play-thoughts table tbody tr")).to_have_count(8 + 0, timeout=PATIENCE)


def test_what_it_thinks_is_drawn_on_the_board(visit: Open) -> None:
    page = play(visit, "connect_four", "--against", "mcts:100", "--seed", "1")
    expect(status(page)).to_have_text("Your move.")
    page.get_by_text("Show what it thinks").click()
    expect(page.locator(".heat")).to_have_count(7)
    shares = [int(share) for share in page.locator(".heat-share").all_text_contents()]
    assert 95 <= sum(shares) <= 105
    cell(page, "4").click()
    expect(page.locator(".play-record li")).to_have_count(2)
    expect(page.locator(".value-chart polyline")).to_have_count(1)


def test_keys_alone_play_a_game(visit: Open) -> None:
    page = play(visit, *TTT)
    expect(status(page)).to_have_text("Your move.")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.place ?? ''") != "":
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "4"
    page.keyboard.press("Enter")
    expect(page.locator(".play-record li").first).to_have_text("you 4")
    expect(page.locator(".play-record li")).to_have_count(2)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "4", "the focus stays on the board"
    taken = {move.split()[-1] for move in moves(page)}
    free = next(str(place) for place in range(9) if str(place) not in taken)
    page.get_by_label("Type a move").fill(free)
    page.keyboard.press("Enter")
    expect(page.locator(".play-record li").nth(2)).to_have_text(f"you {free}")


def test_hidden_information_never_reaches_the_page(visit: Open) -> None:
    page = play(visit, "openspiel/leduc_poker", "--against", "random", "--seed", "7")
    expect(status(page)).to_have_text("Your move.")
    table = Table(games.make("openspiel/leduc_poker"), np.array([mix(7, 0)], np.uint64))
    mine, all_of_it = (scene_of(table.game, table.states, 0, eyes) for eyes in (0, EVERYTHING))
    assert mine is not None
    assert all_of_it is not None
    hidden = [shape for shape in all_of_it.shapes if shape not in mine.shapes]
    assert hidden, "the other's card is face down"
    shown = page.locator(".board-picture text").all_text_contents()
    assert sorted(shown) == sorted(s.text for s in mine.shapes if isinstance(s, Label))
    assert [move for move in moves(page) if "has moved" in move] == []
    page.get_by_role("button", name="Call").click()
    expect(page.locator(".play-record li").first).to_have_text("you Call")


def test_a_pettingzoo_game_is_played_by_its_picture_and_the_names_of_moves(visit: Open) -> None:
    page = play(visit, "pettingzoo/classic.connect_four_v3", "--against", "random", "--seed", "3")
    expect(status(page)).to_have_text("Your move.")
    expect(page.locator(".board-picture image")).to_have_count(1)
    before = page.locator(".board-picture image").get_attribute("href")
    page.locator(".play-moves button").first.click()
    expect(page.locator(".play-record li")).to_have_count(2)
    expect(status(page)).to_have_text("Your move.")
    assert page.locator(".board-picture image").get_attribute("href") != before


def test_a_reload_comes_back_to_the_game(visit: Open) -> None:
    page = play(visit, *TTT)
    expect(status(page)).to_have_text("Your move.")
    cell(page, "4").click()
    expect(page.locator(".play-record li")).to_have_count(2)
    before = moves(page)
    page.wait_for_url("**table=**")
    page.reload()
    expect(page.locator(".play-record li")).to_have_count(2)
    assert moves(page) == before
    expect(status(page)).to_have_text("Your move.")


def test_two_people_at_one_screen_pass_it_behind_a_curtain(visit: Open) -> None:
    page = play(visit, "openspiel/leduc_poker", "--against", "random", "--seed", "7")
    expect(status(page)).to_have_text("Your move.")
    page.get_by_role("combobox", name="Seat 1").click()
    page.get_by_role("option", name="a person", exact=True).click()
    show = page.get_by_role("button", name=re.compile("show me the board"))
    show.wait_for()
    assert page.locator(".board-picture").count() == 0, "nobody has asked to see yet"
    assert button(page, "Call").count() == 0
    show.click()
    expect(page.locator(".board-picture")).to_have_count(1)
    button(page, "Call").click()
    show.wait_for()
    assert page.locator(".board-picture").count() == 0, "the next person is not there yet"


def test_the_last_move_is_marked_where_it_is_seen_on_a_board_that_is_turned(visit: Open) -> None:
    page = play(visit, "openspiel/chess", "--against", "random", "--seed", "4")
    expect(status(page)).to_have_text("Your move.")
    expect(page.get_by_role("combobox", name="Seat 0, black")).to_have_count(1)
    went = moves(page)[0].split()[-1]  # white's, by seat 1; seat 0 looks from black's side
    to = re.sub("[+#]", "", went)[-2:]
    box = cell(page, to).bounding_box()
    assert box is not None
    marked = [mark.bounding_box() for mark in page.locator(".mark-last").all()]
    middles = [(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2) for mark in marked if mark is not None]
    inside = [box["x"] < x < box["x"] + box["width"] and box["y"] < y < box["y"] + box["height"] for x, y in middles]
    assert any(inside), f"{went} is not marked on {to}"


def test_agents_are_watched_step_by_step(visit: Open) -> None:
    page = play(visit, "tic_tac_toe", "--against", "random", "--seat", "-1", "--seed", "5")
    step = button(page, "Step")
    step.wait_for()
    for count in (1, 2):
        step.click()
        expect(page.locator(".play-record li")).to_have_count(count)
    button(page, "Play on").click()
    expect(status(page)).to_have_text(re.compile("won|draw", re.I))


def test_seats_are_switched_and_opponents_changed(visit: Open) -> None:
    page = play(visit, "tic_tac_toe", "--against", "random", "--seed", "5")
    expect(status(page)).to_have_text("Your move.")
    button(page, "Switch seats").click()
    expect(page.locator(".play-record li")).to_have_count(1)
    expect(page.locator(".play-record li").first).to_have_text(re.compile("random"))
    page.get_by_role("combobox", name="Seat 0").click()
    page.get_by_role("option", name="mcts:25", exact=True).click()
    expect(status(page)).to_have_text("Your move.")
    expect(page.get_by_role("combobox", name="Seat 0")).to_have_value("mcts:25")


def test_the_league_page_leads_to_play_and_to_replays(visit: Open) -> None:
    page = visit("web", "runs/ttt")
    page.get_by_role("link", name="main@1", exact=True).first.wait_for()
    assert "random" in page.locator(".arena-main").inner_text()
    expect(page.locator("canvas, .nicegui-echart svg").first).to_be_visible()
    page.get_by_role("link", name="main@1", exact=True).first.click()
    page.wait_for_url("**/play?against=**")
    expect(status(page)).to_have_text("Your move.")
    expect(page.get_by_role("combobox", name="Seat 1")).to_have_value("main@1")


def test_a_stored_game_is_replayed_move_by_move(visit: Open) -> None:
    page = visit("web", "runs/ttt", path="/games?a=random")
    page.locator("td a").first.click()
    page.wait_for_url("**/replay?**")
    expect(status(page)).to_have_text(re.compile("After 0 of"))
    total = page.locator(".play-record li").count()
    button(page, "Next").click()
    expect(status(page)).to_have_text(re.compile("After 1 of"))
    expect(page.locator(".mark-last")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(status(page)).to_have_text(re.compile("After 2 of"))
    page.keyboard.press("ArrowLeft")
    expect(status(page)).to_have_text(re.compile("After 1 of"))
    page.locator(f'[data-step="{total}"]').click()
    expect(status(page)).to_have_text(re.compile("won|draw", re.I))


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_it_all_without_scrolling_sideways(visit: Open, dark: bool) -> None:
    for page in (
        play(visit, *TTT, width=380, dark=dark),
        visit("web", "runs/ttt", width=380, dark=dark),
        visit("web", "runs/ttt", path="/games", width=380, dark=dark),
    ):
        page.locator(".arena-main").wait_for()
        page.wait_for_function("document.querySelector('.arena-main').innerText.length > 60")
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        bright = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
        assert (max(bright) < 128) == dark


def test_one_broken_tab_leaves_the_others_alone(visit: Open) -> None:
    fine, broken = play(visit, *TTT), play(visit, *TTT)
    expect(status(broken)).to_have_text("Your move.")
    expect(status(fine)).to_have_text("Your move.")
    for wrong in ("'x'", "-1", "1e9", "null", "{}", "99"):
        broken.evaluate(
            f"(() => {{ const place = document.querySelector('[data-place]'); place.dataset.place = {wrong};"
            " place.dispatchEvent(new MouseEvent('click', {bubbles: true})); })()"
        )
    expect(status(broken)).to_have_text("There is no such place on the board.")
    broken.close()
    cell(fine, "4").click()
    expect(fine.locator(".play-record li")).to_have_count(2)
