"""The commands of `nearbit`: results go to stdout, as text or as one JSON object."""

import json
import platform
from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import nearbit as nb
from nearbit._demo import Measured, measure
from nearbit.data import Demo, load_demo

SCHEMA = 1  # of the JSON objects; raised when a key changes its meaning or goes away
SHOWN = 3  # definitions shown for a question

app = typer.Typer(
    help="Nearest-neighbour search over embeddings and bits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.command()
def info(as_json: AsJson = False) -> None:
    """Show versions, kernels and threads: what a bug report needs first."""
    simd = nb.simd_info()
    facts = {
        "nearbit": nb.__version__,
        "isa": simd["isa"],
        "available": list(simd["available"]),
        "threads": simd["threads"],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
    if as_json:
        _print_json(facts)
        return
    table = Table.grid(padding=(0, 2))
    for key, value in facts.items():
        table.add_row(key, ", ".join(value) if isinstance(value, list) else str(value))
    Console(highlight=False).print(table)


@app.command()
def demo(
    questions: Annotated[int, typer.Option(min=0, max=500, help="How many to show.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Which questions to show.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Search 2,500 WordNet definitions with 500 questions, as float32 and as sign bits."""
    data = load_demo()
    measured = {codec: measure(data, codec) for codec in ("float32", "sign")}
    shown = np.random.default_rng(seed).choice(len(data.names), questions, replace=False).tolist()
    if as_json:
        _print_json(_demo_json(data, measured, shown))
        return
    console = Console(highlight=False)
    n, dim = data.vectors.shape
    console.print(f"{n:,} WordNet definitions, {len(data.names)} questions, {dim} dimensions")
    console.print("what each finds first; an asterisk marks the right definition\n")
    for question in shown:
        console.print(_answers(data, measured, question))
    console.print(_figures(measured, len(data.names)))


def _answers(data: Demo, measured: dict[str, Measured], question: int) -> Table:
    """The first definitions found for one question."""
    table = Table(title=Text(data.names[question], "bold"), title_justify="left", box=None)
    table.show_header = False
    table.add_column(style="dim", width=7)
    table.add_column()
    right = data.answers[question]
    for codec, m in measured.items():
        for place, row in enumerate(m.ids[question, :SHOWN]):
            mark, style = ("*", "green") if row == right else (" ", "")
            table.add_row("" if place else codec, _one_line(f"{mark} {data.texts[row]}", style))
    if not any(right in m.ids[question, :SHOWN] for m in measured.values()):
        table.add_row("right", _one_line(f"  {data.texts[right]}"))
    table.add_row()
    return table


def _one_line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _figures(measured: dict[str, Measured], batch: int) -> Table:
    table = Table(caption="times: medians on one thread of this machine", caption_justify="left")
    table.add_column()
    for codec in measured:
        table.add_column(codec, justify="right")
    rows = {
        "bytes per vector": ("bytes_per_vector", "{:,}"),
        "bytes in all": ("bytes_in_all", "{:,}"),
        "recall@10 against exact search, by distance": ("recall_at_10", "{:.3f}"),
        "right definition found first": ("hit_rate_at_1", "{:.1%}"),
        "right definition among the first 10": ("hit_rate_at_10", "{:.1%}"),
        "build, milliseconds": ("build_ms", "{:.2f}"),
        "microseconds per query, one at a time": ("us_per_query", "{:.1f}"),
        f"microseconds per query, {batch} at once": ("us_per_query_in_batch", "{:.1f}"),
    }
    for label, (figure, form) in rows.items():
        table.add_row(label, *(form.format(getattr(m, figure)) for m in measured.values()))
    return table


def _demo_json(data: Demo, measured: dict[str, Measured], shown: list[int]) -> dict[str, Any]:
    codecs = {codec: asdict(m) for codec, m in measured.items()}
    for figures in codecs.values():
        del figures["ids"]
    return {
        "definitions": len(data.texts),
        "questions": len(data.names),
        "dim": data.vectors.shape[1],
        "codecs": codecs,
        "shown": [
            {
                "question": data.names[q],
                "right": data.texts[data.answers[q]],
                "found": {c: [data.texts[row] for row in m.ids[q]] for c, m in measured.items()},
            }
            for q in shown
        ],
    }


def _print_json(result: dict[str, Any]) -> None:
    print(json.dumps({"schema": SCHEMA, **result}, indent=2))
