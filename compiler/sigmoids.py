"""Sigmoid and softmax in all the ways they are spelled, and what is made of them."""

from __future__ import annotations

from .beyond_formulas import is_exponent, is_number, is_positive_number, total_probability
from .rewrite import Rule

SIGMOID = (
    Rule("1 / (1 + exp(-x)) -> sigmoid(x)", "exp overflows for x below -88 in float32"),
    Rule("1 / (1 + exp(x)) -> sigmoid(-x)", "exp overflows for large x"),
    Rule("exp(x) / (1 + exp(x)) -> sigmoid(x)", "inf / inf for large x"),
    Rule(
        "x / (x + y) -> sigmoid(log(x) - log(y))",
        "inf / inf, or 0 / 0: only the quotient of x and y counts",
        is_exponent,
        logs=("x", "y"),
    ),
    Rule(
        "y / (y + x) -> sigmoid(log(y) - log(x))",
        "x overflows; late, since exp(z) * (1 / (1 + x)) may be a softmax",
        is_positive_number,
        logs=("x",),
        late=True,
    ),
    Rule(
        "exp(x) / (exp(x) + y) -> sigmoid(x - log(y))",
        "inf / inf for large x",
        is_positive_number,
        late=True,
    ),
    Rule(
        "x / (y + z) -> x * (sigmoid(log(y) - log(z)) / y)",
        "z overflows; the derivative is inf / inf",
        is_number,
        logs=("y", "z"),
        late=True,
    ),
    Rule("0.5 * (1 + tanh(x)) -> sigmoid(2 * x)", "1 + tanh cancels for negative x"),
    Rule("0.5 + 0.5 * tanh(x) -> sigmoid(2 * x)", "0.5 - 0.5 for negative x"),
    Rule("0.5 * (1 - tanh(x)) -> sigmoid(-2 * x)", "1 - tanh cancels for positive x"),
    Rule("0.5 - 0.5 * tanh(x) -> sigmoid(-2 * x)", "0.5 - 0.5 for positive x"),
    Rule("1 - sigmoid(x) -> sigmoid(-x)", "1 - 1 for large x; the sum is 1 exactly"),
    Rule("x * sigmoid(y) - x -> -(x * sigmoid(-y))", "x - x for large y"),
    Rule("x - x * sigmoid(y) -> x * sigmoid(-y)", "x - x for large y"),
    Rule("2 * sigmoid(x) - 1 -> tanh(0.5 * x)", "1 - 1 near 0"),
    Rule("1 - 2 * sigmoid(x) -> tanh(-0.5 * x)", "1 - 1 near 0"),
    Rule("sigmoid(x) - 1 -> -sigmoid(-x)", "1 - 1 for large x"),
    Rule("exp(-softplus(x)) -> sigmoid(-x)", "one op for what is one thing"),
    Rule("exp(x - softplus(x)) -> sigmoid(x)", "one op for what is one thing"),
)

SOFTMAX = (
    Rule("exp(x) * (1 / sum(exp(x), a)) -> softmax(x, a)", "as a quotient"),
    Rule("exp(x - logsumexp(x, a)) -> softmax(x, a)", "one op for what is one thing"),
    Rule("exp(log_softmax(x, a)) -> softmax(x, a)", "one op for what is one thing"),
    Rule(
        "sum(y * softmax(x, a), a) -> y",
        "probabilities add up to 1 exactly, where y is the same for all of them",
        code=total_probability,
        roots=("sum",),
        forgets=True,
    ),
    Rule(
        "1 / sum(exp(x), a) -> exp(-logsumexp(x, a))",
        "exp overflows; 0 * inf in products",
        late=True,
    ),
    Rule(
        "where(c, x - logsumexp(where(c, x, y), a), z) -> "
        "where(c, log_softmax(where(c, x, y), a), z)",
        "cancels less: x is centred first",
    ),
    Rule("softmax(x - max(x, a), a) -> softmax(x, a)", "softmax centres x itself"),
    Rule(
        "softmax(x - stop_gradient(max(x, a)), a) -> softmax(x, a)",
        "a shift changes neither softmax nor its derivative",
    ),
    Rule("log_softmax(x - max(x, a), a) -> log_softmax(x, a)", "log_softmax centres x itself"),
    Rule(
        "log_softmax(x - stop_gradient(max(x, a)), a) -> log_softmax(x, a)",
        "a shift changes neither log_softmax nor its derivative",
    ),
    Rule("1 - view(softmax(x, a)) -> -view(expm1(log_softmax(x, a)))", "1 - 1 for the largest x"),
)
