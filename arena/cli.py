"""The command line: `arena launch | ladder | match | play | web | replay | export | games | check`.

What a command needs is imported when it runs, so that `--help` and `arena games` answer at once. Exit codes: 0 fine,
2 bad input, 1 anything else; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from games.names import UserError

app = typer.Typer(
    help="Self-play leagues: train them, rate them, play against them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]
Port = Annotated[int, typer.Option(help="0 takes any that is free.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in the browser.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, as in runs/connect_four.")]


def main() -> None:
    """The program `arena`."""
    try:
        sys.exit(app(standalone_mode=True))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def launch(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="The run's YAML file, or the folder of a run.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE …", help="As in stop.minutes=30.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of that name.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Launch a self-play league, and read its ladder at the end."""
    from arena.launch import launch as launch_run

    raise typer.Exit(launch_run(source, overrides or [], resume, Console(), quiet))


@app.command()
def ladder(run: RunFolder, as_json: Json = False) -> None:
    """Print the ladder of a run, also while it goes on, and draw ladder.png into its folder."""
    from arena import ladder as ladder_
    from arena.run import look
    from arena.standings import standings, write_pictures

    with look(run) as looked:
        standing = standings(looked, people=True)
        pictures = write_pictures(looked, standing, people=True)
    if as_json:
        print(json.dumps(ladder_.to_dict(standing)))
    elif not standing.rows:
        print(f"No rating game of {run} has been played yet.")
    else:
        Console().print(ladder_.text(standing))
        print("Pictures: " + ", ".join(str(path) for path in pictures))


@app.command()
def match(
    a: Annotated[str, typer.Argument(help="A player, as in runs/c4:main@3, runs/c4:best or mcts:200.")],
    b: Annotated[str, typer.Argument(help="Whom it meets.")],
    game: Annotated[str | None, typer.Option(help="What they play; a run's player knows it.")] = None,
    games: Annotated[int, typer.Option(min=1, help="How many, in pairs with seats swapped.")] = 100,
    opening: Annotated[
        int | None, typer.Option(min=0, help="Random plies first; 2 unless given, where that helps.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same games.")] = 1,
    as_json: Json = False,
) -> None:
    """Play a match and say who is stronger, and how sure that is."""
    from arena.config import RatingSettings
    from arena.contest import contest, details
    from arena.players import game_of, load
    from arena.process import settle

    settle()
    game = game or game_of(a) or game_of(b)
    first, second = load(a, game), load(b, game)
    plies = RatingSettings(opening=opening).opening_of(first.game.spec)
    result = contest(first, second, games, opening=plies, seed=seed)
    if as_json:
        print(json.dumps(result.to_dict()))
        return
    print(f"{a} against {b}, {result.games} games of {first.game.spec.name}, {plies} random plies first:")
    spec = first.game.spec
    what = ", comparing returns on the same side with the same luck" if spec.roles else ""
    print(f"  {result.wins} won, {result.draws} drawn, {result.losses} lost{what}")
    lot = f"; a place drawn by lot: {result.chance:.3f}" if len(set(spec.teams)) > 2 else ""
    print(f"  score {result.score:.3f}, 95% interval {result.low:.3f} to {result.high:.3f}{lot}")
    if (shown := details(result, spec)) is not None:
        Console().print(shown, highlight=False)
    if None not in result.ms_per_move:
        print("  {:.3g} and {:.3g} ms a move".format(*result.ms_per_move))
    if result.void:
        print(f"  {result.void} games broke and do not count")


@app.command()
def play(
    game: Annotated[str | None, typer.Argument(help="What to play; a run's player knows it.")] = None,
    against: Annotated[str, typer.Option(help="Who holds the other seats.")] = "random",
    seat: Annotated[int, typer.Option(help="Your seat, from 0; -1 to watch.")] = 0,
    name: Annotated[str, typer.Option(help="Your name on the ladder; without one, games are kept but not rated.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same luck.")] = None,
    simulations: Annotated[
        int | None, typer.Option(min=1, help="Of its search, a move and a hint; overrules ?simulations= of the player.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of its play, 0 its best; overrules ?temperature= of the player.")
    ] = None,
    web: Annotated[bool, typer.Option("--web", help="Play in a web page.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Ask line by line, as in a pipe.")] = False,
    port: Port = 8080,
    browser: Browser = True,
) -> None:
    """Play against a player, in this terminal or in a web page; it can say what it would do and why."""
    from arena.lobby import Lobby
    from arena.players import game_of, with_settings
    from arena.process import settle
    from arena.seating import Invitation, play_here, runs_of

    settle()
    given = {"simulations": simulations, "temperature": temperature}
    against = with_settings(against, {what: value for what, value in given.items() if value is not None})
    game = game or game_of(against)
    if game is None:
        raise UserError(f"{against} plays any game: say which, as in `arena play connect_four --against {against}`.")
    invitation = Invitation(against=against, seat=seat, person=name, seed=seed)
    lobby = Lobby(game, runs_of(against))
    if web:
        from arena.web import serve
        from arena.web_pages import game_pages

        raise typer.Exit(serve(game_pages(lobby, invitation), port=port, browser=browser, console=Console()))
    raise typer.Exit(play_here(lobby, invitation, Console(), plain))


@app.command()
def web(
    run: RunFolder,
    port: Port = 8080,
    browser: Browser = True,
    host: Annotated[str, typer.Option(help="The address to listen on; others than this machine can then come in.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Look at a run in a web page, also while it goes on: ladder, curves, games; and play against its players."""
    from arena.process import settle
    from arena.web import serve
    from arena.web_pages import run_pages

    settle()
    raise typer.Exit(serve(run_pages(run), host=host, port=port, browser=browser, console=Console()))


@app.command()
def replay(
    run: RunFolder,
    a: Annotated[str | None, typer.Argument(help="A player, to choose among its games.")] = None,
    b: Annotated[str | None, typer.Argument(help="Whom it met.")] = None,
    which: Annotated[str | None, typer.Option("--game", help="One game, MATCH.GAME as the list has it.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many games to list.")] = 20,
    by: Annotated[str | None, typer.Option(help="A player who is asked what it thinks of each position.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Print the game, as in a pipe.")] = False,
) -> None:
    """List the stored games of a run, or step through one of them."""
    from arena.process import settle
    from arena.seating import list_games, replay_here

    settle()
    if which is None:
        list_games(run, a, b, last, Console())
    else:
        replay_here(run, which, by, Console(), plain)


@app.command()
def export(
    run: RunFolder,
    games: Annotated[bool, typer.Option("--games", help="The stored games; nothing else is exported yet.")] = True,
    a: Annotated[str | None, typer.Option("--player", help="Only games of this player.")] = None,
    b: Annotated[str | None, typer.Option("--against", help="Only those against this one.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; games.pgn, .sgf or .jsonl in the run's folder.")] = None,
    form: Annotated[
        Literal["pgn", "sgf", "jsonl"] | None, typer.Option("--format", help="What the game is known by, unless given.")
    ] = None,
) -> None:
    """Write the stored games of a run to a file: PGN for chess, SGF for go, JSON lines for all."""
    from arena.export import export as export_games

    written = export_games(run, out, form, a, b)
    print(f"{written.games} games as {written.format} in {written.path}")
    for problem in written.problems:
        print(problem, file=sys.stderr)


@app.command()
def games(
    family: Annotated[str | None, typer.Argument(help="A family, as in openspiel, to list all of it.")] = None,
    as_json: Json = False,
) -> None:
    """List the games with their traits."""
    from arena.listing import listed, show

    rows = listed(family)
    if as_json:
        print(json.dumps({"games": rows}))
    else:
        show(rows, family, Console())


@app.command()
def check(
    game: Annotated[str, typer.Argument(help="A game, as in openspiel/go?board_size=9.")],
    games: Annotated[int, typer.Option(min=1, help="Random games to play.")] = 100,
    seed: Annotated[int, typer.Option(help="Of those games.")] = 0,
    as_json: Json = False,
) -> None:
    """Hold a game to every promise that games make, and say which agents can play it."""
    from arena.listing import sentence
    from games import make
    from games.check import check as check_game
    from games.check import text, to_dict

    made = make(game)
    report = check_game(made, games=games, seed=seed)
    reasons = _agents(made.spec)
    if as_json:
        print(json.dumps(to_dict(report) | {"agents": reasons}))
    else:
        print(text(report))
        print(f"  {sentence(made.spec)}")
        print("Agents:")
        for agent, reason in reasons.items():
            print(f"  {agent:<10}{'yes' if reason is None else 'no: ' + reason}")
    raise typer.Exit(0 if report.passed else 1)


def _agents(spec: Any) -> dict[str, str | None]:
    """Agent -> why it cannot play the game, None where it can."""
    from agents.kinds import SUPPORTS

    return {name: supports(spec) for name, supports in SUPPORTS.items()}


if __name__ == "__main__":
    main()
