"""A model of characters: it reads Python's own documentation and then writes some.

The text is what `help()` shows of the language, in every Python: `pydoc_data.topics`.  A gated
recurrent unit reads 64 places of it side by side and learns to say which character comes next.
It learns from 32 steps at a time: its state goes on from one chunk to the next in a parameter, the
gradient does not (truncated backpropagation through time, Williams and Peng 1990).  It is measured
in bits a character on a tenth of the text that it does not learn from, and stops when it needs
fewer than a table of pairs of characters does at best, the bigram entropy

    H = − Σ p(a, b) log₂ p(b | a),

counted on what it learns from.  Then a second function draws text, in a loop of its own.

    python examples/characters.py                  a bigram's worth, in seconds
    python examples/characters.py --bits 2.2       better text, in a minute
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradloom as gl

BATCH, STEPS = 64, 32  # places side by side, and characters of each in a chunk
EMBEDDED, HIDDEN = 32, 192
RATE, CLIP = 8e-3, 1.0
RARE = 100  # what occurs less often is one character, "�"
SHOWN = 20  # chunks from one line of print to the next

Array = NDArray[Any]
Function = Callable[..., Any]


def load() -> tuple[list[str], Array, Array]:
    """The characters that there are, and the text as their numbers: nine tenths, and the rest."""
    text = "\n".join(topics[name] for name in sorted(topics))
    characters = [c for c, count in sorted(Counter(text).items()) if count >= RARE]
    number = {c: i for i, c in enumerate(characters)}
    numbers = np.array([number.get(c, len(characters)) for c in text])
    cut = len(numbers) * 9 // 10
    return [*characters, "�"], numbers[:cut], numbers[cut:]


def bigram_entropy(numbers: Array, size: int) -> float:
    """Bits a character that a table of all pairs needs for the text that it was counted on."""
    pairs = np.zeros((size, size))
    np.add.at(pairs, (numbers[:-1], numbers[1:]), 1)
    share = pairs / pairs.sum()
    after = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    seen = pairs > 0
    return float(-np.sum(share[seen] * np.log2(after[seen])))


def side_by_side(numbers: Array, rows: int) -> Array:
    """The text in so many equal pieces, one a column, and a last row for what comes after each."""
    length = (len(numbers) - 1) // rows
    starts = length * np.arange(rows)
    return numbers[starts + np.arange(length + 1)[:, None]]


def adam(loss: gl.Tensor, parameters: list[gl.Parameter]) -> dict[Any, Any]:
    """New values by clipped gradients over the root of their mean square (Kingma and Ba 2015)."""
    gradients = gl.clip_by_global_norm(gl.grad(loss, parameters), CLIP)
    step = gl.parameter(0.0, "step")
    updates: dict[Any, Any] = {step: step + 1}
    for p, g in zip(parameters, gradients, strict=True):
        mean, square = (gl.parameter(np.zeros_like(p.value), f"{p.name}.{i}") for i in range(2))
        updates[mean] = 0.9 * mean + 0.1 * g
        updates[square] = 0.999 * square + 0.001 * g * g
        fresh = updates[mean] / (1 - 0.9 ** updates[step])
        size = gl.sqrt(updates[square] / (1 - 0.999 ** updates[step]))
        updates[p] = p - RATE * fresh / (size + 1e-8)
    return updates


def build(size: int, seed: int) -> tuple[Function, Function, Function]:
    """Three functions: learn from a chunk and its successors, measure bits, and draw text."""
    rng = np.random.default_rng(seed)
    embedding = gl.parameter(rng.normal(0, 0.1, (size, EMBEDDED)).astype("f"), name="embedding")
    weights = gl.recurrent.gru_weights(EMBEDDED, HIDDEN, rng, reset="after")
    readout = gl.parameter(np.zeros((HIDDEN, size), np.float32), name="readout")
    bias = gl.parameter(np.zeros(size, np.float32), name="bias")
    state = gl.parameter(np.zeros((BATCH, HIDDEN), np.float32), name="state")
    cell = gl.recurrent.gru(**weights, reset="after")

    x, t = (gl.placeholder(("T", "B"), "int64", name) for name in ("x", "t"))

    def bits(first: gl.Tensor, x: gl.Tensor, t: gl.Tensor) -> tuple[gl.Tensor, gl.Tensor]:
        """The last state, and −log₂ of the probability of what came, a character's mean."""
        last, states = gl.scan(cell, first, embedding[x])
        log_shares = gl.log_softmax(states @ readout + bias)
        right = gl.take_along_axis(log_shares, t[:, :, None], axis=2)
        return last, -gl.mean(right) / np.log(2)

    own, following = (gl.placeholder((STEPS, BATCH), "int64", name) for name in ("x", "t"))
    last, loss = bits(state, own, following)
    parameters = [embedding, *weights.values(), readout, bias]
    updates = {**adam(loss, parameters), state: last}
    learn = gl.function([own, following], loss, updates=updates)
    measure = gl.function([x, t], bits(gl.zeros((x.shape[1], HIDDEN)), x, t)[1])

    def draw(carry: tuple[gl.Tensor, gl.Tensor], key: gl.Tensor) -> Any:
        h, character = carry
        h, _ = cell(h, embedding[character])
        character = gl.random.categorical(key, h @ readout + bias)
        return (h, character), character

    begin, number = gl.placeholder("B", "int64", "begin"), gl.placeholder((), "int64", "number")
    keys = gl.random.split(gl.random.key(number), 240)
    _, drawn = gl.scan(draw, (gl.zeros((begin.shape[0], HIDDEN)), begin), keys)
    return learn, measure, gl.function([begin, number], drawn)


def main(arguments: Sequence[str] | None = None) -> tuple[float, float]:
    """Learn and write as the command line says; returns the bits held out, and of bigrams."""
    parser = argparse.ArgumentParser(description="learn to write like Python's documentation")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the text drawn")
    parser.add_argument("--bits", type=float, help="to stop at (default: the bigram entropy)")
    parser.add_argument("--chunks", type=int, default=5000, help="to learn from at most")
    options = parser.parse_args(arguments)

    started = time.perf_counter()
    characters, text, held_out = load()
    entropy = bigram_entropy(text, len(characters))
    print(f"{len(text):,} characters to learn from, {len(held_out):,} held out")
    print(f"bigram entropy: {entropy:.3f} bits a character")

    learn, measure, draw = build(len(characters), options.seed)
    columns, others = side_by_side(text, BATCH), side_by_side(held_out, BATCH)
    found, losses = np.inf, list[float]()
    for chunk in range(1, options.chunks + 1):
        at = (chunk - 1) * STEPS % (len(columns) - STEPS)
        losses.append(float(learn(columns[at : at + STEPS], columns[at + 1 : at + STEPS + 1])))
        if chunk % SHOWN == 0 or chunk == options.chunks:
            found = float(measure(others[:-1], others[1:]))
            print(
                f"chunk {chunk:4d}  learning {np.mean(losses[-SHOWN:]):.3f}  held out {found:.3f}"
                f"  {time.perf_counter() - started:5.1f} s",
                flush=True,
            )
            if found < (entropy if options.bits is None else options.bits):
                break
    texts: list[list[int]] = draw([characters.index("\n")] * 3, options.seed).T.tolist()
    for column in texts:
        print("-" * 80)
        print("".join(characters[i] for i in column))
    return found, entropy


if __name__ == "__main__":
    main()
