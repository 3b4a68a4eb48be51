"""The command line: `arena launch | ladder | match | play | games | check`.

What a command needs is imported when it runs, so that `--help` and `arena games` answer at once. Exit codes: 0 fine,
2 bad input, 1 anything else; 130 and 143 after Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

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
        standing = standings(looked)
        pictures = write_pictures(looked, standing)
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
    seed: Annotated[int, typer.Option(help="The same seed gives the same luck.")] = 1,
    simulations: Annotated[
        int | None, typer.Option(min=1, help="Of its search, a move and a hint; overrules ?simulations= of the player.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Of its play, 0 its best; overrules ?temperature= of the player.")
    ] = None,
) -> None:
    """Play against a player in this terminal; `hint` says what it would do and why."""
    from arena.play import play as play_game
    from arena.players import game_of, load, with_settings
    from arena.process import settle
    from arena.sitting import Occupant, Sitting
    from games.keys import mix

    settle()
    given = {"simulations": simulations, "temperature": temperature}
    against = with_settings(against, {name: value for name, value in given.items() if value is not None})
    game = game or game_of(against)
    loaded = load(against, game)
    seats = loaded.game.spec.seats
    if not -1 <= seat < seats:
        raise UserError(f"{loaded.game.spec.name} has seats 0 to {seats - 1}; --seat {seat} is none of them.")
    occupants = [Occupant("you") if s == seat else Occupant(against, loaded.policy) for s in range(seats)]
    played = play_game(
        Sitting(loaded.game, occupants, int(mix(seed, 0))),
        console=Console(),
        ask=input,
        deeper=lambda simulations: load(with_settings(against, {"simulations": simulations}), game).policy,
    )
    raise typer.Exit(1 if played.failure else 0)


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
